"""Levels that are not on by default: other norms' affine part, identity branches, bases of streams."""

import numpy as np
import pytest

from bncore.folding.onnx.engine import DEFAULT_LEVELS
from tests.folding.onnx.checks import NORM, Builder, check, fold, kinds, numpy_helper

NORMS = DEFAULT_LEVELS | {"norms"}
REBASE = DEFAULT_LEVELS | {"rebase"}


def plain(model, op):
    """Whether all norms of a kind have gamma 1 and beta 0."""
    weights = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == op]
    return all(
        (weights[node.input[1]] == 1).all()
        and (len(node.input) < 3 or not weights[node.input[2]].any())
        for node in nodes
    )


@pytest.mark.parametrize("beta", [True, False])
def test_layer_norm_into_the_next_products(beta):
    b = Builder(dtype=np.float64)
    x = b.input(2, 3, 6)
    y = b.node("LayerNormalization", x, b.normal(6), *([b.normal(6)] if beta else []))
    outs = [b.node("Add", b.node("MatMul", y, b.normal(6, n)), b.normal(n)) for n in (4, 5)]
    b.output(*outs)
    folded, _ = check(b.model(), b.feeds, levels=NORMS)
    assert plain(folded, "LayerNormalization") and len(folded.graph.node[0].input) == 2


def test_layer_norm_whose_result_is_added_to_something():
    b = Builder(dtype=np.float64)
    x = b.input(2, 3, 6)
    y = b.node("LayerNormalization", x, b.normal(6), b.normal(6))
    b.output(b.node("Sigmoid", b.node("Add", b.node("MatMul", y, b.normal(6, 6)), y)))
    _, result = check(b.model(), b.feeds, levels=NORMS)
    assert not result.applied


def test_layer_norm_stays_by_default():
    b = Builder(dtype=np.float64)
    y = b.node("LayerNormalization", b.input(2, 3, 6), b.normal(6), b.normal(6))
    b.output(b.node("Add", b.node("MatMul", y, b.normal(6, 4)), b.normal(4)))
    _, result = check(b.model(), b.feeds)
    assert not result.applied


@pytest.mark.parametrize("op, opset", [("InstanceNormalization", 17), ("GroupNormalization", 21)])
def test_norms_of_images_into_a_convolution(op, opset):
    b = Builder(opset=opset, ir_version=10)
    how = {"num_groups": 2} if op == "GroupNormalization" else {}
    y = b.node(op, b.input(2, 4, 5, 5), b.normal(4), b.normal(4), **how)
    b.output(b.conv(y, 4, 3, 3, 3), shape=(2, 3, 3, 3))
    folded, _ = check(b.model(), b.feeds, levels=NORMS)
    assert plain(folded, op)


def test_norms_of_images_with_a_shift_before_zero_padding():
    b = Builder()
    y = b.node("InstanceNormalization", b.input(2, 4, 5, 5), b.normal(4), b.normal(4))
    b.output(b.conv(y, 4, 3, 3, 3, pads=[1] * 4))
    _, result = check(b.model(), b.feeds, levels=NORMS)
    assert not result.applied


def test_layer_scale_goes_into_the_linear_operation_before_it():
    """By default: it is a Mul by a constant."""
    b = Builder(dtype=np.float64)
    x = b.input(2, 3, 6)
    y = b.node("Add", b.node("MatMul", x, b.normal(6, 6)), b.normal(6))
    b.output(b.node("Add", x, b.node("Mul", y, b.normal(6))))
    check(b.model(), b.feeds, ops=["MatMul", "Add", "Add"])


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (3, 5)])
def test_identity_branch(kernel, groups):
    b = Builder()
    x = b.input(2, 4, 6, 6)
    pads = [k // 2 for k in kernel] * 2
    one = b.norm(b.conv(x, 4, 4, *kernel, groups=groups, pads=pads, bias=False), 4)
    two = b.norm(b.conv(x, 4, 4, bias=False), 4)
    y = b.node("Add", b.node("Add", one, two), b.norm(x, 4))
    b.output(b.node("Relu", y))
    # with groups the two convolutions see different channels, but depthwise single taps are maps as well
    joined = groups == 1 or (groups == 4 and kernel == (1, 1))
    ops = ["Conv", "Relu"] if joined else ["Conv", "Conv", "Add", "Relu"]
    check(b.model(), b.feeds, ops=ops, levels=NORMS)


def test_branches_of_repvgg_become_one_convolution():
    b = Builder()
    x = b.input(2, 4, 7, 7)
    how = {"strides": [2, 2], "groups": 2, "bias": False}
    one = b.norm(b.conv(x, 4, 6, 3, 3, pads=[1] * 4, **how), 6)
    two = b.norm(b.conv(x, 4, 6, **how), 6)
    b.output(b.node("Relu", b.node("Add", two, one)))
    check(b.model(), b.feeds, ops=["Conv", "Conv", "Add", "Relu"])
    check(b.model(), b.feeds, ops=["Conv", "Relu"], levels=NORMS)


@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [0, 0, 2, 2], [2, 1, 0, 1]])
def test_parallel_convolutions_with_padding_on_one_side(pads):
    b = Builder()
    x = b.input(2, 4, 7, 7)
    y = b.node("Add", b.conv(x, 4, 3, 3, 3, pads=pads), b.conv(x, 4, 3))
    b.output(b.node("Relu", y))
    check(b.model(), b.feeds, ops=["Conv", "Relu"], levels=NORMS)


@pytest.mark.parametrize("how", [{"dilations": [2, 2], "pads": [2] * 4}, {"groups": 2, "pads": [1] * 4},
                                 {"auto_pad": "SAME_UPPER"}])  # fmt: skip
def test_parallel_convolutions_that_see_other_places(how):
    b = Builder()
    x = b.input(2, 4, 7, 7)
    b.output(b.node("Relu", b.node("Add", b.conv(x, 4, 4, 3, 3, **how), b.conv(x, 4, 4))))
    _, result = check(b.model(), b.feeds, levels=NORMS)
    assert not result.applied


def test_parallel_convolutions_whose_kernels_lie_beside_each_other():
    b = Builder()
    x = b.input(2, 4, 7, 7)
    large = b.conv(x, 4, 3, 3, 3, pads=[0, 0, 3, 3])
    b.output(b.node("Relu", b.node("Add", large, b.conv(x, 4, 3, pads=[1, 1, 0, 0]))))
    _, result = check(b.model(), b.feeds, levels=NORMS)
    assert not result.applied


def test_parallel_convolutions_of_which_one_is_read_elsewhere():
    b = Builder()
    x = b.input(2, 4, 7, 7)
    y = b.conv(x, 4, 3, 3, 3, pads=[1] * 4)
    b.output(b.node("Relu", b.node("Add", y, b.conv(x, 4, 3))), b.node("Sigmoid", y))
    _, result = check(b.model(), b.feeds, levels=NORMS)
    assert not result.applied


@pytest.mark.parametrize("how", [{"strides": [2, 2]}, {"pads": [2, 2, 0, 0]}])
def test_identity_branch_beside_a_convolution_that_moves(how):
    b = Builder()
    x = b.input(2, 4, 5, 5)
    how = {"pads": [1] * 4, **how}
    y = b.conv(x, 4, 4, 3, 3, **how)
    if "strides" in how:
        y = b.node("Resize", y, "", "", b.ints(2, 4, 5, 5), mode="nearest")
    b.output(b.node("Relu", b.node("Add", y, b.norm(x, 4))))
    check(b.model(), b.feeds, norms_left=1, levels=NORMS)


def two_norms(signs):
    b = Builder()
    y = b.conv(b.input(2, 3, 6, 6), 3, 4)
    outs = [b.node("Relu", b.norm(y, 4, sign=sign)) for sign in signs]
    return b.output(*outs)


def test_two_norms_of_one_convolution():
    b = two_norms([[-1, 1, 1, -1]] * 2)
    check(b.model(), b.feeds, norms_left=2)
    _, result = check(b.model(), b.feeds, norms_left=1, levels=NORMS)
    assert "condition number" in result.applied[-1].text


def test_two_norms_of_one_convolution_without_scale():
    b = two_norms([[0, 1, 1, -1]] * 2)
    check(b.model(), b.feeds, norms_left=2, levels=NORMS)


def preactivation(signs):
    b = Builder()
    x = b.conv(b.input(2, 3, 6, 6), 3, 4, 3, 3, pads=[1] * 4)
    for sign in signs[:-1]:
        y = b.conv(b.node("Relu", b.norm(x, 4, sign=sign)), 4, 4, 3, 3, pads=[1] * 4, bias=False)
        x = b.node("Add", *((x, y) if len(b.nodes) % 2 else (y, x)))
    b.output(b.node("GlobalAveragePool", b.node("Relu", b.norm(x, 4, sign=signs[-1]))))
    return b


def test_rebasing_preactivation_streams_with_mixed_signs():
    b = preactivation([[-1, 1, 1, -1], [1, -1, 1, 1], [1, 1, -1, -1], [-1, -1, 1, 1]])
    default, _ = check(b.model(), b.feeds, norms_left=3)  # the last one is a Mul
    folded, result = check(b.model(), b.feeds, levels=REBASE, relative=3e-5)
    assert any("condition number" in a.text for a in result.applied)
    passes = [sum(kinds(m).count(op) for op in (NORM, "Add", "Mul")) for m in (default, folded)]
    assert passes[1] == passes[0] - 1


def test_rebasing_streams_whose_norms_have_the_same_signs():
    """Ratios of scales are positive then: the other norms' scales go on through their ReLUs."""
    b = preactivation([[-1, 1, 1, -1]] * 4)
    check(b.model(), b.feeds, norms_left=0, levels=REBASE, relative=3e-5)


def test_rebasing_preactivation_streams_with_positive_scales():
    """The norms are sums already: one of these goes, by shifts alone."""
    b = preactivation([1] * 4)
    default, _ = check(b.model(), b.feeds, norms_left=0)
    folded, result = check(b.model(), b.feeds, levels=REBASE, relative=3e-5)
    added = [kinds(m).count("Add") + kinds(m).count("Mul") for m in (default, folded)]
    assert added[1] == added[0] - 1, result


@pytest.mark.parametrize("sign", [1, -1])
def test_rebasing_a_dense_block(sign):
    b = Builder()
    x, channels = b.conv(b.input(2, 3, 6, 6), 3, 4), 4
    for _ in range(3):
        y = b.node("Relu", b.norm(x, channels, sign=sign))
        x = b.node("Concat", x, b.conv(y, channels, 2, 3, 3, pads=[1] * 4), axis=1)
        channels += 2
    b.output(b.node("Relu", b.norm(x, channels, sign=sign)))
    default, _ = check(b.model(), b.feeds)
    folded, _ = check(b.model(), b.feeds, levels=REBASE, relative=3e-5)
    passes = [sum(kinds(m).count(op) for op in (NORM, "Add", "Mul")) for m in (default, folded)]
    assert passes[1] == passes[0] - 1


def test_a_stream_that_something_else_reads_has_no_other_base():
    b = preactivation([[-1, 1, 1, -1]] * 3)
    stream = next(node.output[0] for node in b.nodes if node.op_type == "Add")
    b.output(b.node("Sigmoid", stream))
    model = b.model()
    default, _ = fold(model)
    folded, _ = check(model, b.feeds, levels=REBASE)
    assert kinds(folded) == kinds(default)


def test_a_stream_that_is_an_output_has_no_other_base():
    b = preactivation([[-1, 1, 1, -1]] * 3)
    b.output(next(node.output[0] for node in b.nodes if node.op_type == "Add"))
    default, _ = fold(b.model())
    folded, _ = check(b.model(), b.feeds, levels=REBASE)
    assert kinds(folded) == kinds(default)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("meet", ["Concat", "Add"])
def test_a_stream_that_meets_itself_keeps_its_base(meet, sign):
    """x and x + f, joined: the sum would have the shift twice, the concatenation in one part only."""
    b = Builder()
    x = b.conv(b.input(2, 3, 6, 6), 3, 4)
    y = b.node("Add", x, b.conv(b.node("Relu", b.norm(x, 4, sign=sign)), 4, 4))
    y = b.node(meet, *((x, y) if sign > 0 else (y, x)), **({"axis": 1} if meet == "Concat" else {}))
    channels = 8 if meet == "Concat" else 4
    b.output(b.node("Relu", b.norm(y, channels, sign=sign)))
    check(b.model(), b.feeds, levels=REBASE)


def test_a_value_that_is_concatenated_with_itself_has_no_other_base():
    b = Builder()
    y = b.conv(b.input(2, 3, 6, 6), 3, 4)
    b.output(b.node("Relu", b.norm(y, 4)), b.conv(b.node("Concat", y, y, axis=1), 8, 2))
    check(b.model(), b.feeds, norms_left=1, levels=REBASE)


def test_a_stream_that_a_concatenation_reads_twice():
    """One of the two would have to keep its base."""
    b = Builder()
    x = b.conv(b.input(2, 3, 6, 6), 3, 4)
    b.output(b.conv(b.node("Concat", x, x, axis=1), 8, 4, 1, 1, groups=2), shape=(2, 4, 6, 6))
    b.output(b.conv(b.node("Relu", b.norm(x, 4, sign=1)), 4, 5, 1, 1), shape=(2, 5, 6, 6))
    check(b.model(), b.feeds, levels=REBASE, relative=3e-5)

"""Norms in front of linear operations: part 2 of the algebra."""

import numpy as np
import pytest

from tests.folding.onnx.checks import NORM, Builder, check


def before(b, *shape, **how):
    """A norm that nothing behind it in the graph can take backward: it reads the input itself."""
    x = b.input(*shape)
    return b.norm(x, shape[1], **how)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", [(3,), (3, 2), (2, 3, 1)])
def test_conv_without_padding(kernel, bias, groups):
    b = Builder()
    y = before(b, 2, 4, *[5] * len(kernel))
    b.output(b.conv(y, 4, 8, *kernel, groups=groups, bias=bias, strides=[2] * len(kernel)))
    check(b.model(), b.feeds, ops=["Conv"])


@pytest.mark.parametrize("attributes", [{"auto_pad": "VALID"}, {"pads": [0, 0, 0, 0]}])
def test_conv_that_says_it_pads_nothing(attributes):
    b = Builder()
    b.output(b.conv(before(b, 2, 4, 5, 5), 4, 3, 3, 3, **attributes))
    check(b.model(), b.feeds, ops=["Conv"])


def test_same_padding_of_single_taps_is_none():
    b = Builder()
    b.output(b.conv(before(b, 2, 4, 5, 5), 4, 3, auto_pad="SAME_UPPER", strides=[2, 2]))
    check(b.model(), b.feeds, ops=["Conv"])


PADDED = [{"pads": [1, 1, 1, 1]}, {"pads": [0, 2, 1, 0]}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
          {"auto_pad": "SAME_LOWER"}]  # fmt: skip


@pytest.mark.parametrize("attributes", PADDED)
def test_zero_padding_takes_a_pure_scale(attributes):
    b = Builder()
    b.output(b.conv(before(b, 2, 4, 6, 6, shift=False), 4, 3, 3, 3, **attributes))
    check(b.model(), b.feeds, ops=["Conv"])


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("attributes", PADDED)
def test_zero_padding_leaves_one_add_in_front(attributes, groups):
    b = Builder()
    b.output(b.conv(before(b, 2, 4, 6, 6), 4, 16, 3, 3, groups=groups, **attributes))
    check(b.model(), b.feeds, ops=["Add", "Conv"])


@pytest.mark.parametrize("attributes", PADDED)
@pytest.mark.parametrize("outputs", [1, 4])
def test_zero_padding_leaves_a_map_behind_where_that_is_smaller(attributes, outputs):
    """Also with scales of 0, which no Add in front can stand for."""
    b = Builder()
    y = before(b, 2, 4, 6, 6, sign=[1, 0, -1, 0]) if outputs == 4 else before(b, 2, 4, 6, 6)
    b.output(b.conv(y, 4, outputs, 3, 3, dilations=[1, 1], **attributes))
    check(b.model(), b.feeds, ops=["Conv", "Add"])


def test_a_map_needs_static_sizes():
    b = Builder()
    x = b.input(2, 4, 6, 6, declared=("N", 4, "H", "W"))
    b.output(b.conv(b.norm(x, 4, sign=[1, 0, -1, 1]), 4, 4, 3, 3, pads=[1] * 4))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "zero padding" in result.kept[0].why


def test_padding_by_a_pad_of_its_own_takes_one_shift_of_all_channels():
    b = Builder()
    x = b.input(2, 4, 5, 5)
    parts = [b.const(np.full(4, v)) for v in (2.0, 0.5, 1.5, 0.7)]
    y = b.node("Pad", b.node(NORM, x, *parts), b.ints(0, 0, 1, 1, 0, 0, 1, 1))
    b.output(b.conv(y, 4, 3, 3, 3))
    check(b.model(), b.feeds, ops=["Pad", "Conv"])


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_padding_by_mirroring(mode):
    b = Builder()
    y = b.node("Pad", before(b, 2, 4, 5, 5), b.ints(0, 0, 1, 1, 0, 0, 1, 1), mode=mode)
    b.output(b.conv(y, 4, 3, 3, 3))
    check(b.model(), b.feeds, ops=["Pad", "Conv"])


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_conv_takes_a_scale(groups):
    b = Builder()
    y = before(b, 2, 4, 5, 5, shift=False)
    b.output(b.node("ConvTranspose", y, b.normal(4, 3, 3, 3), group=groups, strides=[2, 2]))
    check(b.model(), b.feeds, ops=["ConvTranspose"])


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_conv_of_single_taps_takes_everything(groups):
    b = Builder()
    y = before(b, 2, 4, 5, 5)
    b.output(b.node("ConvTranspose", y, b.normal(4, 3, 1, 1), b.normal(3 * groups), group=groups))
    check(b.model(), b.feeds, ops=["ConvTranspose"])


@pytest.mark.parametrize("how", [{}, {"pads": [1, 0, 0, 1]}, {"strides": [3, 2], "output_padding": [1, 0]},
                                 {"strides": [2, 2], "dilations": [2, 1]}])  # fmt: skip
def test_transposed_conv_leaves_a_map_where_a_scale_is_zero(how):
    b = Builder()
    y = before(b, 2, 16, 5, 5, sign=[1, 0, -1, 1] * 4)
    b.output(b.node("ConvTranspose", y, b.normal(16, 1, 3, 3), group=2, **how))
    check(b.model(), b.feeds, ops=["ConvTranspose", "Add"])


def test_transposed_conv_leaves_an_add_in_front():
    b = Builder()
    y = before(b, 2, 4, 5, 5)
    b.output(b.node("ConvTranspose", y, b.normal(4, 3, 3, 3), strides=[2, 2]))
    check(b.model(), b.feeds, ops=["Add", "ConvTranspose"])


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("c", [None, (), (1,), (5,), (1, 5), (3, 1), (3, 5)])
def test_gemm(c, turned):
    b = Builder(dtype=np.float64)
    y = before(b, 3, 4)
    parts = [b.normal(5, 4) if turned else b.normal(4, 5)] + ([] if c is None else [b.normal(*c)])
    b.output(b.node("Gemm", y, *parts, transB=turned, alpha=0.5, beta=3.0))
    check(b.model(), b.feeds, ops=["Gemm"])


def test_gemm_of_a_transposed_value():
    b = Builder(dtype=np.float64)
    y = b.node("Transpose", before(b, 3, 4))
    b.output(b.node("Gemm", y, b.normal(4, 5), transA=1))
    check(b.model(), b.feeds, ops=["Transpose", "Gemm"])


def test_matmul_of_matrices_becomes_a_gemm():
    b = Builder(dtype=np.float64)
    b.output(b.node("MatMul", before(b, 3, 4), b.normal(4, 5)))
    check(b.model(), b.feeds, ops=["Gemm"])


def test_matmul_of_sequences_with_its_add():
    b = Builder(dtype=np.float64)
    y = b.node("Transpose", before(b, 2, 4, 3), perm=[0, 2, 1])
    b.output(b.node("Add", b.node("MatMul", y, b.normal(4, 5)), b.normal(5)))
    check(b.model(), b.feeds, ops=["Transpose", "MatMul", "Add"])


def test_matmul_of_sequences_without_an_add_gets_one():
    b = Builder(dtype=np.float64)
    y = b.node("Transpose", before(b, 2, 4, 3), perm=[0, 2, 1])
    b.output(b.node("MatMul", y, b.normal(4, 3)))
    check(b.model(), b.feeds, ops=["Transpose", "MatMul", "Add"])


def test_matmul_of_sequences_to_more_features_has_the_add_in_front():
    """It is where the data are smallest."""
    b = Builder(dtype=np.float64)
    y = b.node("Transpose", before(b, 2, 4, 3), perm=[0, 2, 1])
    b.output(b.node("MatMul", y, b.normal(4, 9)))
    check(b.model(), b.feeds, ops=["Add", "Transpose", "MatMul"])


def test_constant_times_value():
    b = Builder(dtype=np.float64)
    b.output(b.node("MatMul", b.normal(3, 4), before(b, 2, 4, 3)))
    check(b.model(), b.feeds, ops=["MatMul", "Add"])


@pytest.mark.parametrize("equation, weight", [("ncl,co->nlo", (4, 3)), ("ncl,clo->no", (4, 3, 5)),
                                              ("ncl,cl->ncl", (4, 3))])  # fmt: skip
def test_einsum(equation, weight):
    b = Builder(dtype=np.float64)
    b.output(b.node("Einsum", before(b, 2, 4, 3), b.normal(*weight), equation=equation))
    check(b.model(), b.feeds, ops=["Einsum", "Add"])


@pytest.mark.parametrize("batch", [2, "N"])
@pytest.mark.parametrize("op", ["Flatten", "Reshape"])
def test_flattened_images(op, batch):
    """Channels first: every channel's entry is repeated H·W times."""
    b = Builder()
    x = b.norm(b.input(2, 4, 3, 5, declared=(batch, 4, 3, 5)), 4)
    y = b.node(op, x, *([b.ints(0, -1)] if op == "Reshape" else []))
    b.output(b.node("Gemm", y, b.normal(60, 5), b.normal(5)))
    check(b.model(), b.feeds, ops=[op, "Gemm"])


def test_flattened_images_with_channels_last():
    b = Builder()
    y = b.node("Transpose", before(b, 2, 4, 3, 5), perm=[0, 2, 3, 1])
    b.output(b.node("Gemm", b.node("Flatten", y), b.normal(60, 5)))
    check(b.model(), b.feeds, ops=["Transpose", "Flatten", "Gemm"])


def test_flattened_images_of_unknown_size():
    b = Builder()
    x = b.input(2, 4, 3, 5, declared=(2, 4, "H", "W"))
    b.output(b.node("Gemm", b.node("Flatten", b.norm(x, 4)), b.normal(60, 5)))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "unknown size" in result.kept[0].why


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_recurrent_input(op, bias, direction):
    b = Builder()
    gates, d = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 1 if direction == "forward" else 2
    x = b.node("Transpose", before(b, 2, 4, 3), perm=[2, 0, 1])
    parts = [b.normal(d, gates * 5, 4), b.normal(d, gates * 5, 5)]
    if bias:
        parts.append(b.normal(d, 2 * gates * 5))
    b.output(b.node(op, x, *parts, hidden_size=5, direction=direction))
    check(b.model(), b.feeds, ops=["Transpose", op])


def test_gru_with_the_reset_before_the_product():
    b = Builder()
    x = b.node("Transpose", before(b, 2, 4, 3), perm=[2, 0, 1])
    parts = [b.normal(1, 15, 4), b.normal(1, 15, 5), b.normal(1, 30)]
    b.output(b.node("GRU", x, *parts, hidden_size=5, linear_before_reset=1))
    check(b.model(), b.feeds, ops=["Transpose", "GRU"])


def test_several_readers_take_it_and_shared_weights_are_cloned():
    b = Builder()
    y = before(b, 2, 4, 5, 5)
    w = b.normal(3, 4, 1, 1)
    z = b.node("Conv", b.input(2, 4, 5, 5), w)
    b.output(b.node("Conv", y, w), b.conv(y, 4, 2, 3, 3), z)
    folded, _ = check(b.model(), b.feeds, norms_left=0)
    assert len([w for w in folded.graph.initializer if len(w.dims) == 4]) == 3


@pytest.mark.parametrize("other", ["Sigmoid", "output"])
def test_a_reader_that_takes_nothing_blocks(other):
    b = Builder()
    y = before(b, 2, 4, 5, 5)
    b.output(b.conv(y, 4, 3), y if other == "output" else b.node(other, y))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert ("output of the graph" if other == "output" else "Sigmoid") in result.kept[0].why


def test_a_residual_sum_blocks():
    b = Builder()
    y = before(b, 2, 4, 5, 5)
    b.output(b.node("Sigmoid", b.node("Add", b.conv(y, 4, 4), y)))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert result.kept


@pytest.mark.parametrize("op", ["Add", "Sub"])
@pytest.mark.parametrize("first", [True, False])
def test_through_a_sum_into_the_other_summand_and_what_follows(op, first):
    """s·x + t + conv(z) = s·(x + conv(z)/s) + t."""
    b = Builder()
    y, z = b.norm(b.input(2, 4, 5, 5), 4), b.conv(b.input(2, 3, 5, 5), 3, 4)
    b.output(b.conv(b.node(op, *((y, z) if first else (z, y))), 4, 2))
    check(b.model(), b.feeds, ops=["Conv", op, "Conv"])


def test_arithmetic_that_may_broadcast_its_input():
    """One channel times four numbers makes four channels; the file does not tell that it is one."""
    b = Builder()
    x = b.input(2, 1, 5, 5, declared=(2, "C", 5, 5))
    y = b.node("Mul", x, b.normal(4, 1, 1))
    b.output(b.conv(y, 4, 3), shape=(2, 3, 5, 5))
    _, result = check(b.model(), b.feeds, ops=["Mul", "Conv"])
    assert not result.applied


def test_normalized_inputs_go_into_the_first_convolution():
    b = Builder()
    x = b.input(2, 3, 5, 5)
    y = b.node(
        "Div", b.node("Sub", x, b.normal(1, 3, 1, 1)), b.const([[[[0.2]], [[0.3]], [[2.0]]]])
    )
    b.output(b.conv(y, 3, 4, 3, 3))
    check(b.model(), b.feeds, ops=["Conv"])


def test_a_mean_far_from_zero_stays_in_the_norm():
    """s·x and s·mean would both be rounded at ten thousand standard deviations."""
    b = Builder()
    x = b.input(2, 4, 5, 5)
    b.feeds[x] += 1e4
    parts = [b.const(np.full(4, v)) for v in (1.0, 0.0, 1e4, 1.0)]
    b.output(b.conv(b.node(NORM, x, *parts), 4, 3))
    _, result = check(b.model(), b.feeds, ops=[NORM, "Conv"])
    assert "precision" in result.kept[0].why


def test_norm_between_graph_input_and_output():
    b = Builder()
    b.output(before(b, 2, 4, 5, 5))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert result.kept[0].why

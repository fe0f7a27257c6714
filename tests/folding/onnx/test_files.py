"""What real files look like: constants in other places, old formats, names, interfaces."""

import numpy as np
import pytest

from tests.folding.onnx.checks import (
    NORM,
    Builder,
    TensorProto,
    check,
    conv_norm,
    fold,
    helper,
    onnx,
)  # fmt: skip


def constants_as_nodes(model, kind="value"):
    """Every initializer as the output of a Constant node."""
    nodes = [helper.make_node("Constant", [], [w.name], value=w) for w in model.graph.initializer]
    rest = list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(nodes + rest)
    return model


def test_constant_nodes():
    b = conv_norm(Builder())
    folded, _ = check(constants_as_nodes(b.model()), b.feeds, ops=["Conv"])
    assert len(folded.graph.node) == 1 and len(folded.graph.initializer) == 2


def test_constant_nodes_of_single_numbers():
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    y = b.node("Mul", y, b.node("Constant", value_float=0.5))
    y = b.node("Add", y, b.node("Constant", value_floats=[0.25]))
    b.output(y)
    check(b.model(), b.feeds, ops=["Conv"])


def test_aliases():
    b = Builder()
    x = b.input(2, 3, 5, 5)
    y = b.node("Conv", x, b.node("Identity", b.node("Identity", b.normal(4, 3, 3, 3))))
    parts = [b.node("Identity", b.const(b.rng.uniform(0.5, 1.5, 4))) for _ in range(4)]
    b.output(b.node(NORM, y, *parts))
    check(b.model(), b.feeds, ops=["Conv"])


def test_an_alias_that_others_read_too():
    b = Builder()
    x = b.input(2, 3, 5, 5)
    w = b.node("Identity", b.normal(4, 3, 3, 3))
    b.output(b.norm(b.node("Conv", x, w), 4), b.node("Conv", x, w))
    check(b.model(), b.feeds, ops=["Identity", "Conv", "Conv"])


def test_weights_that_are_transposed_or_cast_first():
    b = Builder()
    w = b.node("Cast", b.const(b.rng.normal(size=(5, 4)), dtype=np.float16), to=TensorProto.FLOAT)
    y = b.node("MatMul", b.input(3, 4), b.node("Transpose", w))
    b.output(b.norm(y, 5))
    check(b.model(), b.feeds, ops=["Gemm"])


def test_a_zero_bias_that_is_computed():
    """Shape, Expand, CastLike, as one exporter writes it."""
    b = Builder(opset=18)
    x, w = b.input(2, 3, 5, 5), b.normal(4, 3, 3, 3)
    size = b.node("Shape", w, start=0, end=1)
    zero = b.node("CastLike", b.const(0.0, dtype=np.float64), x)
    b.output(b.norm(b.node("Conv", x, w, b.node("Expand", zero, size)), 4))
    check(b.model(), b.feeds, ops=["Conv"])


def test_an_empty_bias_name():
    b = Builder()
    y = b.node("Conv", b.input(2, 3, 5, 5), b.normal(4, 3, 3, 3), "")
    b.output(b.norm(y, 4))
    check(b.model(), b.feeds, ops=["Conv"])


def test_a_layer_that_is_used_twice():
    b = Builder()
    parts = [b.normal(4, 3, 3, 3), b.normal(4)]
    numbers = [b.const(b.rng.uniform(0.5, 1.5, 4)) for _ in range(4)]
    outs = [b.node(NORM, b.node("Conv", b.input(2, 3, 5, 5), *parts), *numbers) for _ in range(2)]
    b.output(*outs, b.node("Conv", b.input(2, 3, 5, 5), *parts))
    check(b.model(), b.feeds, norms_left=0)


def test_one_tensor_that_is_bias_and_statistics():
    b = Builder()
    v = b.const(b.rng.uniform(0.5, 1.5, 4))
    y = b.node("Conv", b.input(2, 3, 5, 5), b.normal(4, 3, 1, 1), v)
    y = b.node(NORM, y, v, v, v, v)
    b.output(b.node("Add", b.node("Sigmoid", y), b.node("Reshape", v, b.ints(4, 1, 1))))
    check(b.model(), b.feeds, norms_left=0)


def test_ir_3_where_every_weight_is_an_input():
    b = Builder(ir_version=3, opset=9)
    y = b.node("Conv", b.input(2, 3, 5, 5), b.normal(4, 3, 3, 3))
    b.output(b.norm(y, 4))
    folded, _ = check(b.model(), b.feeds, ops=["Conv"])
    declared = {v.name for v in folded.graph.input}
    assert {w.name for w in folded.graph.initializer} == declared - {"x0"}


@pytest.mark.parametrize("number", range(1, 6))
def test_an_overridable_initializer_is_no_constant(number):
    """The convolution's bias, the norm's four."""
    b = conv_norm(Builder())
    w = b.weights[number]
    b.inputs.append(helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)))
    folded, result = check(b.model(), b.feeds, norms_left=1)
    assert "override" in result.kept[0].why and len(folded.graph.input) == 2


def test_an_overridable_weight_stays_one():
    """It is multiplied behind the input, like a computed one."""
    b = conv_norm(Builder(), channels=2)
    w = b.weights[0]
    b.inputs.append(helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)))
    feeds = {**b.feeds, w.name: b.rng.normal(size=(2, 3, 3, 3)).astype(np.float32)}
    check(b.model(), b.feeds, norms_left=0)
    folded, _ = check(b.model(), feeds, norms_left=0)
    assert [value.name for value in folded.graph.input] == ["x0", w.name]


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 13, 14, 15, 17, 21])
def test_opsets(opset):
    b = conv_norm(Builder(opset=opset))
    check(b.model(), b.feeds, ops=["Conv"])


@pytest.mark.parametrize("op", ["Pad", "Clip"])
def test_borders_and_bounds_of_old_opsets_are_attributes(op):
    b = Builder(opset=10)
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    how = (
        {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "value": 0.5}
        if op == "Pad"
        else {"min": 0.0, "max": 6.0}
    )
    y = b.node(op, y, **how)
    b.output(b.node("Add", b.node("Mul", y, b.const(0.25)), b.const(-0.5)))
    check(b.model(), b.feeds, ops=["Conv", op])


def test_old_norms_for_every_position():
    b = Builder(opset=8)
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    parts = [b.const(b.rng.uniform(0.5, 1.5, (4, 5, 5)).reshape(4, 5, 5)) for _ in range(4)]
    b.output(b.node(NORM, y, *parts, spatial=0))
    _, result = fold(b.model())
    assert "spatial" in result.kept[0].why


def test_opset_6_is_too_old():
    b = conv_norm(Builder(opset=6))
    model = b.model()
    for node in model.graph.node:
        if node.op_type == NORM:
            node.attribute.append(helper.make_attribute("is_test", 1))
    _, result = fold(model)
    assert "opset 6" in result.kept[0].why


def test_training_mode():
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    parts = [b.const(b.rng.uniform(0.5, 1.5, 4)) for _ in range(4)]
    y, _, _ = b.node(NORM, y, *parts, outputs=3, training_mode=1)
    b.output(y)
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "training" in result.kept[0].why


def test_all_five_outputs():
    b = Builder(opset=9)
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    parts = [b.const(b.rng.uniform(0.5, 1.5, 4)) for _ in range(4)]
    b.output(b.node(NORM, y, *parts, outputs=5)[0])
    _, result = fold(b.model())
    assert "training" in result.kept[0].why


def test_statistics_of_the_batch():
    """gamma and beta from the graph."""
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    parts = [b.input(4), b.input(4), b.normal(4), b.const(np.ones(4))]
    b.output(b.node(NORM, y, *parts))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "not a constant" in result.kept[0].why


@pytest.mark.parametrize("bad, why", [(np.nan, "NaN"), (np.inf, "infinity")])
def test_statistics_that_are_no_numbers(bad, why):
    b = conv_norm(Builder())
    b.replace(4, [0.0, bad, 0.0, 0.0])
    _, result = fold(b.model())
    assert why in result.kept[0].why


def test_variance_and_epsilon_of_zero():
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    parts = [b.const(v) for v in (np.ones(4), np.ones(4), np.zeros(4), np.array([1, 0, 1, 1]))]
    b.output(b.node(NORM, y, *parts, epsilon=0.0))
    _, result = fold(b.model())
    assert "variance and epsilon are 0" in result.kept[0].why


def test_negative_variance():
    b = conv_norm(Builder())
    b.replace(5, [1.0, -2.0, 1.0, 1.0])
    _, result = fold(b.model())
    assert "negative" in result.kept[0].why


def test_names_do_not_collide():
    b = Builder()
    taken = "w0.bncore_folded"
    w = b.normal(4, 3, 1, 1)
    x = b.input(2, 3, 5, 5, name=taken)
    b.output(b.norm(b.node("Conv", x, w), 4), b.node("Conv", x, w))
    folded, _ = check(b.model(), b.feeds, ops=["Conv", "Conv"])
    assert "w0.bncore_folded_1" in {w.name for w in folded.graph.initializer}


def test_names_of_tensors_stay_where_they_can():
    b = conv_norm(Builder())
    folded, _ = check(b.model(), b.feeds, ops=["Conv"])
    assert [w.name for w in folded.graph.initializer] == ["w0", "w1"]


def test_metadata_and_dynamic_dimensions_stay():
    b = Builder()
    x = b.input(2, 3, 5, 5, declared=("batch", 3, "height", None))
    b.output(b.norm(b.conv(x, 3, 4), 4), shape=("batch", 4, "height", None))
    model = b.model()
    model.metadata_props.add(key="author", value="somebody")
    model.doc_string = "a model"
    check(model, b.feeds, ops=["Conv"])


def test_value_infos_of_what_is_gone_go():
    b = conv_norm(Builder())
    model = onnx.shape_inference.infer_shapes(b.model())
    folded, _ = check(model, b.feeds, ops=["Conv"])
    assert not folded.graph.value_info


def test_wrong_value_infos_are_not_believed():
    """L = F once more, and the file says the axes are the other way round."""
    b = Builder()
    y = b.node("MatMul", b.input(2, 5, 4), b.normal(4, 5))
    b.output(b.norm(y, 5))
    model = b.model()
    model.graph.value_info.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, (10, 5)))
    _, result = fold(model)
    assert len(result.kept) == 1


def test_unused_things_that_were_there_before_stay():
    b = conv_norm(Builder())
    b.const(np.ones(3), name="unused")
    folded, _ = check(b.model(), b.feeds, ops=["Conv"])
    assert "unused" in {w.name for w in folded.graph.initializer}

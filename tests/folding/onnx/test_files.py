"""What real files look like: constants in other places, old formats, bodies, functions, names."""

import time

import numpy as np
import pytest

from bncore.folding.onnx import engine
from tests.folding.onnx.checks import (
    NORM,
    Builder,
    TensorProto,
    check,
    fold,
    helper,
    kinds,
    norms,
    numpy_helper,
    onnx,
    run,
)  # fmt: skip


def conv_norm(b, *, channels=4, **how):
    y = b.conv(b.input(2, 3, 5, 5), 3, channels, 3, 3, **how)
    return b.output(b.norm(y, channels))


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


def body(b, x, w, parts, name, *, norm=True):
    """A branch that reads x from outside."""
    nodes = [helper.make_node("Conv", [x, w], [f"{name}_c"])]
    if norm:
        nodes.append(helper.make_node(NORM, [f"{name}_c", *parts], ["b_out"]))
    else:
        nodes.append(helper.make_node("Relu", [f"{name}_c"], ["b_out"]))
    out = helper.make_tensor_value_info("b_out", TensorProto.FLOAT, (2, 4, 5, 5))
    return helper.make_graph(nodes, name, [], [out])


def condition(b):
    b.inputs.append(helper.make_tensor_value_info("cond", TensorProto.BOOL, ()))
    b.feeds["cond"] = np.array(True)
    return "cond"


def test_norms_inside_bodies_fold_and_what_they_read_outside_stays():
    b = Builder()
    x = b.norm(b.conv(b.input(2, 3, 5, 5), 3, 3), 3)
    w = b.normal(4, 3, 1, 1)
    parts = [b.const(b.rng.uniform(0.5, 1.5, 4)) for _ in range(4)]
    y = b.node("If", condition(b), then_branch=body(b, x, w, parts, "t"),
               else_branch=body(b, x, w, parts, "e", norm=False))  # fmt: skip
    b.output(y, shape=(2, 4, 5, 5))
    model = b.model()
    for value in (True, False):
        b.feeds["cond"] = np.array(value)
        check(model, b.feeds, norms_left=0)


def test_a_body_that_reads_the_value_behind_a_norm():
    """Neither the norm's output nor its input may change for the body."""
    b = Builder()
    z = b.norm(b.node("Sigmoid", b.input(2, 3, 5, 5)), 3)
    w = b.normal(4, 3, 1, 1)
    y = b.node("If", condition(b), then_branch=body(b, z, w, [], "t", norm=False),
               else_branch=body(b, z, w, [], "e", norm=False))  # fmt: skip
    b.output(y, b.conv(z, 3, 4), shape=(2, 4, 5, 5))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "body" in result.kept[0].why


def test_a_body_that_reads_the_convolution_in_front_of_a_norm():
    b = Builder()
    c = b.conv(b.input(2, 3, 5, 5), 3, 3)
    w = b.normal(4, 3, 1, 1)
    y = b.node("If", condition(b), then_branch=body(b, c, w, [], "t", norm=False),
               else_branch=body(b, c, w, [], "e", norm=False))  # fmt: skip
    b.output(y, shape=(2, 4, 5, 5)).output(b.norm(c, 3), shape=(2, 3, 5, 5))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "body" in result.kept[0].why


def test_a_norm_at_the_end_of_a_body():
    """Its name is the body's output; the convolution before it takes the name."""
    b = Builder()
    x = b.input(2, 3, 5, 5)
    parts = [b.const(b.rng.uniform(0.5, 1.5, 4)) for _ in range(4)]
    bodies = [body(b, x, b.normal(4, 3, 1, 1), parts, name) for name in "te"]
    y = b.node("If", condition(b), then_branch=bodies[0], else_branch=bodies[1])
    b.output(y, shape=(2, 4, 5, 5))
    folded, _ = check(b.model(), b.feeds, norms_left=0)
    assert kinds(folded) == ["If"]


def test_a_loop_body():
    b = Builder()
    x = b.input(2, 3, 5, 5)
    w = b.normal(3, 3, 1, 1)
    parts = [b.const(b.rng.uniform(0.5, 1.5, 3)) for _ in range(4)]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Conv", ["state", w], ["c"]), helper.make_node(NORM, ["c", *parts], ["n"]),
         helper.make_node("Identity", ["go_on"], ["still"])],
        "loop", [info("i", TensorProto.INT64, ()), info("go_on", TensorProto.BOOL, ()),
                 info("state", TensorProto.FLOAT, (2, 3, 5, 5))],
        [info("still", TensorProto.BOOL, ()), info("n", TensorProto.FLOAT, (2, 3, 5, 5))],
    )  # fmt: skip
    count = b.const(3, dtype=np.int64)
    y = b.node("Loop", count, b.const(True, dtype=bool), x, body=graph)
    b.output(y, shape=(2, 3, 5, 5))
    check(b.model(), b.feeds, norms_left=0)


def test_weights_inside_a_body():
    b = Builder()
    x = b.input(2, 3, 5, 5)
    bodies = []
    for name in "te":
        graph = body(b, x, f"{name}_w", [f"{name}_p"] * 4, name)
        for key, shape in (("w", (4, 3, 1, 1)), ("p", (4,))):
            values = b.rng.uniform(0.5, 1.5, shape).astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(values, f"{name}_{key}"))
        bodies.append(graph)
    y = b.node("If", condition(b), then_branch=bodies[0], else_branch=bodies[1])
    b.output(y, shape=(2, 4, 5, 5))
    check(b.model(), b.feeds, norms_left=0)


def block(norm=True):
    """A local function: Conv, norm, Relu."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"])]
    if norm:
        nodes.append(helper.make_node(NORM, ["c", "s", "b", "m", "v"], ["n"], name="inner"))
    nodes.append(helper.make_node("Relu", ["n" if norm else "c"], ["y"]))
    inputs = ["x", "w", "s", "b", "m", "v"] if norm else ["x", "w"]
    opset = [helper.make_opsetid("", 17)]
    return helper.make_function("local", "Block", inputs, ["y"], nodes, opset)


def test_local_functions_that_hold_norms():
    b = Builder()
    y = b.input(2, 3, 5, 5)
    for _ in range(2):
        parts = [b.const(b.rng.uniform(0.5, 1.5, 3)) for _ in range(4)]
        y = b.node("Block", y, b.normal(3, 3, 1, 1), *parts, domain="local")
    b.output(y, shape=(2, 3, 5, 5))
    model = b.model([block()], [helper.make_opsetid("local", 1)])
    before = run(model, b.feeds)
    folded, result = fold(model)
    onnx.checker.check_model(folded, full_check=True)
    assert norms(folded) == 0 and result.norms_before == 2 and kinds(folded) == ["Conv", "Relu"] * 2
    np.testing.assert_allclose(run(folded, b.feeds)[0], before[0], rtol=1e-5, atol=1e-5)


def test_local_functions_of_another_opset():
    b = Builder()
    parts = [b.const(b.rng.uniform(0.5, 1.5, 3)) for _ in range(4)]
    y = b.node("Block", b.input(2, 3, 5, 5), b.normal(3, 3, 1, 1), *parts, domain="local")
    b.output(y, shape=(2, 3, 5, 5))
    function = block()
    function.opset_import[0].version = 13
    folded, result = fold(b.model([function], [helper.make_opsetid("local", 1)]))
    assert "another opset" in result.kept[0].why and len(folded.functions) == 1


def test_local_functions_without_norms_are_left_alone():
    b = Builder()
    y = b.norm(b.conv(b.input(2, 3, 5, 5), 3, 3), 3)
    b.output(b.node("Block", y, b.normal(3, 3, 1, 1), domain="local"), shape=(2, 3, 5, 5))
    model = b.model([block(norm=False)], [helper.make_opsetid("local", 1)])
    folded, _ = fold(model)
    assert norms(folded) == 0 and len(folded.functions) == 1
    np.testing.assert_allclose(
        run(folded, b.feeds)[0], run(model, b.feeds)[0], rtol=1e-5, atol=1e-5
    )


def test_operators_of_other_domains_are_not_mistaken():
    """A Conv of somebody else's domain is no Conv."""
    b = Builder()
    x = b.input(2, 3, 5, 5)
    y = b.node("Conv", x, b.normal(3, 3, 1, 1), domain="other")
    b.output(b.norm(y, 3), shape=(2, 3, 5, 5))
    model = b.model((), [helper.make_opsetid("other", 1)])
    _, result = fold(model)
    assert len(result.kept) == 1


@pytest.mark.parametrize("limit", range(4))
def test_a_limit_takes_the_first_rewrites(limit):
    b = Builder()
    y = b.input(2, 3, 5, 5)
    for _ in range(3):
        y = b.node("Relu", b.norm(b.conv(y, 3, 3), 3))
    b.output(y)
    _, everything = check(b.model(), b.feeds, norms_left=0)
    folded, some = fold(b.model(), limit=limit)
    assert some.applied == everything.applied[:limit] and norms(folded) == 3 - limit
    np.testing.assert_allclose(
        run(folded, b.feeds)[0], run(b.model(), b.feeds)[0], rtol=1e-4, atol=1e-5
    )


def test_the_same_bytes_every_time():
    def folded():
        b = conv_norm(Builder(seed=3))
        return fold(b.model())[0].SerializeToString()

    assert folded() == folded()


def test_identity_norms_disappear():
    """What a folded state dict leaves in an unchanged module."""
    b = Builder()
    y = b.node("Sigmoid", b.input(2, 4, 5, 5))
    parts = [b.const(np.full(4, v)) for v in (np.sqrt(1 + 1e-5), 0.0, 0.0, 1.0)]
    b.output(b.node("Sigmoid", b.node(NORM, y, *parts)))
    check(b.model(), b.feeds, ops=["Sigmoid", "Sigmoid"])


def test_a_deep_chain_does_not_exhaust_the_stack():
    b = Builder()
    y = b.conv(b.input(1, 3, 4, 4), 3, 3)
    for _ in range(400):
        y = b.node("Identity", y)
    b.output(b.norm(y, 3))
    check(b.model(), b.feeds)


def residual_blocks(count):
    b = Builder()
    x = b.input(1, 16, 4, 4)
    for _ in range(count):
        y = b.node("Relu", b.norm(b.conv(x, 16, 16, 3, 3, pads=[1] * 4, bias=False), 16))
        y = b.norm(b.conv(y, 16, 16, 3, 3, pads=[1] * 4, bias=False), 16)
        x = b.node("Relu", b.node("Add", x, y))
    return b.output(x)


def long_sums(count):
    """Sums of sums, with a norm behind every other one."""
    b = Builder()
    x = b.input(1, 16, 4, 4)
    total = b.conv(x, 16, 16)
    for i in range(count):
        total = b.node("Add", total, b.conv(x, 16, 16))
        total = b.norm(total, 16) if i % 2 else total
    return b.output(total)


@pytest.mark.parametrize("build, count", [(residual_blocks, 150), (long_sums, 300)])
def test_300_layers_fold_in_3_seconds(build, count):
    """A fraction of a second each; what is asked of them is an order more, for busy machines."""
    model = build(count).model()
    start = time.process_time()
    folded, _ = fold(model)
    assert norms(folded) == 0 and time.process_time() - start < 3


def test_a_model_without_norms_is_not_touched():
    b = Builder()
    b.output(b.node("Relu", b.conv(b.input(2, 3, 5, 5), 3, 4)))
    _, result = check(b.model(), b.feeds)
    assert result == engine.ModelFold()


def test_a_store_of_its_own_is_asked_for_values():
    class Counting(engine.Store):
        read_names, written = (), ()

        def read(self, tensor):
            self.read_names += (tensor.name,)
            return super().read(tensor)

        def write(self, name, values, data_type):
            self.written += (name,)
            return super().write(name, values, data_type)

    b = conv_norm(Builder())
    store, model = Counting(), b.model()
    engine.fold_model(model, store)
    assert set(store.read_names) == {f"w{i}" for i in range(6)} and store.written == ("w0", "w1")


def test_tensors_that_lie_in_other_files(tmp_path):
    """The model is folded without its weights; only what is asked for is read."""

    class Beside(engine.Store):
        def read(self, tensor):
            return numpy_helper.to_array(tensor, base_dir=str(tmp_path))

    b = Builder()
    y = b.norm(b.conv(b.input(2, 3, 5, 5), 3, 4, 3, 3), 4)
    b.output(b.conv(b.node("Relu", y), 4, 2, 3, 3))
    model = b.model()
    expected = run(model, b.feeds)[0]
    path = str(tmp_path / "model.onnx")
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    folded = onnx.load(path, load_external_data=False)
    result = engine.fold_model(folded, Beside())
    assert not result.kept
    where = {w.name: w.data_location for w in folded.graph.initializer}
    assert where == {"w0": 0, "w1": 0, "w6": 1, "w7": 1}  # 1: still beside, unread
    onnx.load_external_data_for_model(folded, str(tmp_path))
    np.testing.assert_allclose(run(folded, b.feeds)[0], expected, rtol=1e-5, atol=1e-5)

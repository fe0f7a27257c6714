"""Bodies of If and Loop, local functions, operators of other domains."""

import numpy as np

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

"""Bodies and functions: If, Loop, values read from outside, local functions."""

from __future__ import annotations

import numpy as np
from onnx import AttributeProto, TensorProto, helper

from .builder import Graph
from .layers import classifier, conv, conv_norm, gemm, norm, norm_params
from .registry import model

IMAGE = ["N", 3, 8, 8]
BATCH = {"N": 2}


def _when_positive(g: Graph, x: str, then: Graph, otherwise: Graph) -> str:
    total = g("ReduceMean", x, keepdims=0)
    condition = g("Greater", total, g.const(np.array(0.0)))
    return g("If", condition, then_branch=then.graph("then"), else_branch=otherwise.graph("else"))


@model(
    norms=0,
    why="norms inside a body follow convolutions of that body; constants may lie outside",
    inputs=BATCH,
    value_info=True,
)
def if_bodies(g: Graph) -> None:
    x = conv_norm(g, g.input("image", IMAGE), 3, 8)
    shared = norm_params(g, 8)
    bodies = []
    for k in (1, 3):
        inner = g.body()
        y = norm(inner, conv(inner, x, 8, 8, k), 8, params=shared)
        inner.output(inner("Relu", y), shape=["N", 8, 8, 8])
        bodies.append(inner)
    classifier(g, _when_positive(g, x, *bodies), 8)


@model(
    norms=0,
    why="the body's norm goes into the body's convolution, whose weight lies outside",
    inputs=BATCH,
)
def loop_body(g: Graph) -> None:
    """A weight-tied recurrent block, three times."""
    x = conv_norm(g, g.input("image", IMAGE), 3, 6)
    weight = g.const(g.normal((6, 6, 3, 3), 0.12), "weight")
    inner = g.body()
    inner.input("step", [], TensorProto.INT64)
    inner.input("go_on", [], TensorProto.BOOL)
    state = inner.input("state", ["N", 6, 8, 8])
    y = inner("Relu", norm(inner, conv(inner, state, 6, 6, weight=weight), 6))
    inner.output(inner("Identity", "go_on"), shape=[], kind=TensorProto.BOOL)
    inner.output(y, shape=["N", 6, 8, 8])
    steps = g.const(np.array(3, np.int64), "steps")
    true = g.const(np.array(True), "true")
    classifier(g, g("Loop", steps, true, x, body=inner.graph("body")), 6)


@model(
    norms=1,
    why="a body reads the convolution's own result, so the norm beside it must stay",
    inputs=BATCH,
)
def captured(g: Graph) -> None:
    x = conv(g, g.input("image", IMAGE), 3, 8)
    normed = g("Tanh", norm(g, x, 8))
    then, otherwise = g.body(), g.body()
    then.output(then("Relu", x), shape=["N", 8, 8, 8])
    otherwise.output(otherwise("Add", x, normed), shape=["N", 8, 8, 8])
    classifier(g, g("Add", _when_positive(g, x, then, otherwise), normed), 8)


def _functions(g: Graph) -> None:
    """zoo.ConvNormRelu, and zoo.Twice that calls it for two sets of weights."""
    imports = [helper.make_opsetid("", g.opset), helper.make_opsetid("zoo", 1)]
    params = ["weight", "gamma", "beta", "mean", "variance"]
    body = [
        helper.make_node("Conv", ["x", "weight"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", *params[1:]], ["n"], epsilon=1e-5),
        helper.make_node("Relu", ["n"], ["y"]),
    ]
    g.functions.append(
        helper.make_function("zoo", "ConvNormRelu", ["x", *params], ["y"], body, imports[:1])
    )
    first, second = ([f"{name}{number}" for name in params] for number in (1, 2))
    body = [
        helper.make_node("ConvNormRelu", ["x", *first], ["h"], domain="zoo"),
        helper.make_node("ConvNormRelu", ["h", *second], ["y"], domain="zoo"),
    ]
    g.functions.append(
        helper.make_function("zoo", "Twice", ["x", *first, *second], ["y"], body, imports)
    )


@model(
    norms=0,
    why="each call has its own weights: after inlining, a norm behind each convolution",
    inputs=BATCH,
)
def local_functions(g: Graph) -> None:
    _functions(g)

    def params(ci: int, co: int) -> list[str]:
        return [g.const(g.normal((co, ci, 3, 3), 0.2), "weight"), *norm_params(g, co)]

    x = g("ConvNormRelu", g.input("image", IMAGE), *params(3, 6), domain="zoo")
    x = g("Twice", x, *params(6, 8), *params(8, 8), domain="zoo")
    g.output(
        g("Gemm", g("Flatten", g("ReduceMean", x, axes=[2, 3])), g.const(g.normal((8, 3)))),
        "logits",
    )


@model(
    norms=1,
    why="an outer value that only a body reads: its norm lies on the other side of the border",
    inputs=BATCH,
)
def norm_inside_producer_outside(g: Graph) -> None:
    """The convolution outside, read by both bodies; one norms it in front of a Tanh."""
    x = conv(g, g.input("image", IMAGE), 3, 8)
    then, otherwise = g.body(), g.body()
    then.output(then("Tanh", norm(then, x, 8)), shape=["N", 8, 8, 8])
    otherwise.output(otherwise("Tanh", x), shape=["N", 8, 8, 8])
    y = _when_positive(g, "image", then, otherwise)
    y = g("Flatten", g("GlobalAveragePool", y))
    g.output(gemm(g, y, 8, 3), "logits")


@model(
    norms=0,
    why="bodies beside each other use the same names for different values and weights",
    inputs=BATCH,
)
def sibling_names(g: Graph) -> None:
    x = conv_norm(g, g.input("image", IMAGE), 3, 8)
    bodies = []
    for k in (1, 3):
        inner = g.body()
        y = inner("Relu", norm(inner, conv(inner, x, 8, 8, k), 8))
        inner.output(y, "result", shape=["N", 8, 8, 8])
        _rename(inner)
        bodies.append(inner)
    classifier(g, _when_positive(g, x, *bodies), 8)


def _rename(body: Graph) -> None:
    """Number a body's own values and weights from 0."""
    own = [tensor.name for tensor in body.initializers]
    own += [name for node in body.nodes for name in node.output if name != "result"]
    names = {name: f"inner_{number}" for number, name in enumerate(own)}
    for tensor in body.initializers:
        tensor.name = names[tensor.name]
    for node in body.nodes:
        for each in (node.input, node.output):
            each[:] = [names.get(name, name) for name in each]


@model(
    norms=0,
    why="an If inside a Loop: each norm follows a convolution of its own body, whose weight lies "
    "two graphs further out",
    inputs=BATCH,
)
def nested_bodies(g: Graph) -> None:
    x = conv_norm(g, g.input("image", IMAGE), 3, 6)
    weight = g.const(g.normal((6, 6, 3, 3), 0.12), "weight")
    inner = g.body()
    step = inner.input("step", [], TensorProto.INT64)
    inner.input("go_on", [], TensorProto.BOOL)
    state = inner.input("state", ["N", 6, 8, 8])
    branches = []
    for act in ("Relu", "Tanh"):
        branch = inner.body()
        y = norm(branch, conv(branch, state, 6, 6, weight=weight), 6)
        branch.output(branch(act, y), shape=["N", 6, 8, 8])
        branches.append(branch)
    first = inner("Equal", step, inner.const(np.array(0, np.int64)))
    then, otherwise = (branch.graph("branch") for branch in branches)
    y = inner("If", first, then_branch=then, else_branch=otherwise)
    inner.output(inner("Identity", "go_on"), shape=[], kind=TensorProto.BOOL)
    inner.output(y, shape=["N", 6, 8, 8])
    steps = g.const(np.array(3, np.int64), "steps")
    classifier(g, g("Loop", steps, g.const(np.array(True)), x, body=inner.graph("body")), 6)


@model(
    norms=0,
    why="epsilon is an attribute of the function, given by each call",
    inputs=BATCH,
)
def function_attributes(g: Graph) -> None:
    params = ["weight", "gamma", "beta", "mean", "variance"]
    norm_node = helper.make_node("BatchNormalization", ["c", *params[1:]], ["y"])
    norm_node.attribute.add(name="epsilon", ref_attr_name="eps", type=AttributeProto.FLOAT)
    body = [helper.make_node("Conv", ["x", "weight"], ["c"]), norm_node]
    imports = [helper.make_opsetid("", g.opset)]
    g.functions.append(
        helper.make_function("zoo", "ConvNorm", ["x", *params], ["y"], body, imports, ["eps"])
    )
    x, ci = g.input("image", IMAGE), 3
    for co, eps in ((6, 1e-3), (8, 0.5)):
        weight = g.const(g.normal((co, ci, 3, 3), 0.2), "weight")
        x = g("Relu", g("ConvNorm", x, weight, *norm_params(g, co), domain="zoo", eps=eps))
        ci = co
    classifier(g, x, ci)


@model(
    norms=0,
    why="bodies read the norm's result by its name, which the convolution takes over; inside, "
    "norms are the bodies' outputs",
    inputs=BATCH,
)
def norms_at_borders(g: Graph) -> None:
    x = norm(g, conv(g, g.input("image", IMAGE), 3, 8), 8)
    bodies = []
    for act in ("Relu", "Tanh"):
        inner = g.body()
        y = norm(inner, conv(inner, inner(act, x), 8, 8), 8)
        inner.output(y, shape=["N", 8, 8, 8])
        bodies.append(inner)
    y = _when_positive(g, "image", *bodies)
    classifier(g, norm(g, g("Conv", y, g.const(g.normal((8, 8, 1, 1), 0.3))), 8), 8)


@model(
    norms=1,
    why="the state of a Loop is a norm's result and the next step's input: its shift and scale "
    "would have to be undone at the border",
    inputs=BATCH,
)
def norm_of_state(g: Graph) -> None:
    x = conv_norm(g, g.input("image", IMAGE), 3, 6)
    inner = g.body()
    inner.input("step", [], TensorProto.INT64)
    inner.input("go_on", [], TensorProto.BOOL)
    state = inner.input("state", ["N", 6, 8, 8])
    y = inner("Tanh", conv(inner, state, 6, 6))
    inner.output(inner("Identity", "go_on"), shape=[], kind=TensorProto.BOOL)
    inner.output(norm(inner, y, 6), shape=["N", 6, 8, 8])
    steps = g.const(np.array(2, np.int64), "steps")
    classifier(g, g("Loop", steps, g.const(np.array(True)), x, body=inner.graph("body")), 6)

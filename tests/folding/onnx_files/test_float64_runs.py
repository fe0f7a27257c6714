"""The float64 twin: its own kernels against ONNX Runtime's float32 ones, and models it must or cannot run."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from bncore.folding.onnx.float64 import float64_run
from bncore.folding.onnx.load import load
from bncore.folding.onnx.runtime import Session
from bncore.folding.onnx.store import DOUBLE, Store
from bncore.folding.onnx.twin import NoTwin, twin

from . import models


def run_both(
    node: Any, arrays: dict[str, np.ndarray], outputs: tuple[str, ...] = ("y",), opset: int = 19
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(float32 by ONNX Runtime, float64) of a model of one node; x is the input, the others are initializers."""
    tensors = [models.initializer(n, a, a.dtype) for n, a in arrays.items() if n != "x"]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", 1, arrays["x"].shape)],
        [helper.make_tensor_value_info(name, 1, None) for name in outputs],
        tensors,
    )
    model = models.model_of(graph, opset=opset)
    feed = {"x": arrays["x"]}
    run, _ = float64_run(model, Store(), feed, time_limit=10)
    exact, got = run(feed), Session(model.SerializeToString()).run(feed)
    return [(got[name], exact[name]) for name in outputs]


def check(node: Any, **arrays: np.ndarray) -> None:
    for got, exact in run_both(node, arrays):
        assert exact.dtype == np.float64
        np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-5)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


GEOMETRIES = [
    {},
    {"pads": [1, 0, 0, 2], "strides": [2, 1]},
    {"dilations": [2, 1], "pads": [2, 2, 1, 1]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [3, 2]},
    {"auto_pad": "VALID"},
]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolution(geometry: dict[str, Any], groups: int) -> None:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], group=groups, **geometry)
    check(node, x=normal(2, 4, 9, 8), w=normal(8, 4 // groups, 3, 2), b=normal(8))


@pytest.mark.parametrize("rank", [1, 3])
def test_convolution_of_other_ranks(rank: int) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * (2 * rank), strides=[2] * rank)
    check(node, x=normal(2, 4, *(7, 6, 5)[:rank]), w=normal(5, 4, *[3] * rank))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    "geometry",
    [
        {},
        {"strides": [2, 3], "output_padding": [1, 2]},
        {"pads": [1, 0, 2, 1], "dilations": [2, 1]},
    ],
    ids=str,
)
def test_transposed_convolution(geometry: dict[str, Any], groups: int) -> None:
    """Depthwise included, where onnx's own evaluator is wrong."""
    node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], group=groups, **geometry)
    check(node, x=normal(2, 4, 5, 4), w=normal(4, 8 // groups, 3, 3), b=normal(8))


@pytest.mark.parametrize(
    ("operator", "ceil", "counted"),
    [
        *itertools.product(["AveragePool"], [0, 1], [0, 1]),
        ("MaxPool", 0, None),
        ("MaxPool", 1, None),
    ],
)
def test_pooling(operator: str, ceil: int, counted: int | None) -> None:
    more = {} if counted is None else {"count_include_pad": counted}
    node = helper.make_node(
        operator, ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], ceil_mode=ceil, **more
    )  # fmt: skip
    check(node, x=normal(2, 3, 8, 7))


@pytest.mark.parametrize(
    ("node", "arrays"),
    [
        (helper.make_node("Resize", ["x", "", "s"], ["y"]), {"x": normal(1, 2, 3, 4), "s": np.float32([1, 1, 2, 2])}),
        (helper.make_node("Clip", ["x", "lo", "hi"], ["y"]), {"x": normal(3, 4), "lo": np.float32(0), "hi": np.float32(6)}),
        (helper.make_node("HardSwish", ["x"], ["y"]), {"x": normal(3, 4)}),
        (helper.make_node("Cast", ["x"], ["y"], to=1), {"x": normal(3, 4)}),
        (helper.make_node("Softmax", ["x"], ["y"]), {"x": normal(3, 4)}),
        (helper.make_node("GlobalAveragePool", ["x"], ["y"]), {"x": normal(2, 3, 5, 4)}),
        (helper.make_node("InstanceNormalization", ["x", "s", "b"], ["y"]), {"x": normal(2, 3, 5), "s": normal(3), "b": normal(3)}),
        (helper.make_node("LayerNormalization", ["x", "s"], ["y"]), {"x": normal(2, 5), "s": normal(5)}),
        (helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2), {"x": normal(1, 8, 2, 3)}),
    ],
    ids=lambda value: value.op_type if hasattr(value, "op_type") else "",
)  # fmt: skip
def test_other_operators(node: Any, arrays: dict[str, np.ndarray]) -> None:
    check(node, **arrays)


def test_the_twin_is_valid_and_all_double() -> None:
    import onnx

    model = models.conv_net()
    double = twin(model, Store(), DOUBLE)
    assert {t.data_type for t in double.graph.initializer} == {DOUBLE}
    assert double.graph.input[0].type.tensor_type.elem_type == DOUBLE
    onnx.checker.check_model(double, full_check=True)


def test_constants_and_fillers_become_double() -> None:
    nodes = [
        helper.make_node("Constant", [], ["c"], value_floats=[0.1, 0.2]),
        helper.make_node("ConstantOfShape", ["shape"], ["z"]),
        helper.make_node("Add", ["c", "z"], ["s"]),
        helper.make_node("Add", ["s", "x"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", 1, [2])],
        [value("y", 1, [2])],
        [models.initializer("shape", [2], np.int64)],
    )
    feed = {"x": np.float32([1, 2])}
    run, by = float64_run(models.model_of(graph), Store(), feed, time_limit=10)
    assert by == "ONNX Runtime"
    expected = np.float64([1, 2]) + np.float32([0.1, 0.2])
    np.testing.assert_allclose(run(feed)["y"], expected, rtol=1e-15)


def test_bodies_of_if_are_converted() -> None:
    value = helper.make_tensor_value_info
    bodies = [
        helper.make_graph(
            [helper.make_node(op, ["x", "half"], ["r"])], op, [], [value("r", 1, [3])]
        )
        for op in ("Add", "Mul")
    ]
    nodes = [helper.make_node("If", ["flag"], ["y"], then_branch=bodies[0], else_branch=bodies[1])]
    tensors = [models.initializer("half", 0.1), models.initializer("flag", True, bool)]
    graph = helper.make_graph(nodes, "g", [value("x", 1, [3])], [value("y", 1, [3])], tensors)
    feed = {"x": np.float32([1, 2, 3])}
    run, _ = float64_run(models.model_of(graph), Store(), feed, time_limit=10)
    np.testing.assert_allclose(run(feed)["y"], np.float64([1, 2, 3]) + np.float32(0.1), rtol=1e-15)


def test_foreign_operators_have_no_twin() -> None:
    value = helper.make_tensor_value_info
    node = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
    graph = helper.make_graph([node], "g", [value("x", 1, [3])], [value("y", 1, [3])])
    model = models.model_of(graph)
    model.opset_import.add(domain="com.microsoft", version=1)
    with pytest.raises(NoTwin, match="Gelu"):
        float64_run(model, Store(), {"x": normal(3)}, time_limit=10)


def test_external_data_is_converted(tmp_path: Path) -> None:
    loaded = load(models.save_external(models.conv_net(2, 16), tmp_path / "m.onnx"))
    feed = {"x": normal(1, 3, 6, 6)}
    run, _ = float64_run(loaded.model, loaded.store, feed, time_limit=10)
    got = Session(tmp_path / "m.onnx").run(feed)
    np.testing.assert_allclose(got["y"], run(feed)["y"], rtol=1e-5, atol=1e-5)


COORDINATES = ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]
# nearest with align_corners: float32 coordinates round to the other side of integers
MODES = [
    (mode, at)
    for mode in ("nearest", "linear")
    for at in COORDINATES[: 3 if mode == "nearest" else 4]
]


@pytest.mark.parametrize(("mode", "coordinates"), MODES)
@pytest.mark.parametrize("to", [(1, 2, 6, 8), (1, 2, 2, 7), (1, 2, 1, 1)])
def test_resize(mode: str, coordinates: str, to: tuple[int, ...]) -> None:
    node = helper.make_node(
        "Resize", ["x", "", "", "size"], ["y"], mode=mode, coordinate_transformation_mode=coordinates, nearest_mode="floor"
    )  # fmt: skip
    check(node, x=normal(1, 2, 3, 4), size=np.int64(to))


@pytest.mark.parametrize(("operator", "opset"), [("Resize", 10), ("Upsample", 9)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_old_resizing(operator: str, opset: int, mode: str) -> None:
    node = helper.make_node(operator, ["x", "scales"], ["y"], mode=mode)
    arrays = {"x": normal(1, 2, 3, 4), "scales": np.float32([1, 1, 2, 3])}
    ((got, exact),) = run_both(node, arrays, opset=opset)
    np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "scale", [np.float32(0.5), np.float32([0.1, 0.2, 0.3])], ids=["one", "per channel"]
)
def test_dequantized_weights(scale: np.ndarray) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    q = np.random.default_rng(0).integers(-100, 100, (3, 2, 3, 3))
    tensors = [
        models.initializer("q", q, np.int8),
        models.initializer("scale", scale),
        models.initializer("zero", np.ones_like(scale), np.int8),
    ]
    shapes = [("N", 2, "H", "W"), ("N", 3, "A", "B")]
    graph = helper.make_graph(
        nodes, "g", [value("x", 1, shapes[0])], [value("y", 1, shapes[1])], tensors
    )
    model, feed = models.model_of(graph), {"x": normal(1, 2, 5, 5)}
    run, _ = float64_run(model, Store(), feed, time_limit=10)
    got = Session(model.SerializeToString()).run(feed)
    np.testing.assert_allclose(got["y"], run(feed)["y"], rtol=1e-4, atol=1e-3)


def test_functions_are_converted() -> None:
    value = helper.make_tensor_value_info
    opset = helper.make_opsetid("", 17)
    nodes = [helper.make_node("Mul", ["a", "b"], ["m"]), helper.make_node("Relu", ["m"], ["c"])]
    graph = helper.make_graph(
        [helper.make_node("F", ["x", "k"], ["y"], domain="local")],
        "g",
        [value("x", 1, ["N", 3])],
        [value("y", 1, ["N", 3])],
        [models.initializer("k", [0.1, 0.2, 0.3])],
    )
    model = models.model_of(graph)
    model.opset_import.add(domain="local", version=1)
    model.functions.append(helper.make_function("local", "F", ["a", "b"], ["c"], nodes, [opset]))
    feed = {"x": normal(2, 3)}
    run, _ = float64_run(model, Store(), feed, time_limit=10)
    expected = np.maximum(feed["x"].astype(float) * np.float32([0.1, 0.2, 0.3]), 0)
    np.testing.assert_allclose(run(feed)["y"], expected, rtol=1e-15)


@pytest.mark.parametrize("opset", [7, 9, 13, 14, 15, 19])
def test_batch_norm_of_every_opset(opset: int) -> None:
    """Before opset 14 onnx's own evaluator takes the batch's statistics."""
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], epsilon=0.1)
    arrays = {"x": normal(2, 3, 4, 5), "s": normal(3), "b": normal(3) + 1, "m": normal(3) + 2}
    ((got, exact),) = run_both(node, {**arrays, "v": normal(3) ** 2}, opset=opset)
    np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-5)

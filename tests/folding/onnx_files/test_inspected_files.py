"""`inspect_model`: where norms sit, whether they can be folded, what is odd about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from onnx import helper

from bncore.folding.onnx.inspect import inspect_model

from . import models
from .standin import fold_model


class Found(NamedTuple):
    code: str
    channels: int
    text: str


def findings(weight: Any, bias: Any, mean: Any, var: Any, eps: float, dtype: Any) -> list[Found]:
    small = int(np.count_nonzero(np.asarray(var) < eps))
    return [Found("near_zero_variance", small, f"{small} channels")] if small else []


def inspect(model: Any, folder: Path) -> list[Any]:
    path = models.save(model, folder / "m.onnx")
    return inspect_model(path, fold=fold_model, findings=findings)


def test_a_row_for_every_norm(tmp_path: Path) -> None:
    rows = inspect(models.conv_net(2), tmp_path)
    assert [(r.norm, r.producer, r.consumers, r.channels) for r in rows] == [
        ("bn_in", "input", ["Conv"], 3),
        ("bn0", "Conv", ["Relu"], 4),
        ("bn1", "Conv", ["Relu"], 4),
    ]
    assert [r.foldable for r in rows] == [False, True, True]
    assert rows[0].why == "not after a convolution" and "conv0" in rows[1].why
    assert all(r.findings == [] for r in rows)


def test_findings_see_the_statistics(tmp_path: Path) -> None:
    model = models.conv_net(1)
    for tensor in model.graph.initializer:
        if tensor.name == "bn0.var":
            tensor.CopyFrom(models.initializer("bn0.var", [1, 0, 1, 0]))
    rows = inspect(model, tmp_path)
    assert rows[1].findings == [Found("near_zero_variance", 2, "2 channels")]
    assert rows[1].to_dict()["findings"][0]["channels"] == 2


def test_constants_aliases_and_outputs(tmp_path: Path) -> None:
    """The scale is a Constant node, the variance an alias; the norm's result is an output."""
    model = models.conv_net(1)
    graph = model.graph
    graph.output.append(helper.make_tensor_value_info("b0", 1, ("N", 4, "H", "W")))
    scale = next(t for t in graph.initializer if t.name == "bn0.weight")
    constant = helper.make_node("Constant", [], ["bn0.weight"], value=scale)
    graph.initializer.remove(scale)
    var = next(t for t in graph.initializer if t.name == "bn0.var")
    var.name = "var"
    alias = helper.make_node("Identity", ["var"], ["bn0.var"])
    for node in (alias, constant):
        graph.node.insert(0, node)
    path = models.save(model, tmp_path / "m.onnx")
    seen = []
    rows = inspect_model(
        path, fold=lambda *_, **__: _Nothing(), findings=lambda *a: seen.append(a) or []
    )
    assert len(seen) == 2
    assert rows[1].channels == 4
    assert rows[1].consumers == ["Relu", "output"]


class _Nothing:
    applied: tuple[Any, ...] = ()
    kept: tuple[Any, ...] = ()


def test_other_norms_are_listed(tmp_path: Path) -> None:
    nodes = [helper.make_node("LayerNormalization", ["x", "scale"], ["y"], "ln")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["N", 5])],
        [helper.make_tensor_value_info("y", 1, ["N", 5])],
        [models.initializer("scale", np.ones(5))],
    )
    (row,) = inspect(models.model_of(graph), tmp_path)
    assert (row.norm, row.op, row.channels, row.foldable) == ("ln", "LayerNormalization", 5, False)

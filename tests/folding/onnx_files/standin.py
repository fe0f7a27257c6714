"""A stand-in for the engine with its interface: folds Conv -> BatchNormalization, or Conv with a wrong sign.

So that reading, checking, comparing and writing are tested by themselves, and with rewrites that are wrong on purpose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bncore.folding.report import Kept


class Applied(NamedTuple):
    norms: tuple[str, ...]
    rule: str
    into: tuple[str, ...]
    text: str


@dataclass
class ModelFold:
    applied: list[Applied] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)


def fold_model(
    model: Any,
    store: Any,
    *,
    levels: frozenset[str] = frozenset(),
    limit: int | None = None,
    wrong: int = -1,
) -> ModelFold:
    """Fold each norm whose input is a convolution's only use; number ``wrong`` (from 0) gets a wrong bias."""
    if not levels <= {"backward", "forward", "relu", "norms", "rebase"}:
        raise ValueError(f"levels must be of backward, forward, ..., got {sorted(levels)}")
    done, graph = ModelFold(), model.graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    makers = {node.output[0]: node for node in graph.node}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        conv = makers.get(norm.input[0])
        single = all(uses[name] == 1 for name in (norm.input[0], *(conv.input[1:] if conv else ())))
        if conv is None or conv.op_type != "Conv" or not single:
            done.kept.append(Kept(norm.name or norm.output[0], "not after a convolution", "conv"))
            continue
        if len(done.applied) == limit:
            break
        _fold(graph, values, store, conv, norm, wrong == len(done.applied))
        done.applied.append(Applied((norm.name or norm.output[0],), "conv", (conv.name,), ""))
    return done


def _fold(
    graph: Any, values: dict[str, Any], store: Any, conv: Any, norm: Any, wrong: bool
) -> None:
    gamma, beta, mean, var = (
        store.read(values[name]).astype(np.float64) for name in norm.input[1:5]
    )
    epsilon = next((item.f for item in norm.attribute if item.name == "epsilon"), 1e-5)
    old = values[conv.input[1]]
    weight = store.read(old)
    bias = store.read(values[conv.input[2]]) if len(conv.input) > 2 else np.zeros(len(weight))
    scale = gamma / np.sqrt(var + epsilon)
    folded = weight.astype(np.float64) * scale.reshape(-1, *[1] * (weight.ndim - 1))
    shift = scale * (bias.astype(np.float64) - mean) + (-beta if wrong else beta)
    name = f"{old.name}/bias"
    fresh = [
        store.write(old.name, folded.astype(weight.dtype), old.data_type),
        store.write(name, shift.astype(weight.dtype), old.data_type),
    ]
    gone = {*norm.input[1:5], *conv.input[1:]}
    kept = [
        type(t).FromString(t.SerializeToString()) for t in graph.initializer if t.name not in gone
    ]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *fresh])
    for tensor in graph.initializer:
        values[tensor.name] = tensor
    del conv.input[2:]
    conv.input.append(name)
    conv.output[0] = norm.output[0]
    graph.node.remove(norm)


def injected(number: int) -> Callable[..., ModelFold]:
    """The stand-in with one wrong rewrite."""

    def fold(model: Any, store: Any, **options: Any) -> ModelFold:
        return fold_model(model, store, wrong=number, **options)

    return fold


def untouched(model: Any, store: Any, **options: Any) -> ModelFold:
    """An engine that never finds anything."""
    return ModelFold()


__all__ = ["Applied", "ModelFold", "fold_model", "injected", "untouched"]

"""The steps of the forward pass, one function per kind of node."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np

from ..layers.base import locate
from ..layers.tree import LOCATED
from .core import core
from .nodes import (
    Activate,
    Call,
    Concatenate,
    Convolve,
    GlobalPool,
    Node,
    Normalize,
    Pool,
    Reshape,
    Sum,
    Turn,
)
from .values import Step, Value

__all__ = [
    "column_step",
    "fill",
    "forward_steps",
    "located",
    "norm_step",
    "products",
    "starts",
    "sum_step",
    "turn_step",
]


@singledispatch
def forward_steps(node: Node) -> list[Step]:
    """What computes ``node.y``."""
    raise NotImplementedError(type(node).__name__)


def products(node: Convolve) -> int:
    """Multiplications of a convolution."""
    g = node.geometry
    taps = g.in_channels // g.groups * math.prod(g.kernel)
    return g.batch * math.prod(g.out_size) * g.out_channels * taps


@forward_steps.register
def _(node: Convolve) -> list[Step]:
    norm = node.measures
    applied = norm is not None and norm.applied
    y = norm.y if norm is not None and applied else node.y
    reads, writes, notes = [node.x], [y], []
    if node.reads is not None:
        reads, front = node.reads.inputs(), node.reads
        notes.append(f"reads through {front.path}{_details(front)}")
        if front.stored:
            writes.append(front.y)
            notes.append("stores it")
    if norm is not None:
        notes.append(f"{'applies' if applied else 'measures for'} {norm.path}")
        if applied and norm.residual is not None:
            reads.append(norm.residual)
    if node.residual is not None:
        reads.append(node.residual)
        notes.append("+ residual")
    if node.relu:
        notes.append("ReLU")
    op = "linear" if node.rows else "conv"
    step = Step(op, node.path, reads, writes, lambda bound: bound.convolution(node), notes)
    step.work = products(node)
    return [step]


def _details(norm: Normalize) -> str:
    return (" + residual" if norm.residual is not None else "") + (" + ReLU" if norm.relu else "")


@forward_steps.register
def _(node: Normalize) -> list[Step]:
    return [] if node.applied or node.by_reader else [norm_step(node)]


def norm_step(node: Normalize) -> Step:
    """A norm by itself."""
    op = "normalize" if node.measured else "batch_norm_train" if node.batch else "batch_norm_eval"
    notes = ["+ residual"] if node.residual is not None else []
    notes += ["ReLU"] if node.relu else []
    return Step(op, node.path, node.inputs(), [node.y], lambda bound: bound.norm(node), notes)


@forward_steps.register
def _(node: Activate) -> list[Step]:
    def make(bound: Any) -> Any:
        return core.ActivationArguments(
            node.x.dtype, bound[node.x], None, bound[node.y], node.kind, node.slope
        )

    return [Step("activation", node.path, [node.x], [node.y], make, [node.kind])]


@forward_steps.register
def _(node: Pool) -> list[Step]:
    def make(bound: Any) -> Any:
        index = None if node.index is None else bound[node.index]
        return core.PoolArguments(
            node.x.dtype, bound[node.x], bound[node.y], index, node.image, node.kernel,
            node.stride, node.padding, node.count_include_pad, True,
        )  # fmt: skip

    return [Step(f"{node.kind}_pool", node.path, [node.x], _with_index(node), make)]


@forward_steps.register
def _(node: GlobalPool) -> list[Step]:
    def make(bound: Any) -> Any:
        n, c = node.y.shape
        index = None if node.index is None else bound[node.index]
        return core.GlobalPoolArguments(
            node.x.dtype, bound[node.x], bound[node.y], index, n, node.pixels, c, True
        )

    return [Step(f"global_{node.kind}_pool", node.path, [node.x], _with_index(node), make)]


def _with_index(node: Pool | GlobalPool) -> list[Value]:
    return [node.y] if node.index is None else [node.y, node.index]


@forward_steps.register
def _(node: Sum) -> list[Step]:
    return [sum_step(node.path, node.x, node.other, node.y, node.relu)]


def sum_step(path: str, a: Value, b: Value, y: Value, relu: bool = False) -> Step:
    """y = act(a + b)."""

    def make(bound: Any) -> Any:
        return core.SumArguments(y.dtype, bound[a], bound[b], bound[y], relu)

    return Step("sum", path, [a, b], [y], make, ["ReLU"] if relu else [])


@forward_steps.register
def _(node: Concatenate) -> list[Step]:
    return [
        column_step(node.path, part, part.shape[-1], 0, node.y, start, part.shape[-1])
        for part, start in zip(node.parts, starts(node))
    ]


def starts(node: Concatenate) -> list[int]:
    """First channel of each part."""
    widths = [part.shape[-1] for part in node.parts]
    return [sum(widths[:i]) for i in range(len(widths))]


def column_step(
    path: str, from_: Value, from_pitch: int, from_at: int, to: Value, to_at: int, width: int
) -> Step:
    """Columns of one matrix to columns of another; rows are as many as the narrower one has."""
    rows = from_.size // from_.shape[-1]

    def make(bound: Any) -> Any:
        return core.CopyArguments(
            to.dtype, bound[from_], from_at, from_pitch, bound[to], to_at, to.shape[-1], rows, width
        )

    return Step("copy", path, [from_], [to], make)


@forward_steps.register
def _(node: Turn) -> list[Step]:
    return [turn_step(node.path, node.x, node.y, node.to_last)]


def turn_step(path: str, x: Value, y: Value, to_last: bool) -> Step:
    """Channels to the last axis, or from there to axis 1."""
    images = y if to_last else x
    n, c = images.shape[0], images.shape[-1]
    pixels = images.size // (n * c)
    rows, columns = (c, pixels) if to_last else (pixels, c)

    def make(bound: Any) -> Any:
        return core.TurnArguments(x.dtype, bound[x], bound[y], n, rows, columns)

    note = "channels last" if to_last else "channels first"
    return Step("turn", path, [x], [y], make, [note])


@forward_steps.register
def _(node: Reshape) -> list[Step]:
    return []


@forward_steps.register
def _(node: Call) -> list[Step]:
    def make(bound: Any) -> Callable[[], None]:
        x, y, layer = bound[node.x], bound[node.y], node.layer

        def run() -> None:
            given = located(node, layer, x.copy())  # a layer may keep what it gets
            fill(node, y, given)

        return run

    return [Step("call", node.path, [node.x], [node.y], make, [node.layer.brief()])]


def located(node: Call, function: Callable[[Any], Any], given: Any) -> Any:
    """What a layer returns, its path in front of its errors."""
    try:
        return function(given)
    except LOCATED as error:
        locate(error, node.path, node.layer)
        raise


def fill(node: Call, to: Any, given: Any) -> None:
    """Copy what a layer returned to where the plan expects it."""
    if np.shape(given) != to.shape:
        raise ValueError(
            f"{node.path} {node.layer.brief()}: expected an array of shape {to.shape}, got {np.shape(given)}; "
            "layers whose shapes differ between training and evaluation need Trainer(plan=False)"
        )
    to[...] = given

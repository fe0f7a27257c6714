"""sequences: recurrent nets with sequence-wise norm (Laurent et al. 2015), and what padding changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import functional, nets
from ...layers import GRU, LSTM
from ..context import Lab
from ..digits import ACCURACY
from ..outcome import Outcome, Table, at_most, equal, span
from ..pictures import Axis, Lines, Series
from ..training import Run, reached

QUESTION = "Does batch norm help recurrent nets, and does padding change what they compute?"
SETTING = (
    "Digits read row by row, 8 steps of 8 pixels, by an LSTM or a GRU of 32 units with and without batch norm of the "
    "input products over all sequences and steps, PyTorch's initial weights, batches of 60, SGD with momentum 0.9 at "
    "learning rate 0.3, 300 steps; test accuracy every 10 steps. Padding: 200 training digits with 1 to 8 of their "
    "rows (drawn from the seed) in one training pass, padded to 8 and to 20 steps with zeros and to 20 with noise, "
    "against the rows packed one behind the other: outputs, all gradients and running statistics compared bit by bit."
)

GOAL, STEPS, EVERY = 90.0, 300, 10
KINDS: dict[str, Any] = {"lstm": LSTM, "gru": GRU}
CONTENDERS = [(kind, norm) for kind in KINDS for norm in ("batch", "none")]
Array = np.ndarray


def run(lab: Lab) -> Outcome:
    lab.plan(len(CONTENDERS))
    curves = {c: np.array([_curve(lab, *c, seed) for seed in lab.seeds]) for c in CONTENDERS}
    steps = {c: [reached(EVERY, curve, GOAL) for curve in found] for c, found in curves.items()}
    padding = {c: np.sum([_padding(lab, *c, s) for s in lab.seeds], axis=0) for c in CONTENDERS}
    changed, compared = np.sum(list(padding.values()), axis=0)
    criteria = [
        equal("values that padding changes, all nets and seeds", changed, 0),
        *(at_most(f"steps to 90 %, {_name(c)}, worst seed", max(steps[c]), STEPS) for c in steps),
    ]
    parts = {k: np.mean(steps[k, "batch"]) / np.mean(steps[k, "none"]) for k in KINDS}
    ratios = ", ".join(
        f"{part:.2f} for the {kind.upper()}"
        if np.isfinite(part)
        else f"unknown for the {kind.upper()}"
        for kind, part in parts.items()
    )
    conclusion = (
        f"To {GOAL:.0f} % it takes {', '.join(f'{_name(c)} {span(steps[c])} steps' for c in steps)}; with norm, as a "
        f"part of the steps without: {ratios} (of the means). Padding changes "
        f"{changed} of {compared} values compared."
    )
    rows = [
        [_name(c), span(steps[c]), float(curves[c][:, -1].mean()), int(padding[c][0])]
        for c in steps
    ]
    heads = ["net", "steps to 90 %", "accuracy at the end, %, mean", "values changed by padding"]
    return Outcome(conclusion, criteria, [Table("Recurrent nets", heads, rows)], [_picture(curves)])


def _curve(lab: Lab, kind: str, norm: str, seed: int) -> Array:
    net = nets.recurrent(8, 10, 32, kind=kind, norm=norm, rng=seed)
    _, found = Run(net, lab.digits, lr=0.3, momentum=0.9, steps=STEPS, seed=seed).curve(EVERY)
    lab.done()
    return found


def _padding(lab: Lab, kind: str, norm: str, seed: int) -> Array:
    """How many values, and of how many, of a training pass differ from those of the rows packed without any padding."""
    rng = np.random.default_rng(seed)
    images = lab.digits.x_train[:200, 0]
    lengths = rng.integers(1, 9, len(images))
    rows = images[np.arange(8) < lengths[:, None]]
    drows = rng.standard_normal((len(rows), 32)).astype(rows.dtype)
    packed = _packed_pass(KINDS[kind](8, 32, norm=norm, rng=seed), rows, drows, lengths)
    count = np.zeros(2, int)
    for steps, noise in ((8, 0.0), (20, 0.0), (20, 1.0)):
        valid = np.arange(steps) < lengths[:, None]
        x, dy = (
            (noise * rng.standard_normal((*valid.shape, n))).astype(rows.dtype) for n in (8, 32)
        )
        x[valid], dy[valid] = rows, drows
        layer = KINDS[kind](8, 32, norm=norm, rng=seed)
        y, dx = layer(x, lengths), layer.backward(dy)
        count += _differences([y[valid], dx[valid], *_found(layer)], packed)
    return count


def _packed_pass(layer: Any, rows: Array, drows: Array, lengths: Array) -> list[Array]:
    """Outputs, input gradients and what `_found` gives, by the functions on rows that a recurrent layer is made of."""
    products, kept = functional.linear(rows, layer.weight_ih_l0, layer.bias_ih_l0)
    if layer.norm:
        products = layer.norm_l0(products)
    saved: Any
    hidden = layer.weight_hh_l0, layer.bias_hh_l0
    y, _, saved = functional.recurrent(products, *hidden, kind=layer.kind, lengths=lengths)
    into = {name: np.empty_like(getattr(layer, name)) for name in layer.parameter_names}
    dhidden = {"dweight": into["weight_hh_l0"], "dbias": into["bias_hh_l0"]}
    dproducts = functional.recurrent_backward(drows, saved, **dhidden)[0]
    if layer.norm:
        dproducts = layer.norm_l0.backward(dproducts)
    dinput = {"dweight": into["weight_ih_l0"], "dbias": into.get("bias_ih_l0")}
    dx = functional.linear_backward(dproducts, kept, **dinput)[0]
    for name, gradient in into.items():
        layer.set_grad(name, gradient)
    assert dx is not None
    return [y, dx, *_found(layer)]


def _found(layer: Any) -> list[Array]:
    """Gradients of all parameters, the norm's too, and its running statistics."""
    found = [g for _, child in layer.named_layers() for g in child.grad.values() if g is not None]
    if layer.norm:
        found += [layer.norm_l0.running_mean, layer.norm_l0.running_var]
    return found


def _differences(a: list[Array], b: list[Array]) -> Array:
    """How many values differ in a bit, and how many there are."""
    differ = sum(
        int((u.view(np.uint32) != v.view(np.uint32)).sum()) for u, v in zip(a, b, strict=True)
    )
    return np.array([differ, sum(u.size for u in a)])


def _name(contender: tuple[str, str]) -> str:
    kind, norm = contender
    return kind.upper() + (" with norm" if norm == "batch" else "")


def _picture(curves: dict[tuple[str, str], np.ndarray]) -> Lines:
    x = np.arange(0, STEPS + 1, EVERY)
    return Lines(
        "Recurrent nets with and without sequence-wise norm",
        Axis("training steps", "batches of 60"),
        ACCURACY,
        [Series(_name(c), x, found) for c, found in curves.items()],
        [(GOAL, "90 %")],
    )

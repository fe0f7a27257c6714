"""grades: two batches of three, the second all alike (Ioffe & Szegedy 2015, Algorithm 1; Ioffe 2017, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import functional as F
from ...layers import BatchNorm, BatchRenorm, Sequential
from ...statistics import population, recalibrate
from ..context import Lab
from ..outcome import Outcome, Table, at_most, equal
from ..pictures import Axis, Dots, Series

QUESTION = "Batches (90 A, 80 B, 70 C) and (60 D, 60 D, 60 D): is the second one lost?"
SETTING = (
    "The grades themselves, one channel, in float32 and float64, by functions and layers; eps 1e-5, gamma 1, beta 0 where "
    "nothing else is said. No net is trained, nothing left to chance: seeds play no part. Renorm's running statistics are "
    "those of all six, its limits 1e6. Criteria are about the second batch, the worst of all ways; gradients are those of y2 + 2·y3, y its outputs."
)

FIRST, SECOND = (90, 80, 70), (60, 60, 60)
GRADES = ("90 A", "80 B", "70 C", "60 D")
BETA = 0.5
UNLIMITED: Any = {"r_max": 1e6, "d_max": 1e6}
Array = np.ndarray
Norm = Callable[[Array], Array]


def _column(grades: tuple[int, ...], dtype: npt.DTypeLike = np.float64) -> Array:
    return np.array([[grade] for grade in grades], dtype)


def _both(x: Array) -> list[Array]:
    """Both batches, in the type of x."""
    return [_column(grades, x.dtype) for grades in (FIRST, SECOND)]


def _merged(x: Array) -> F.Statistics:
    first, second = map(F.statistics, _both(x))
    return first.merge(second)


def _by(stats: F.Statistics, x: Array) -> Array:
    return F.normalize(x, stats, training=False)[0]


def _by_recalibration(x: Array) -> Array:
    net = Sequential(BatchNorm(1, unbiased=False, dtype=x.dtype))
    recalibrate(net, _both(x))
    return net.eval()(x)


def _by_averages(x: Array) -> Array:
    """By plain averages of the batches' means and variances."""
    norm = BatchNorm(1, momentum=None, unbiased=False, dtype=x.dtype)
    for batch in _both(x):
        norm(batch)
    return norm.eval()(x)


def _renorm(x: Array, weight: Array | None = None, bias: Array | None = None) -> tuple[Array, Any]:
    mean, std = _merged(x).mean.astype(x.dtype), np.sqrt(_merged(x).var).astype(x.dtype)
    return F.batch_renorm(x, weight, bias, mean, std, **UNLIMITED)


def _renorm_layer(x: Array) -> Array:
    norm = BatchRenorm(1, schedule="constant", dtype=x.dtype, **UNLIMITED)
    norm.set_running(_merged(x).mean, _merged(x).var)
    return norm(x)


# each in several ways, which are to agree
NORMS: dict[str, list[Norm]] = {
    "batch norm": [lambda x: F.batch_norm(x)[0], lambda x: BatchNorm(1, dtype=x.dtype)(x)],
    "population statistics": [
        lambda x: _by(population(iter(_both(x))), x),
        lambda x: _by(_merged(x), x),
        _by_recalibration,
    ],
    "unclipped batch renorm": [lambda x: _renorm(x)[0], _renorm_layer],
}


def run(lab: Lab) -> Outcome:
    truth = (60 - np.mean(FIRST + SECOND)) / np.std(FIRST + SECOND)
    with_beta = [lambda x: F.batch_norm(x, bias=np.full(1, BETA, x.dtype))[0]]
    criteria = [
        equal("by batch norm: distance from 0", _farthest(NORMS["batch norm"], 0), 0),
        equal(f"the same with beta {BETA}: distance from it", _farthest(with_beta, BETA), 0),
    ]
    for name, norms in list(NORMS.items())[1:]:
        criteria.append(
            at_most(f"by {name}: distance from {truth:.3f}", _farthest(norms, truth), 1e-6)
        )
    values, learned = {name: _values(norms[0]) for name, norms in NORMS.items()}, _gradients()
    rows = [[grade, *(v[i] for v in values.values())] for i, grade in enumerate(GRADES)]
    taught = [[name, *gradients] for name, gradients in learned.items()]
    tables = [
        Table("What the grades become", ["grade", *values], rows),
        Table("Gradients of the second batch", ["by", "gamma", "beta", "inputs, together"], taught),
    ]
    return Outcome(_conclusion(values, learned), criteria, tables, [_picture(values)], [_remark()])


def _farthest(norms: list[Norm], value: float) -> float:
    """Of the second batch's outputs, in both types and in every way."""
    seconds = [_column(SECOND, dtype) for dtype in (np.float32, np.float64)]
    return float(np.max([np.abs(norm(x) - value) for norm in norms for x in seconds]))


def _values(norm: Norm) -> Array:
    """What A, B, C and D become."""
    return np.append(norm(_column(FIRST)), norm(_column(SECOND))[0]).round(9)


def _gradients() -> dict[str, list[float]]:
    x, parameters = _column(SECOND), (np.ones(1), np.zeros(1))
    constants = F.normalize(x, _merged(x), *parameters, training=False)
    passes = F.batch_norm(x, *parameters), constants, _renorm(x, *parameters)
    dy = _column((0, 1, 2))  # not all alike: outputs of any batch have a fixed sum
    found: list[Any] = [F.batch_norm_backward(dy, saved) for _, saved in passes]
    return {name: [dw[0], db[0], dx.sum().round(9)] for name, (dx, dw, db) in zip(NORMS, found)}


def _conclusion(values: dict[str, Array], learned: dict[str, list[float]]) -> str:
    (c, d), (gamma, beta, below) = values["batch norm"][2:], learned["batch norm"]
    population, renorm = (values[name][3] for name in list(values)[1:])
    return (
        f"Its distance from the others is {'lost' if d == 0 else 'kept'} in training: batch norm makes every D {d:g}, {'above' if d > c else 'not above'} the C of the first "
        f"batch ({c:.3f}). Gamma and the layers before get gradients {gamma:g} and {below:g} from the three together, "
        f"beta {beta:g}. By statistics of all six a D is {population:.3f}, by unclipped renorm {renorm:.3f}, in training "
        "already."
    )


def _remark() -> str:
    return (
        f"In evaluation plain averages of both batches' statistics give D {_by_averages(_column(SECOND))[0, 0]:.3f}: they miss the variance between "
        "batches, as running averages of any momentum do."
    )


def _picture(values: dict[str, Array]) -> Dots:
    series = [Series(name, GRADES, [found]) for name, found in values.items()]
    axes = Axis("grade", None), Axis("normalized", "standard deviations")
    return Dots("A to C from one batch, D from a batch of its own", *axes, series, exact=True)

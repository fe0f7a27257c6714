"""Learning-rate schedules.

``schedule(step, total) -> factor``, a factor on the optimizer's own rate.

Plain functions of the step, without state: a schedule may be called for any step in any order
(resumed, plotted). Steps count from 0 to ``total - 1``. Every factory here returns such a function;
any callable of two integers will do as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..support import checks

__all__ = ["Schedule", "constant", "cosine", "names", "one_cycle", "resolve", "step", "warm_up"]

Schedule = Callable[[int, int], float]


def constant() -> Schedule:
    """Factor 1 throughout."""
    return lambda step, total: 1.0


def step(milestones: Sequence[float] = (0.5, 0.75), factor: float = 0.1) -> Schedule:
    """``factor`` to the power of the milestones passed; milestones are fractions of the run.

    The default, a tenth at half time and another at three quarters, is that of He et al. 2016,
    1512.03385.
    """
    marks = tuple(float(m) for m in milestones)
    if not all(0.0 < m < 1.0 for m in marks):
        raise ValueError(
            f"milestones must be fractions of the run between 0 and 1, got {milestones!r}"
        )
    checks.positive(factor, "factor")
    return lambda step, total: float(factor) ** sum(step >= m * total for m in marks)


def cosine(final: float = 0.0) -> Schedule:
    """From 1 to ``final`` along half a cosine.

    ``final + (1 - final)·(1 + cos(pi·step/total))/2``;
    Loshchilov & Hutter 2017, 1608.03983, without restarts.
    """
    checks.non_negative(final, "final")
    return lambda step, total: (
        final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * step / max(total, 1)))
    )


def one_cycle(warm: float = 0.3, start: float = 1 / 25, final: float = 4e-6) -> Schedule:
    """Up from ``start`` to 1 during the first ``warm`` of the run, then down to ``final``.

    Both along half a cosine; ``final`` is reached at the last step. Smith & Topin 2018, 1708.07120;
    values and defaults of ``torch.optim.lr_scheduler.OneCycleLR`` (``final`` there is ``1 /
    (div_factor · final_div_factor)``), without its cycling of the momentum.
    """
    checks.fraction(warm, "warm")
    checks.non_negative(start, "start")
    checks.non_negative(final, "final")

    def factor(step: int, total: int) -> float:
        top = warm * total - 1.0
        if step <= top:
            return _anneal(start, 1.0, step / top) if top > 0 else 1.0
        down = total - 1 - max(top, 0.0)
        return _anneal(1.0, final, (step - max(top, 0.0)) / down) if down > 0 else 1.0

    return factor


def warm_up(
    schedule: str | Schedule = "constant",
    fraction: float = 0.05,
    *,
    steps: int | None = None,
    start: float = 0.0,
) -> Schedule:
    """Linear from ``start`` to 1 at first, then ``schedule`` over the rest of the run.

    The ramp takes ``steps`` steps or, if that is None, ``fraction`` of the run.

    Step ``i`` of ``k`` warm-up steps has the factor ``start + (1 - start)·(i + 1)/k`` times the
    first of ``schedule``, so that not even the first step is lost with ``start=0``. Goyal et al.
    2017, 1706.02677.
    """
    after = resolve(schedule)
    checks.fraction(fraction, "fraction")
    if steps is not None:
        checks.non_negative_int(steps, "steps")
    checks.non_negative(start, "start")

    def factor(step: int, total: int) -> float:
        ramp = min(total, math.ceil(fraction * total) if steps is None else steps)
        rest = max(total - ramp, 1)
        if step < ramp:
            return (start + (1.0 - start) * (step + 1) / ramp) * after(0, rest)
        return after(step - ramp, rest)

    return factor


_NAMED: dict[str, Callable[[], Schedule]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "warm_up": warm_up,
    "warm_up_step": lambda: warm_up("step"),
    "warm_up_cosine": lambda: warm_up("cosine"),
}


def names() -> tuple[str, ...]:
    """The names :func:`resolve` knows, for help texts and errors."""
    return tuple(_NAMED)


def resolve(schedule: str | Schedule | None) -> Schedule:
    """A schedule from its name, with that schedule's defaults; a callable as it is.

    ``None`` is constant.
    """
    if schedule is None:
        return constant()
    if isinstance(schedule, str):
        if schedule not in _NAMED:
            raise ValueError(f"schedule must be one of {', '.join(_NAMED)}, got {schedule!r}")
        return _NAMED[schedule]()
    if not callable(schedule):
        raise TypeError(
            "schedule must be a name or a callable (step, total) -> factor, got "
            f"{type(schedule).__name__}"
        )
    return schedule


def _anneal(begin: float, end: float, t: float) -> float:
    return end + (begin - end) * 0.5 * (1.0 + math.cos(math.pi * t))

"""Which norms cause a gap between training and evaluation, why, and what repairs it.

The gap is what changes in the answers when running statistics give way to population statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .limits import (
    ACCURACY,
    AGREE,
    ALONE,
    DROPOUT,
    ERRORS,
    EXPLAINED,
    FOREIGN,
    GAP,
    LOSS,
    SCATTERED,
    SHARE,
    START,
    STOPPED,
)
from .records import NormRecord
from .results import Finding, Score
from .words import channels, distance, effect_of, listed, named, percent, scatter, value

if TYPE_CHECKING:
    from .diagnosis import Diagnosis

__all__ = ["better", "gap_findings", "matters", "worse"]

Explained = tuple[str, tuple[str, ...], str]

TOWARDS = (
    "BatchRenorm trains towards its running statistics, so they are part of what the net learned"
)
UNSCORED = "give targets, too: only answers tell whether recalibrating these repairs or harms"


def gap_findings(diagnosis: Diagnosis) -> list[Finding]:
    """One finding for every cause, the first of which says how large the gap is."""
    if not diagnosis.norms:
        return []
    running, right = diagnosis.score("running"), diagnosis.score(diagnosis.method)
    harm = worse(running, right, diagnosis.scored_samples)
    if not harm and running.gap < GAP:
        return []
    by_cause: dict[str, list[NormRecord]] = {}
    for norm in _culprits(diagnosis.norms):
        by_cause.setdefault(_cause(norm, diagnosis.norms), []).append(norm)
    if {"stale", "scatter"} <= set(by_cause):  # one story, told of the norm that matters more
        found = by_cause.pop("stale") + by_cause.pop("scatter")
        worst = max(found, key=lambda n: n.opens or 0.0)
        by_cause[_cause(worst, diagnosis.norms)] = found
    keep = not harm and better(running, right)
    findings: list[Finding] = []
    for cause, found in by_cause.items():
        text, repairs, advice = _EXPLAIN[cause](found)
        parts = [_who(found, diagnosis.norms), text]
        if not findings:
            parts = [_how_much(running, right), *([_kept(running, right)] if keep else []), *parts]
        if cause == "renorm" and running.loss is None:
            repairs, advice = (), UNSCORED
        elif keep:
            advice = "; ".join(filter(None, ["keep the running statistics", advice]))
        else:
            repairs = ("recalibrate", *repairs)
            advice = "; ".join(filter(None, ["recalibrate", advice]))
        severity = "problem" if harm else "note" if keep and cause != "dropout" else "warning"
        paths = tuple(norm.path for norm in found)
        findings.append(Finding(cause, severity, paths, " ".join(parts), repairs, advice))
    return findings


def better(score: Score, than: Score) -> bool:
    """Whether answers are better at all: in accuracy where it is known, in loss where that is equal or unknown."""
    if score.accuracy is not None and than.accuracy is not None and score.accuracy != than.accuracy:
        return score.accuracy > than.accuracy
    return score.loss is not None and than.loss is not None and score.loss < than.loss


def worse(score: Score, than: Score, samples: int) -> bool:
    """Whether answers are worse by more than chance and rounding."""
    if score.accuracy is not None and than.accuracy is not None:
        middle = (score.accuracy + than.accuracy) / 2
        error = np.sqrt(2 * middle * (1 - middle) / samples)
        return bool(than.accuracy - score.accuracy >= max(ACCURACY, ERRORS * error))
    if score.loss is not None and than.loss is not None:
        return not score.loss <= LOSS * than.loss + 1e-12
    return not np.isfinite(score.gap)


def matters(norm: NormRecord) -> bool:
    """Whether there is dropout in front of a norm that shifts its variance."""
    return norm.dropout is not None and norm.dropout.strength > np.log(DROPOUT)


def _culprits(norms: list[NormRecord]) -> list[NormRecord]:
    """One norm that closes most of the gap alone, else those that open most of it alone."""
    broken = [n for n in norms if not np.isfinite(n.from_population.size)]
    if broken:
        return broken
    first, *others = sorted(norms, key=lambda n: n.closes or 0.0, reverse=True)
    second = (others[0].closes or 0.0) if others else 0.0
    if (first.closes or 0.0) >= ALONE and second <= (first.closes or 0.0) / 2:
        return [first]
    most = max(n.opens or 0.0 for n in norms)
    return [n for n in norms if (n.opens or 0.0) >= SHARE * most]


def _cause(norm: NormRecord, norms: list[NormRecord]) -> str:
    """Why one norm's running statistics are not those of the population."""
    batch, population = norm.from_batch.size, norm.from_population.size
    if not np.isfinite(population):
        return "not finite"
    from_start = norm.start_weight >= START and norm.from_start <= EXPLAINED * batch
    if not from_start and batch <= min(STOPPED, AGREE * norm.from_batch.whole) and norm.constant:
        return "stopped"
    if batch < AGREE * population and matters(norm):
        return "dropout"
    if norm.renormalizes and not from_start:
        return "renorm"
    if batch < AGREE * population:
        return "batches"
    if from_start:
        return "start"
    if batch <= SCATTERED * norm.scatter:
        return "scatter"
    others = [other.from_batch.size for other in norms if other is not norm]
    return "foreign" if others and batch >= FOREIGN * max(others) else "stale"


def _how_much(running: Score, right: Score) -> str:
    if np.isfinite(running.gap):
        moved = f"outputs move by {percent(running.gap)} of their spread"
    else:
        moved = "outputs are not finite"
    if running.loss is None:
        return f"With running in place of population statistics the {moved}."
    return f"With running statistics {value(running)}, with population statistics {value(right)} ({moved})."


def _kept(running: Score, right: Score) -> str:
    numbers = ""
    if running.accuracy is not None and running.accuracy == right.accuracy:
        numbers = f" (loss {running.loss:.4g} against {right.loss:.4g})"
    return f"The running statistics answer better{numbers}: recalibrating is no repair here."


def _who(found: list[NormRecord], norms: list[NormRecord]) -> str:
    if len(norms) == 1:
        return f"The cause is its one norm, {named(found[0].path)} {found[0].kind}."
    if len(found) == 1:
        closes = found[0].closes
        share = (
            f": population statistics there alone close {percent(closes)} of the gap"
            if closes and closes > 0
            else ""
        )
        return f"The cause is {named(found[0].path)} {found[0].kind}{share}."
    if len(found) == len(norms):
        return f"All {len(norms)} norms have a part in it{_opened(found)}."
    return f"The causes are {listed(norm.path for norm in found)}, of {len(norms)} norms{_opened(found)}."


def _opened(found: list[NormRecord]) -> str:
    worst = max(found, key=lambda n: n.opens or 0.0)
    return f", {named(worst.path)} the largest: alone it opens {percent(worst.opens or 0.0)} of the gap"


# ---- why, one function for every cause: (what the numbers say, repairs beside "recalibrate", these in words)


def _start(found: list[NormRecord]) -> Explained:
    worst = max(found, key=lambda n: n.start_weight)
    needed = 1.0 - 0.01 ** (1.0 / max(worst.updates, 1))
    rate = 0.0 if worst.momentum is None else worst.momentum
    text = (
        f"Running statistics have not arrived: after {worst.updates} updates of weight {rate:g} the start (mean 0, "
        f"variance 1) still weighs {percent(worst.start_weight)}, and they are {_off(found)} from what batches give."
    )
    advice = (
        f"in training a larger rate (momentum >= {needed:.2g} leaves the start less than 1 % after "
        f"{worst.updates} updates), zero_debias=True, or more steps"
    )
    return text, ("momentum",), advice


def _stale(found: list[NormRecord]) -> Explained:
    worst = _farthest(found)
    if worst.momentum is None:
        memory = "a cumulative average remembers the first batches as well as the last"
    else:
        memory = f"averages of rate {worst.momentum:g} remember about {1 / max(worst.momentum, 1e-9):.0f} batches"
    text = (
        f"Running statistics are not what batches give now, but {_off(found)} from it, more than start or scatter "
        f"explain: the weights moved on since ({memory}), or the statistics are of other data."
    )
    advice = "in training let the learning rate fall towards the end, or take a larger momentum"
    return text, ("momentum",), advice


def _foreign(found: list[NormRecord]) -> Explained:
    text = (
        f"Its running statistics are {_off(found)} from what its batches give, many times as far as those of every "
        "other norm: they were overwritten, loaded from elsewhere or not updated."
    )
    return text, (), ""


def _scatter(found: list[NormRecord]) -> Explained:
    worst = _farthest(found)
    assert worst.noise is not None
    rate = 0.0 if worst.momentum is None else worst.momentum
    text = (
        f"Running statistics scatter with their batches: they are {_off(found)} from the average over batches, about "
        f"what rate {rate:g} leaves of the scatter of single ones, whose {scatter(worst.noise)}."
    )
    advice = "in training a larger batch, batch renormalization or a smaller momentum"
    return text, ("batch size", "renorm", "momentum"), advice


def _by_dropout(found: list[NormRecord]) -> Explained:
    worst = max(found, key=lambda n: n.dropout.strength if n.dropout else 0.0)
    assert worst.dropout is not None
    text = (
        "Running statistics are those of training with dropout, which is off in evaluation. "
        f"In front of {named(worst.path)} stands {effect_of(worst.dropout)}. They are "
        f"{distance(_farthest(found).from_population)} from the population's."
    )
    advice = "in training move the dropout behind the last norm, lower p, or drop it"
    return text, ("dropout",), advice


def _by_batches(found: list[NormRecord]) -> Explained:
    worst = _farthest(found)
    text = (
        f"Running statistics agree with the average over batches ({distance(worst.from_batch)}) but not with the "
        f"whole population ({distance(worst.from_population)}): normalizing batch by batch changes what norms receive."
    )
    advice = "in training a larger or better mixed batch, or batch renormalization"
    return text, ("batch size", "renorm"), advice


def _stopped(found: list[NormRecord]) -> Explained:
    worst = max(found, key=lambda n: len(n.constant))
    text = (
        f"Channels have stopped varying: in {named(worst.path)} {channels(worst.constant, worst.channels)} are constant "
        f"now, and the running statistics remember when they were not. The other channels are {_off(found)}."
    )
    return text, ("prune",), "see why they died, as behind a dead ReLU"


def _renorm(found: list[NormRecord]) -> Explained:
    text = f"{TOWARDS}; they are {_off(found)} from what batches give now."
    advice = "in training let the learning rate fall towards the end"
    return text, (), advice


def _not_finite(found: list[NormRecord]) -> Explained:
    text = "Its running statistics are not finite, or a variance is negative: NaN, infinity or overflow in training."
    advice = "look for the batch or the learning rate that did it"
    return text, (), advice


_EXPLAIN: dict[str, Callable[[list[NormRecord]], Explained]] = {
    "start": _start,
    "stale": _stale,
    "foreign": _foreign,
    "scatter": _scatter,
    "dropout": _by_dropout,
    "batches": _by_batches,
    "stopped": _stopped,
    "renorm": _renorm,
    "not finite": _not_finite,
}


def _farthest(found: list[NormRecord]) -> NormRecord:
    return max(found, key=lambda n: n.from_population.size)


def _off(found: list[NormRecord]) -> str:
    return distance(max(found, key=lambda n: n.from_batch.size).from_batch)

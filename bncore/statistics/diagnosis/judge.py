"""What measurements mean, in words, and what repairs it.

Every decision is a number against one of limits.py; the sentences quote the numbers. What causes a
gap between training and evaluation is causes.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .causes import better, gap_findings, matters, worse
from .limits import CALM, CONSTANT, DEAD, MIXED, NOISY
from .records import NormRecord
from .results import Finding
from .words import channels, effect_of, listed, named, scatter, value

if TYPE_CHECKING:
    from .diagnosis import Diagnosis

__all__ = ["constant_channels", "dead_channels", "judge"]

Array = np.ndarray[Any, Any]


def judge(diagnosis: Diagnosis) -> list[Finding]:
    """All findings, gravest first; none for a net with nothing to repair."""
    if not diagnosis.norms:
        return []
    findings = gap_findings(diagnosis)
    explained = {
        path for finding in findings if finding.kind == "dropout" for path in finding.norms
    }
    mixing = _mixing(diagnosis)
    findings += _dropout(diagnosis, explained) + mixing + ([] if mixing else _noise(diagnosis))
    findings += _unreachable(diagnosis) + _dead(diagnosis) + _constant(diagnosis)
    order = {"problem": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda finding: order[finding.severity])


def dead_channels(weight: Array | None) -> tuple[int, ...]:
    """Channels whose weight is nothing beside the layer's typical one; all, if all are zero."""
    if weight is None:
        return ()
    size = np.abs(np.array(weight, np.float64))
    typical = float(np.median(size)) or float(size.max())
    return tuple(np.flatnonzero(size <= DEAD * typical).tolist())


def constant_channels(population: tuple[Array, Array], eps: float) -> tuple[tuple[int, ...], bool]:
    """Channels whose variance is nothing beside eps or the mean's rounding; whether some of them do vary."""
    mean, var = population
    rounding = 1e-12 * mean**2
    still = var <= np.maximum(CONSTANT * eps, rounding)
    return tuple(np.flatnonzero(still).tolist()), bool((var > rounding)[still].any())


def _dropout(diagnosis: Diagnosis, explained: set[str]) -> list[Finding]:
    """Dropout that shifts the variance of a norm, also where the running statistics have been repaired."""
    found = [norm for norm in diagnosis.norms if matters(norm) and norm.path not in explained]
    if not found:
        return []
    worst = max(found, key=lambda n: n.dropout.strength if n.dropout else 0.0)
    assert worst.dropout is not None
    text = (
        f"Dropout shifts the variance of {listed(n.path for n in found)}. In front of {named(worst.path)} stands "
        f"{effect_of(worst.dropout)}. Training normalizes by another variance than evaluation sees."
    )
    advice, repairs = "move the dropout behind the last norm, lower p, or drop it", ["dropout"]
    if not _keeps(diagnosis):
        advice += "; after training recalibrate"
        repairs.append("recalibrate")
    return [_finding("dropout", "warning", found, text, tuple(repairs), advice)]


def _keeps(diagnosis: Diagnosis) -> bool:
    """Whether the running statistics are what the net answers best with."""
    return better(diagnosis.score("running"), diagnosis.score(diagnosis.method))


def _mixing(diagnosis: Diagnosis) -> list[Finding]:
    """Batches that differ more than random ones do; said only of batches that somebody else made."""
    if diagnosis.random_batches:
        return []
    found = [
        (norm.noise.excess, norm, norm.noise)
        for norm in diagnosis.norms
        if norm.noise is not None
        and norm.noise.excess is not None
        and norm.noise.excess > MIXED
        and norm.noise.typical > NOISY / 2
    ]
    if not found:
        return []
    excess, worst, noise = max(found, key=lambda item: item[0])
    text = (
        f"The batches are not mixed: in {named(worst.path)} their means scatter by {noise.typical:.2f} std, "
        f"{excess:.1f} times as much as those of batches drawn at random. Such statistics tell which batch it is, "
        "not what the data are like."
    )
    batch, right = diagnosis.score("batch"), diagnosis.score(diagnosis.method)
    if worse(batch, right, diagnosis.scored_samples):
        text += f" With batch statistics {value(batch)}, with population statistics {value(right)}."
    advice = "shuffle samples before making batches; where that cannot be, batch renormalization"
    norms = [norm for _, norm, _ in found]
    return [_finding("mixing", "problem", norms, text, ("shuffle", "renorm"), advice)]


def _noise(diagnosis: Diagnosis) -> list[Finding]:
    """Batches too small for their statistics: these scatter widely, or cost answers."""
    measured = [(n.noise.typical, n, n.noise) for n in diagnosis.norms if n.noise is not None]
    if not measured:
        return []
    batch, right = diagnosis.score("batch"), diagnosis.score(diagnosis.method)
    typical, worst, noise = max(measured, key=lambda item: item[0])
    costly = worse(batch, right, diagnosis.scored_samples)
    if typical <= NOISY and not costly:
        return []
    found = [norm for size, norm, _ in measured if size > NOISY] or [worst]
    size = diagnosis.samples / diagnosis.batches
    text = (
        f"Batches of {size:.0f} are small: in {named(worst.path)} {scatter(noise)} from batch to batch (more than "
        f"{NOISY:g} std is much; {noise.values:.0f} independent values would give {noise.independent_mean:.2f})."
    )
    if costly:
        text += f" With batch statistics {value(batch)}, with population statistics {value(right)}."
    enough = 1 << int(np.ceil(np.log2(max(size * (typical / CALM) ** 2, 2 * size, 32))))
    advice, repairs = f"train with batches of about {enough}", ["batch size"]
    if not worst.renormalizes:
        advice += ", or with batch renormalization"
        repairs.append("renorm")
        if not _keeps(diagnosis):
            advice += "; recalibrate before evaluation"
            repairs.append("recalibrate")
    return [_finding("noise", "warning", found, text, tuple(repairs), advice)]


def _unreachable(diagnosis: Diagnosis) -> list[Finding]:
    """Answers that only statistics of the batch itself give."""
    batch, right = diagnosis.score("batch"), diagnosis.score(diagnosis.method)
    fixed = right, diagnosis.score("running")
    if not all(worse(score, batch, diagnosis.scored_samples) for score in fixed):
        return []
    text = (
        f"No fixed statistics do as well as those of the batch: {value(batch)} with batch statistics, "
        f"{value(right)} with population statistics. The net answers by what else is in the batch."
    )
    advice = "train with larger or better mixed batches, with batch renormalization, or with frozen statistics in the end"
    repairs = ("batch size", "shuffle", "renorm")
    return [_finding("unreachable", "problem", diagnosis.norms, text, repairs, advice)]


def _dead(diagnosis: Diagnosis) -> list[Finding]:
    findings = []
    for norm in diagnosis.norms:
        if norm.dead:
            text = (
                f"Dead channels in {named(norm.path)}: {channels(norm.dead, norm.channels)} have a weight (gamma) "
                f"below {DEAD:g} of the layer's median; they give their bias whatever comes."
            )
            advice = "remove them; where weights started at zero on purpose, train on"
            findings.append(_finding("dead", "note", [norm], text, ("prune",), advice))
    return findings


def _constant(diagnosis: Diagnosis) -> list[Finding]:
    findings = []
    for norm in diagnosis.norms:
        if not norm.constant:
            continue
        which = channels(norm.constant, norm.channels)
        if norm.constant_eps:
            text = (
                f"Channels that hardly vary in {named(norm.path)}: {which} have a variance below {CONSTANT:g} of eps, "
                "which then decides their scale."
            )
            repairs, advice = ("eps",), "scale the input up or take a smaller eps, if they matter"
        else:
            text = (
                f"Constant channels in {named(norm.path)}: {which} never vary in these data; another value would be "
                "divided by sqrt(eps)."
            )
            repairs, advice = ("prune",), "remove them, or leave them: they give their bias"
        findings.append(_finding("constant", "note", [norm], text, repairs, advice))
    return findings


def _finding(
    kind: str,
    severity: str,
    norms: list[NormRecord],
    text: str,
    repairs: tuple[str, ...],
    advice: str,
) -> Finding:
    return Finding(kind, severity, tuple(norm.path for norm in norms), text, repairs, advice)

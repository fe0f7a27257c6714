"""Decides which norm goes with which linear operation, on which side, of what names suggest or the user says.

A state dict has no graph. Whether a norm is before or after a square operation is decided by blocks of the same kind
where these agree; what else names and shapes leave open is not decided at all: it is listed with what it could be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..report import Kept
from .candidates import Candidate, Open
from .modules import Linear, Modules, Norm
from .names import sounds_transposed
from .readings import Reading, readings
from .votes import Votes

__all__ = ["Pair", "resolve"]


@dataclass(frozen=True)
class Pair:
    """A norm and a linear operation that belong together."""

    norm: Norm
    linear: Linear
    reading: Reading
    eps: float | None
    unpadded: bool


def resolve(
    modules: Modules,
    candidates: Iterable[Candidate],
    kinds: Mapping[str, str],
    unpaired: str = "no linear operation goes with it by name",
) -> tuple[list[Pair], list[Kept]]:
    """Decide about candidates; ``kinds`` says of linear operations, by path, what they are, and ``unpaired`` why a
    norm has no candidate.

    Returns
    -------
    pairs : list of Pair
    kept : list of Kept
        Every norm without a pair, with the reason.
    """
    known = [replace(c, kind=c.kind or kinds.get(c.linear)) for c in candidates]
    open_ = _readings(modules, known, doubt_groups=False)
    if _has_transposed(modules, open_, kinds):
        open_ = _readings(modules, known, doubt_groups=True)
    votes = Votes(modules, open_)
    pairs: list[Pair] = []
    kept: list[Kept] = []
    for path, options in open_.items():
        norm = modules.norms[path]
        try:
            if not options:
                raise _Undecided(unpaired)
            chosen = _choose(modules, norm, options, votes)
        except _Undecided as reason:
            kept.append(Kept(path, str(reason), "kept"))
            continue
        pairs += [
            Pair(norm, modules.linears[c.linear], reading, c.eps, c.unpadded)
            for c, reading in chosen
        ]
    return _without_rivals(pairs, kept)


def _readings(modules: Modules, candidates: Iterable[Candidate], *, doubt_groups: bool) -> Open:
    """What every candidate of every norm can be."""
    found: Open = {norm: {} for norm in modules.norms}
    for c in candidates:
        shape, channels = modules.linears[c.linear].shape, modules.norms[c.norm].channels
        fits = readings(shape, channels, c.kind, c.direction, doubt_groups=doubt_groups)
        found[c.norm][c] = fits
    return found


def _has_transposed(modules: Modules, open_: Open, kinds: Mapping[str, str]) -> bool:
    """Whether anything speaks of transposed convolutions: a name, what the user says, a shape."""
    if "conv_transpose" in kinds.values() or any(map(sounds_transposed, modules.linears)):
        return True
    every = (found for options in open_.values() for found in options.values() if found)
    return any(all(r.kind == "conv_transpose" for r in found) for found in every)


class _Undecided(Exception):
    """The reason why a norm has no pair."""


def _choose(
    modules: Modules,
    norm: Norm,
    options: Mapping[Candidate, list[Reading]],
    votes: Votes,
) -> list[tuple[Candidate, Reading]]:
    fitting = {candidate: found for candidate, found in options.items() if found}
    if not fitting:
        raise _Undecided(_misfit(modules, norm, next(iter(options))))
    given = all(candidate.given for candidate in fitting)
    if len(fitting) > 1 and not given:
        several = " or ".join(candidate.linear for candidate in fitting)
        raise _Undecided(f"ambiguous: by name it goes with {several}")
    if given and len(fitting) < len(options):
        raise _Undecided(_misfit(modules, norm, next(c for c in options if c not in fitting)))
    return [(candidate, _decide(candidate, fitting[candidate], votes)) for candidate in fitting]


def _decide(candidate: Candidate, found: list[Reading], votes: Votes) -> Reading:
    """The one reading of a candidate, by itself or by what blocks of its kind agree on."""
    path, reading = candidate.linear, found[0]
    if len(found) > 1:
        reading = _agreed(path, found, votes.of(path))
    if reading.kind == "conv_transpose" and candidate.kind is None:
        raise _Undecided(
            f"{path} fits as a transposed convolution only: --kind {path}=conv_transpose says that it is one"
        )
    if reading.direction == "before" and not candidate.given:
        raise _Undecided(
            f"by its channels it comes before {path}: give the pair if nothing is between them"
        )
    return reading


def _agreed(path: str, found: list[Reading], votes: set[Reading]) -> Reading:
    """What blocks of its kind say of its direction. Of its kind they say nothing: encoders have mirrored decoders."""
    several_kinds = len({reading.kind for reading in found}) > 1
    if not several_kinds and len(votes) == 1 and votes <= set(found):
        return next(iter(votes))
    could = " or ".join(map(str, found))
    hint = f" (--kind {path}=conv or {path}=conv_transpose says which)" if several_kinds else ""
    raise _Undecided(f"ambiguous: by its shape {path} is {could}{hint}")


def _misfit(modules: Modules, norm: Norm, candidate: Candidate) -> str:
    shape = list(modules.linears[candidate.linear].shape)
    return f"it has {norm.channels} channels, {candidate.linear} has a weight of shape {shape}"


def _without_rivals(pairs: list[Pair], kept: list[Kept]) -> tuple[list[Pair], list[Kept]]:
    """No linear operation has two norms on one side."""
    claims: dict[tuple[str, str], list[str]] = {}
    for pair in pairs:
        claims.setdefault((pair.linear.path, pair.reading.direction), []).append(pair.norm.path)
    rivals = {
        norm: f"ambiguous: {' and '.join(norms)} both go with {linear}"
        for (linear, _), norms in claims.items()
        if len(norms) > 1
        for norm in norms
    }
    kept = kept + [Kept(norm, why, "kept") for norm, why in rivals.items()]
    return [pair for pair in pairs if pair.norm.path not in rivals], kept

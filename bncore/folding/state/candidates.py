"""Two paths that may belong together, as names suggest or the user says; pairs.py decides about them."""

from __future__ import annotations

from dataclasses import dataclass

from .modules import Modules
from .names import LinearNames
from .readings import Reading

__all__ = ["Candidate", "Open", "candidates_by_name"]


@dataclass(frozen=True)
class Candidate:
    """Two paths that may belong together; None is what is not known.

    Attributes
    ----------
    norm, linear : str
    direction : "after", "before" or None
        Where the norm is.
    kind : str or None
        One of `readings.KINDS`.
    eps : float or None
        Of the norm; None is the one for all.
    unpadded : bool
        Known to be a convolution without padding.
    given : bool
        By the user, not by name.
    """

    norm: str
    linear: str
    direction: str | None = None
    kind: str | None = None
    eps: float | None = None
    unpadded: bool = False
    given: bool = False


# every norm's candidates, and what each of these can be
Open = dict[str, dict[Candidate, list[Reading]]]


def candidates_by_name(modules: Modules) -> list[Candidate]:
    """What the names suggest, for every norm."""
    names = LinearNames(modules.linears)
    return [
        Candidate(norm, guess.linear, "after" if guess.follows else None)
        for norm in modules.norms
        for guess in names.beside(norm)
    ]

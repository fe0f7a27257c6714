"""What blocks of one kind say of each other: where a square member leaves open on which side a norm is, others do not."""

from __future__ import annotations

from .candidates import Open
from .modules import Modules
from .names import pool_of
from .readings import Reading

__all__ = ["Votes"]


class Votes:
    """What shapes say beyond doubt, by kind of block.

    Blocks are of one kind if they are numbered places of one path, with operations and norms of the same names. A
    place without a number is the only one of its kind.
    """

    def __init__(self, modules: Modules, open_: Open) -> None:
        self._names: dict[str, set[str]] = {}
        for path in (*modules.linears, *modules.norms):
            parent, _, own = path.rpartition(".")
            self._names.setdefault(parent, set()).add(own)
        self._votes: dict[tuple[str, frozenset[str]], set[Reading]] = {}
        for options in open_.values():
            fitting = [(c, found) for c, found in options.items() if found]
            if len(fitting) == 1 and len(fitting[0][1]) == 1:
                candidate, (reading,) = fitting[0]
                self._votes.setdefault(self._kind(candidate.linear), set()).add(reading)

    def of(self, path: str) -> set[Reading]:
        """All that blocks of the kind say in which an operation is."""
        kind = self._kind(path)
        return self._votes.get(kind, set()) if "#" in kind[0] else set()

    def _kind(self, path: str) -> tuple[str, frozenset[str]]:
        return pool_of(path), frozenset(self._names[path.rpartition(".")[0]])

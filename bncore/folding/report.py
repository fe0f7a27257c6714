"""What folding did: one line for every norm, for people and for machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["FoldReport", "Folded", "Kept"]


class Folded(NamedTuple):
    """A norm that is gone: its path in the original net, the layers that absorbed it, by which
    rule.
    """

    path: str
    into: str
    rule: str


class Kept(NamedTuple):
    """A norm that stayed: its path in the original net, why, and the rule that would have been
    nearest.
    """

    path: str
    why: str
    rule: str


@dataclass
class FoldReport:
    """Result of `fold_net`: every norm of the net is in one of two lists, in the order of the
    forward pass.

    Attributes
    ----------
    folded : list of (path, into, rule)
    kept : list of (path, why, rule)
    """

    folded: list[Folded] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Python numbers and strings only, ready for JSON."""
        return {
            "norms_folded": len(self.folded),
            "norms_left": len(self.kept),
            "folded": [entry._asdict() for entry in self.folded],
            "kept": [entry._asdict() for entry in self.kept],
        }

    def __str__(self) -> str:
        lines = [f"{len(self.folded)} of {len(self.folded) + len(self.kept)} norms folded"]
        rows = [(path or "(net)", "into " + into, rule) for path, into, rule in self.folded]
        rows += [(path or "(net)", "kept", why) for path, why, _ in self.kept]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)] if rows else []
        lines += [f"  {path:{widths[0]}}  {into:{widths[1]}}  {note}" for path, into, note in rows]
        return "\n".join(lines)

"""The README's table of the lab: what was asked, what came out, in how many seconds; from `bncore lab all --out DIR`."""

from __future__ import annotations

from typing import Any

__all__ = ["render"]


def render(results: dict[str, Any]) -> str:
    """One row an experiment; a criterion that is not met is said in front of its conclusion."""
    experiments = results["experiments"]
    first = experiments[0]
    total = sum(experiment["seconds"] for experiment in experiments)
    met = sum(experiment["passed"] for experiment in experiments)
    head = (
        f"{met} of {results['planned']} experiments met all their criteria; {total:.0f} s on {first['threads']} threads, "
        f"{first['backend']} backend ({first['isa']}), seeds {', '.join(map(str, first['seeds']))}; bncore {first['version']}."
    )
    rows = ["| `bncore lab` … | question | what came out | s |", "|---|---|---|---:|"]
    for experiment in experiments:
        failed = "" if experiment["passed"] else "**A criterion is not met.** "
        cells = [
            f"`{experiment['name']}`",
            experiment["question"],
            failed + experiment["conclusion"],
            f"{experiment['seconds']:.0f}",
        ]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([head, "", *rows])

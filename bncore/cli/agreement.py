"""Whether a folded net still is the same function, and how that is reported. The folding itself is in bncore.folding."""

from __future__ import annotations

from typing import Any

import numpy as np

from .report import table

__all__ = ["Agreement", "compare_outputs", "fold_section", "fold_text", "sample_inputs"]


class Agreement:
    """Largest difference between two nets' outputs, and the largest output, over some inputs."""

    def __init__(self, max_abs_error: float, largest: float, samples: int) -> None:
        self.max_abs_error = max_abs_error
        self.largest = largest
        self.samples = samples

    def within(self, tolerance: float) -> bool:
        """Whether the difference is at most ``tolerance`` times the largest output (or 1, if all are smaller).

        Outputs that are not finite never agree.
        """
        return bool(self.max_abs_error <= tolerance * max(1.0, self.largest) < np.inf)


def compare_outputs(net: Any, folded: Any, x: np.ndarray, *, batch_size: int = 256) -> Agreement:
    """Run both nets in evaluation mode on the samples ``x`` (n, ...) and compare."""
    error = largest = 0.0
    for start in range(0, len(x), batch_size):
        batch = x[start : start + batch_size]
        expected, got = net(batch), folded(batch)
        # np.max hands NaN on, Python's max may drop it
        error = float(np.max([error, np.max(np.abs(got - expected))]))
        largest = float(np.max([largest, np.max(np.abs(expected))]))
    return Agreement(error, largest, len(x))


def sample_inputs(shape: tuple[int, ...], dtype: Any, seed: int, *, count: int = 64) -> np.ndarray:
    """Random inputs of one sample's ``shape`` at three magnitudes, so that no ReLU is always on or always off."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, *shape))
    x *= np.resize([0.1, 1.0, 10.0], count).reshape(-1, *[1] * len(shape))
    return x.astype(dtype)


def fold_section(report: Any, agreement: Agreement) -> dict[str, Any]:
    """What became of every norm, for --json."""
    return {
        "norms_folded": len(report.folded),
        "norms_left": len(report.kept),
        "max_abs_error": agreement.max_abs_error,
        "largest_output": agreement.largest,
        "samples_compared": agreement.samples,
        "folded": [
            {"norm": norm, "into": into, "rule": rule} for norm, into, rule in report.folded
        ],
        "kept": [{"norm": norm, "why": why, "rule": rule} for norm, why, rule in report.kept],
    }


def fold_text(section: dict[str, Any]) -> str:
    """The same for people."""
    rows = [(item["norm"], "folded into", item["into"], item["rule"]) for item in section["folded"]]
    rows += [(item["norm"], "kept", item["why"], item["rule"] or "") for item in section["kept"]]
    lines = [f"folding: {section['norms_folded']} norms folded, {section['norms_left']} left"]
    if rows:
        lines.append(table(rows))
    lines.append(
        f"  largest |folded - unfolded| {section['max_abs_error']:.3g} "
        f"(outputs up to {section['largest_output']:.3g}, {section['samples_compared']} samples)"
    )
    return "\n".join(lines)

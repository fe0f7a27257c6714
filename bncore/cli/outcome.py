"""What a trained net is worth: folding, accuracy and time, and how to say it.

Training comes before, in train.py, and which statistics the net keeps, in kept.py.
"""

from __future__ import annotations

from typing import Any

from ..folding import fold_net, verify
from ..layers import Layer
from ..training.data import Dataset
from .agreement import default_tolerance, fold_section, fold_text
from .latency import compare
from .report import percent, recalibration_text

__all__ = ["describe", "measure"]


def measure(net: Layer, data: Dataset, dtype: str, recalibration: dict[str, Any]) -> dict[str, Any]:
    """How well the net does, what folding did, what an answer costs before and after.

    ``recalibration`` is what `choose_statistics` compared; the folded net is only measured.
    """
    kept = recalibration["before" if recalibration["kept"] == "running" else "after"]
    folded, report = fold_net(net, input_ndim=data.x_test.ndim)
    found = verify(net, folded, data.x_test)
    single = compare(net, folded, data.x_test, batch_size=1)
    batch = compare(net, folded, data.x_test, batch_size=64)
    return {
        "test_accuracy": kept.get("accuracy"),
        "test_loss": kept["loss"],
        "test_r2": kept.get("r2"),
        "recalibration": recalibration,
        "fold": fold_section(report, found, default_tolerance(dtype)),
        "latency_us": {**single, "batched": batch},
    }


def describe(result: dict[str, Any]) -> str:
    """The same for people."""
    accuracy, r2 = result["test_accuracy"], result["test_r2"]
    headline = f"test R² {r2:.4f}" if accuracy is None else f"test accuracy {percent(accuracy)}"
    single, batch = result["latency_us"], result["latency_us"]["batched"]
    return "\n".join(
        [
            f"{headline} after {result['epochs']} epochs in {result['seconds']:.1f} s",
            *recalibration_text(result["recalibration"]),
            fold_text(result["fold"]),
            "time per sample, median, unfolded -> folded:",
            f"  one at a time  {single['before']:.1f} -> {single['after']:.1f} µs",
            f"  batches of {batch['batch_size']}  {batch['before']:.1f} -> {batch['after']:.1f} µs",
        ]
    )

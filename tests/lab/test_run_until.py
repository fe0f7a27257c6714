"""When a run's loss left: `Run.until`."""

from __future__ import annotations

import math

import pytest

from bncore.lab.training import Run


def run_with(losses: list[float]) -> Run:
    run = Run.__new__(Run)
    run.losses = losses
    return run


@pytest.mark.parametrize(
    ("losses", "factor", "steps"),
    [
        ([2.0, 3.0, 20.0, 1.0], 10.0, 2),  # exactly ten times counts
        ([2.0, 19.9, 1.0], 10.0, math.inf),
        ([2.0, 1.0, math.nan], 10.0, 2),
        ([2.0, 1e30, math.nan], math.inf, 2),
        ([2.0, 1e30, math.inf], math.inf, 2),
        ([math.nan], 10.0, 0),
        ([], 10.0, math.inf),
    ],
)
def test_counts_steps_until_the_loss_is_large_or_not_finite(
    losses: list[float], factor: float, steps: float
) -> None:
    assert run_with(losses).until(factor) == steps

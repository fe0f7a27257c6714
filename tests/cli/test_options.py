"""The options' choices are those of the library: they are written out so that --help need not import it."""

from __future__ import annotations

import math

import bncore as bn
from bncore.cli import recalibrate, train
from bncore.statistics.recalibrate import METHODS
from bncore.training import recipes, schedules


def test_choices_are_what_the_library_knows() -> None:
    assert train.NORMS == bn.nets.NORMS
    assert train.NETS == recipes.NETS
    assert set(recipes.NETS) - set(recipes.RECURRENT) == set(bn.nets.__all__) - {
        "NORMS",
        "recurrent",
    }
    assert set(train.SCHEDULES) <= set(schedules.names())
    assert set(recalibrate.METHODS) == set(METHODS)


def test_every_schedule_ends_at_a_finite_rate() -> None:
    for name in train.SCHEDULES:
        factors = [schedules.resolve(name)(step, 100) for step in range(100)]
        assert all(math.isfinite(factor) and 0.0 <= factor <= 1.0 for factor in factors), name

"""Toy experiments in place of the real ones: one that meets its criterion, one that does not."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from bncore import lab
from bncore.lab import catalogue
from bncore.lab.context import Lab
from bncore.lab.outcome import Outcome, Table, at_least
from bncore.lab.pictures import Axis, Dots, HeatMaps, Lines, Series

X, Y = Axis("batch size", "samples", log=True), Axis("accuracy", "%")


def lines(seeds: int) -> Lines:
    values = 90 + np.arange(seeds * 3.0).reshape(seeds, 3)
    return Lines("Curves", X, Y, [Series("batch <norm>", [2, 8, 32], values)], [(91.0, "goal")])


def dots(seeds: int) -> Dots:
    values = 90 + np.arange(seeds * 2.0).reshape(seeds, 2)
    series = [Series(name, ["relu", "tanh"], values) for name in ("before", "after")]
    return Dots("Places", Axis("activation"), Y, series)


def maps(seeds: int) -> HeatMaps:
    values = np.linspace(0, 100, seeds * 6).reshape(seeds, 2, 3)
    panels = [("norm", values), ("none", values)]
    return HeatMaps("Maps", X, Axis("deviation"), ["1", "2", "3"], ["a", "b"], panels, Y)


def outcome(seeds: int, bound: float) -> Outcome:
    return Outcome(
        "With <norm> the figure is 90.0 %.",
        [at_least("accuracy, worst seed", 90.0, bound, "%")],
        [Table("All", ["net", "accuracy, %"], [["batch & more", 90.123], ["none", 12]])],
        [lines(seeds), dots(seeds), maps(seeds)],
        ["A remark."],
    )


def module(name: str, bound: float) -> ModuleType:
    made = ModuleType(f"bncore.lab.experiments.{name}")

    def run(lab: Lab) -> Outcome:
        lab.plan(2)
        for _ in range(2):
            for _ in lab.each_seed():
                pass
        return outcome(len(lab.seeds), bound)

    made.__dict__.update(QUESTION=f"Is {name} so?", SETTING="Toys.", run=run)
    return made


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Names of the toys, which are all there is."""
    names = ("toy-good", "toy-bad")
    for name, bound in zip(names, (80.0, 95.0)):
        path = name.replace("-", "_")
        monkeypatch.setitem(sys.modules, f"bncore.lab.experiments.{path}", module(path, bound))
    monkeypatch.setattr(catalogue, "NAMES", names)
    monkeypatch.setattr(lab, "NAMES", names)
    return names

"""Every experiment, with quick settings: meets its criteria, says so in numbers, and would not if nets learned nothing.

Needs the data of scikit-learn. The full settings with three seeds are `bncore lab all`.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from bncore import lab
from bncore.cli.report import plain
from bncore.lab.training import Run

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def reports() -> dict[str, lab.Report]:
    """Every experiment is run once, when a test first asks for it."""
    return {}


@pytest.mark.parametrize("name", lab.NAMES)
def test_an_experiment_meets_its_criteria(name, reports):
    report = reports[name] = lab.run(name, 1, quick=True, progress=False)
    assert report.passed, str(report)
    assert report.outcome.criteria and report.outcome.tables and report.outcome.pictures
    assert re.search(r"\d", report.outcome.conclusion)
    found = json.loads(json.dumps(plain(report.to_dict()), allow_nan=False))
    assert all(c["figure"] is not None and c["passed"] is True for c in found["criteria"])


@pytest.mark.parametrize("name", lab.NAMES)
def test_tables_are_whole_and_pictures_have_values(name, reports):
    report = reports.get(name) or lab.run(name, 1, quick=True, progress=False)
    for table in report.outcome.tables:
        assert table.rows and all(len(row) == len(table.columns) for row in table.rows)
    for picture in report.outcome.pictures:
        values = [
            np.asarray(part["values"], np.float64)
            for part in picture.to_dict().get("series") or picture.to_dict()["panels"]
        ]
        assert values and all(np.isfinite(v).any() for v in values)


# grades trains nothing, whole-set looks at work alone
ON_TRAINED_NETS = [name for name in lab.NAMES if name not in ("grades", "whole-set")]


@pytest.mark.parametrize("name", ON_TRAINED_NETS)
def test_nets_that_learn_nothing_fail_the_criteria(name, monkeypatch):
    def idle(self: Run) -> float:
        self.losses.append(1.0)
        return 1.0

    monkeypatch.setattr(Run, "step", idle)
    report = lab.run(name, 1, quick=True, progress=False)
    assert not report.passed
    assert not re.search(r"\b(nan|inf)\b", str(report))


def test_the_same_seed_gives_the_same_report():
    first, second = (lab.run("speed", [5], quick=True, progress=False) for _ in range(2))
    assert first.outcome.conclusion == second.outcome.conclusion
    assert first.to_dict()["pictures"] == second.to_dict()["pictures"]

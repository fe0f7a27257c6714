"""Criteria, tables, reports: what is met, how figures are written, what JSON and text hold."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from bncore import lab
from bncore.lab.outcome import Table, at_least, at_most, equal, number, span


@pytest.mark.parametrize(
    ("criterion", "met"),
    [
        (at_least("a", 2, 2), True),
        (at_least("a", 1.99, 2), False),
        (at_most("a", 2, 2), True),
        (at_most("a", 2.01, 2), False),
        (equal("a", 0, 0), True),
        (equal("a", 1e-300, 0), False),
        (at_least("a", math.inf, 10), True),
        (at_most("a", math.inf, 10), False),
    ],
)
def test_a_criterion_is_met_or_not(criterion, met):
    assert criterion.passed is met
    assert criterion.to_dict()["passed"] is met


@pytest.mark.parametrize("make", [at_least, at_most, equal])
def test_nothing_measured_is_not_met(make):
    assert not make("a", math.nan, 0).passed


def test_a_criterion_says_its_figure_and_its_bound():
    assert str(at_least("mean gap", 12.3456, 5, "%")) == "mean gap: 12.35 ≥ 5 %"
    assert str(equal("bits that differ", 0, 0)) == "bits that differ: 0 = 0"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (True, "yes"), (False, "no"), (math.nan, "not a number"), (math.inf, "∞"), (-math.inf, "-∞"),
        (3, "3"), (3.0, "3"), (5.4, "5.40"), (0.0, "0"), (2000.5, "2e+03"), (90.126, "90.13"), (0.01234, "0.0123"), (1e-12, "1e-12"), (123456.0, "123456"), (2.5e7, "2.5e+07"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_people_write_them(value, text):
    assert number(value) == text
    assert Table("t", ["a"], [[value]]).cells() == [[text]]


def test_whole_floats_have_decimals_beside_fractions():
    rows = [["a", 97.0, 97.0, 3], ["b", 97.13, 98.0, 4], ["c", 0.0, 0.0, None]]
    assert Table("t", list("abcd"), rows).cells() == [
        ["a", "97.00", "97", "3"], ["b", "97.13", "98", "4"], ["c", "0", "0", "-"]
    ]  # fmt: skip


def test_a_span_goes_from_the_least_to_the_largest():
    assert span([30, 20, 40.0]) == "20 to 40"
    assert span(np.array([7, 7])) == "7"
    assert span([30, math.inf]) == "30 to never"


def test_a_report_holds_everything_as_text_and_as_json(toys):
    report = lab.run(toys[0], 2, progress=False)
    assert report.passed and report.seeds == (0, 1)
    found = json.loads(json.dumps(report.to_dict()))
    for name in (
        "name",
        "question",
        "setting",
        "conclusion",
        "remarks",
        "seconds",
        "backend",
        "threads",
    ):
        assert found[name] is not None, name
    assert found["criteria"][0]["figure"] == 90.0 and found["criteria"][0]["passed"] is True
    assert [picture["kind"] for picture in found["pictures"]] == ["Lines", "Dots", "HeatMaps"]
    assert len(found["pictures"][0]["series"][0]["values"]) == 2
    said = str(report)
    for part in (
        "Is toy_good so?",
        "With <norm>",
        "met ",
        "90 ≥ 80 %",
        "batch & more",
        "A remark.",
        "Seeds 0, 1",
    ):
        assert part in said, part


def test_a_criterion_that_is_not_met_is_said_plainly(toys):
    report = lab.run(toys[1], 1, progress=False)
    assert not report.passed
    assert "NOT MET  accuracy, worst seed: 90 ≥ 95 %" in str(report)
    assert "a criterion is not met" in str(report).splitlines()[0]

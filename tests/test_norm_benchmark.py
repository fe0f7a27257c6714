"""The parts of bench_norm.py that compute something: cases, float64 results, classes and goals. No process is started."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.reference import norm as exact
from tests.reference import rows as exact_rows

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from norms import cases, data, figures, goals, tables
from norms.reference import Expected, Files, Reference, names


def test_drawn_cases_are_the_same_every_time_and_as_promised() -> None:
    drawn = list(cases.drawn())
    assert drawn == list(cases.drawn()) and len(drawn) == 100
    assert {len(case.shape) for case in drawn} == {2, 3, 4, 5}
    assert all(cases.LEAST <= case.nbytes <= cases.MOST for case in drawn)
    assert all(case.size > case.channels for case in drawn)  # more than one value a channel
    assert {case.op for case in drawn} == set(cases.RANDOM_OPS)
    assert len({case.label for case in drawn}) == 100
    assert sorted(case.nbytes for case in drawn) == [c.nbytes for c in cases.random()][::-1]


def test_a_case_survives_json() -> None:
    for case in cases.named():
        assert cases.Case.of(case.describe()) == case


def run(case: cases.Case) -> tuple[data.Data, Expected]:
    arrays, files = data.Data(case, data.Room(), data.Room()), Files()
    Reference(arrays).write(case, files)
    expected = Expected(case, **files.paths)
    expected.files = files  # type: ignore[attr-defined]  # they live as long as this
    return arrays, expected


@pytest.mark.parametrize("shape, axis", [((5, 7), 1), ((3, 4, 5, 2), 1), ((3, 5, 2, 4), -1)])
@pytest.mark.parametrize("op", [op for op in cases.ARRAYS if " " not in op])
def test_results_expected_are_those_of_the_literal_formulas(
    op: str, shape: tuple[int, ...], axis: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("norms.reference.BLOCK", 16)  # several blocks
    arrays, expected = run(cases.Case(op, shape, axis, "float64"))
    x, weight, bias = arrays.x, arrays.weight, arrays.bias
    mean, var = exact.statistics(x, axis)[:2]
    if op == "statistics":
        results = mean, var
    elif "backward" in op:
        gate = None
        common = x, weight, bias, mean, var, cases.EPS, axis
        if "relu" in op:
            gate = exact.forward(*common) > 0
        results = exact.backward(arrays.dy, *common, True, gate)[:3]
    else:
        if op == "evaluation":
            mean, var = arrays.mean, arrays.var
        residual = arrays.residual if "add" in op else None
        common = x, weight, bias, mean, var, cases.EPS, axis
        results = (exact.forward(*common, "relu" in op, residual),)
    errors = expected.errors(tuple(results))
    assert tuple(errors) == names(expected.case)
    assert max(errors.values()) < 1e-13
    wrong = tuple(result + 1 for result in results)
    assert min(expected.errors(wrong).values()) > 1e-3
    broken = (results[0] * np.nan, *results[1:])
    assert np.isnan(expected.errors(broken)[names(expected.case)[0]])


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_results_expected_of_rows_are_those_of_the_literal_formulas(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("norms.reference.BLOCK", 16)
    arrays, expected = run(cases.Case(f"{kind} forward", (9, 7), -1, "float64"))
    x, weight, bias = arrays.x, arrays.weight, arrays.bias if kind == "layer" else None
    y = exact_rows.forward(x, weight, bias, cases.EPS, kind)
    assert expected.errors((y,))["y"] < 1e-13
    arrays, expected = run(cases.Case(f"{kind} backward", (9, 7), -1, "float64"))
    gradients = exact_rows.backward(arrays.dy, x, weight, cases.EPS, kind)
    count = len(names(expected.case))
    assert max(expected.errors(tuple(gradients[:count])).values()) < 1e-13


def test_memory_is_used_again_and_arrays_do_not_overlap() -> None:
    room = data.Room()
    first = [room.array((3000,), "float32") for _ in range(2)]
    assert not np.shares_memory(*first)
    assert all(array.ctypes.data % 64 == 0 for array in first)
    room.leave()
    second = room.array((2000,), "float64")
    assert not any(np.shares_memory(second, array) for array in first)  # did not fit
    room.leave()
    assert np.shares_memory(room.array((10,), "float32"), second)


def row(op: str, shape: tuple[int, ...], times: dict[str, float], axis: int = 1) -> figures.Row:
    case = cases.Case(op, shape, axis)
    return {
        **case.describe(),
        "threads": 2,
        "layout": case.layout,
        "least_bytes": case.least_bytes,
        "median_us": times,
        "error": {"bncore user": {"y": 2e-7}},
        "digest": {},
        "wrong": [],
    }


TIMES = {"bncore user": 12.0, "bncore kernel": 10.0, "roof regular": 9.0, "roof streaming": 8.0}


def test_ratios_are_those_to_the_best_peer_of_the_level() -> None:
    times = {**TIMES, "torch user": 60.0, "torch warm": 20.0, "jax": 30.0}
    one = row("forward", (64, 64, 56, 56), times)
    assert figures.best_peer(one, "kernel") == ("torch warm", 20.0)
    assert figures.ratio(one, "kernel") == 2
    assert figures.ratio(one, "user") == 30 / 12  # a warm heap is nobody's ordinary call
    assert figures.roof(one) == 8 and figures.fraction(one) == 0.8
    assert not figures.lost(one, "user")
    assert figures.fraction(row("forward", (32, 64), times)) is None  # a call, not memory


def test_goals_are_met_only_by_every_row_of_a_class() -> None:
    good = row("forward", (64, 64, 56, 56), {**TIMES, "torch warm": 70.0, "onednn 16c": 9.9})
    bad = row("forward", (128, 32, 32, 32), {**TIMES, "torch warm": 50.0, "onednn 16c": 8.2})
    by_text = {
        goal.text: found
        for goal in goals.goals(32 << 20)
        if (found := goals.outcome(goal, [good, bad]))
    }
    torch = by_text["6 × PyTorch"]
    assert (torch.count, torch.reached, torch.met) == (2, 1, False)
    assert torch.worst == 5 and torch.worst_row is bad
    assert "0.6 of the roof, 7×7" not in by_text
    # 0.82 and 0.99 of the best peer; the second one's peer is not at the roof, the first one's is, but too fast
    assert by_text["1.0, kernel level"].reached == 0
    bound = row("evaluation", (64, 64, 56, 56), {**TIMES, "onednn plain": 9.8, "roof regular": 9.7})
    bound["median_us"].pop("roof streaming")
    assert goals.everywhere(bound, "kernel") > 1  # at the speed of memory, 0.98 will do


def test_tables_hold_every_class_goal_and_loss() -> None:
    rows = [
        row("forward", (64, 64, 56, 56), {**TIMES, "torch user": 70.0}),
        row("rms forward", (4096, 768), {**TIMES, "jax": 9.0}, -1),
    ]
    results = {"machine": {}, "cases": rows}
    short, full = tables.readme(results, "here"), tables.full(results, "here")
    assert "| forward, channels-first | 2 | 1 | 7.00 (7.00) |" in short
    assert "A peer is faster in 1 rows." in short
    assert "| rms forward 4096×768 | 2 | kernel | 10.0 | jax | 9.0 | 0.90 |" in full
    assert "| y, dx within 3e-07 | 2 | | 2.0e-07 | yes |" in full
    assert "64×64×56×56" in full


def test_bits_are_compared_between_thread_counts() -> None:
    one, two = (row("forward", (8, 4), dict(TIMES)) for _ in range(2))
    one |= {"threads": 1, "digest": {"bncore user": "a"}}
    two |= {"digest": {"bncore user": "a"}}
    assert goals.unequal_bits([one, two]) == (0, 1)
    two["digest"] = {"bncore user": "b"}
    assert goals.unequal_bits([one, two]) == (1, 1)

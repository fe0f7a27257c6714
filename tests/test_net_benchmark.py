"""The parts of bench_train.py and bench_infer.py that decide something: turns, errors, best peers, tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bncore as bn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import nets
from nets import cases, memory, ratios, tables, turns, worker


@pytest.fixture
def row() -> dict[str, Any]:
    kinds = {"bncore": "bncore", "bncore channels-last": "bncore", "torch": "torch"}
    return {
        "net": "cnn", "batch": 8, "threads": 2, "failed": {"torch compile": "no compiler"}, "wrong": ["jax"],
        "kinds": {**kinds, "jax": "jax", "sklearn (no norm)": "sklearn"},
        "median_ms": {"bncore": 2.0, "bncore channels-last": 4.0, "torch": 3.0, "jax": 0.5, "sklearn (no norm)": 1.0},
        "memory": {"bncore": {"peak": 40.0, "growth": 0.0}, "torch": {"peak": 300.0, "growth": 20.0}},
    }  # fmt: skip


@pytest.mark.parametrize("name", cases.NETS)
def test_every_call_gives_the_same_net_and_batch(name: str) -> None:
    case = cases.Case(name, 3, quick=True)
    for axis in case.axes:
        x, y = case.data(axis)
        np.testing.assert_array_equal(x, case.data(axis)[0])
        first, second = (case.build(axis).eval()(x) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert y.shape == (3,) and y.max() < first.shape[1]
        folded = case.folded(axis)
        assert not any(isinstance(layer, bn.BatchNorm) for _, layer in folded.named_layers())
        np.testing.assert_allclose(folded(x), case.trained(axis)(x), rtol=1e-4, atol=1e-5)


def test_errors_are_relative_and_shapes_count() -> None:
    assert worker.error_of([1.0, 2.2], [1.0, 2.0]) == pytest.approx(0.1)
    y = np.array([[1.0, -4.0]])
    assert worker.error_of(y + 0.4, y) == pytest.approx(0.1)
    assert worker.error_of(y[0], y) == np.inf


def test_a_peer_that_is_wrong_is_marked_and_one_that_fails_left_out(monkeypatch) -> None:
    ours = nets.makers("bncore", "train", cases.Case("mlp", 4, quick=True))

    def makers(kind: str, what: str, case: Any) -> nets.Makers:
        if kind == "jax":
            raise nets.Missing("jax is not installed")
        if kind == "torch":
            return {
                "torch": lambda: nets.Contender(lambda: 1.0, float),
                "torch channels-last": lambda: 1 / 0,
            }
        return ours

    monkeypatch.setattr(worker, "makers", makers)
    request = {"what": "train", "kinds": ["bncore", "torch", "jax"], "rounds": 1}
    row = worker.contest(request, cases.Case("mlp", 4, quick=True))
    assert set(ours) <= set(row["wrong"]) and "torch" not in row["wrong"]  # PyTorch is what counts
    assert row["failed"] == {"torch channels-last": "ZeroDivisionError: division by zero"}
    assert row["missing"] == {"jax": "jax is not installed"}
    assert set(row["median_ms"]) == set(row["kinds"]) == {*ours, "torch"}


def test_turns_wait_until_a_contender_is_awake() -> None:
    times = turns.Times(lambda: None, turns.Effort(block=0.0, least=1))
    seconds = [9.0, 1.0, 9.0, 8.0, 1.1, 7.0, 1.2, 1.0, 5.0]

    def timed() -> float:
        times.least = min(times.least, seconds[0])
        return seconds.pop(0)

    times.timed = timed  # type: ignore[method-assign]
    times.take_turn(counts=True)
    assert times.medians == [9.0]  # behind 9 and 1, each the least when it came
    times.take_turn(counts=True)
    assert times.medians == [9.0, 5.0]


def test_the_best_peer_computes_the_same_and_right(row) -> None:
    assert ratios.peers(row) == ["torch"]
    assert ratios.fastest(row, ratios.ours(row)) == "bncore"
    assert ratios.ratio(row, "bncore") == 1.5
    assert ratios.ratio({**row, "wrong": ["torch", "jax"]}, "bncore") is None


def test_tables_hold_every_contender(row) -> None:
    text = tables.render("train", {"cases": [row]}, "here")
    assert "| cnn, 8 | 2 | 2 / 4 | 3 | failed | wrong result | 1 | 1.50 (torch) |" in text
    assert "| cnn, 8 | 40 | 300 | 7.50 | 0 | 20 |  |" in text
    assert "1.5 times as long as bncore (geometric mean of 1 rows); a peer is faster in 0" in text
    lost = {**row, "median_ms": {**row["median_ms"], "torch": 1.0}, "memory": {}}
    text = tables.render("infer", {"cases": [lost]}, "here")
    assert "**0.50** (torch)" in text and "Memory" not in text


MEASURE = """
import json
import numpy as np
import nets
from nets import memory
kept = []
print(json.dumps(memory.measure(lambda: nets.Contender(lambda: kept.append(np.ones(1 << 21)), float))))
"""


def test_memory_counts_what_calls_add() -> None:
    # a process of its own: one that has run tests has memory to give before it grows
    path = {**os.environ, "PYTHONPATH": str(Path(nets.__file__).parents[1])}
    command = [sys.executable, "-c", MEASURE]
    done = subprocess.run(command, env=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if memory.STATUS.exists():
        assert found["peak"] > found["growth"] > 40  # five times 16 MB
    else:
        assert found["growth"] >= 0

"""What distance between outputs is rounding and what is not; which rewrite is to blame for the latter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bncore.folding.onnx.bisect import first_wrong
from bncore.folding.onnx.distance import TOLERANCES, compare


def far(a: Any, b: Any, exact: Any = None, trusted: bool = False) -> str:
    a, b = np.asarray(a), np.asarray(b)
    return compare("y", a, b, exact, TOLERANCES[1], trusted=trusted).trouble


def test_rounding_is_tolerated_and_no_more() -> None:
    a = np.float32([1.0, 100.0])
    assert not far(a, a + np.float32([0, 5e-3]))
    assert far(a, a + np.float32([0, 2e-2]))


def test_what_is_nearer_to_float64_agrees() -> None:
    exact = np.array([1.0, 2.0])
    original, folded = np.float32([1.0, 2.1]), np.float32([1.0, 2.0])
    assert far(original, folded)
    assert not far(original, folded, exact)
    assert far(folded, original, exact)


def test_only_the_same_runtime_is_trusted_to_tell_rounding() -> None:
    exact = np.array([1.0, 2.0])
    original, folded = np.float32([1.0, 2.1]), np.float32([1.0, 1.9])
    assert not far(original, folded, exact, trusted=True)
    assert far(original, np.float32([1.0, 1.7]), exact, trusted=True)
    assert far(original, folded, exact)


def test_a_float64_run_far_from_both_is_dropped() -> None:
    a = np.float32([1.0, 2.0])
    assert compare("y", a, a, np.array([1.0, 2.5]), TOLERANCES[1]).stray
    assert not compare("y", a, a, np.array([1.0, 2.0]), TOLERANCES[1]).stray


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_never_agrees_unless_both_are(bad: float) -> None:
    a = np.float32([1.0, 2.0])
    assert far(a, np.float32([1.0, bad]))
    assert far(np.float32([1.0, bad]), a)
    assert not far(np.float32([1.0, bad]), np.float32([1.0, bad]))
    assert not far(np.float32([1.0, bad]), np.float32([1.0, bad]), np.float64([1.0, bad]))


def test_shapes_types_and_integers_must_be_equal() -> None:
    assert far(np.float32([1]), np.float32([[1]]))
    assert far(np.float32([1]), np.float64([1]))
    assert far(np.arange(10), np.arange(1, 11))
    many = np.zeros(5000, np.int64)
    few = many.copy()
    few[:4] = 1
    assert not far(many, few)


def test_sequences_and_maps() -> None:
    a = [{"cat": 0.25, "dog": 0.75}]
    assert not compare("y", a, [{"cat": 0.25, "dog": 0.75}], None, TOLERANCES[1]).trouble
    assert compare("y", a, [{"cat": 0.75, "dog": 0.25}], None, TOLERANCES[1]).trouble


@pytest.mark.parametrize("total", [1, 2, 7, 64])
def test_the_first_wrong_rewrite_is_found_in_few_trials(total: int) -> None:
    for wrong in range(1, total + 1):
        trials: list[int] = []

        def agrees(count: int, wrong: int = wrong, trials: list[int] = trials) -> bool:
            trials.append(count)
            return count < wrong

        assert first_wrong(total, agrees) == wrong
        assert len(trials) <= 2 + np.log2(total)


def test_no_rewrite_is_to_blame_if_the_model_disagrees_without_any() -> None:
    assert first_wrong(5, lambda count: False) is None

"""Splits: exact sizes, every class in both parts, the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.training.data import stratified_split, train_test_split

LABELS = st.lists(st.integers(0, 4), min_size=2, max_size=200).map(np.array)


@given(LABELS, st.floats(0.05, 0.9), st.integers(0, 100))
def test_parts_are_disjoint_and_complete(labels, fraction, seed):
    for first, second in (
        stratified_split(labels, fraction, np.random.default_rng(seed)),
        train_test_split(len(labels), fraction, np.random.default_rng(seed)),
    ):
        assert np.array_equal(np.sort(np.concatenate([first, second])), np.arange(len(labels)))
        assert len(first)
        assert len(second)


@given(st.lists(st.integers(10, 60), min_size=2, max_size=6), st.integers(0, 100))
def test_classes_keep_their_proportions(counts, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(seed).shuffle(labels)
    _, second = stratified_split(labels, 0.2, np.random.default_rng(seed))
    assert len(second) == round(0.2 * len(labels))
    for c, count in enumerate(counts):
        assert abs((labels[second] == c).sum() - 0.2 * count) <= 1


def test_a_class_of_one_stays_in_training():
    labels = np.array([0] * 20 + [1] * 20 + [2])
    first, _ = stratified_split(labels, 0.5, np.random.default_rng(0))
    assert 40 in first


def test_the_seed_decides():
    labels = np.arange(100) % 3
    splits = [stratified_split(labels, 0.3, np.random.default_rng(seed))[1] for seed in (1, 1, 2)]
    assert np.array_equal(splits[0], splits[1])
    assert not np.array_equal(splits[0], splits[2])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 3, float("nan")])
def test_a_fraction_outside_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction"):
        train_test_split(10, fraction, np.random.default_rng(0))

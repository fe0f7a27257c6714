"""Batches are even, complete and reproducible: no tail of a few samples to mislead a norm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.training.batches import batch_borders, epoch_batches


@given(st.integers(1, 5000), st.integers(1, 600))
def test_sizes_differ_by_at_most_one_and_none_exceeds_the_batch_size(n, batch_size):
    borders = batch_borders(n, batch_size)
    sizes = np.diff(borders)
    assert borders[0] == 0
    assert borders[-1] == n
    assert sizes.max() - sizes.min() <= 1
    assert sizes.max() <= batch_size
    assert len(sizes) == -(-n // batch_size)


@given(st.integers(2, 5000), st.integers(2, 600))
def test_a_norm_never_sees_a_batch_of_one(n, batch_size):
    sizes = np.diff(batch_borders(n, batch_size, smallest=2))
    assert sizes.sum() == n
    assert sizes.min() >= 2
    assert sizes.max() - sizes.min() <= 1
    assert sizes.max() <= max(batch_size, 3)


@given(st.integers(2, 500), st.integers(2, 60), st.integers(0, 2**32))
def test_an_epoch_shows_every_sample_once(n, batch_size, seed):
    seen = np.concatenate(
        list(epoch_batches(n, batch_size, np.random.default_rng(seed), smallest=2))
    )
    assert np.array_equal(np.sort(seen), np.arange(n))


def test_epochs_differ_and_a_seed_repeats_them():
    def two_epochs():
        rng = np.random.default_rng(5)
        return [np.concatenate(list(epoch_batches(100, 32, rng))) for _ in range(2)]

    first, second = two_epochs()
    assert not np.array_equal(first, second)
    assert np.array_equal([first, second], two_epochs())


def test_the_tail_of_digits_is_shared_out():
    # 1027 = 16 * 64 + 3: three rows left over
    assert sorted(set(np.diff(batch_borders(1027, 64)))) == [60, 61]


def test_impossible_batches_are_refused():
    with pytest.raises(ValueError, match="x must hold at least 2 samples, got 1"):
        batch_borders(1, 32, smallest=2)
    with pytest.raises(ValueError, match="batch_size must be at least 2, got 1"):
        batch_borders(10, 1, smallest=2)
    with pytest.raises(ValueError, match="batch_size"):
        batch_borders(10, 0)
    with pytest.raises(TypeError, match="batch_size"):
        batch_borders(10, 2.5)
    assert batch_borders(0, 32, smallest=2) == [0]

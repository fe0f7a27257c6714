"""Shifts move whole images, fill with zeros, and leave their input alone."""

import numpy as np

from bncore.training import augment


def test_every_image_is_a_shift_of_itself():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 2, 6, 5)).astype(np.float32)
    kept = x.copy()
    moved = augment.shift(2)(x, rng)
    assert np.array_equal(x, kept)
    assert moved.shape == x.shape
    assert moved.flags.c_contiguous
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    offsets = set()
    for image, around in zip(moved, padded):
        found = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if np.array_equal(image, around[:, i : i + 6, j : j + 5])
        ]
        assert len(found) == 1
        offsets.update(found)
    assert len(offsets) > 15


def test_channels_last_is_the_same_shift():
    x = np.random.default_rng(1).normal(size=(9, 3, 4, 4))
    first = augment.shift()(x, np.random.default_rng(2))
    last = augment.shift(axis=-1)(
        np.ascontiguousarray(x.transpose(0, 2, 3, 1)), np.random.default_rng(2)
    )
    assert np.array_equal(first, last.transpose(0, 3, 1, 2))

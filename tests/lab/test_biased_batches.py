"""What a batch of so many classes holds."""

from __future__ import annotations

import numpy as np
import pytest

from bncore.lab.experiments.biased_batches import SIZE, of_classes


@pytest.mark.parametrize("classes", [1, 2, 10])
def test_a_batch_has_equal_shares_of_its_classes(classes):
    labels = np.arange(1000) * 7 % 10
    batches = of_classes(labels, classes, np.random.default_rng(0))
    seen = set()
    for _ in range(50):
        batch = next(batches)
        assert len(set(batch)) == len(batch) == SIZE // classes * classes
        found, counts = np.unique(labels[batch], return_counts=True)
        assert len(found) == classes and set(counts) == {SIZE // classes}
        seen.update(found)
    assert seen == set(range(10))

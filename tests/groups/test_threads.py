"""Threads never change a bit of group and instance norm: any number of them, whatever they share out."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F
from tests.groups.cases import LARGE, arrays

pytestmark = pytest.mark.usefixtures("native")

# Many tiles, many groups of one sample, samples large enough to be shared out inside, in every traversal.
CASES = [
    *LARGE,
    ((3000, 64), 1, 8),
    ((24, 48, 30, 31), 1, 16),
    ((24, 30, 31, 48), -1, 16),
    ((1, 3, 400_001), 1, 1),
    ((2, 400_001, 3), -1, 3),
    ((1, 600_000), 1, 2),
    ((2, 40, 16, 500), 2, 4),
    ((300, 48, 5, 5), 1, 48),
]


def everything(a, axis, groups):
    """All results of a training step of both norms, as one list of arrays."""
    kw = {"axis": axis, "activation": "relu"}
    y, saved = F.group_norm(a.x, groups, a.weight, a.bias, **kw)
    results = [y, saved.mean, saved.inv_std, *F.group_norm_backward(a.dy, saved)]
    if a.x.size > a.x.shape[0] * a.x.shape[axis]:
        running = np.zeros_like(a.weight), np.ones_like(a.weight)
        y, saved = F.instance_norm(a.x, a.weight, a.bias, *running, **kw)
        results += [y, *running, *F.instance_norm_backward(a.dy, saved)]
    return results


@pytest.fixture
def force_threads():
    """Uses any number of threads, more than there are processors too."""
    from bncore import _native

    yield _native.force_threads
    _native.force_threads(0)


@pytest.mark.parametrize(("shape", "axis", "groups"), CASES, ids=str)
def test_same_bits_for_any_number_of_threads(shape, axis, groups, dtype, force_threads):
    a = arrays(shape, axis, dtype)
    force_threads(1)
    wanted = everything(a, axis, groups)
    for threads in (2, 3, 8):
        force_threads(threads)
        for one, other in zip(everything(a, axis, groups), wanted, strict=True):
            assert np.array_equal(one, other), threads

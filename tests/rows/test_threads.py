"""Threads change the speed of layer and RMS norm, never a bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.rows.cases import KINDS, arrays, norm, norm_backward

pytestmark = pytest.mark.usefixtures("native")


@pytest.fixture
def force_threads():
    """Uses any number of threads, more than there are processors too."""
    from bncore import _native

    yield _native.force_threads
    _native.force_threads(0)


# many chunks of short and of long rows, chunks of few rows, rows cut in pieces
@pytest.mark.parametrize("shape", [(40_000, 7), (4000, 100), (50, 20_001), (3, 400_001)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_same_bits_for_any_number_of_threads(shape, kind, dtype, force_threads):
    a = arrays(shape, 1, dtype)

    def everything():
        y, saved = norm(kind, a.x, a.weight, a.bias, activation="relu")
        return [y, saved.inv_std, *norm_backward(kind, a.dy, saved)]

    force_threads(1)
    wanted = everything()
    for threads in (2, 3, 8):
        force_threads(threads)
        for one, other in zip(everything(), wanted, strict=True):
            assert np.array_equal(one, other), threads

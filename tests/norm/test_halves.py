"""The halves of batch norm make the whole: statistics merge exactly, gradient sums too, pieces equal one batch."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import backend as backends
from bncore import functional as F
from tests.helpers import relative_error, tolerance
from tests.norm.cases import SHAPES, arrays


@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
@pytest.mark.parametrize("fused", [False, True])
def test_halves_equal_the_fused_call_to_the_bit(shape, axis, fused, backend, dtype):
    a = arrays(shape, axis, dtype)
    kw = {
        "axis": axis,
        "activation": "relu" if fused else None,
        "residual": a.residual if fused else None,
    }
    y, saved = F.batch_norm(a.x, a.weight, a.bias, **kw)
    y2, saved2 = F.normalize(a.x, F.statistics(a.x, axis=axis), a.weight, a.bias, **kw)
    assert np.array_equal(y, y2)
    whole = F.batch_norm_backward(a.dy, saved)
    sums = F.gradient_sums(a.dy, saved2)
    halves = F.input_gradient(a.dy, saved2, sums)
    dx2, dresidual2 = halves if fused else (halves, None)
    assert np.array_equal(whole[0], dx2)
    assert np.array_equal(whole[1], sums.dy_x_hat.astype(dtype))
    assert np.array_equal(whole[2], sums.dy.astype(dtype))
    if fused:
        assert np.array_equal(whole[3], dresidual2)


@pytest.mark.parametrize("cut", [1, 5, 13])
def test_pieces_equal_one_batch(cut, backend, dtype):
    a = arrays((14, 6, 3), 1, dtype)
    pieces = [slice(0, cut), slice(cut, 14)]
    stats = F.statistics(a.x[pieces[0]]).merge(F.statistics(a.x[pieces[1]]))
    y, saved = F.batch_norm(a.x, a.weight, a.bias)
    done = [F.normalize(a.x[p], stats, a.weight, a.bias) for p in pieces]
    assert relative_error(np.concatenate([d[0] for d in done]), y) <= tolerance(dtype, 8)
    sums = F.gradient_sums(a.dy[pieces[0]], done[0][1]).merge(
        F.gradient_sums(a.dy[pieces[1]], done[1][1])
    )
    dx = np.concatenate(
        [F.input_gradient(a.dy[p], d[1], sums) for p, d in zip(pieces, done, strict=True)]
    )
    whole = F.batch_norm_backward(a.dy, saved)
    assert relative_error(dx, whole[0]) <= tolerance(dtype)
    assert relative_error(sums.dy_x_hat, whole[1]) <= tolerance(dtype)


def test_merging_with_nothing_changes_nothing(backend, dtype, rng):
    some = F.statistics(rng.standard_normal((5, 3)).astype(dtype))
    none = F.statistics(np.empty((0, 3), dtype))
    assert some.merge(none) is some
    assert none.merge(some) is some


def test_merging_other_channels_is_refused(backend):
    with pytest.raises(ValueError, match="3 channels, got 4"):
        F.statistics(np.ones((5, 3))).merge(F.statistics(np.ones((5, 4))))


def test_only_statistics_merge_with_statistics(backend):
    x = np.ones((5, 3))
    stats = F.statistics(x)
    sums = F.gradient_sums(x, F.normalize(x, stats)[1])
    with pytest.raises(TypeError, match="other must be Statistics .*, got NoneType"):
        stats.merge(None)
    with pytest.raises(TypeError, match="other must be GradientSums .*, got Statistics"):
        sums.merge(stats)
    with pytest.raises(ValueError, match="other must have 3 channels, got 1"):
        sums.merge(F.GradientSums(5, np.ones(1), np.ones(1)))
    with pytest.raises(TypeError, match="stats must be Statistics .*, got tuple"):
        F.update_running((0.0, 1.0), np.zeros(3), np.ones(3))


def test_constants_give_the_evaluation_gradient(backend, dtype):
    a = arrays((9, 4), 1, dtype)
    stats = F.statistics(a.x[:5])
    _, saved = F.normalize(a.x, stats, a.weight, a.bias, training=False)
    _, evaluated = F.batch_norm(
        a.x, a.weight, a.bias, stats.mean.astype(dtype), stats.var.astype(dtype), training=False
    )
    dx = F.batch_norm_backward(a.dy, saved)[0]
    assert relative_error(dx, F.batch_norm_backward(a.dy, evaluated)[0]) <= tolerance(dtype)


def test_saved_state_survives_a_change_of_backend(native, dtype):
    a = arrays((9, 4), 1, dtype)
    with backends.use_backend("numpy"):
        _, from_numpy = F.batch_norm(a.x, a.weight, a.bias)
    _, from_native = F.batch_norm(a.x, a.weight, a.bias)
    crossed = F.batch_norm_backward(a.dy, from_numpy)
    with backends.use_backend("numpy"):
        crossed_back = F.batch_norm_backward(a.dy, from_native)
    for one, other in zip(crossed, crossed_back, strict=True):
        assert relative_error(one, other) <= tolerance(dtype)

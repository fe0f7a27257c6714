"""Options of the BatchNorm layer beyond the plain one: where statistics come from, and how their averages are formed."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import bncore as bn
from bncore import functional as F

F64 = np.float64


@pytest.fixture
def batches(rng):
    """Ten batches of 8 samples, 3 channels, means drifting."""
    return [rng.normal(k, 1 + k, (8, 3)) for k in range(10)]


def norm(**options):
    return bn.BatchNorm(3, dtype=F64, **options)


# ---- ghost batches


def test_ghost_batches_train_like_batches_of_their_own(batches, rng, backend):
    ghost, plain = norm(ghost_batch_size=4), norm()
    for x in batches:
        dy = rng.standard_normal(x.shape)
        y, gradients = ghost(x), []
        dx = ghost.backward(dy)
        for part in (slice(0, 4), slice(4, 8)):
            np.testing.assert_array_equal(y[part], plain(x[part]))
            np.testing.assert_array_equal(dx[part], plain.backward(dy[part]))
            gradients.append({name: value.copy() for name, value in plain.grad.items()})
        for name in ("weight", "bias"):
            total = gradients[0][name] + gradients[1][name]
            np.testing.assert_allclose(ghost.grad[name], total, rtol=1e-12)
    assert ghost.num_batches_tracked == plain.num_batches_tracked == 20
    np.testing.assert_array_equal(ghost.running_mean, plain.running_mean)
    np.testing.assert_array_equal(ghost.running_var, plain.running_var)
    np.testing.assert_array_equal(ghost.eval()(batches[0]), plain.eval()(batches[0]))


@pytest.mark.parametrize("options", [{"momentum": None}, {"zero_debias": True}], ids=str)
def test_averages_count_groups_not_batches(options, batches):
    ghost, plain = norm(ghost_batch_size=3, **options), norm(**options)
    for x in batches:
        ghost(x)
        for part in (x[:3], x[3:6], x[6:]):
            plain(part)
    assert ghost.num_batches_tracked == 30
    np.testing.assert_allclose(ghost.running_mean, plain.running_mean, rtol=1e-13)
    np.testing.assert_allclose(ghost.running_var, plain.running_var, rtol=1e-13)


def test_ghost_batches_carry_residual_and_flat_gradients(rng):
    layer = bn.BatchNorm(4, ghost_batch_size=2, dtype=F64)
    block = bn.Residual(bn.Sequential(bn.Linear(4, 4, dtype=F64, rng=0), layer))
    block.pack()
    x = rng.standard_normal((6, 4))
    y = block(x)
    dx = block.backward(np.cos(y))
    assert dx.shape == x.shape
    assert np.shares_memory(layer.weight_grad, block.gradients_flat)
    assert np.any(layer.weight_grad)


def test_a_remainder_of_one_sample_names_layer_and_option():
    net = bn.Sequential(bn.BatchNorm(3, ghost_batch_size=4))
    with pytest.raises(
        ValueError, match=r"^0 BatchNorm\(3\): every ghost batch .*ghost_batch_size"
    ):
        net(np.ones((9, 3), np.float32))
    assert net[0].num_batches_tracked == 0


def test_ghost_batches_without_running_statistics(batches):
    layer = norm(ghost_batch_size=4, track_running_stats=False)
    assert layer(batches[0]).shape == (8, 3)
    assert layer.num_batches_tracked == 0
    assert layer.eval()(batches[0]).shape == (8, 3)


# ---- moving statistics and frozen ones


def test_moving_statistics_normalize_as_evaluation_and_still_move(batches, backend):
    layer = norm(statistics="moving")
    for x in batches:
        expected = copy.deepcopy(layer).eval()(x)
        before = layer.running_mean.copy()
        np.testing.assert_array_equal(layer(x), expected)
        np.testing.assert_allclose(layer.running_mean, 0.9 * before + 0.1 * x.mean(0))
    assert layer.num_batches_tracked == len(batches)


def test_moving_statistics_are_constants_for_the_gradient(batches):
    layer = norm(statistics="moving")
    layer(batches[3])
    sigma = np.sqrt(layer.running_var + layer.eps)
    layer(batches[4])
    dy = np.cos(batches[4])
    np.testing.assert_allclose(layer.backward(dy), dy / sigma, rtol=1e-12)


def test_moving_statistics_warn_in_the_docstring():
    assert "diverge" in bn.BatchNorm.__doc__
    assert "diverge" in F.moving_batch_norm.__doc__


@pytest.mark.parametrize(
    "options", [{"statistics": "moving"}, {"ghost_batch_size": 2}, {}], ids=str
)
def test_frozen_statistics_stay(options, batches):
    layer = norm(frozen=True, **options)
    layer.set_running([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    x = batches[2]
    np.testing.assert_array_equal(layer(x), copy.deepcopy(layer).eval()(x))
    assert layer.backward(np.ones_like(x)).shape == x.shape
    np.testing.assert_array_equal(layer.running_mean, [1.0, 2.0, 3.0])
    assert layer.num_batches_tracked == 0
    assert not layer.compares_samples


# ---- averages


def test_zero_debiased_averages_have_no_start(batches):
    """The weights of the batches alone, which add up to 1."""
    layer = norm(zero_debias=True, momentum=0.2)
    layer.set_running(np.full(3, 1e6), np.full(3, 1e6))
    for k, x in enumerate(batches, 1):
        layer(x)
        weights = 0.2 * 0.8 ** np.arange(k - 1, -1, -1)
        weights /= weights.sum()
        means, variances = (np.array([f(b) for b in batches[:k]]) for f in (lambda b: b.mean(0), lambda b: b.var(0, ddof=1)))  # fmt: skip
        np.testing.assert_allclose(layer.running_mean, weights @ means, rtol=1e-12)
        np.testing.assert_allclose(layer.running_var, weights @ variances, rtol=1e-12)


@pytest.mark.parametrize("momentum", [1.0, 1e-9, 0.1])
def test_zero_debiasing_holds_for_extreme_rates(momentum, batches):
    layer = norm(zero_debias=True, momentum=momentum)
    for x in batches[:3]:
        layer(x)
    last = np.mean([b.mean(0) for b in batches[:3]], axis=0) if momentum == 1e-9 else None
    last = batches[2].mean(0) if momentum == 1.0 else last
    if last is not None:
        np.testing.assert_allclose(layer.running_mean, last, rtol=1e-6)
    assert np.isfinite(layer.running_var).all()


def test_resetting_forgets_what_was_averaged(batches):
    for layer in (norm(zero_debias=True), norm(momentum=None)):
        layer(batches[9])
        layer.reset_running_stats()
        np.testing.assert_array_equal(layer.running_var, np.ones(3))
        layer(batches[0])
        np.testing.assert_allclose(layer.running_mean, batches[0].mean(0), rtol=1e-12)


def test_set_running_writes_in_place_and_judges():
    layer = bn.BatchNorm(2)
    view = layer.running_var
    layer.set_running(np.array([1.0, 2.0]), [3, 4])
    assert layer.running_var is view
    np.testing.assert_array_equal(view, np.array([3, 4], np.float32))
    with pytest.raises(ValueError, match=r"var must have shape \(2,\), got \(3,\)"):
        layer.set_running([1, 2], [1, 2, 3])
    np.testing.assert_array_equal(view, np.array([3, 4], np.float32))
    with pytest.raises(ValueError, match="must have running statistics"):
        bn.BatchNorm(2, track_running_stats=False).set_running([1, 2], [1, 2])


# ---- masks


@pytest.mark.parametrize("options", [{}, {"ghost_batch_size": 2}, {"frozen": True}, {"statistics": "moving"}], ids=str)  # fmt: skip
@pytest.mark.parametrize("training", [True, False])
def test_padding_has_no_part_in_anything(options, training, rng, backend):
    lengths = np.array([4, 2, 5, 1])
    short = rng.standard_normal((4, 5, 3))
    results = []
    for padding in (0, 6):
        x = np.concatenate([short, np.full((4, padding, 3), np.nan)], axis=1)
        x[np.arange(5 + padding) >= lengths[:, None]] = rng.standard_normal()
        layer = bn.BatchNorm(3, axis=-1, dtype=F64, **options)
        layer.train() if training else layer.eval(backward=True)
        y = layer(x, mask=lengths)
        dx = layer.backward(np.cos(x))
        valid = np.arange(5 + padding) < lengths[:, None]
        assert not np.any(y[~valid])
        assert not np.any(dx[~valid])
        results.append((y[valid], dx[valid], layer.running_mean.copy(), layer.weight_grad.copy()))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("options", [{}, {"ghost_batch_size": 2}, {"statistics": "moving"}, {"momentum": None}], ids=str)  # fmt: skip
def test_a_batch_of_padding_alone_is_not_counted(options):
    layer = norm(**options)
    assert not np.any(layer(np.ones((4, 3)), mask=np.zeros(4, bool)))
    assert layer.num_batches_tracked == 0
    np.testing.assert_array_equal(layer.running_var, np.ones(3))


# ---- options as such


@pytest.mark.parametrize("options", [{"statistics": "moving"}, {"ghost_batch_size": 4}, {"zero_debias": True}], ids=str)  # fmt: skip
def test_options_are_kept_shown_and_saved(options, batches, tmp_path):
    layer = norm(**options)
    layer(batches[0])
    ((name, value),) = options.items()
    assert f"{name}={value!r}" in repr(layer)
    twin = bn.layers.build(layer.config())
    assert twin.config() == layer.config()
    net = bn.Sequential(layer)
    bn.save(net, tmp_path / "net.npz")
    loaded = bn.load(tmp_path / "net.npz").train()
    np.testing.assert_array_equal(loaded(batches[1]), net.train()(batches[1]))
    assert getattr(loaded[0], name) == value
    assert loaded[0].num_batches_tracked == layer.num_batches_tracked


def test_a_plain_norm_says_nothing_of_options():
    assert repr(bn.BatchNorm(3)).startswith(
        "BatchNorm(3, eps=1e-05, momentum=0.1 (weight of the new batch))"
    )


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: norm(statistics="running"), ValueError, "statistics must be one of 'batch', 'moving'"),
        (lambda: norm(statistics=None), TypeError, "statistics must be one of"),
        (lambda: norm(ghost_batch_size=0), ValueError, "ghost_batch_size must be an integer >= 1"),
        (lambda: norm(ghost_batch_size=True), TypeError, "ghost_batch_size must be an integer"),
        (lambda: norm(zero_debias=1), TypeError, "zero_debias must be True or False"),
        (lambda: norm(zero_debias=True, momentum=None), ValueError, "zero_debias must be False with momentum=None"),
        (lambda: norm(zero_debias=True, momentum=0), ValueError, "zero_debias must be False with momentum=0"),
        (lambda: norm(statistics="moving", ghost_batch_size=2), ValueError, "ghost_batch_size must be None"),
        (lambda: norm(statistics="moving", track_running_stats=False), ValueError, "statistics must be 'batch'"),
        (lambda: norm(statistics="moving")(np.ones((1, 3))), ValueError, r"BatchNorm\(3\): .*more than one value"),
    ],
)  # fmt: skip
def test_contradictions_are_named(build, error, match):
    with pytest.raises(error, match=match):
        build()

"""The layers: what they compute, in nets and alone; their state, files, text and errors."""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn
from bncore import functional as F
from tests.helpers import relative_error, tolerance

F64 = np.float64


def net(dtype=np.float32):
    return bn.Sequential(
        bn.Conv2d(3, 8, 3, padding=1, rng=0, dtype=dtype),
        bn.GroupNorm(2, 8, activation="relu", dtype=dtype),
        bn.Residual(
            bn.Sequential(
                bn.Conv2d(8, 8, 3, padding=1, rng=1, dtype=dtype), bn.GroupNorm(4, 8, dtype=dtype)
            )
        ),
        bn.InstanceNorm(8, affine=True, track_running_stats=True, dtype=dtype),
        bn.GlobalAvgPool(),
        bn.Linear(8, 2, rng=2, dtype=dtype),
    )


def test_one_group_is_layer_norm_with_an_affine_map_per_channel(backend, rng):
    x, dy = rng.standard_normal((2, 5, 6, 4, 3))
    weight, bias = rng.standard_normal((2, 6))
    wide = (slice(None), None, None)

    def layer_norm(x):
        mean, var = x.mean(axis=(1, 2, 3), keepdims=True), x.var(axis=(1, 2, 3), keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-5) * weight[wide] + bias[wide]

    y, saved = F.group_norm(x, 1, weight, bias)
    np.testing.assert_allclose(y, layer_norm(x), rtol=1e-12, atol=1e-12)
    dx, _, _ = F.group_norm_backward(dy, saved)
    step = 1e-6 * rng.standard_normal(x.shape)
    change = np.sum(dy * (layer_norm(x + step) - layer_norm(x - step))) / 2
    assert np.sum(dx * step) == pytest.approx(change, rel=1e-6)


def test_a_group_a_channel_is_instance_norm(backend, dtype, rng):
    x, dy = rng.standard_normal((2, 5, 6, 4, 3)).astype(dtype)
    group, instance = bn.GroupNorm(6, 6, dtype=dtype), bn.InstanceNorm(6, affine=True, dtype=dtype)
    state = {n: rng.standard_normal(6).astype(dtype) for n in ("weight", "bias")}
    for layer in (group, instance):
        layer.load_state_dict(state)
    assert np.array_equal(group(x), instance(x))
    assert np.array_equal(group.backward(dy), instance.backward(dy))
    assert np.array_equal(group.weight_grad, instance.weight_grad)
    assert np.array_equal(group.bias_grad, instance.bias_grad)


def test_training_and_evaluation_of_group_norm_are_the_same(backend, dtype, rng):
    layer, x = bn.GroupNorm(2, 6, dtype=dtype), rng.standard_normal((5, 6, 4)).astype(dtype)
    assert np.array_equal(layer.train()(x), layer.eval()(x))


def test_instance_norm_evaluates_by_running_statistics_where_it_has_some(backend, dtype, rng):
    x = (2 + rng.standard_normal((5, 6, 4))).astype(dtype)
    plain = bn.InstanceNorm(6, dtype=dtype)
    assert np.array_equal(plain.train()(x), plain.eval()(x))
    assert plain.num_batches_tracked == 0
    layer = bn.InstanceNorm(6, track_running_stats=True, momentum=1.0, dtype=dtype)
    layer(x)
    assert relative_error(layer.running_mean, x.mean(axis=(0, 2), dtype=F64)) <= tolerance(dtype)
    batch = bn.BatchNorm(6, affine=False, dtype=dtype)
    batch.load_state_dict(layer.state_dict())
    assert np.array_equal(layer.eval()(x), batch.eval()(x))
    assert layer.num_batches_tracked == 1
    layer.reset_running_stats()
    assert layer.num_batches_tracked == 0
    assert np.all(layer.running_mean == 0)
    assert np.all(layer.running_var == 1)


def test_instance_norms_cumulative_average_weighs_all_batches_alike(rng):
    layer = bn.InstanceNorm(3, momentum=None, track_running_stats=True, unbiased=False, dtype=F64)
    batches = [rng.standard_normal((4, 3, 7)) for _ in range(3)]
    for x in batches:
        layer(x)
    means = [x.mean(axis=(0, 2)) for x in batches]
    variances = [x.var(axis=2).mean(axis=0) for x in batches]
    np.testing.assert_allclose(layer.running_mean, np.mean(means, axis=0), atol=1e-15)
    np.testing.assert_allclose(layer.running_var, np.mean(variances, axis=0))


def test_an_empty_batch_is_not_counted():
    layer = bn.InstanceNorm(3, track_running_stats=True)
    assert layer(np.empty((0, 3, 4), np.float32)).shape == (0, 3, 4)
    assert layer.num_batches_tracked == 0


def test_a_net_with_them_is_saved_loaded_and_copied(backend, dtype, tmp_path, rng):
    model, x = net(dtype), rng.standard_normal((4, 3, 6, 5)).astype(dtype)
    model(x)
    bn.save(model, tmp_path / "net.npz")
    loaded = bn.load(tmp_path / "net.npz").eval()
    wanted = model.eval()(x)
    assert np.array_equal(loaded(x), wanted)
    assert np.array_equal(model.copy()(x), wanted)
    assert loaded[3].num_batches_tracked == 1


def test_a_net_with_them_trains_on_single_samples(backend):
    """No statistics over the batch: a batch of one is as good as any."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 3, 6, 5)).astype(np.float32)
    target = (x[:, 0].mean(axis=(1, 2)) > 0).astype(np.int64)
    x[:, 0] += target[:, None, None]
    model = net()
    del model[
        3
    ]  # the average over space of a normalized instance is its beta: nothing to learn from
    history = bn.fit(model, x, target, epochs=4, batch_size=1, optimizer=bn.SGD(0.05), seed=0)
    losses = history["loss"]
    assert losses[-1] < 0.7 * losses[0]


def test_folding_takes_constants_only_and_says_why():
    """Group norm has none; an instance norm's running statistics fold as a batch norm's do."""
    x = np.random.default_rng(0).standard_normal((4, 3, 6, 5)).astype(np.float32)
    model = net()
    model(x)
    folded, report = bn.folding.fold_net(model)
    assert [(entry.path, entry.why) for entry in report.kept] == [
        (path, "it normalizes every sample by statistics of its own") for path in ("1", "2.main.1")
    ]
    assert [entry.path for entry in report.folded] == ["3"]
    np.testing.assert_allclose(folded(x), model.eval()(x), rtol=1e-4, atol=1e-5)


def test_text():
    assert repr(bn.GroupNorm(2, 4)).startswith("GroupNorm(2, 4, eps=1e-05)")
    layer = bn.GroupNorm(2, 4, axis=-1, bias=False, activation="relu")
    for part in ("axis=-1", "bias=False", "activation='relu'"):
        assert part in repr(layer)
    tracking = bn.InstanceNorm(4, track_running_stats=True, momentum=None, unbiased=False)
    for part in ("cumulative average", "track_running_stats=True", "unbiased=False"):
        assert part in repr(tracking)
    assert "momentum" not in repr(bn.InstanceNorm(4))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: bn.GroupNorm(3, 4),
            ValueError,
            "num_groups must divide num_channels, got 3 for 4",
        ),
        (lambda: bn.GroupNorm(0, 4), ValueError, "num_groups must be an integer >= 1, got 0"),
        (lambda: bn.GroupNorm(2, 4.0), TypeError, "num_channels must be an integer, got 4.0"),
        (lambda: bn.GroupNorm(2, 4, axis=0), ValueError, "axis must not be 0"),
        (lambda: bn.GroupNorm(2, 4, eps=-1), ValueError, "eps must be a finite number >= 0"),
        (lambda: bn.GroupNorm(2, 4, affine=1), TypeError, "affine must be True or False"),
        (lambda: bn.GroupNorm(2, 4, dtype=np.int32), TypeError, "dtype must be"),
        (lambda: bn.GroupNorm(2, 4, activation="gelu"), ValueError, "activation must be one of"),
        (lambda: bn.InstanceNorm(0), ValueError, "num_features must be an integer >= 1, got 0"),
        (lambda: bn.InstanceNorm(3, momentum=2), ValueError, r"momentum must be .*\[0, 1\]"),
        (
            lambda: bn.InstanceNorm(3, track_running_stats=1),
            TypeError,
            "track_running_stats must be",
        ),
        (lambda: bn.InstanceNorm(3, unbiased=0), TypeError, "unbiased must be True or False"),
    ],
    ids=range(12),
)
def test_bad_options_are_named(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("affine", [True, False])
def test_wrong_input_is_named_with_the_path_of_the_layer(affine):
    x = np.ones((5, 4, 6), np.float32)
    for layer, name in (
        (bn.GroupNorm(3, 3, affine=affine), r"GroupNorm\(3, 3\)"),
        (bn.InstanceNorm(3, affine=affine), r"InstanceNorm\(3\)"),
    ):
        with pytest.raises(
            ValueError, match=rf"^0 {name}: x must have 3 channels on axis 1, got shape \(5, 4, 6\)"
        ):
            bn.Sequential(layer)(x)
        with pytest.raises(TypeError, match=rf"^0 {name}: x must be a NumPy array"):
            bn.Sequential(layer)([1.0])


def test_one_value_per_instance_is_named_with_what_to_do():
    model = bn.Sequential(bn.Linear(3, 4), bn.InstanceNorm(4))
    with pytest.raises(
        ValueError,
        match=r"^1 InstanceNorm\(4\): instance norm needs more than one value per instance",
    ):
        model(np.ones((5, 3), np.float32))

"""Every norm in every reference net: what stands there, with which options, and that it trains."""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn

MAKE = {
    "mlp": lambda **how: bn.nets.mlp(12, 5, (16, 8), **how),
    "cnn": lambda **how: bn.nets.cnn(3, 5, (8, 16, 8), **how),
    "resnet20": lambda **how: bn.nets.resnet20(3, 5, width=8, blocks=1, **how),
    "inception_small": lambda **how: bn.nets.inception_small(3, 5, width=0.1, **how),
    "separable": lambda **how: bn.nets.separable(3, 5, (8, 16, 8), **how),
}
KINDS = {
    "batch": bn.BatchNorm,
    "renorm": bn.BatchRenorm,
    "layer": bn.LayerNorm,
    "rms": bn.RMSNorm,
    "group": bn.GroupNorm,
    "instance": bn.InstanceNorm,
}
FAMILY = tuple(KINDS.values())
# all but those that make no sense
COMBINATIONS = [(net, norm) for net in MAKE for norm in KINDS if (net, norm) != ("mlp", "instance")]
combinations = pytest.mark.parametrize(("net", "norm"), COMBINATIONS)


def norms(net):
    return [layer for _, layer in net.named_layers() if isinstance(layer, FAMILY)]


def inputs(name, n=6, axis=1, dtype=np.float32):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 12) if name == "mlp" else (n, 3, 12, 12)).astype(dtype)
    return x if axis == 1 else np.ascontiguousarray(np.moveaxis(x, 1, -1))


def test_the_table_is_whole():
    assert set(bn.nets.NORMS) == {"none", *KINDS}


@combinations
def test_all_norms_of_a_net_are_of_its_kind_and_train(net, norm, dtype):
    model = MAKE[net](norm=norm, standardize=False, rng=0, dtype=dtype)
    assert {type(layer) for layer in norms(model)} == {KINDS[norm]}
    assert all(layer.dtype == dtype for layer in norms(model))
    model.begin_run(1)
    x = inputs(net, dtype=dtype)
    y = model(x)
    assert y.shape == (6, 5)
    assert model.backward(np.cos(np.arange(y.size, dtype=dtype)).reshape(y.shape)).shape == x.shape
    assert all(np.any(p.gradient) for _, p in model.named_parameters())
    assert np.isfinite(model.gradients_flat).all()
    assert np.isfinite(model.eval()(x[:1])).all()


@pytest.mark.parametrize(("net", "norm"), [c for c in COMBINATIONS if c[0] != "mlp"])
def test_both_layouts_are_the_same_net(net, norm):
    first, last = (MAKE[net](norm=norm, rng=3, dtype=np.float64, axis=axis) for axis in (1, -1))
    for model in (first, last):
        model.begin_run(9)
    x = inputs(net, dtype=np.float64)
    np.testing.assert_allclose(
        first(x), last(np.ascontiguousarray(np.moveaxis(x, 1, -1))), rtol=1e-8, atol=1e-9
    )


@combinations
def test_biases_stand_only_where_the_norm_leaves_them_an_effect(net, norm):
    model = MAKE[net](norm=norm, rng=0)
    kinds = (bn.Linear, bn.Conv2d)
    found = {
        layer.bias is not None
        for _, layer in list(model.named_layers())[:-1]  # the last Linear has one always
        if isinstance(layer, kinds)
    }
    assert found == {norm in ("layer", "rms", "group")}


@pytest.mark.parametrize("norm", ["layer", "rms", "group", "instance"])
@pytest.mark.parametrize("net", ["cnn", "mlp"])
def test_norms_within_a_sample_train_on_single_samples(net, norm):
    if (net, norm) == ("mlp", "instance"):
        return
    model = MAKE[net](norm=norm, standardize=False, rng=0)
    x, y = inputs(net, 12), np.arange(12) % 5
    history = bn.fit(model, x, y, optimizer=bn.SGD(0.05), epochs=30, batch_size=1, progress=False)
    # instance norm before a global average leaves little of noise to learn
    assert history["loss"][-1] < (0.9 if norm == "instance" else 0.5) * history["loss"][0]


@pytest.mark.parametrize("norm", ["batch", "renorm", "layer", "rms", "group", "instance"])
def test_zero_gamma_starts_every_block_as_its_shortcut(norm):
    net = bn.nets.resnet20(3, 5, width=8, blocks=2, norm=norm, zero_gamma=True, rng=0)
    blocks = [layer for layer in net if isinstance(layer, bn.Residual)]
    x = np.random.default_rng(0).standard_normal((2, 8, 6, 6)).astype(np.float32)
    blocks[0].begin_run(1)
    np.testing.assert_array_equal(blocks[0](x), np.maximum(x, 0))
    assert all(np.all(layer.weight == 1) for layer in norms(net)[:2])


# ---- options


def test_options_reach_every_norm():
    for norm, options in (
        ("batch", {"momentum": 0.01, "ghost_batch_size": 2}),
        ("renorm", {"momentum": 0.05, "r_max": 2.0}),
        ("group", {"num_groups": 4, "eps": 1e-3}),
        ("layer", {"eps": 1e-3}),
        ("rms", {"partial": 0.5}),
        ("instance", {"track_running_stats": True}),
    ):
        net = bn.nets.cnn(3, 5, (8, 16), norm=norm, norm_options=options, rng=0)
        assert len(norms(net)) == 2
        for layer in norms(net):
            assert {name: getattr(layer, name) for name in options} == options


def test_the_standardizing_norm_is_of_the_kind_that_compares_samples():
    options = {"momentum": 0.01, "weight": True}
    for norm, kind, momentum in (
        ("batch", bn.BatchNorm, 0.01),
        ("renorm", bn.BatchRenorm, 0.01),
        ("group", bn.BatchNorm, 0.1),
        ("none", bn.BatchNorm, 0.1),
    ):
        how = {"norm_options": options} if norm in ("batch", "renorm") else {}
        first = bn.nets.mlp(12, 5, (8,), norm=norm, **how)[1]
        assert type(first) is kind
        assert first.momentum == momentum
        assert first.weight is None
        assert first.bias is None


@pytest.mark.parametrize(
    ("channels", "groups"), [(8, 1), (16, 2), (64, 8), (4, 1), (1, 1), (12, 1), (18, 2), (17, 1), (36, 4)]
)  # fmt: skip
def test_groups_have_about_eight_channels(channels, groups):
    net = bn.nets.cnn(1, 2, (channels,), norm="group")
    assert net[1].num_groups == groups


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: bn.nets.mlp(4, 2, norm="instance"), ValueError, "norm must .*positions.*'instance'"),
        (lambda: bn.nets.mlp(4, 2, norm_options={"groups": 2}), ValueError, "norm_options with norm='batch' must be among eps, momentum, .*got 'groups'"),
        (lambda: bn.nets.cnn(3, 2, norm_options={"axis": 2}), ValueError, "norm_options .*got 'axis'"),
        (lambda: bn.nets.cnn(3, 2, norm="group", norm_options={"num_channels": 2}), ValueError, "got 'num_channels'"),
        (lambda: bn.nets.cnn(3, 2, norm="group", norm_options={"num_groups": 3}), ValueError, "num_groups must divide"),
        (lambda: bn.nets.cnn(3, 2, norm_options={"momentum": 2}), ValueError, "momentum must"),
        (lambda: bn.nets.cnn(3, 2, norm_options=[("momentum", 0.1)]), TypeError, "norm_options must be a mapping"),
        (lambda: bn.nets.cnn(3, 2, norm="none", norm_options={"eps": 1}), ValueError, "norm_options must be empty"),
        (lambda: bn.nets.resnet20(norm="layer", zero_gamma=True, norm_options={"weight": False}), ValueError, "zero_gamma must be False"),
    ],
)  # fmt: skip
def test_wrong_norms_and_options_are_named(build, error, match):
    with pytest.raises(error, match=match):
        build()


def test_none_is_no_norm():
    for make in (bn.nets.cnn, bn.nets.mlp, bn.nets.recurrent):
        assert repr(make(3, 2, norm=None, rng=0)) == repr(make(3, 2, norm="none", rng=0))
    with pytest.raises(ValueError, match="norm_options must be empty"):
        bn.nets.cnn(3, 2, norm=None, norm_options={"eps": 1})

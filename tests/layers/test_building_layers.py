"""Layers of one's own, configurations there and back, text, initialization, and the batch norm layer's options."""

from __future__ import annotations

import json

import numpy as np
import pytest
from layer_cases import CASES, differences, make

import bncore as bn


@bn.layers.register
class Scale(bn.layers.Layer):
    """The example of the base class's docstring, with a name."""

    parameter_names = ("scale",)
    decayed_names = ("scale",)

    def __init__(self, start=1.0):
        self.start = start
        self.scale = np.full(1, start)

    def forward(self, x):
        self.save(x)
        return self.scale * x

    def backward(self, dy):
        x = self.take_saved()
        self.set_grad("scale", [np.vdot(dy, x)])
        return self.scale * dy

    def config(self):
        return {"type": "Scale", "start": self.start}


def own_net():
    return bn.Sequential(
        bn.Linear(3, 4, dtype=np.float64, rng=0),
        Scale(2.0),
        bn.Residual(Scale(0.5), bn.Linear(4, 4, dtype=np.float64, rng=1)),
    )


@pytest.mark.parametrize("packed", [False, True])
def test_a_layer_of_ones_own_trains_inside_containers(packed):
    model = own_net()
    if packed:
        model.pack()
    x = np.random.default_rng(0).standard_normal((5, 3))
    dy = np.random.default_rng(1).standard_normal((5, 4))
    model(x)
    model.backward(dy)
    if packed:
        assert np.shares_memory(model[1].scale_grad, model.gradients_flat)
    for name, parameter in model.named_parameters():
        gradient = parameter.gradient.copy()
        picked, slopes = differences(lambda: model(x), parameter.value, dy)
        np.testing.assert_allclose(gradient.reshape(-1)[picked], slopes, rtol=1e-6, err_msg=name)


def test_a_layer_of_ones_own_is_saved_copied_and_rebuilt():
    model = own_net()
    assert "1.scale" in model.state_dict()
    twin = bn.layers.build(model.config())
    twin.load_state_dict(model.state_dict())
    x = np.random.default_rng(0).standard_normal((5, 3))
    np.testing.assert_array_equal(twin(x), model(x))
    np.testing.assert_array_equal(model.copy()(x), model(x))
    assert model.eval()(x) is not None
    assert model[1]._saved is None


def test_calling_a_subclass_calls_its_own_forward():
    class Twice(Scale):
        def forward(self, x):
            return 2 * super().forward(x)

    class Heir(Twice):
        pass

    assert Twice()(np.ones(1)) == 2
    assert Heir()(np.ones(1)) == 2


def test_unfinished_layers_say_what_to_define():
    class Nothing(bn.layers.Layer):
        pass

    for call in (lambda: Nothing()(1), lambda: Nothing().backward(1), lambda: Nothing().config()):
        with pytest.raises(NotImplementedError, match="Nothing must define"):
            call()


@pytest.mark.parametrize("name", CASES)
def test_config_and_state_rebuild_the_layer(name):
    layer, x = make(name)
    twin = bn.layers.build(json.loads(json.dumps(layer.config())))
    twin.load_state_dict(layer.state_dict())
    assert twin.config() == layer.config()
    assert repr(twin) == repr(layer)
    np.testing.assert_array_equal(twin.eval()(x), layer.eval()(x))


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"type": "Nonsense"}, "no layer of type 'Nonsense'.*register"),
        ({"type": "Linear", "in_features": 3}, "Linear cannot be built .*out_features"),
        (
            {"type": "Linear", "in_features": 3, "out_features": 2, "x": 1},
            "Linear cannot be built .*'x'",
        ),
        (
            {"type": "Linear", "in_features": "3", "out_features": 2},
            "Linear cannot be built .*in_features",
        ),
        ({"type": "BatchNorm", "num_features": -1}, "num_features"),
        ({"type": "Sequential"}, "config must have a list of layers under 'layers'"),
        ({"type": "Sequential", "layers": [3]}, 'config must be a dict with a "type", got 3'),
        ({"type": "Concat", "branches": "ab"}, "config must have a list of layers"),
        ({"type": "Residual"}, "Residual cannot be built"),
        ({"type": ["Linear"]}, 'config must be a dict with a "type"'),
        ("Linear", 'config must be a dict with a "type"'),
    ],
)
def test_a_bad_config_is_one_clear_value_error(config, match):
    with pytest.raises(ValueError, match=match):
        bn.layers.build(config)


def test_two_classes_cannot_have_one_name():
    with pytest.raises(ValueError, match="'Linear' is registered already"):

        @bn.layers.register
        class Linear(bn.layers.Layer):
            pass


def test_repr_shows_the_tree_shapes_and_the_momentum_convention():
    model = bn.Sequential(
        bn.Conv2d(1, 4, 3, padding=1, bias=False),
        bn.BatchNorm(4, activation="relu"),
        bn.Residual(bn.Sequential(bn.Conv2d(4, 4, (1, 3), 1, (0, 1), axis=1), bn.BatchNorm(4, momentum=None))),
        bn.GlobalAvgPool(),
        bn.Dropout(0.2),
    )  # fmt: skip
    assert repr(model).splitlines() == [
        "Sequential(  # 104 parameters",
        "  (0): Conv2d(1, 4, kernel_size=3, padding=1, bias=False)  # weight (4, 1, 3, 3): 36 parameters",
        "  (1): BatchNorm(4, eps=1e-05, momentum=0.1 (weight of the new batch), activation='relu')"
        "  # weight (4,), bias (4,): 8 parameters",
        "  (2): Residual(  # 60 parameters",
        "    (main): Sequential(  # 60 parameters",
        "      (0): Conv2d(4, 4, kernel_size=(1, 3), padding=(0, 1))  # weight (4, 4, 1, 3), bias (4,): 52 parameters",
        "      (1): BatchNorm(4, eps=1e-05, momentum=None (cumulative average))  # weight (4,), bias (4,): 8 parameters",
        "    )",
        "  )",
        "  (3): GlobalAvgPool()",
        "  (4): Dropout(0.2)",
        ")",
    ]


def test_repr_shows_what_differs_from_the_default():
    layer = bn.BatchNorm(3, axis=-1, bias=False, unbiased=False, frozen=True)
    for part in ("axis=-1", "bias=False", "unbiased=False", "frozen=True"):
        assert part in repr(layer)
    assert "negative" not in repr(bn.LeakyReLU())
    assert (
        repr(bn.AvgPool(2, 1, count_include_pad=False))
        == "AvgPool(2, stride=1, count_include_pad=False)"
    )
    assert repr(bn.GELU("tanh")) == "GELU(approximate='tanh')"
    assert "output_padding=1" in repr(bn.ConvTranspose2d(2, 2, 3, 2, 1, 1))


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ("kaiming_uniform", 1 / np.sqrt(3 * 60 * 9)),
        ("he_normal", np.sqrt(2 / (60 * 9))),
        ("xavier", np.sqrt(2 / (60 * 9 + 80 * 9))),
        (0.02, 0.02),
        (0, 0.0),
    ],
)
def test_initial_weights_have_the_spread_of_their_name(init, std, dtype):
    layer = bn.Conv2d(60, 80, 3, init=init, dtype=dtype, rng=1)
    assert layer.weight.dtype == dtype
    assert layer.weight.std() == pytest.approx(std, rel=0.02)
    assert abs(layer.weight.mean()) <= 4 * std / np.sqrt(layer.weight.size)
    assert layer.bias.any() == (init == "kaiming_uniform")


def test_the_seed_decides_the_weights():
    first, second = bn.Linear(4, 3, rng=5), bn.Linear(4, 3, rng=5, dtype=np.float64)
    np.testing.assert_array_equal(first.weight, second.weight.astype(np.float32))
    rng = np.random.default_rng(5)
    np.testing.assert_array_equal(bn.Linear(4, 3, rng=rng).weight, first.weight)
    assert not np.array_equal(bn.Linear(4, 3, rng=rng).weight, first.weight)
    try:
        bn.seed(5)
        np.testing.assert_array_equal(bn.Linear(4, 3).weight, first.weight)
        assert not np.array_equal(bn.Linear(4, 3).weight, first.weight)
    finally:
        bn.seed(None)
    assert not np.array_equal(bn.Linear(4, 3).weight, bn.Linear(4, 3).weight)


def test_reseed_gives_every_dropout_its_own_repeatable_stream():
    model = bn.Sequential(bn.Dropout(0.5), bn.Residual(bn.Dropout(0.5)))
    x = np.ones((8, 8), np.float32)
    masks = []
    for _ in range(2):
        model.reseed(3)
        masks.append((model[0](x), model[1].main(x)))
    np.testing.assert_array_equal(masks[0], masks[1])
    assert not np.array_equal(*masks[0])


def test_indexing_and_editing_a_chain():
    model = bn.Sequential(bn.ReLU(), bn.Tanh(), bn.SiLU())
    assert [type(layer) for layer in model] == [bn.ReLU, bn.Tanh, bn.SiLU]
    assert model[-1] is model[2]
    assert isinstance(model[1:], bn.Sequential)
    assert model[1:][0] is model[1]
    model.insert(1, bn.GELU())
    del model[-1]
    assert [name for name, _ in model.named_layers()] == ["", "0", "1", "2"]
    with pytest.raises(IndexError):
        model[7]


# ---- batch norm's options


def batches(count, c=3):
    rng = np.random.default_rng(8)
    return [rng.normal(2.0, 3.0, (5, c, 4)) for _ in range(count)]


def test_momentum_is_the_weight_of_the_new_batch():
    layer = bn.BatchNorm(3, momentum=0.25, dtype=np.float64)
    (x,) = batches(1)
    layer(x)
    np.testing.assert_allclose(layer.running_mean, 0.25 * x.mean((0, 2)))
    np.testing.assert_allclose(layer.running_var, 0.75 + 0.25 * x.var((0, 2), ddof=1))


def test_cumulative_average_weighs_all_batches_alike():
    layer = bn.BatchNorm(3, momentum=None, unbiased=False, dtype=np.float64)
    xs = batches(4)
    for x in xs:
        layer(x)
    np.testing.assert_allclose(layer.running_mean, np.mean([x.mean((0, 2)) for x in xs], 0))
    np.testing.assert_allclose(layer.running_var, np.mean([x.var((0, 2)) for x in xs], 0))
    layer.reset_running_stats()
    layer(xs[0])
    np.testing.assert_allclose(layer.running_mean, xs[0].mean((0, 2)))


def test_frozen_uses_and_keeps_the_running_statistics_while_gamma_and_beta_train():
    layer, x = make("norm-frozen")
    before = layer.state_dict()
    y = layer(x)
    layer.backward(np.ones_like(y))
    np.testing.assert_array_equal(layer.eval()(x), y)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert layer.weight_grad.any()
    assert layer.bias_grad.any()
    layer.frozen = False
    layer.train()(x)
    assert layer.num_batches_tracked == 1


def test_frozen_trains_on_a_single_value():
    layer = bn.BatchNorm(3, frozen=True)
    layer(np.ones((1, 3), np.float32))
    layer.backward(np.ones((1, 3), np.float32))


def test_without_running_statistics_evaluation_uses_the_batch():
    layer, x = make("norm-untracked")
    np.testing.assert_array_equal(layer.eval()(x), layer.train()(x))
    assert layer.num_batches_tracked == 0


def test_an_empty_batch_changes_nothing_and_is_not_counted():
    layer = bn.BatchNorm(3, momentum=None)
    before = layer.state_dict()
    y = layer(np.empty((0, 3, 4), np.float32))
    assert y.shape == (0, 3, 4)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_wrong_channel_count_is_an_error_whatever_the_layer_holds():
    for options in ({}, {"affine": False}, {"affine": False, "track_running_stats": False}):
        with pytest.raises(
            ValueError,
            match=r"^BatchNorm\(3\): x must have 3 channels on axis 1, got shape \(5, 4\)",
        ):
            bn.BatchNorm(3, **options)(np.ones((5, 4), np.float32))


def test_zero_gamma_starts_a_block_as_the_identity():
    x = np.random.default_rng(0).standard_normal((4, 3), dtype=np.float32)
    block = bn.Residual(
        bn.Sequential(bn.Linear(3, 3), bn.BatchNorm(3, zero_gamma=True)), activation=None
    )
    np.testing.assert_array_equal(block(x), x)


def test_a_residual_block_computes_the_same_fused_and_apart():
    block, x = make("residual-shortcut")
    apart = block.copy()
    apart.main.append(bn.Dropout(0.0))  # the norm is no longer the last layer
    assert block.main.accepts_residual()
    assert not apart.main.accepts_residual()
    y = block(x)
    np.testing.assert_allclose(apart(x), y, rtol=1e-13, atol=1e-13)
    dy = np.random.default_rng(2).standard_normal(y.shape)
    np.testing.assert_allclose(apart.backward(dy), block.backward(dy), rtol=1e-12, atol=1e-12)


def test_on_every_backend_a_net_gives_the_same_answers(backend):
    model = bn.nets.resnet20(3, 5, width=4, rng=0, dtype=np.float64)
    x = np.random.default_rng(0).standard_normal((3, 3, 8, 8))
    with bn.use_backend("numpy"):
        twin = model.copy()
        expected = twin(x)
        expected_dx = twin.backward(np.cos(expected))
    np.testing.assert_allclose(model(x), expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(model.backward(np.cos(expected)), expected_dx, rtol=1e-8, atol=1e-10)

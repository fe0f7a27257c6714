"""A trainer with a plan does what one without does; what changes a net makes another plan; what has none still trains."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import bncore as bn
from bncore import backend as backends

from ..plan.cases import CASES, Doubled
from .nets import small_cnn, small_mlp

OPTIMIZERS = {
    "sgd": lambda: bn.SGD(0.05, 0.9, weight_decay=1e-4),
    "nesterov": lambda: bn.SGD(0.05, 0.9, nesterov=True),
    "adamw": lambda: bn.AdamW(1e-3),
}


def pair(make, **how):
    """Two trainers of the same net, with and without a plan."""
    optimizer = how.pop("optimizer", OPTIMIZERS["sgd"])
    return [bn.Trainer(make(), optimizer=optimizer(), plan=plan, **how) for plan in (True, False)]


def batch(shape, classes, dtype, rng):
    return rng.normal(size=shape).astype(dtype), rng.integers(0, classes, shape[0])


def planned(trainer):
    return bool(trainer._plans._known)


def same(a, b, tolerance=1e-12):
    for key, array in a.state_dict().items():
        np.testing.assert_allclose(b.state_dict()[key], array, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_steps_with_and_without_a_plan_agree(native, name, rng):
    net, shape = CASES[name](np.dtype(np.float64))
    pred = net.copy()(rng.normal(size=shape))
    if pred.ndim != 2:
        pytest.skip("no classes")
    a, b = pair(net.copy)
    for _ in range(4):
        x, y = batch(shape, pred.shape[1], np.float64, rng)
        assert a.step(x, y) == pytest.approx(b.step(x, y), rel=1e-11)
    assert planned(a)
    same(a.net, b.net, 1e-9)


def test_computing_again_changes_nothing(native, rng):
    nets = [bn.nets.resnet20(width=4, blocks=2, rng=0, dtype=np.float64) for _ in range(2)]
    a, b = (
        bn.Trainer(net, optimizer=bn.SGD(0.05, 0.9), recompute=way)
        for net, way in zip(nets, (False, True))
    )
    for _ in range(3):
        x, y = batch((9, 3, 8, 8), 10, np.float64, rng)
        assert a.step(x, y) == b.step(x, y)
    assert np.array_equal(a.net.parameters_flat, b.net.parameters_flat)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(native, optimizer, rng):
    a, b = pair(small_mlp, optimizer=OPTIMIZERS[optimizer], clip_norm=0.1)
    for _ in range(5):
        x, y = batch((12, 5), 3, np.float64, rng)
        assert a.step(x, y) == pytest.approx(b.step(x, y), rel=1e-12)
    same(a.net, b.net)


def squared(pred, y):
    return float((pred**2).mean()), 2 * pred / pred.size


@pytest.mark.parametrize("loss", [bn.CrossEntropy(0.1), squared, "mse", "bce_with_logits"], ids=str)
def test_every_loss(native, loss, rng):
    a, b = pair(small_mlp, loss=loss)
    for _ in range(3):
        x, y = batch((12, 5), 3, np.float64, rng)
        if loss in ("mse", "bce_with_logits"):
            y = rng.random((12, 3))
        assert a.step(x, y) == pytest.approx(b.step(x, y), rel=1e-12)
    same(a.net, b.net)


def test_the_prediction_is_the_callers_own(native, rng):
    a, b = pair(small_mlp)
    x, y = batch((12, 5), 3, np.float64, rng)
    _, first = a.step_with_prediction(x, y)
    kept = first.copy()
    np.testing.assert_allclose(first, b.step_with_prediction(x, y)[1], rtol=1e-12)
    a.step_with_prediction(*batch((12, 5), 3, np.float64, rng))
    assert np.array_equal(first, kept)


def test_batches_of_two_sizes_have_two_plans(native, rng):
    a, b = pair(small_mlp)
    for size in (12, 11, 12, 11, 12):
        x, y = batch((size, 5), 3, np.float64, rng)
        assert a.step(x, y) == pytest.approx(b.step(x, y), rel=1e-12)
    assert len(a._plans._known) == 2
    same(a.net, b.net)


def change_activation(net):
    net[1].activation = None


def change_layer(net):
    net[1] = bn.BatchNorm(16, eps=0.1, dtype=np.float64)


def freeze(net):
    net[1].frozen = True


def replace_weight(net):
    net[0].weight = net[0].weight * 2


def put_running(net):
    net[1].running_mean = np.full(16, 3.0)


def child_in_evaluation(net):
    net[1].eval(backward=True)


@pytest.mark.parametrize(
    "change",
    [change_activation, change_layer, freeze, replace_weight, put_running, child_in_evaluation],
)
def test_a_changed_net_has_another_plan(native, change, rng):
    a, b = pair(small_mlp, optimizer=lambda: bn.SGD(0.05))
    for step in range(4):
        if step == 2:
            change(a.net), change(b.net)
        x, y = batch((12, 5), 3, np.float64, rng)
        assert a.step(x, y) == pytest.approx(b.step(x, y), rel=1e-12)
    same(a.net, b.net)


def test_a_users_layer_adds_its_residual_itself(native, rng):
    class Halving(bn.BatchNorm):
        def forward(self, x, residual=None, activation=None):
            return super().forward(x, residual * 0.5, activation)

        def backward(self, dy):
            dx, dresidual = super().backward(dy)
            return dx, dresidual * 0.5

    def make():
        main = bn.Sequential(bn.Linear(5, 5, rng=0, dtype="float64"), Halving(5, dtype="float64"))
        return bn.Sequential(bn.Residual(main), bn.Linear(5, 3, rng=1, dtype="float64"))

    a, b = pair(make)
    for _ in range(3):
        x, y = batch((12, 5), 3, np.float64, rng)
        assert a.step(x, y) == pytest.approx(b.step(x, y), rel=1e-12)
    assert not planned(a)
    same(a.net, b.net)


def test_errors_of_called_layers_have_their_path(native, rng):
    class Picky(bn.Layer):
        def forward(self, x):
            if self.training and x.max() > 100:
                raise ValueError("too large")
            return x[:, :2] if self.training and x.min() < -100 else x

        def backward(self, dy):
            return dy

    net = bn.Sequential(bn.Linear(4, 3, rng=0), Picky(), bn.ReLU())
    trainer = bn.Trainer(net, optimizer=bn.SGD(0.01))
    x, y = batch((6, 4), 3, np.float32, rng)
    trainer.step(x, y)
    assert planned(trainer)
    net[0].bias[...] = 1000
    with pytest.raises(ValueError, match=r"1 Picky\(\): too large"):
        trainer.step(x, y)
    net[0].bias[...] = -1000
    with pytest.raises(ValueError, match=r"1 Picky\(\): expected an array of shape \(6, 3\)"):
        trainer.step(x, y)


def test_what_the_core_refuses_the_layers_explain(native, rng):
    net = small_mlp()
    net[1].running_mean = np.zeros(32)[::2]
    trainer = bn.Trainer(net, optimizer=bn.SGD(0.01))
    with pytest.raises(ValueError, match=r"1 BatchNorm\(16\): running_mean must be C-contiguous"):
        trainer.step(*batch((12, 5), 3, np.float64, rng))


def test_a_gradient_of_another_shape_is_an_error(native, rng):
    trainer = bn.Trainer(small_mlp(), loss=lambda pred, y: (1.0, 1.0), optimizer=bn.SGD(0.01))
    with pytest.raises(ValueError, match="gradient must have the shape"):
        trainer.step(*batch((12, 5), 3, np.float64, rng))


def test_a_called_layers_parameter_may_be_replaced(native, rng):
    def make():
        return bn.Sequential(bn.Linear(4, 6, rng=0), Doubled(np.float32), bn.Linear(6, 3, rng=1))

    a, b = pair(make)
    for step in range(4):
        if step == 2:
            for trainer in (a, b):
                trainer.net[1].factor = np.full(1, 3, np.float32)
        x, y = batch((6, 4), 3, np.float32, rng)
        assert a.step(x, y) == pytest.approx(b.step(x, y), rel=1e-5)
    assert planned(a)
    same(a.net, b.net, 1e-5)
    assert a.net[1].factor != 3  # it was trained


def test_smoothing_may_change(native, rng):
    a, b = pair(small_mlp, loss=bn.CrossEntropy())
    x, y = batch((12, 5), 3, np.float64, rng)
    for smoothing in (0.0, 0.3):
        a.loss.label_smoothing = b.loss.label_smoothing = smoothing
        assert a.step(x, y) == pytest.approx(b.step(x, y), rel=1e-12)


def test_trainers_and_compiled_nets_can_be_copied(native, rng):
    trainer = bn.Trainer(small_mlp(), optimizer=bn.SGD(0.05))
    x, y = batch((12, 5), 3, np.float64, rng)
    trainer.step(x, y)
    twin = copy.deepcopy(trainer)
    assert twin.step(x, y) == pytest.approx(trainer.step(x, y), rel=1e-12)
    run = bn.compile(trainer.net, x)
    assert np.array_equal(copy.deepcopy(run)(x), run(x))


def test_dropout_draws_what_it_would(native, rng):
    def make():
        net = small_cnn(dropout=0.5, dtype="float64")
        net.reseed(3)
        return net

    a, b = pair(make)
    for _ in range(3):
        x, y = batch((8, 1, 8, 8), 10, np.float64, rng)
        assert a.step(x, y) == pytest.approx(b.step(x, y), rel=1e-12)
    same(a.net, b.net)


def test_layers_and_functional_stay_usable_between_steps(native, rng):
    a, b = pair(small_mlp)
    for _ in range(3):
        x, y = batch((12, 5), 3, np.float64, rng)
        assert a.step(x, y) == pytest.approx(b.step(x, y), rel=1e-12)
        for trainer in (a, b):
            trainer.net.eval()
            trainer.net(x)
    same(a.net, b.net)


@pytest.mark.parametrize("plan", [True, False])
def test_bad_batches_are_explained_and_harmless(plan, rng):
    trainer = bn.Trainer(small_mlp(), optimizer=bn.SGD(0.05), plan=plan)
    x, y = batch((12, 5), 3, np.float64, rng)
    trainer.step(x, y)
    before = trainer.net.parameters_flat.copy()
    with pytest.raises(ValueError, match="classes from 0 to 2"):
        trainer.step(x, y + 7)
    with pytest.raises(TypeError, match="integer classes"):
        trainer.step(x, y.astype(float))
    with pytest.raises(ValueError, match=r"0 Linear\(5, 16\)"):
        trainer.step(x[:, :4], y)
    with pytest.raises(TypeError):
        trainer.step(x.astype(np.float32), y)
    with pytest.raises(FloatingPointError, match="clean the data"):
        trainer.step(np.full_like(x, np.nan), y)
    assert np.array_equal(trainer.net.parameters_flat, before)
    trainer.step(x[::-1], y.astype(np.int32))  # not contiguous, other integers: all right


def test_the_numpy_backend_calls_the_layers(rng):
    with backends.use_backend("numpy"):
        trainer = bn.Trainer(small_mlp(), optimizer=bn.SGD(0.05))
        x, y = batch((12, 5), 3, np.float64, rng)
        trainer.step(x, y)
        assert trainer._plans is None or not planned(trainer)
        with pytest.raises(ValueError, match="no plan"):
            trainer.profile(x, y)


def test_a_profile_names_every_step(native, rng):
    trainer = bn.Trainer(small_cnn(), optimizer=bn.SGD(0.05))
    found = trainer.profile(*batch((8, 1, 8, 8), 10, np.float32, rng))
    names = [name for name, _ in found]
    assert "0 conv" in names and "0 conv_backward" in names
    assert all(seconds >= 0 for _, seconds in found)

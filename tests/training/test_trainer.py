"""Trainer.step: PyTorch's losses on the cnn, schedules, and steps that fail without harm."""

import numpy as np
import pytest

import bncore as bn

from .nets import small_mlp, torch_mirror

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(16, 5)), RNG.integers(0, 3, 16)


def test_twenty_steps_of_the_cnn_follow_pytorch(backend):
    torch = pytest.importorskip("torch")
    net = bn.nets.cnn(1, 10, rng=0)
    mirror = torch_mirror(net)
    rng = np.random.default_rng(0)
    theirs = torch.optim.SGD(mirror.parameters(), lr=0.05, momentum=0.9)
    trainer = bn.Trainer(net, optimizer=bn.SGD(0.05, 0.9))
    for _ in range(20):
        x = rng.normal(size=(32, 1, 8, 8)).astype(np.float32)
        y = rng.integers(0, 10, 32)
        theirs.zero_grad()
        expected = torch.nn.functional.cross_entropy(
            mirror(torch.from_numpy(x)), torch.from_numpy(y)
        )
        expected.backward()
        theirs.step()
        assert trainer.step(x, y) == pytest.approx(expected.item(), rel=1e-4)


def test_a_step_trains_whatever_mode_the_net_was_in():
    net = small_mlp().eval()
    trainer = bn.Trainer(net, optimizer=bn.SGD(0.5))
    losses = [trainer.step(X, Y) for _ in range(20)]
    assert net.training
    assert losses[-1] < 0.5 * losses[0]
    assert trainer.steps == 20


def test_a_schedule_needs_the_length_of_the_run_and_ends_with_it():
    with pytest.raises(ValueError, match="total_steps"):
        bn.Trainer(small_mlp(), schedule="cosine")
    trainer = bn.Trainer(small_mlp(), optimizer=bn.SGD(0.1), schedule="cosine", total_steps=4)
    rates = []
    for _ in range(6):
        trainer.step(X, Y)
        rates.append(trainer.lr)
    expected = [0.1 * bn.schedules.cosine()(i, 4) for i in (0, 1, 2, 3, 3, 3)]
    assert rates == expected


def test_layers_are_told_the_length_of_the_run_where_there_is_one():
    class Listening(bn.layers.Layer):
        told = ()

        def _begin_run(self, steps):
            self.told = (*self.told, steps)

    listening = Listening()
    net = bn.Sequential(small_mlp(), bn.Sequential(listening))
    bn.Trainer(net)
    assert listening.told == ()
    bn.Trainer(net, total_steps=7)
    net.begin_run(np.int64(3))
    assert listening.told == (7, 3)


def test_a_step_that_fails_leaves_weights_and_optimizer_alone():
    net = small_mlp()
    trainer = bn.Trainer(net, optimizer=bn.SGD(0.1, 0.9))
    trainer.step(X, Y)
    weights, state = net.parameters_flat.copy(), trainer.optimizer.state_dict()
    with pytest.raises(FloatingPointError, match="nan at step 2"):
        trainer.step(np.full_like(X, np.nan), Y)
    assert np.array_equal(net.parameters_flat, weights)
    assert np.array_equal(trainer.optimizer.state_dict()["velocity"], state["velocity"])
    trainer.loss = lambda pred, target: (1.0, np.full_like(pred, np.inf))
    trainer.clip_norm = 1.0
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="norm of the gradient"):
        trainer.step(X, Y)
    assert np.array_equal(net.parameters_flat, weights)

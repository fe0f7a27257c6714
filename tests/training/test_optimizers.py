"""Optimizers through a trainer: PyTorch's trajectories, weight decay, state carried on."""

import numpy as np
import pytest

import bncore as bn
from bncore.training import optimizers

from .nets import small_mlp, torch_mirror

RNG = np.random.default_rng(0)
BATCHES = [(RNG.normal(size=(16, 5)), RNG.integers(0, 3, 16)) for _ in range(30)]
SETTINGS = {
    "plain": ("SGD", {"lr": 0.1}),
    "momentum": ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}),
    "nesterov": ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    "adamw": ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    "adamw betas": ("AdamW", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.0}),
}


@pytest.mark.parametrize("decay_all", [False, True])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("clip", [None, 0.5])
def test_thirty_steps_follow_pytorch(setting, decay_all, clip):
    torch = pytest.importorskip("torch")
    kind, options = SETTINGS[setting]
    net = small_mlp()
    mirror = torch_mirror(net)
    named = list(mirror.named_parameters())
    is_weight = {name: decay_all or value.ndim > 1 for name, value in named}
    theirs = getattr(torch.optim, kind)(
        [
            {"params": [value for name, value in named if is_weight[name]]},
            {
                "params": [value for name, value in named if not is_weight[name]],
                "weight_decay": 0.0,
            },
        ],
        **options,
    )
    trainer = bn.Trainer(
        net, optimizer=getattr(bn, kind)(**options, decay_all=decay_all), clip_norm=clip
    )
    for x, y in BATCHES:
        theirs.zero_grad()
        expected = torch.nn.functional.cross_entropy(
            mirror(torch.from_numpy(x)), torch.from_numpy(y)
        )
        expected.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(mirror.parameters(), clip)
        theirs.step()
        assert trainer.step(x, y) == pytest.approx(expected.item(), rel=1e-9)
    state = mirror.state_dict()
    for ours, theirs_name in zip(net.state_dict().items(), state):
        assert np.allclose(ours[1], state[theirs_name].numpy(), rtol=1e-8, atol=1e-10), ours[0]


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_saved_optimizer_continues_to_the_bit(setting):
    kind, options = SETTINGS[setting]

    def trained(net, optimizer, batches):
        trainer = bn.Trainer(net, optimizer=optimizer)
        for x, y in batches:
            trainer.step(x, y)
        return net

    through = trained(small_mlp(), getattr(bn, kind)(**options), BATCHES)
    first = getattr(bn, kind)(**options)
    half = trained(small_mlp(), first, BATCHES[:15])
    again, second = small_mlp(seed=9), getattr(bn, kind)(**options)
    again.load_state_dict(half.state_dict())
    second.attach(again)
    second.load_state_dict(first.state_dict())
    resumed = trained(again, second, BATCHES[15:])
    assert np.array_equal(through.parameters_flat, resumed.parameters_flat)
    assert second.steps == 30


def test_weight_decay_leaves_norms_and_biases_alone():
    net = small_mlp()
    optimizer = bn.SGD(lr=1.0, weight_decay=0.5)
    optimizer.attach(net)
    net.gradients_flat[:] = 0
    before = net.state_dict()
    optimizer.step()
    for name, value in net.state_dict().items():
        factor = 0.5 if name in ("0.weight", "2.weight") else 1.0
        assert np.array_equal(value, factor * before[name]), name


def test_attaching_again_keeps_state_and_another_net_resets_it():
    net, optimizer = small_mlp(), bn.SGD(0.1, 0.9)
    bn.Trainer(net, optimizer=optimizer).step(*BATCHES[0])
    velocity = optimizer.state_dict()["velocity"]
    optimizer.attach(net)
    assert optimizer.steps == 1
    assert np.array_equal(optimizer.state_dict()["velocity"], velocity)
    optimizer.attach(small_mlp())
    assert optimizer.steps == 0
    assert not optimizer.state_dict()["velocity"].any()


def test_states_that_do_not_fit_are_refused():
    optimizer = bn.AdamW()
    with pytest.raises(RuntimeError, match="attach"):
        optimizer.step()
    with pytest.raises(RuntimeError, match="attach"):
        optimizer.load_state_dict({})
    optimizer.attach(small_mlp())
    with pytest.raises(ValueError, match="state must hold m, steps, v, got steps, velocity"):
        optimizer.load_state_dict({"steps": 1, "velocity": np.zeros(3)})
    with pytest.raises(ValueError, match="state: m must be float64"):
        optimizer.load_state_dict({"steps": 1, "m": np.zeros(3), "v": np.zeros(3)})


@pytest.mark.parametrize(
    ("kind", "options", "match"),
    [
        ("sgd", {"lr": -1}, "lr"),
        ("sgd", {"lr": float("nan")}, "lr"),
        ("sgd", {"momentum": 1.0}, "momentum"),
        ("sgd", {"nesterov": True}, "nesterov"),
        ("sgd", {"weight_decay": -1}, "weight_decay"),
        ("adamw", {"betas": (0.9,)}, "betas"),
        ("adamw", {"betas": (0.9, 1.0)}, "betas"),
        ("adamw", {"eps": -1e-8}, "eps"),
    ],
)
def test_settings_out_of_range_are_named(kind, options, match):
    with pytest.raises(ValueError, match=match):
        optimizers.resolve(kind, **options)


def test_clipping_returns_the_norm_and_spares_what_is_not_finite():
    net = small_mlp()
    net.gradients_flat[:5] = 3.0
    assert bn.clip_gradients(net, 1.0) == pytest.approx(3.0 * np.sqrt(5))
    assert np.linalg.norm(net.gradients_flat) == pytest.approx(1.0, rel=1e-5)
    kept = net.gradients_flat.copy()
    assert bn.clip_gradients(net, 10.0) == pytest.approx(1.0, rel=1e-5)
    assert np.array_equal(net.gradients_flat, kept)
    net.gradients_flat[0] = np.inf
    assert bn.clip_gradients(net, 1.0) == np.inf
    assert net.gradients_flat[1] == kept[1]

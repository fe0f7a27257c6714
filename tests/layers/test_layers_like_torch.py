"""Layers against their namesakes in PyTorch, float64: forward, backward, running statistics, state dicts both ways."""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn

torch = pytest.importorskip("torch")
nn = torch.nn
F64 = np.float64
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


class TorchResidual(nn.Module):
    def __init__(self, main, shortcut=None, activation="relu"):
        super().__init__()
        self.main, self.shortcut, self.activation = main, shortcut, activation

    def forward(self, x):
        y = self.main(x) + (x if self.shortcut is None else self.shortcut(x))
        return y.relu() if self.activation else y


class TorchConcat(nn.Sequential):
    def forward(self, x):
        return torch.cat([branch(x) for branch in self], 1)


def residual_pair(activation):
    ours = bn.Residual(
        bn.Sequential(
            bn.Conv2d(4, 6, 3, 2, 1, bias=False, dtype=F64),
            bn.BatchNorm(6, dtype=F64),
            bn.ReLU(),
            bn.Conv2d(6, 6, 3, 1, 1, bias=False, dtype=F64),
            bn.BatchNorm(6, dtype=F64),
        ),
        bn.Sequential(bn.Conv2d(4, 6, 1, 2, bias=False, dtype=F64), bn.BatchNorm(6, dtype=F64)),
        activation,
    )
    theirs = TorchResidual(
        nn.Sequential(
            nn.Conv2d(4, 6, 3, 2, 1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, 1, 1, bias=False),
            nn.BatchNorm2d(6),
        ),
        nn.Sequential(nn.Conv2d(4, 6, 1, 2, bias=False), nn.BatchNorm2d(6)),
        activation,
    )
    return ours, theirs


def chain_pair():
    ours = bn.Sequential(
        bn.Conv2d(4, 6, 3, padding=1, dtype=F64),
        bn.BatchNorm(6, dtype=F64, momentum=None),
        bn.GELU(),
        bn.Concat(bn.Conv2d(6, 2, 1, dtype=F64), bn.MaxPool(3, 1, 1)),
        bn.GlobalAvgPool(),
        bn.Linear(8, 3, dtype=F64),
    )
    theirs = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1),
        nn.BatchNorm2d(6, momentum=None),
        nn.GELU(),
        TorchConcat(nn.Conv2d(6, 2, 1), nn.MaxPool2d(3, 1, 1)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(8, 3),
    )
    return ours, theirs


ROWS, LENGTH, IMAGE = (5, 4), (3, 4, 9), (3, 4, 6, 7)
PAIRS = {
    "BatchNorm1d": (lambda: (bn.BatchNorm(4, dtype=F64), nn.BatchNorm1d(4)), ROWS),
    "BatchNorm2d": (lambda: (bn.BatchNorm(4, dtype=F64, momentum=0.3, eps=1e-3), nn.BatchNorm2d(4, 1e-3, 0.3)), IMAGE),
    "BatchNorm cumulative": (lambda: (bn.BatchNorm(4, dtype=F64, momentum=None), nn.BatchNorm1d(4, momentum=None)), LENGTH),
    "BatchNorm plain": (lambda: (bn.BatchNorm(4, dtype=F64, affine=False), nn.BatchNorm2d(4, affine=False)), IMAGE),
    "BatchNorm untracked": (
        lambda: (
            bn.BatchNorm(4, dtype=F64, track_running_stats=False),
            nn.BatchNorm2d(4, track_running_stats=False),
        ),
        IMAGE,
    ),
    "GroupNorm": (lambda: (bn.GroupNorm(2, 4, dtype=F64), nn.GroupNorm(2, 4)), IMAGE),
    "GroupNorm rows": (lambda: (bn.GroupNorm(2, 4, eps=1e-3, dtype=F64), nn.GroupNorm(2, 4, 1e-3)), ROWS),
    "GroupNorm plain": (lambda: (bn.GroupNorm(1, 4, affine=False, dtype=F64), nn.GroupNorm(1, 4, affine=False)), LENGTH),
    "InstanceNorm1d": (lambda: (bn.InstanceNorm(4, dtype=F64), nn.InstanceNorm1d(4)), LENGTH),
    "InstanceNorm2d": (lambda: (bn.InstanceNorm(4, affine=True, dtype=F64), nn.InstanceNorm2d(4, affine=True)), IMAGE),
    "LayerNorm": (lambda: (bn.LayerNorm(4, dtype=F64), nn.LayerNorm(4)), ROWS),
    "LayerNorm images": (lambda: (bn.LayerNorm((4, 6, 7), eps=1e-3, dtype=F64), nn.LayerNorm((4, 6, 7), 1e-3)), IMAGE),
    "LayerNorm no bias": (lambda: (bn.LayerNorm(9, bias=False, dtype=F64), nn.LayerNorm(9, bias=False)), LENGTH),
    "LayerNorm plain": (
        lambda: (bn.LayerNorm(9, elementwise_affine=False, dtype=F64), nn.LayerNorm(9, elementwise_affine=False)),
        LENGTH,
    ),
    "RMSNorm": (lambda: (bn.RMSNorm(4, dtype=F64), nn.RMSNorm(4, 1e-6)), ROWS),
    "RMSNorm images": (lambda: (bn.RMSNorm((6, 7), eps=1e-3, dtype=F64), nn.RMSNorm((6, 7), 1e-3)), IMAGE),
    "Linear": (lambda: (bn.Linear(4, 3, dtype=F64), nn.Linear(4, 3)), ROWS),
    "Linear rank 3": (lambda: (bn.Linear(9, 3, False, dtype=F64), nn.Linear(9, 3, False)), LENGTH),
    "Conv1d": (lambda: (bn.Conv1d(4, 6, 3, 2, 1, 2, 2, dtype=F64), nn.Conv1d(4, 6, 3, 2, 1, 2, 2)), LENGTH),
    "Conv2d": (lambda: (bn.Conv2d(4, 6, 3, 2, 1, dtype=F64), nn.Conv2d(4, 6, 3, 2, 1)), IMAGE),
    "Conv2d all": (
        lambda: (
            bn.Conv2d(4, 8, (3, 2), (1, 2), (2, 1), (2, 1), 4, False, dtype=F64),
            nn.Conv2d(4, 8, (3, 2), (1, 2), (2, 1), (2, 1), 4, False),
        ),
        IMAGE,
    ),
    "Conv2d same": (lambda: (bn.Conv2d(4, 6, (2, 3), padding="same", dtype=F64), nn.Conv2d(4, 6, (2, 3), padding="same")), IMAGE),
    "ConvTranspose2d": (
        lambda: (bn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, dtype=F64), nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2)),
        IMAGE,
    ),
    "ConvTranspose2d dilated": (
        lambda: (
            bn.ConvTranspose2d(4, 6, (2, 3), 1, 1, 0, 1, False, 2, dtype=F64),
            nn.ConvTranspose2d(4, 6, (2, 3), 1, 1, 0, 1, False, 2),
        ),
        IMAGE,
    ),
    "MaxPool2d": (lambda: (bn.MaxPool(3, 2, 1), nn.MaxPool2d(3, 2, 1)), IMAGE),
    "MaxPool1d": (lambda: (bn.MaxPool(2), nn.MaxPool1d(2)), LENGTH),
    "AvgPool2d": (lambda: (bn.AvgPool(3, 2, 1), nn.AvgPool2d(3, 2, 1)), IMAGE),
    "AvgPool2d unpadded": (
        lambda: (bn.AvgPool(3, 2, 1, count_include_pad=False), nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        IMAGE,
    ),
    "Flatten": (lambda: (bn.Flatten(), nn.Flatten()), IMAGE),
    "ReLU": (lambda: (bn.ReLU(), nn.ReLU()), IMAGE),
    "LeakyReLU": (lambda: (bn.LeakyReLU(0.2), nn.LeakyReLU(0.2)), IMAGE),
    "GELU": (lambda: (bn.GELU(), nn.GELU()), IMAGE),
    "GELU tanh": (lambda: (bn.GELU("tanh"), nn.GELU("tanh")), IMAGE),
    "SiLU": (lambda: (bn.SiLU(), nn.SiLU()), IMAGE),
    "Sigmoid": (lambda: (bn.Sigmoid(), nn.Sigmoid()), IMAGE),
    "Tanh": (lambda: (bn.Tanh(), nn.Tanh()), IMAGE),
    "Residual": (lambda: residual_pair("relu"), IMAGE),
    "Residual no ReLU": (lambda: residual_pair(None), IMAGE),
    "net": (chain_pair, IMAGE),
}  # fmt: skip


def equal_pair(name):
    """Both layers with the same values, loaded through PyTorch's state dict as it is."""
    factory, shape = PAIRS[name]
    torch.manual_seed(0)
    ours, theirs = factory()
    theirs = theirs.double()
    with torch.no_grad():
        for key, value in theirs.state_dict().items():
            if key.endswith("running_var"):
                value.uniform_(0.5, 2.0)
            elif value.is_floating_point():
                value.add_(0.3 * torch.randn_like(value))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs, np.random.default_rng(3).standard_normal(shape)


def same_state(ours, theirs):
    expected = theirs.state_dict()
    state = ours.state_dict()
    assert list(state) == list(expected)
    for key, value in state.items():
        assert value.dtype == expected[key].numpy().dtype, key
        np.testing.assert_allclose(value, expected[key].numpy(), err_msg=key, **CLOSE)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", PAIRS)
def test_forward_backward_and_running_statistics_follow_torch(name, training):
    ours, theirs, x = equal_pair(name)
    ours.train() if training else ours.eval(backward=True)
    theirs.train(training)
    for step in range(2):
        xt = torch.tensor(x + step, requires_grad=True)
        yt = theirs(xt)
        dy = np.random.default_rng(step).standard_normal(tuple(yt.shape))
        theirs.zero_grad()
        yt.backward(torch.tensor(dy))
        y = ours(x + step)
        dx = ours.backward(dy)
        np.testing.assert_allclose(y, yt.detach().numpy(), **CLOSE)
        np.testing.assert_allclose(dx, xt.grad.numpy(), **CLOSE)
        expected = dict(theirs.named_parameters())
        assert [key for key, _ in ours.named_parameters()] == list(expected)
        for key, parameter in ours.named_parameters():
            np.testing.assert_allclose(
                parameter.gradient, expected[key].grad.numpy(), err_msg=key, **CLOSE
            )
    same_state(ours, theirs)


@pytest.mark.parametrize("name", PAIRS)
def test_torch_loads_our_state_dict_as_it_is(name):
    ours, _, x = equal_pair(name)
    ours(x)
    _, other = PAIRS[name][0]()
    other = other.double()
    other.load_state_dict(
        {key: torch.from_numpy(value) for key, value in ours.state_dict().items()}
    )
    same_state(ours, other)
    ours.eval(), other.eval()
    np.testing.assert_allclose(ours(x), other(torch.tensor(x)).detach().numpy(), **CLOSE)


def test_channels_last_is_the_same_net_on_transposed_images():
    ours, theirs, x = equal_pair("Conv2d")
    last = bn.Conv2d(4, 6, 3, 2, 1, axis=-1, dtype=F64)
    last.load_state_dict(theirs.state_dict())
    np.testing.assert_allclose(last(np.moveaxis(x, 1, -1)), np.moveaxis(ours(x), 1, -1), **CLOSE)


def test_default_initialization_has_torchs_bounds_and_spread():
    theirs = nn.Conv2d(8, 4000, 3)
    ours = bn.Conv2d(8, 4000, 3, rng=0)
    for name in ("weight", "bias"):
        mine, other = getattr(ours, name), getattr(theirs, name).detach().numpy()
        bound = 1 / np.sqrt(8 * 9)
        assert np.abs(mine).max() <= bound
        assert np.abs(mine).max() == pytest.approx(np.abs(other).max(), rel=2e-3)
        assert mine.std() == pytest.approx(other.std(), rel=0.02)
    transposed = bn.ConvTranspose2d(8, 50, 3, rng=0)
    expected = nn.ConvTranspose2d(8, 50, 3).bias.detach().numpy()
    assert np.abs(transposed.bias).max() <= 1 / np.sqrt(50 * 9)
    assert np.abs(transposed.bias).max() == pytest.approx(np.abs(expected).max(), rel=0.2)

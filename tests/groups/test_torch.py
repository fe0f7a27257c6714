"""Group and instance norm and PyTorch's agree in float64 to 1e-10: forward, all gradients, running statistics."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import InstanceNorm
from bncore import functional as F
from tests.groups.cases import CASES, LARGE, arrays

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def parity(ours, theirs):
    theirs = theirs.detach().numpy()
    np.testing.assert_allclose(
        ours, theirs, rtol=1e-10, atol=1e-10 * max(1.0, np.max(np.abs(theirs)))
    )


def tensors(a, axis):
    # contiguous: torch 2.13 returns wrong gradients of an instance norm over other strides
    x, dy = (torch.tensor(np.ascontiguousarray(np.moveaxis(v, axis, 1))) for v in (a.x, a.dy))
    weight, bias = torch.tensor(a.weight), torch.tensor(a.bias)
    for v in (x, weight, bias):
        v.requires_grad_()
    return x, weight, bias, dy


@pytest.mark.parametrize(
    ("shape", "axis", "groups"), [c for c in CASES + LARGE if np.prod(c[0]) > 1], ids=str
)  # torch refuses a single value
@pytest.mark.parametrize("activation", [None, "relu"])
def test_group_norm(shape, axis, groups, activation, backend):
    a = arrays(shape, axis, np.float64)
    x, weight, bias, dy = tensors(a, axis)
    y = functional.group_norm(x, groups, weight, bias)
    y = y if activation is None else torch.relu(y)
    y.backward(dy)
    ours, saved = F.group_norm(a.x, groups, a.weight, a.bias, axis=axis, activation=activation)
    parity(np.moveaxis(ours, axis, 1), y)
    dx, dweight, dbias = F.group_norm_backward(a.dy, saved)
    parity(np.moveaxis(dx, axis, 1), x.grad)
    parity(dweight, weight.grad)
    parity(dbias, bias.grad)


@pytest.mark.parametrize(
    ("shape", "axis", "groups"), [c for c in CASES if np.prod(c[0]) > c[0][0] * c[0][c[1]]], ids=str
)
@pytest.mark.parametrize("training", [True, False])
def test_instance_norm(shape, axis, groups, training, backend):
    a = arrays(shape, axis, np.float64)
    c = shape[axis]
    running = np.linspace(-1, 1, c), np.linspace(0.5, 2, c)
    theirs = [torch.tensor(v) for v in running]
    x, weight, bias, dy = tensors(a, axis)
    y = functional.instance_norm(x, *theirs, weight, bias, training, 0.3, 1e-4)
    y.backward(dy)
    kw = {"axis": axis, "training": training, "momentum": 0.3, "eps": 1e-4}
    ours, saved = F.instance_norm(a.x, a.weight, a.bias, *running, **kw)
    parity(np.moveaxis(ours, axis, 1), y)
    dx, dweight, dbias = F.instance_norm_backward(a.dy, saved)
    parity(np.moveaxis(dx, axis, 1), x.grad)
    parity(dweight, weight.grad)
    parity(dbias, bias.grad)
    for v, t in zip(running, theirs, strict=True):
        parity(v, t)


@pytest.mark.parametrize("momentum", [0.1, 0.4])
def test_a_tracking_layer_follows_torchs(momentum, backend):
    theirs = torch.nn.InstanceNorm2d(4, momentum=momentum, affine=True, track_running_stats=True)
    theirs = theirs.double()
    ours = InstanceNorm(
        4, momentum=momentum, affine=True, track_running_stats=True, dtype=np.float64
    )
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for step in range(3):
        x = np.random.default_rng(step).standard_normal((3, 4, 5, 6)) + step
        parity(ours(x), theirs(torch.tensor(x)))
    parity(ours.running_mean, theirs.running_mean)
    parity(ours.running_var, theirs.running_var)
    ours.eval(), theirs.eval()
    parity(ours(x), theirs(torch.tensor(x)))
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})

"""Batch norm and PyTorch's agree in float64 to 1e-10: forward, all gradients, running statistics."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F
from tests.norm.cases import SHAPES, arrays

torch = pytest.importorskip("torch")


def parity(ours, theirs):
    theirs = theirs.detach().numpy()
    np.testing.assert_allclose(
        ours, theirs, rtol=1e-10, atol=1e-10 * max(1.0, np.max(np.abs(theirs)))
    )


@pytest.mark.parametrize(("shape", "axis"), [s for s in SHAPES if s[1] == 1], ids=str)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fused", [False, True])
def test_same_numbers(shape, axis, training, fused, backend):
    a = arrays(shape, axis, np.float64)
    x, weight, bias, residual = (
        torch.tensor(v, requires_grad=True) for v in (a.x, a.weight, a.bias, a.residual)
    )
    running_mean, running_var = torch.tensor(a.running_mean), torch.tensor(a.running_var)
    y = torch.nn.functional.batch_norm(
        x, running_mean, running_var, weight, bias, training, 0.1, 1e-5
    )
    if fused:
        y = torch.relu(y + residual)
    y.backward(torch.tensor(a.dy))
    ours, saved = F.batch_norm(
        a.x,
        a.weight,
        a.bias,
        a.running_mean,
        a.running_var,
        training=training,
        activation="relu" if fused else None,
        residual=a.residual if fused else None,
    )
    parity(ours, y)
    gradients = F.batch_norm_backward(a.dy, saved)
    for g, t in zip(gradients, (x, weight, bias, residual), strict=False):
        parity(g, t.grad)
    parity(a.running_mean, running_mean)
    parity(a.running_var, running_var)

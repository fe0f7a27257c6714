"""Layer and RMS norm agree with PyTorch's in float64 to 1e-10: forward and all gradients."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F
from tests.rows.cases import SHAPES, arrays, trailing

torch = pytest.importorskip("torch")


def parity(ours, theirs):
    if theirs is None:
        assert ours is None
        return
    theirs = theirs.detach().numpy()
    np.testing.assert_allclose(
        ours, theirs, rtol=1e-10, atol=1e-10 * max(1.0, np.max(np.abs(theirs)))
    )


@pytest.mark.parametrize(("shape", "axes"), SHAPES, ids=str)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_same_numbers(shape, axes, affine, fused, kind, backend):
    a = arrays(shape, axes, np.float64)
    inner = shape[len(shape) - axes :]
    options = {"axis": trailing(axes), "activation": "relu" if fused else None}
    weight, bias = (a.weight, a.bias) if affine else (None, None)
    x, w, b = (
        None if v is None else torch.tensor(v, requires_grad=True) for v in (a.x, weight, bias)
    )
    if kind == "layer":
        y = torch.nn.functional.layer_norm(x, inner, w, b, 1e-5)
        ours, saved = F.layer_norm(a.x, weight, bias, eps=1e-5, **options)
    else:
        b = None
        y = torch.nn.functional.rms_norm(x, inner, w, 1e-6)
        ours, saved = F.rms_norm(a.x, weight, eps=1e-6, **options)
    if fused:
        y = torch.relu(y)
    y.backward(torch.tensor(a.dy))
    parity(ours, y)
    backward = F.layer_norm_backward if kind == "layer" else F.rms_norm_backward
    for got, theirs in zip(backward(a.dy, saved), (x, w, b), strict=True):
        parity(got, None if theirs is None else theirs.grad)

"""Convolutions of random geometry: the compiled core and its twin agree, and the gradient is the adjoint."""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn
from tests.net_ops.conv_cases import Case

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies


@st.composite
def geometries(draw):
    """A valid call: sizes that give at least one output pixel."""
    spatial = draw(st.sampled_from([1, 2]))
    transposed = spatial == 2 and draw(st.booleans())

    def sizes(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(spatial))

    groups = draw(st.sampled_from([1, 1, 2, 5]))
    first, second = (draw(st.sampled_from([1, 3, 8])) for _ in range(2))
    stride, dilation = sizes(1, 3), sizes(1, 3)
    options = {"groups": groups, "stride": stride, "dilation": dilation, "padding": sizes(0, 3)}
    if transposed:
        limits = (max(s, d) - 1 for s, d in zip(stride, dilation))
        options["output_padding"] = tuple(draw(st.integers(0, high)) for high in limits)
    x_channels = groups * (first if transposed else second)
    x_shape = (draw(st.sampled_from([1, 2, 7])), x_channels, *sizes(1, 10))
    case = Case("random", x_shape, (groups * first, second, *sizes(1, 4)), options, transposed)
    hypothesis.assume(min(case.y_size()) > 0)
    return case


@hypothesis.given(case=geometries(), axis=st.sampled_from([1, -1]))
@hypothesis.settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],  # `native` only skips
)
def test_native_and_numpy_agree(native, case, axis):
    x, weight, bias, dy = case.arrays(np.float64)
    results = []
    for backend in ("native", "numpy"):
        with bn.use_backend(backend):
            y, saved = case.forward(x, weight, bias, axis)
            results.append((y, *case.backward(dy, saved, axis)))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


@hypothesis.given(case=geometries(), axis=st.sampled_from([1, -1]))
@hypothesis.settings(max_examples=100, deadline=None)
def test_backward_is_the_adjoint(case, axis):
    """<dy, conv(x, w)> = <dx, x> = <dw, w>: the output is linear in each."""
    x, weight, _, dy = case.arrays(np.float64)
    y, saved = case.forward(x, weight, None, axis)
    dx, dweight, _ = case.backward(dy, saved, axis)
    for gradient, array in ((dx, x), (dweight, weight)):
        scale = np.vdot(abs(dy), abs(y)) + np.vdot(abs(gradient), abs(array))
        assert abs(np.vdot(gradient, array) - np.vdot(dy, y)) < 1e-12 * scale + 1e-12

"""Convolutions give the formula's numbers in every layout, backend and dtype, and their gradients are its derivatives."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import bncore as bn
from bncore import functional as F
from tests.helpers import central_difference
from tests.net_ops.conv_cases import CASES, Case
from tests.reference import conv as reference

cases = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
layouts = pytest.mark.parametrize("axis", [1, -1], ids=["channels first", "channels last"])


def assert_close(ours, exact, magnitude):
    """Equal up to the rounding of a sum of products.

    `magnitude` is the same sum over absolute values; a float sum of k products is off by less than about √k to k
    roundings of it, and no sum in the cases has more than a few hundred terms.
    """
    assert ours.shape == exact.shape
    limit = 64 * np.finfo(ours.dtype).eps * np.max(magnitude, initial=1e-30)
    assert np.max(np.abs(ours - exact), initial=0) <= limit


def exact_forward(case, x, weight, bias):
    x, weight = flat(case, x), flat(case, weight)
    if case.transposed:
        y_shape = (x.shape[0], case.y_channels, *case.y_size())
        y = reference.conv_input_gradient(x, weight, y_shape, **case.geometry())
        return y + np.float64(bias)[:, None, None]
    y = reference.conv(x, weight, bias, **case.geometry())
    return y.reshape(x.shape[0], case.y_channels, *case.y_size())


def exact_backward(case, g, x, weight):
    dbias = np.float64(g).sum(axis=(0, *range(2, g.ndim)))
    shape, geometry = weight.shape, case.geometry()
    g, flat_x, weight = flat(case, g), flat(case, x), flat(case, weight)
    if case.transposed:
        dx = reference.conv(g, weight, None, **geometry)
        return dx, reference.conv_weight_gradient(x, g, shape, **geometry), dbias
    dx = reference.conv_input_gradient(g, weight, flat_x.shape, **geometry)
    dweight = reference.conv_weight_gradient(g, flat_x, weight.shape, **geometry)
    return dx.reshape(x.shape), dweight.reshape(shape), dbias


def flat(case, a):
    """A 1-D image or kernel with its height of 1."""
    return a[:, :, None] if case.spatial == 1 else a


# The loops are slow and their results the same for every layout and backend: each is run once.


@functools.cache
def forward_oracle(case, dtype):
    """y, and its magnitude."""
    x, weight, bias, _ = case.arrays(dtype)
    return exact_forward(case, x, weight, bias), exact_forward(case, abs(x), abs(weight), abs(bias))


@functools.cache
def backward_oracle(case, dtype, activation):
    """(dx, dweight, dbias), and their magnitudes."""
    x, weight, _, dy = case.arrays(dtype)
    g = dy * (forward_oracle(case, dtype)[0] > 0) if activation else dy
    return exact_backward(case, g, x, weight), exact_backward(case, abs(g), abs(x), abs(weight))


@cases
@layouts
def test_forward_is_the_formula(case, axis, backend, dtype):
    x, weight, bias, _ = case.arrays(dtype)
    exact, magnitude = forward_oracle(case, dtype)
    assert_close(case.forward(x, weight, bias, axis)[0], exact, magnitude)
    without = exact - np.float64(bias).reshape(-1, *[1] * case.spatial)
    assert_close(case.forward(x, weight, None, axis)[0], without, magnitude)
    relu = case.forward(x, weight, bias, axis, activation="relu")[0]
    assert_close(relu, np.maximum(exact, 0), magnitude)


@cases
@layouts
@pytest.mark.parametrize("activation", [None, "relu"])
def test_backward_is_the_formula(case, axis, activation, backend, dtype):
    x, weight, bias, dy = case.arrays(dtype)
    _, saved = case.forward(x, weight, bias, axis, activation=activation)
    exact, magnitude = backward_oracle(case, dtype, activation)
    for ours, want, size in zip(case.backward(dy, saved, axis), exact, magnitude, strict=True):
        assert_close(ours, want, size)


@layouts
@pytest.mark.parametrize(
    "case",
    [
        c
        for c in CASES
        if c.name
        in ("dilation", "groups with stride and dilation", "transposed, output padding", "1-D")
    ],
    ids=lambda c: c.name,
)
def test_gradients_are_central_differences(case, axis, backend):
    x, weight, bias, dy = case.arrays(np.float64)
    _, saved = case.forward(x, weight, bias, axis)
    dx, dweight, dbias = case.backward(dy, saved, axis)
    np.testing.assert_allclose(
        dx,
        central_difference(lambda a: case.forward(a, weight, bias, axis)[0], x, dy),
        rtol=1e-6,
        atol=1e-7,
    )
    np.testing.assert_allclose(
        dweight,
        central_difference(lambda a: case.forward(x, a, bias, axis)[0], weight, dy),
        rtol=1e-6,
        atol=1e-7,
    )
    np.testing.assert_allclose(
        dbias,
        central_difference(lambda a: case.forward(x, weight, a, axis)[0], bias, dy),
        rtol=1e-6,
        atol=1e-7,
    )


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@cases
@layouts
def test_follows_pytorch_in_float64(case, axis, backend):
    torch = pytest.importorskip("torch")
    options = dict(case.options)
    if case.transposed and options.get("padding") == "same":
        pytest.skip("PyTorch has no such padding")
    x, weight, bias, dy = case.arrays(np.float64)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    name = "conv_transpose2d" if case.transposed else f"conv{case.spatial}d"
    theirs = torch.relu(getattr(torch.nn.functional, name)(*leaves, **options))
    theirs.backward(torch.tensor(dy))
    y, saved = case.forward(x, weight, bias, axis, activation="relu")
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=1e-10, atol=1e-10)
    for ours, leaf in zip(case.backward(dy, saved, axis), leaves, strict=True):
        np.testing.assert_allclose(ours, leaf.grad.numpy(), rtol=1e-10, atol=1e-10)


LARGE = [
    Case("many bands", (3, 20, 23, 31), (24, 20, 3, 3), {"padding": 1}),
    Case("many images", (70, 16, 8, 8), (32, 16, 3, 3), {"padding": 1}),
    Case("large strided", (9, 12, 33, 17), (18, 6, 5, 3), {"stride": 2, "groups": 2}),
    Case("large 1-D", (2, 24, 3001), (32, 24, 7), {"padding": "same"}),
    Case("large 1x1", (5, 64, 19, 19), (72, 64, 1, 1)),
    Case("large depthwise", (9, 40, 17, 19), (40, 1, 3, 3), {"padding": 1, "groups": 40}),
    Case("large transposed", (6, 24, 14, 14), (24, 16, 4, 4), {"stride": 2, "padding": 1}, True),
]


@pytest.mark.parametrize("case", LARGE, ids=lambda c: c.name)
@layouts
def test_bits_do_not_depend_on_the_number_of_threads(case, axis, backend, dtype):
    if backend == "numpy":
        pytest.skip("only the compiled core promises this")
    x, weight, bias, dy = case.arrays(dtype)
    results = []
    for threads in (1, 2, 3, 8):
        with bn.threads(threads):
            y, saved = case.forward(x, weight, bias, axis, activation="relu")
            results.append((y, *case.backward(dy, saved, axis)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", LARGE, ids=lambda c: c.name)
@layouts
def test_backends_agree_on_images_cut_into_bands(case, axis, backend):
    x, weight, bias, dy = case.arrays(np.float64)
    y, saved = case.forward(x, weight, bias, axis)
    if backend == "numpy":
        pytest.skip("nothing to compare with")
    with bn.use_backend("numpy"):
        y2, saved2 = case.forward(x, weight, bias, axis)
        twins = case.backward(dy, saved2, axis)
    np.testing.assert_allclose(y, y2, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(case.backward(dy, saved, axis), twins, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@cases
@layouts
def test_writes_into_given_arrays(case, axis, backend, dtype):
    x, weight, bias, dy = case.arrays(dtype)
    y, saved = case.forward(x, weight, bias, axis)
    plain = case.backward(dy, saved, axis)
    out = np.full(np.moveaxis(y, 1, axis).shape, np.nan, dtype)
    again, saved = case.forward(x, weight, bias, axis, out=out)
    assert np.shares_memory(again, out)
    np.testing.assert_array_equal(again, y)
    dweight, dbias = np.full_like(weight, np.nan), np.full_like(bias, np.nan)
    results = case.backward(dy, saved, axis, dweight=dweight, dbias=dbias)
    assert results[1] is dweight and results[2] is dbias
    for ours, want in zip(results, plain, strict=True):
        np.testing.assert_array_equal(ours, want)


def test_absent_gradients_are_none(backend):
    case = CASES[0]
    x, weight, bias, dy = case.arrays(np.float32)
    _, saved = case.forward(x, weight, None)
    dx, dweight, dbias = F.conv2d_backward(dy, saved, need_dx=False)
    assert dx is None and dbias is None and dweight.shape == weight.shape
    with pytest.raises(ValueError, match="dbias must be None"):
        F.conv2d_backward(dy, saved, dbias=bias)


@pytest.mark.parametrize("transposed", [False, True])
@layouts
def test_a_batch_of_nothing_gives_nothing(transposed, axis, backend):
    case = Case("empty", (0, 3, 5, 5), (3, 3, 3, 3), {}, transposed)
    x, weight, bias, dy = case.arrays(np.float32)
    y, saved = case.forward(x, weight, bias, axis, activation="relu")
    dx, dweight, dbias = case.backward(dy, saved, axis)
    assert y.shape == dy.shape and dx.shape == x.shape
    assert not dweight.any() and not dbias.any()


@layouts
def test_inputs_are_read_only_safe_and_may_be_strided(axis, backend, dtype):
    case = CASES[0]
    x, weight, bias, dy = case.arrays(dtype)
    y, saved = case.forward(x, weight, bias, axis)
    plain = (y, *case.backward(dy, saved, axis))
    strided = []
    for a in (x, weight, bias, dy):
        wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, dtype)
        wide[..., ::2] = a
        view = wide[..., ::2]
        view.flags.writeable = False
        strided.append(view)
    x, weight, bias, dy = strided
    y, saved = case.forward(x, weight, bias, axis)
    for ours, want in zip((y, *case.backward(dy, saved, axis)), plain, strict=True):
        np.testing.assert_array_equal(ours, want)


def test_relu_keeps_nan_visible(backend, dtype):
    x = np.ones((1, 1, 2, 3), dtype)
    x[0, 0, 0, 1] = np.nan
    y, _ = F.conv2d(x, np.ones((1, 1, 1, 1), dtype), activation="relu")
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))


def call(**changes):
    arguments = {
        "x": np.ones((2, 4, 5, 6), np.float32),
        "weight": np.ones((6, 2, 3, 3), np.float32),
        "groups": 2,
    }
    arguments |= changes
    return F.conv2d(
        arguments.pop("x"), arguments.pop("weight"), arguments.pop("bias", None), **arguments
    )


def read_only():
    a = np.zeros((2, 6, 3, 4), np.float32)
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": np.ones((2, 4, 5, 6), np.float16)}, TypeError, r"x must be float32 or float64, got float16.*astype"),
        ({"x": np.ones((2, 4, 5, 6), int)}, TypeError, "x must be float32 or float64, got int64"),
        ({"x": np.ones((2, 4, 5, 6), object)}, TypeError, "x must be float32 or float64, got object"),
        ({"x": [[1.0]]}, TypeError, "x must be a NumPy array"),
        ({"weight": np.ones((6, 2, 3, 3))}, TypeError, "weight must have dtype float32"),
        ({"bias": np.ones(6)}, TypeError, "bias must have dtype float32"),
        ({"bias": np.ones(5, np.float32)}, ValueError, r"bias must have shape \(6,\), got \(5,\)"),
        ({"x": np.ones((2, 4, 5), np.float32)}, ValueError, "x must have 4 dimensions"),
        ({"x": np.ones((2, 5, 5, 6), np.float32)}, ValueError, "x must have 4 channels along axis 1"),
        ({"axis": -1}, ValueError, "x must have 4 channels along axis -1"),
        ({"axis": 2}, ValueError, r"axis must be 1 \(channels first\) or -1"),
        ({"axis": 7}, ValueError, "axis must lie in"),
        ({"weight": np.ones((6, 2, 3), np.float32)}, ValueError, r"weight must have shape \(out, in/groups, kh, kw\)"),
        ({"weight": np.ones((5, 2, 3, 3), np.float32)}, ValueError, "multiple of groups=2"),
        ({"weight": np.ones((6, 2, 7, 7), np.float32)}, ValueError, "too small for kernel 7x7"),
        ({"x": np.ones((2, 4, 0, 6), np.float32)}, ValueError, "too small"),
        ({"groups": 0}, ValueError, "groups must be an integer >= 1"),
        ({"stride": 0}, ValueError, "stride must be integers >= 1"),
        ({"stride": 1.5}, TypeError, "stride must be an integer"),
        ({"stride": (1, 2, 3)}, ValueError, "stride must be one integer or 2 of them"),
        ({"padding": -1}, ValueError, "padding must be integers >= 0"),
        ({"padding": "valid"}, TypeError, "padding must be an integer"),
        ({"padding": "same", "stride": 2}, ValueError, 'padding="same" needs stride 1'),
        ({"dilation": 0}, ValueError, "dilation must be integers >= 1"),
        ({"activation": "gelu"}, ValueError, "activation must be one of None, 'relu'"),
        ({"out": np.zeros((2, 6, 3, 5), np.float32)}, ValueError, r"out must have shape \(2, 6, 3, 4\)"),
        ({"out": np.zeros((2, 6, 3, 4))}, TypeError, "out must have dtype float32"),
        ({"out": np.zeros((2, 6, 4, 3), np.float32).swapaxes(2, 3)}, ValueError, "out must be C-contiguous"),
        ({"out": read_only()}, ValueError, "out must be writable"),
    ],
    ids=lambda v: str(sorted(v)) if isinstance(v, dict) else "",
)  # fmt: skip
def test_bad_arguments_are_named(changes, error, message):
    with pytest.raises(error, match=message):
        call(**changes)


def test_output_over_an_input_is_refused():
    x = np.zeros((1, 1, 4, 4), np.float32)
    with pytest.raises(ValueError, match="out must not overlap an input"):
        F.conv2d(x, np.ones((1, 1, 1, 1), np.float32), out=x)


def test_too_large_an_output_padding_is_refused():
    x = np.zeros((1, 1, 4, 4), np.float32)
    with pytest.raises(ValueError, match="output_padding must be less than stride or dilation"):
        F.conv_transpose2d(x, np.ones((1, 1, 3, 3), np.float32), stride=2, output_padding=2)


def test_a_wrong_output_gradient_is_named():
    case = CASES[0]
    x, weight, bias, dy = case.arrays(np.float32)
    _, saved = case.forward(x, weight, bias)
    with pytest.raises(ValueError, match="dy must have shape"):
        F.conv2d_backward(dy[:, :, 1:], saved)
    with pytest.raises(TypeError, match="dy must have dtype float32"):
        F.conv2d_backward(np.float64(dy), saved)


@pytest.mark.parametrize("huge", [2**40, 2**62, 2**63 - 1, 2**70])
def test_a_stride_or_dilation_that_multiplies_0_only_may_be_huge(huge, backend, dtype, rng):
    """It says which single pixel, or tap, there is: positions must not overflow on the way."""
    x = rng.standard_normal((2, 3, 5, 4)).astype(dtype)
    weight = rng.standard_normal((2, 3, 3, 3)).astype(dtype)
    point = np.ascontiguousarray(weight[:, :, :1, :1])
    for w, kw, plain in (
        (weight, {"stride": huge, "padding": 1}, {"stride": 5, "padding": 1}),
        (point, {"dilation": huge}, {}),
    ):
        (y, saved), (wanted, other) = F.conv2d(x, w, **kw), F.conv2d(x, w, **plain)
        assert np.array_equal(y, wanted)
        gradients = zip(F.conv2d_backward(y, saved), F.conv2d_backward(y, other), strict=True)
        assert all(a is b is None or np.array_equal(a, b) for a, b in gradients)

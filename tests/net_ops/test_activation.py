"""Activations: values and gradients against the formulas and PyTorch, limits, NaN, `out`, refusals."""

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import central_difference
from tests.reference import activation as reference

pytestmark = pytest.mark.usefixtures("backend")

# name of the oracle -> (function, arguments after x)
KINDS = {
    "relu": ("relu", ()),
    "leaky_relu": ("leaky_relu", (0.01,)),
    "gelu": ("gelu", ("none",)),
    "gelu_tanh": ("gelu", ("tanh",)),
    "silu": ("silu", ()),
    "sigmoid": ("sigmoid", ()),
    "tanh": ("tanh", ()),
}
KEEPS_OUTPUT = ("relu", "sigmoid", "tanh")

each_kind = pytest.mark.parametrize("kind", KINDS)


def forward(kind, x, **options):
    name, arguments = KINDS[kind]
    return getattr(F, name)(x, *arguments, **options)


def backward(kind, dy, saved, **options):
    return getattr(F, KINDS[kind][0] + "_backward")(dy, saved, **options)


def assert_close(actual, expected, roundings=16):
    """Within a few roundings of the value, or of 1: the formulas add and multiply numbers of that size."""
    eps = np.finfo(actual.dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=roundings * eps, atol=roundings * eps)


@pytest.fixture
def x(dtype):
    """Both sides of every branch: near 0, where exp matters, in the tails; not a multiple of any vector length."""
    rng = np.random.default_rng(3)
    parts = [
        rng.normal(size=301) * 3,
        rng.normal(size=100) * 1e-3,
        rng.uniform(-40, 40, 150),
        [0.0],
    ]
    return np.concatenate(parts).astype(dtype).reshape(8, 69)


@each_kind
def test_forward_is_the_formula(kind, x):
    y, _ = forward(kind, x)
    assert y.dtype == x.dtype and y.shape == x.shape
    assert_close(y, reference.forward(kind, x))


@each_kind
def test_backward_is_the_derivative(kind, x):
    dy = np.random.default_rng(4).normal(size=x.shape).astype(x.dtype)
    _, saved = forward(kind, x)
    dx = backward(kind, dy, saved)
    assert dx.dtype == x.dtype
    # the slope of gelu_tanh multiplies roundings of its argument, up to a few dozen near |x| = 4, by x
    assert_close(dx, reference.backward(kind, dy, x), roundings=64)


@each_kind
def test_gradient_agrees_with_central_differences(kind):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3, 17)) * 2
    x[np.abs(x) < 1e-3] = 0.5  # away from the kink
    dy = rng.normal(size=x.shape)
    _, saved = forward(kind, x)
    numeric = central_difference(lambda v: forward(kind, v)[0], x, dy)
    np.testing.assert_allclose(backward(kind, dy, saved), numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind, end", [("gelu", -12), ("silu", -80), ("sigmoid", -80)])
def test_left_tail_keeps_its_digits(kind, end, dtype):
    x = np.linspace(end, -2, 301).astype(dtype)
    y, _ = forward(kind, x)
    # relative, unlike elsewhere; the oracle's own argument x/sqrt(2) is rounded, which its square amplifies
    limit = (16 + x.astype(np.float64) ** 2) * np.finfo(dtype).eps
    expected = reference.forward(kind, x)
    assert (np.abs(y - expected) <= limit * np.abs(expected)).all()


@each_kind
def test_matches_pytorch(kind):
    torch = pytest.importorskip("torch")
    name, arguments = KINDS[kind]
    options = {"approximate": arguments[0]} if name == "gelu" else {}
    function = getattr(torch.nn.functional, name)
    rng = np.random.default_rng(6)
    x, dy = rng.normal(size=(2, 5, 77)) * 4
    t = torch.tensor(x, requires_grad=True)
    expected = function(t, **options)
    expected.backward(torch.tensor(dy))
    y, saved = forward(kind, x)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(backward(kind, dy, saved), t.grad.numpy(), rtol=0, atol=1e-10)


@each_kind
def test_limits_at_infinity_and_huge_values(kind, dtype):
    huge = np.finfo(dtype).max / 2
    x = np.array([np.inf, huge, 1e4, -1e4, -huge, -np.inf], dtype)
    y, saved = forward(kind, x)
    right = [1, 1, 1] if kind in ("sigmoid", "tanh") else list(x[:3])
    left = {"tanh": [-1, -1, -1], "leaky_relu": x[3:] * dtype.type(0.01)}.get(kind, [0, 0, 0])
    np.testing.assert_allclose(y, np.concatenate([right, left]), rtol=1e-6)
    slope = backward(kind, np.ones_like(x), saved)
    flat = kind in ("sigmoid", "tanh")
    expected = [0 if flat else 1] * 3 + [0.01 if kind == "leaky_relu" else 0] * 3
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


@each_kind
def test_nan_stays_nan_and_poisons_nothing_else(kind, dtype):
    x = np.linspace(-3, 3, 41).astype(dtype)
    clean, _ = forward(kind, x)
    x[[0, 17, 40]] = np.nan
    y, saved = forward(kind, x)
    assert np.isnan(y[[0, 17, 40]]).all()
    rest = ~np.isnan(x)
    np.testing.assert_array_equal(y[rest], clean[rest])
    dx = backward(kind, np.full_like(x, np.nan), saved)
    assert np.isnan(dx[x > 0]).all()


def test_relu_of_zero_has_no_sign(dtype):
    y, saved = F.relu(np.array([-0.0, 0.0, -1.0], dtype))
    assert not np.signbit(y).any()
    np.testing.assert_array_equal(F.relu_backward(np.ones(3, dtype), saved), 0)


@pytest.mark.parametrize("slope", [0.2, 0.0, -0.5, 2.0])
def test_leaky_relu_takes_any_finite_slope(slope, dtype):
    x = np.array([-2.0, -0.0, 0.0, 3.0], dtype)
    y, saved = F.leaky_relu(x, slope)
    np.testing.assert_allclose(y, np.where(x > 0, x, slope * x), rtol=1e-6)
    dx = F.leaky_relu_backward(np.ones(4, dtype), saved)
    np.testing.assert_allclose(dx, np.where(x > 0, 1, slope), rtol=1e-6)


@each_kind
def test_a_value_does_not_depend_on_its_place(kind, dtype):
    x = (np.random.default_rng(7).normal(size=1000) * 4).astype(dtype)
    whole, _ = forward(kind, x)
    for start, stop in ((1, 1000), (500, 507), (999, 1000)):
        np.testing.assert_array_equal(forward(kind, x[start:stop].copy())[0], whole[start:stop])


@each_kind
def test_bits_do_not_depend_on_threads(kind, dtype, with_threads):
    x = (np.random.default_rng(8).normal(size=300_001) * 3).astype(dtype)
    results = [with_threads(n, lambda: forward(kind, x)[0]) for n in (1, 2, 3, 8)]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@each_kind
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3, 5, 7)])
def test_any_shape(kind, shape, dtype):
    x = np.ones(shape, dtype)
    y, saved = forward(kind, x)
    assert y.shape == shape
    assert backward(kind, x, saved).shape == shape


@each_kind
def test_inputs_are_not_written_and_views_are_taken(kind, dtype):
    base = np.random.default_rng(9).normal(size=(6, 10)).astype(dtype)
    x = base[::2, ::-1]
    x.flags.writeable = False
    y, saved = forward(kind, x)
    np.testing.assert_array_equal(y, forward(kind, x.copy())[0])
    dy = np.ones_like(x)
    dy.flags.writeable = False
    backward(kind, dy, saved)


@each_kind
def test_out_receives_the_result(kind, dtype):
    x = np.random.default_rng(10).normal(size=(4, 9)).astype(dtype)
    expected, saved = forward(kind, x)
    dy = np.random.default_rng(11).normal(size=x.shape).astype(dtype)
    expected_dx = backward(kind, dy, saved)
    out, dx = np.empty_like(x), np.empty_like(x)
    y, saved = forward(kind, x, out=out)
    assert y is out
    np.testing.assert_array_equal(out, expected)
    assert backward(kind, dy, saved, out=dx) is dx
    np.testing.assert_array_equal(dx, expected_dx)
    assert backward(kind, dy, saved, out=dy) is dy  # dy is not needed again
    np.testing.assert_array_equal(dy, expected_dx)


@each_kind
def test_out_may_be_the_input_only_if_backward_does_not_need_it(kind, dtype):
    x = np.random.default_rng(12).normal(size=(4, 9)).astype(dtype)
    expected, _ = forward(kind, x)
    if kind in KEEPS_OUTPUT:
        y, _ = forward(kind, x, out=x)
        assert y is x
        np.testing.assert_array_equal(x, expected)
    else:
        with pytest.raises(ValueError, match="overlap"):
            forward(kind, x, out=x)


def test_wrong_out_is_refused(dtype):
    x = np.zeros((2, 3), dtype)
    frozen = np.zeros((2, 3), dtype)
    frozen.flags.writeable = False
    other = np.float64 if dtype == np.float32 else np.float32
    with pytest.raises(ValueError, match=r"out must have shape \(2, 3\)"):
        F.relu(x, out=np.zeros((3, 2), dtype))
    with pytest.raises(TypeError, match="out must have dtype"):
        F.relu(x, out=np.zeros((2, 3), other))
    with pytest.raises(ValueError, match="writable"):
        F.relu(x, out=frozen)
    with pytest.raises(ValueError, match="overlap"):
        F.relu(x[:1], out=x.reshape(-1)[1:4].reshape(1, 3))


@each_kind
@pytest.mark.parametrize("bad", [np.int64, np.float16, np.bool_, np.complex128, object])
def test_wrong_dtypes_are_refused(kind, bad):
    with pytest.raises(TypeError, match="x must be float32 or float64"):
        forward(kind, np.zeros(3, bad))


def test_a_list_is_refused():
    with pytest.raises(TypeError, match="x must be a NumPy array"):
        F.relu([1.0, 2.0])


def test_wrong_gradients_are_refused(dtype):
    _, saved = F.gelu(np.zeros((2, 3), dtype))
    other = np.float64 if dtype == np.float32 else np.float32
    with pytest.raises(ValueError, match=r"dy must have shape \(2, 3\)"):
        F.gelu_backward(np.zeros((3, 2), dtype), saved)
    with pytest.raises(TypeError, match="dy must have dtype"):
        F.gelu_backward(np.zeros((2, 3), other), saved)


def test_wrong_options_are_refused(dtype):
    x = np.zeros(3, dtype)
    with pytest.raises(ValueError, match="approximate must be one of 'none', 'tanh'"):
        F.gelu(x, "erf")
    with pytest.raises(ValueError, match="negative_slope"):
        F.leaky_relu(x, float("nan"))
    with pytest.raises(TypeError, match="negative_slope"):
        F.leaky_relu(x, "0.1")


@each_kind
def test_out_may_be_the_input_when_it_is_a_memmap(kind, dtype, tmp_path):
    x = np.random.default_rng(13).normal(size=(4, 9)).astype(dtype)
    mapped = np.memmap(tmp_path / "x", dtype, "w+", shape=x.shape)
    mapped[...] = x
    expected, saved = forward(kind, x)
    if kind in KEEPS_OUTPUT:
        forward(kind, mapped, out=mapped)
        np.testing.assert_array_equal(mapped, expected)
    mapped[...] = x
    backward(kind, mapped, saved, out=mapped)
    np.testing.assert_array_equal(mapped, backward(kind, x, saved))

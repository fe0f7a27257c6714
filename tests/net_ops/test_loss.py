"""Losses: values and gradients against the definitions and PyTorch, large logits, refusals."""

import math

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import central_difference
from tests.reference import loss as reference

pytestmark = pytest.mark.usefixtures("backend")

smoothings = pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
# fewer classes than a vector holds, more, exactly some
class_counts = pytest.mark.parametrize("n, k", [(1, 1), (5, 2), (7, 10), (3, 16), (4, 1000)])


def close(dtype):
    """Roundings of numbers near 1 (probabilities, differences of logits) that the formulas add up."""
    return {"rtol": 64 * np.finfo(dtype).eps, "atol": 16 * np.finfo(dtype).eps}


@pytest.fixture
def rng():
    return np.random.default_rng(21)


@class_counts
@smoothings
def test_cross_entropy_is_the_definition(n, k, smoothing, dtype, rng):
    logits = (rng.normal(size=(n, k)) * 3).astype(dtype)
    target = rng.integers(0, k, n)
    loss, saved = F.cross_entropy(logits, target, label_smoothing=smoothing)
    expected, gradient = reference.cross_entropy(logits, target, smoothing)
    assert isinstance(loss, float)
    np.testing.assert_allclose(loss, expected, **close(dtype))
    dlogits = F.cross_entropy_backward(saved)
    assert dlogits.dtype == dtype
    np.testing.assert_allclose(dlogits, gradient, **close(dtype))


@smoothings
def test_cross_entropy_gradient_agrees_with_central_differences(smoothing, rng):
    logits, target = rng.normal(size=(4, 6)), rng.integers(0, 6, 4)

    def loss(z):
        return np.array([F.cross_entropy(z, target, label_smoothing=smoothing)[0]])

    _, saved = F.cross_entropy(logits, target, label_smoothing=smoothing)
    numeric = central_difference(loss, logits, np.ones(1))
    np.testing.assert_allclose(F.cross_entropy_backward(saved), numeric, rtol=1e-6, atol=1e-9)


@smoothings
def test_cross_entropy_matches_pytorch(smoothing, rng):
    torch = pytest.importorskip("torch")
    logits, target = rng.normal(size=(33, 10)) * 5, rng.integers(0, 10, 33)
    t = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(t, torch.tensor(target), label_smoothing=smoothing)
    expected.backward()
    loss, saved = F.cross_entropy(logits, target, label_smoothing=smoothing)
    assert abs(loss - expected.item()) < 1e-10
    np.testing.assert_allclose(F.cross_entropy_backward(saved), t.grad.numpy(), rtol=0, atol=1e-10)


@smoothings
def test_large_logits_neither_overflow_nor_lose_the_loss(smoothing, dtype):
    logits = np.array([[1e4, -1e4, 0], [1e4, 1e4, 1e4], [1e4, 1e4 + 1, -1e4]], dtype)
    target = np.array([1, 2, 0])
    loss, saved = F.cross_entropy(logits, target, label_smoothing=smoothing)
    expected, gradient = reference_of_large(logits, target, smoothing)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(F.cross_entropy_backward(saved), gradient, rtol=1e-5, atol=1e-7)


def reference_of_large(logits, target, smoothing):
    """log softmax by the shifted formula: the plain one overflows."""
    z = logits.astype(np.longdouble)
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    q = np.full(z.shape, smoothing / z.shape[1])
    q[np.arange(len(target)), target] += 1 - smoothing
    return float(-(q * log_p).sum() / len(target)), ((np.exp(log_p) - q) / len(target)).astype(
        float
    )


def test_excluded_classes_cost_nothing(dtype):
    """-inf is how a class is masked out."""
    logits = np.array([[0.0, -np.inf, 0.0]], dtype)
    loss, saved = F.cross_entropy(logits, np.array([0]))
    assert math.isclose(loss, math.log(2), rel_tol=1e-6)
    np.testing.assert_allclose(F.cross_entropy_backward(saved), [[-0.5, 0, 0.5]], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_nan_and_plus_infinity_give_nan(dtype):
    for bad in (np.nan, np.inf):
        logits = np.zeros((2, 20), dtype)
        logits[1, 18] = bad
        loss, saved = F.cross_entropy(logits, np.array([0, 0]))
        assert math.isnan(loss)
        gradient = F.cross_entropy_backward(saved)
        assert np.isfinite(gradient[0]).all() and np.isnan(gradient[1, 18])


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_any_integers_name_classes(kind, dtype, rng):
    logits, target = rng.normal(size=(4, 3)).astype(dtype), np.array([0, 2, 1, 2])
    assert F.cross_entropy(logits, target.astype(kind))[0] == F.cross_entropy(logits, target)[0]


def test_cross_entropy_refuses_bad_targets(dtype):
    logits = np.zeros((2, 3), dtype)
    with pytest.raises(ValueError, match="target must hold classes from 0 to 2 .* got 3"):
        F.cross_entropy(logits, np.array([0, 3]))
    with pytest.raises(ValueError, match="target must hold classes from 0 to 2 .* got -1"):
        F.cross_entropy(logits, np.array([-1, 0]))
    with pytest.raises(TypeError, match="target must be an array of integer classes, got float64"):
        F.cross_entropy(logits, np.array([0.0, 1.0]))
    with pytest.raises(TypeError, match="target must be an array of integer classes, got bool"):
        F.cross_entropy(logits, np.array([True, False]))
    with pytest.raises(TypeError, match="target must be an array of integer classes, got list"):
        F.cross_entropy(logits, [0, 1])
    with pytest.raises(ValueError, match=r"target must have shape \(2,\)"):
        F.cross_entropy(logits, np.array([[0], [1]]))


def test_cross_entropy_refuses_bad_logits_and_smoothing(dtype):
    target = np.array([0, 0])
    with pytest.raises(ValueError, match=r"logits must have shape \(n, k\)"):
        F.cross_entropy(np.zeros(3, dtype), target)
    with pytest.raises(ValueError, match="logits must hold at least one value"):
        F.cross_entropy(np.zeros((0, 3), dtype), np.zeros(0, int))
    with pytest.raises(ValueError, match="logits must hold at least one value"):
        F.cross_entropy(np.zeros((2, 0), dtype), target)
    with pytest.raises(TypeError, match="logits must be float32 or float64"):
        F.cross_entropy(np.zeros((2, 3), int), target)
    for smoothing in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="label_smoothing"):
            F.cross_entropy(np.zeros((2, 3), dtype), target, label_smoothing=smoothing)


PAIRS = {
    "mse": (F.mse, F.mse_backward, reference.mse),
    "bce_with_logits": (
        F.bce_with_logits,
        F.bce_with_logits_backward,
        reference.bce_with_logits,
    ),
}
each_pair = pytest.mark.parametrize("name", PAIRS)


@each_pair
@pytest.mark.parametrize("shape", [(1,), (5, 1), (3, 4, 7), (1001,)])
def test_pairwise_loss_is_the_definition(name, shape, dtype, rng):
    function, backward, oracle = PAIRS[name]
    z, t = (
        (rng.normal(size=shape) * 3).astype(dtype),
        rng.uniform(size=shape).astype(dtype),
    )
    loss, saved = function(z, t)
    expected, gradient = oracle(z, t)
    assert isinstance(loss, float)
    np.testing.assert_allclose(loss, expected, **close(dtype))
    np.testing.assert_allclose(backward(saved), gradient, **close(dtype))


@each_pair
def test_pairwise_gradient_agrees_with_central_differences(name, rng):
    function, backward, _ = PAIRS[name]
    z, t = rng.normal(size=(4, 5)), rng.uniform(size=(4, 5))
    numeric = central_difference(lambda v: np.array([function(v, t)[0]]), z, np.ones(1))
    np.testing.assert_allclose(backward(function(z, t)[1]), numeric, rtol=1e-6, atol=1e-9)


@each_pair
def test_pairwise_loss_matches_pytorch(name, rng):
    torch = pytest.importorskip("torch")
    function, backward, _ = PAIRS[name]
    other = {"mse": "mse_loss", "bce_with_logits": "binary_cross_entropy_with_logits"}[name]
    z, t = rng.normal(size=(17, 3)) * 4, rng.uniform(size=(17, 3))
    tensor = torch.tensor(z, requires_grad=True)
    expected = getattr(torch.nn.functional, other)(tensor, torch.tensor(t))
    expected.backward()
    loss, saved = function(z, t)
    assert abs(loss - expected.item()) < 1e-10
    np.testing.assert_allclose(backward(saved), tensor.grad.numpy(), rtol=0, atol=1e-10)


def test_bce_of_large_logits(dtype):
    z, t = np.array([1e4, -1e4, 1e4, -1e4], dtype), np.array([1, 0, 0, 1], dtype)
    loss, saved = F.bce_with_logits(z, t)
    assert loss == 5000.0
    np.testing.assert_array_equal(F.bce_with_logits_backward(saved), [0, 0, 0.25, -0.25])


def test_mse_of_large_differences_does_not_overflow():
    loss, _ = F.mse(np.full(3, 1e30, np.float32), np.zeros(3, np.float32))
    assert math.isclose(loss, 1e60, rel_tol=1e-6)


@each_pair
def test_pairwise_nan_is_not_hidden(name, dtype):
    z, t = np.zeros(40, dtype), np.zeros(40, dtype)
    z[39] = np.nan
    loss, saved = PAIRS[name][0](z, t)
    assert math.isnan(loss)
    gradient = PAIRS[name][1](saved)
    assert np.isnan(gradient[39]) and np.isfinite(gradient[:39]).all()


@each_pair
def test_pairwise_loss_refuses_what_does_not_match(name, dtype):
    function = PAIRS[name][0]
    z = np.zeros((2, 3), dtype)
    other = np.float64 if dtype == np.float32 else np.float32
    with pytest.raises(ValueError, match=r"target must have shape \(2, 3\)"):
        function(z, np.zeros(3, dtype))
    with pytest.raises(TypeError, match="target must have dtype"):
        function(z, np.zeros((2, 3), other))
    with pytest.raises(TypeError, match="target must be float32 or float64"):
        function(z, np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="at least one value"):
        function(np.zeros((0, 3), dtype), np.zeros((0, 3), dtype))


def test_bce_refuses_targets_that_are_not_probabilities(dtype):
    for bad in (-1, 2):
        with pytest.raises(ValueError, match="target must hold probabilities from 0 to 1"):
            F.bce_with_logits(np.zeros(2, dtype), np.array([0, bad], dtype))


def test_bits_do_not_depend_on_threads(dtype, with_threads, rng):
    logits, target = (
        rng.normal(size=(20_001, 10)).astype(dtype),
        rng.integers(0, 10, 20_001),
    )
    wide = rng.uniform(size=200_001).astype(dtype)

    def everything():
        loss, saved = F.cross_entropy(logits, target, label_smoothing=0.1)
        values = [np.array(loss), F.cross_entropy_backward(saved)]
        for function, backward, _ in PAIRS.values():
            loss, saved = function(wide, wide[::-1].copy())
            values += [np.array(loss), backward(saved)]
        return values

    first, *others = [with_threads(n, everything) for n in (1, 2, 3, 8)]
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_target_changed_before_backward_writes_nowhere_else(backend, dtype, rng):
    if backend == "numpy":
        pytest.skip("NumPy checks every index")
    logits, target = rng.standard_normal((4, 3)).astype(dtype), np.array([0, 1, 2, 0])
    _, saved = F.cross_entropy(logits, target)
    wanted = F.cross_entropy_backward(saved)
    target[0] = 3  # the place behind row 0 is in row 1; further ones are in other arrays
    assert np.array_equal(F.cross_entropy_backward(saved)[1:], wanted[1:])
    target[:] = -(2**40), 2**40, -1, 2**60
    assert np.all(np.isfinite(F.cross_entropy_backward(saved)))

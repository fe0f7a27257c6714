"""Optimizer steps: against the formulas and torch.optim, in place, decay on the leading elements only, refusals."""

import math

import numpy as np
import pytest

from bncore import functional as F
from tests.reference import optimizer as reference

pytestmark = pytest.mark.usefixtures("backend")

SGD = {
    "plain": {},
    "decay": {"weight_decay": 0.1},
    "momentum": {"momentum": 0.9},
    "momentum and decay": {"momentum": 0.9, "weight_decay": 0.1},
    "nesterov": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
}
sgd_variants = pytest.mark.parametrize("options", SGD.values(), ids=SGD)
# nothing, all, and borders inside a vector and inside a chunk
decayed_counts = pytest.mark.parametrize("decayed", [0, 1, 37, 100])


def vectors(count, size, dtype, seed=31):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=size).astype(dtype) for _ in range(count)]


@sgd_variants
@decayed_counts
def test_sgd_follows_the_formula(options, decayed, dtype):
    param, velocity = vectors(1, 100, dtype)[0], np.zeros(100, dtype)
    expected, expected_velocity = param.astype(float).tolist(), [0.0] * 100
    full = {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0, **options}
    for seed in range(5):
        (grad,) = vectors(1, 100, dtype, seed)
        F.sgd_step(param, grad, velocity, lr=0.1, decayed=decayed, **options)
        reference.sgd_step(
            expected, grad.tolist(), expected_velocity, lr=0.1, decayed=decayed, **full
        )
    # a few roundings per step of numbers of this size
    np.testing.assert_allclose(param, expected, rtol=0, atol=64 * np.finfo(dtype).eps)
    np.testing.assert_allclose(velocity, expected_velocity, rtol=0, atol=64 * np.finfo(dtype).eps)


@decayed_counts
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw_follows_the_formula(decayed, weight_decay, dtype):
    param, m, v = vectors(1, 100, dtype)[0], np.zeros(100, dtype), np.zeros(100, dtype)
    lists = [param.astype(float).tolist(), [0.0] * 100, [0.0] * 100]
    options = {
        "lr": 0.1,
        "beta1": 0.9,
        "beta2": 0.99,
        "eps": 1e-8,
        "weight_decay": weight_decay,
        "decayed": decayed,
    }
    for step in range(1, 6):
        (grad,) = vectors(1, 100, dtype, step)
        F.adamw_step(param, grad, m, v, step=step, **options)
        reference.adamw_step(lists[0], grad.tolist(), *lists[1:], step=step, **options)
    for actual, expected in zip((param, m, v), lists, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=64 * np.finfo(dtype).eps)


@sgd_variants
def test_twenty_sgd_steps_match_pytorch(options):
    torch = pytest.importorskip("torch")
    (param,), velocity = vectors(1, 77, np.float64), np.zeros(77)
    tensor = torch.tensor(param, requires_grad=True)
    optimizer = torch.optim.SGD([tensor], lr=0.05, **options)
    for seed in range(20):
        (grad,) = vectors(1, 77, np.float64, seed)
        tensor.grad = torch.tensor(grad)
        optimizer.step()
        F.sgd_step(param, grad, velocity, lr=0.05, **options)
    np.testing.assert_allclose(param, tensor.detach().numpy(), rtol=0, atol=1e-10)


def test_twenty_adamw_steps_match_pytorch():
    torch = pytest.importorskip("torch")
    (param,), m, v = vectors(1, 77, np.float64), np.zeros(77), np.zeros(77)
    split = 30  # PyTorch: two groups, decayed and not
    decayed = torch.tensor(param[:split], requires_grad=True)
    free = torch.tensor(param[split:], requires_grad=True)
    groups = [{"params": [decayed]}, {"params": [free], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.2)
    for step in range(1, 21):
        (grad,) = vectors(1, 77, np.float64, step)
        decayed.grad, free.grad = torch.tensor(grad[:split]), torch.tensor(grad[split:])
        optimizer.step()
        F.adamw_step(
            param, grad, m, v, lr=0.01, beta1=0.8, beta2=0.95, eps=1e-6, weight_decay=0.2,
            step=step, decayed=split,
        )  # fmt: skip
    expected = np.concatenate([decayed.detach().numpy(), free.detach().numpy()])
    np.testing.assert_allclose(param, expected, rtol=0, atol=1e-10)


def test_the_gradient_is_not_written(dtype):
    param, grad, m, v = vectors(4, 50, dtype)
    grad.flags.writeable = False
    F.sgd_step(param, grad, m, lr=0.1, momentum=0.9, weight_decay=0.1)
    F.adamw_step(param, grad, m, np.abs(v), lr=0.1, step=1)


def test_sgd_without_momentum_needs_no_velocity(dtype):
    param, grad = vectors(2, 50, dtype)
    expected = param - dtype.type(0.5) * grad
    F.sgd_step(param, grad, None, lr=0.5)
    np.testing.assert_allclose(param, expected, rtol=8 * np.finfo(dtype).eps)


def test_all_elements_are_decayed_unless_told_otherwise(dtype):
    param, grad = np.ones(50, dtype), np.zeros(50, dtype)
    F.sgd_step(param, grad, lr=1.0, weight_decay=0.5)
    np.testing.assert_array_equal(param, 0.5)


def test_a_zero_gradient_moves_nothing(dtype):
    """Padding between parameters holds zeros and must keep them."""
    param, grad, m, v = (np.zeros(64, dtype) for _ in range(4))
    F.adamw_step(param, grad, m, v, lr=0.1, step=1)
    F.sgd_step(param, grad, m, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
    for a in (param, m, v):
        np.testing.assert_array_equal(a, 0)


@pytest.mark.parametrize("size", [0, 1, 17, 1000, 100_003])
def test_squared_norm(size, dtype):
    (x,) = vectors(1, size, dtype)
    expected = math.fsum(v * v for v in x.astype(float).tolist())
    assert math.isclose(F.squared_norm(x), expected, rel_tol=1e-13)


def test_squared_norm_of_float32_neither_overflows_nor_underflows():
    assert math.isclose(F.squared_norm(np.full(10, 1e30, np.float32)), 1e61, rel_tol=1e-6)
    assert math.isclose(F.squared_norm(np.full(10, 1e-30, np.float32)), 1e-59, rel_tol=1e-6)


def test_squared_norm_of_nan_is_nan(dtype):
    x = np.zeros(100, dtype)
    x[99] = np.nan
    assert math.isnan(F.squared_norm(x))


def test_squared_norm_takes_any_shape(dtype):
    assert F.squared_norm(np.ones((3, 4, 5), dtype)[:, ::2]) == 30.0


def test_scale_works_in_place(dtype):
    (x,) = vectors(1, 1001, dtype)
    expected = x * dtype.type(0.25)
    assert F.scale_(x, 0.25) is None
    np.testing.assert_array_equal(x, expected)


def test_bits_do_not_depend_on_threads(dtype, with_threads):
    param, grad, m, v = vectors(4, 300_001, dtype)
    v = np.abs(v)

    def everything():
        a, b, c = param.copy(), m.copy(), v.copy()
        F.adamw_step(a, grad, b, c, lr=0.01, step=3, decayed=150_000)
        d, e = param.copy(), m.copy()
        F.sgd_step(d, grad, e, lr=0.1, momentum=0.9, weight_decay=0.1, decayed=150_000)
        return [a, b, c, d, e, np.array(F.squared_norm(grad))]

    first, *others = [with_threads(n, everything) for n in (1, 2, 3, 8)]
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_vectors_that_cannot_be_updated_are_refused(dtype):
    param, grad, m = vectors(3, 6, dtype)
    frozen = param.copy()
    frozen.flags.writeable = False
    other = np.zeros(6, np.float64 if dtype == np.float32 else np.float32)
    cases = [
        (ValueError, "param must be writable", (frozen, grad, m)),
        (ValueError, "param must be one flat vector", (param.reshape(2, 3), grad, m)),
        (ValueError, "param must be C-contiguous", (np.zeros(12, dtype)[::2], grad, m)),
        (TypeError, "param must be float32 or float64", (np.zeros(6, int), grad, m)),
        (ValueError, r"grad must have shape \(6,\)", (param, grad[:5], m)),
        (TypeError, "grad must have dtype", (param, other, m)),
        (ValueError, r"velocity must have shape \(6,\)", (param, grad, m[:5])),
        (TypeError, "velocity must have dtype", (param, grad, other)),
        (ValueError, "velocity must be given", (param, grad, None)),
        (ValueError, "grad must not overlap param", (param, param, m)),
        (ValueError, "velocity must not overlap param", (param, grad, param)),
        (ValueError, "velocity must not overlap grad", (param, grad, grad)),
    ]
    for kind, message, arguments in cases:
        with pytest.raises(kind, match=message):
            F.sgd_step(*arguments, lr=0.1, momentum=0.9)


def test_adamw_state_must_be_given(dtype):
    param, grad, m = vectors(3, 6, dtype)
    with pytest.raises(TypeError, match="v must be a NumPy array"):
        F.adamw_step(param, grad, m, None, lr=0.1, step=1)
    with pytest.raises(ValueError, match="v must not overlap m"):
        F.adamw_step(param, grad, m, m, lr=0.1, step=1)


def test_memory_mapped_vectors_are_updated(dtype, tmp_path):
    param = np.memmap(tmp_path / "param", dtype=dtype, mode="w+", shape=(6,))
    (grad,) = vectors(1, 6, dtype)
    F.sgd_step(param, grad, lr=1.0)
    np.testing.assert_array_equal(param, -grad)
    F.scale_(param, 2.0)
    np.testing.assert_array_equal(param, -2 * grad)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"lr": -0.1}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"momentum": -1.0}, "momentum"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"nesterov": True}, "nesterov needs a momentum"),
        ({"decayed": 7}, "decayed must be at most"),
        ({"decayed": -1}, "decayed"),
    ],
)
def test_sgd_refuses_bad_settings(options, message):
    param, grad = vectors(2, 6, np.float64)
    with pytest.raises(ValueError, match=message):
        F.sgd_step(param, grad, **{"lr": 0.1, **options})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"beta1": 1.0}, "beta1"),
        ({"beta2": -0.1}, "beta2"),
        ({"eps": -1e-8}, "eps"),
        ({"step": 0}, "step"),
        ({"weight_decay": float("inf")}, "weight_decay"),
        ({"decayed": 7}, "decayed must be at most"),
    ],
)
def test_adamw_refuses_bad_settings(options, message):
    param, grad, m, v = vectors(4, 6, np.float64)
    with pytest.raises(ValueError, match=message):
        F.adamw_step(param, grad, m, v, **{"lr": 0.1, "step": 1, **options})


def test_scale_refuses_what_it_cannot_write(dtype):
    frozen = np.zeros(3, dtype)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="x must be writable"):
        F.scale_(frozen, 2.0)
    with pytest.raises(TypeError, match="x must be float32 or float64"):
        F.scale_(np.zeros(3, int), 2.0)
    with pytest.raises(ValueError, match="a must be a finite number"):
        F.scale_(np.zeros(3, dtype), float("inf"))

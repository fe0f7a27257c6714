"""The linear layer gives the formula's numbers in every backend and dtype, and its gradients are its derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn
from bncore import functional as F
from tests.helpers import central_difference

# rows (several axes too), in, out: one, tails of every vector width, more than one block
SIZES = [
    ((1,), 1, 1),
    ((3,), 5, 7),
    ((2, 3), 4, 6),
    ((64,), 64, 10),
    ((65,), 33, 49),
    ((7, 1, 9), 300, 17),
    ((), 8, 3),
]
sizes = pytest.mark.parametrize(("rows", "inputs", "outputs"), SIZES, ids=str)
activations = pytest.mark.parametrize("activation", [None, "relu"])


def arrays(rows, inputs, outputs, dtype, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((*rows, inputs), (outputs, inputs), (outputs,), (*rows, outputs))
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


def flat(a):
    return a.reshape(-1, a.shape[-1])


def assert_close(ours, exact, magnitude):
    """Equal up to the rounding of a sum of products; `magnitude` is the same sum over absolute values."""
    assert ours.shape == exact.shape
    assert np.max(np.abs(ours - exact)) <= 64 * np.finfo(ours.dtype).eps * np.max(magnitude)


@sizes
@activations
def test_forward_and_backward_are_the_formula(rows, inputs, outputs, activation, backend, dtype):
    x, weight, bias, dy = arrays(rows, inputs, outputs, dtype)
    x64, w64, b64, dy64 = (a.astype(np.float64) for a in (x, weight, bias, dy))
    y, saved = F.linear(x, weight, bias, activation=activation)
    exact = x64 @ w64.T + b64
    assert_close(y, np.maximum(exact, 0) if activation else exact, abs(x64) @ abs(w64).T + abs(b64))
    g = dy64 * (y > 0) if activation else dy64
    dx, dweight, dbias = F.linear_backward(dy, saved)
    assert_close(dx, g @ w64, abs(g) @ abs(w64))
    assert_close(dweight, flat(g).T @ flat(x64), flat(abs(g)).T @ flat(abs(x64)))
    assert_close(dbias, flat(g).sum(0), flat(abs(g)).sum(0))


@activations
def test_gradients_are_central_differences(activation, backend):
    x, weight, bias, dy = arrays((5,), 4, 3, np.float64)
    _, saved = F.linear(x, weight, bias, activation=activation)
    ours = F.linear_backward(dy, saved)
    run = lambda *a: F.linear(*a, activation=activation)[0]  # noqa: E731
    numeric = (
        central_difference(lambda a: run(a, weight, bias), x, dy),
        central_difference(lambda a: run(x, a, bias), weight, dy),
        central_difference(lambda a: run(x, weight, a), bias, dy),
    )
    for a, b in zip(ours, numeric, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@sizes
@activations
def test_follows_pytorch_in_float64(rows, inputs, outputs, activation, backend):
    torch = pytest.importorskip("torch")
    x, weight, bias, dy = arrays(rows, inputs, outputs, np.float64)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    theirs = torch.nn.functional.linear(*leaves)
    theirs = torch.relu(theirs) if activation else theirs
    theirs.backward(torch.tensor(dy))
    y, saved = F.linear(x, weight, bias, activation=activation)
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=1e-10, atol=1e-10)
    for ours, leaf in zip(F.linear_backward(dy, saved), leaves, strict=True):
        np.testing.assert_allclose(ours, leaf.grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [((3000,), 70, 90), ((40,), 500, 400)])
def test_bits_do_not_depend_on_the_number_of_threads(rows, inputs, outputs, backend, dtype):
    if backend == "numpy":
        pytest.skip("only the compiled core promises this")
    x, weight, bias, dy = arrays(rows, inputs, outputs, dtype)
    results = []
    for threads in (1, 2, 3, 8):
        with bn.threads(threads):
            y, saved = F.linear(x, weight, bias, activation="relu")
            results.append((y, *F.linear_backward(dy, saved)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@sizes
def test_writes_into_given_arrays(rows, inputs, outputs, backend, dtype):
    x, weight, bias, dy = arrays(rows, inputs, outputs, dtype)
    y, saved = F.linear(x, weight, bias)
    plain = F.linear_backward(dy, saved)
    out = np.full_like(dy, np.nan)
    again, saved = F.linear(x, weight, bias, out=out)
    assert again is out
    np.testing.assert_array_equal(out, y)
    dweight, dbias = np.full_like(weight, np.nan), np.full_like(bias, np.nan)
    results = F.linear_backward(dy, saved, dweight=dweight, dbias=dbias)
    assert results[1] is dweight and results[2] is dbias
    for ours, want in zip(results, plain, strict=True):
        np.testing.assert_array_equal(ours, want)


def test_absent_gradients_are_none(backend):
    x, weight, bias, dy = arrays((4,), 3, 2, np.float32)
    _, saved = F.linear(x, weight)
    dx, dweight, dbias = F.linear_backward(dy, saved, need_dx=False)
    assert dx is None and dbias is None and dweight.shape == weight.shape
    with pytest.raises(ValueError, match="dbias must be None"):
        F.linear_backward(dy, saved, dbias=bias)


def test_a_batch_of_nothing_gives_nothing(backend):
    x, weight, bias, dy = arrays((0,), 3, 2, np.float32)
    y, saved = F.linear(x, weight, bias, activation="relu")
    dx, dweight, dbias = F.linear_backward(dy, saved)
    assert y.shape == (0, 2) and dx.shape == (0, 3)
    assert not dweight.any() and not dbias.any()


def test_inputs_are_read_only_safe_and_may_be_strided(backend, dtype):
    x, weight, bias, dy = arrays((6,), 5, 4, dtype)
    y, saved = F.linear(x, weight, bias)
    plain = (y, *F.linear_backward(dy, saved))
    x, weight, dy = (np.asfortranarray(a) for a in (x, weight, dy))
    for a in (x, weight, bias, dy):
        a.flags.writeable = False
    y, saved = F.linear(x, weight, bias)
    for ours, want in zip((y, *F.linear_backward(dy, saved)), plain, strict=True):
        np.testing.assert_array_equal(ours, want)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "error", "message"),
    [
        (np.ones((2, 3), int), np.ones((4, 3)), None, TypeError, "x must be float32 or float64, got int64"),
        (np.ones((2, 3)), np.ones((4, 3), np.float32), None, TypeError, "weight must have dtype float64"),
        (np.ones((2, 3)), np.ones((4, 3)), np.ones(4, np.float32), TypeError, "bias must have dtype float64"),
        (np.ones((2, 3)), np.ones((4, 2)), None, ValueError, r"x must have shape \(..., 2\)"),
        (np.array(1.0), np.ones((4, 2)), None, ValueError, r"x must have shape \(..., 2\)"),
        (np.ones((2, 3)), np.ones(3), None, ValueError, r"weight must have shape \(out, in\)"),
        (np.ones((2, 3)), np.ones((0, 3)), None, ValueError, "both positive"),
        (np.ones((2, 3)), np.ones((4, 3)), np.ones(3), ValueError, r"bias must have shape \(4,\)"),
        ([1.0], np.ones((4, 3)), None, TypeError, "x must be a NumPy array"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(x, weight, bias, error, message):
    with pytest.raises(error, match=message):
        F.linear(x, weight, bias)


def test_bad_outputs_are_named():
    x, weight, bias, dy = arrays((2,), 3, 4, np.float32)
    with pytest.raises(ValueError, match=r"out must have shape \(2, 4\)"):
        F.linear(x, weight, bias, out=np.empty((2, 5), np.float32))
    square = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="out must not overlap an input"):
        F.linear(square, weight[:3], out=square)
    _, saved = F.linear(x, weight, bias)
    with pytest.raises(ValueError, match="dweight must have shape"):
        F.linear_backward(dy, saved, dweight=np.empty((3, 4), np.float32))
    with pytest.raises(ValueError, match="dweight must not overlap an input"):
        F.linear_backward(dy, saved, dweight=weight)
    with pytest.raises(ValueError, match="activation must be one of"):
        F.linear(x, weight, activation="tanh")


def test_results_can_be_written_to_memmaps(backend, tmp_path, rng):
    x, weight, dy = (rng.standard_normal(s) for s in ((3, 4), (5, 4), (3, 5)))
    out = np.memmap(tmp_path / "y", np.float64, "w+", shape=(3, 5))
    dweight = np.memmap(tmp_path / "dweight", np.float64, "w+", shape=(5, 4))
    dbias = np.memmap(tmp_path / "dbias", np.float64, "w+", shape=(5,))
    wanted, saved = F.linear(x, weight, np.ones(5))
    F.linear(x, weight, np.ones(5), out=out)
    _, *gradients = F.linear_backward(dy, saved)
    F.linear_backward(dy, saved, dweight=dweight, dbias=dbias)
    for a, b in zip((out, dweight, dbias), (wanted, *gradients), strict=True):
        assert np.array_equal(a, b)


def test_gradients_must_not_overlap_each_other_or_the_output(backend):
    x, weight, memory = np.ones((3, 4)), np.ones((5, 4)), np.ones((5, 4))
    y, saved = F.linear(x, weight, np.ones(5), activation="relu")
    with pytest.raises(ValueError, match="dbias must not overlap"):
        F.linear_backward(np.ones((3, 5)), saved, dweight=memory, dbias=memory.reshape(-1)[:5])
    with pytest.raises(ValueError, match="dbias must not overlap"):
        F.linear_backward(np.ones((3, 5)), saved, dbias=y[0])

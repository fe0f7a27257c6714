"""Bad arguments of layer and RMS norm are named, and inputs are never written to."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import backend as backends
from bncore import functional as F
from tests.helpers import relative_error, tolerance
from tests.rows.cases import KINDS, arrays, norm, norm_backward

kinds = pytest.mark.parametrize("kind", KINDS)
GOOD = {"x": np.ones((4, 3, 2)), "weight": np.ones(2), "bias": np.ones(2)}
NOT_TRAILING = "axis must be one axis, or the trailing axes as a tuple"


def read_only(a):
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ({"x": [[1.0, 2.0]]}, TypeError, "x must be a NumPy array.*list"),
        ({"x": np.ones((4, 2), np.int64)}, TypeError, "x must be float32 or float64, got int64"),
        ({"x": np.ones((4, 2), np.float16)}, TypeError, "x must be float32 or .*, got float16"),
        ({"x": np.ma.masked_array(np.ones((4, 2)))}, TypeError, "x must be .*MaskedArray"),
        ({"x": np.array(1.0)}, ValueError, r"x must have rank >= 1, got shape \(\)"),
        ({"weight": np.ones(4)}, ValueError, r"weight must have shape \(2,\), got \(4,\)"),
        ({"weight": np.ones(2, np.float32)}, TypeError, "weight must have dtype float64"),
        ({"bias": np.ones((2, 1))}, ValueError, "bias must have shape"),
        ({"bias": [1.0, 1.0]}, TypeError, "bias must be a NumPy array"),
        ({"axis": (-2, -1)}, ValueError, r"weight must have shape \(3, 2\), got \(2,\)"),
        ({"axis": 1}, ValueError, r"weight must have shape \(3,\), got \(2,\)"),
        ({"axis": 3}, ValueError, r"axis must lie in \[-3, 3\)"),
        ({"axis": 2**70}, ValueError, "axis must lie in"),
        ({"axis": 1.0}, TypeError, "axis must be an integer, got 1.0"),
        ({"axis": None}, TypeError, "axis must be an integer, got None"),
        ({"axis": ()}, ValueError, NOT_TRAILING),
        ({"axis": (0, 1)}, ValueError, NOT_TRAILING),
        ({"axis": (0, 2)}, ValueError, NOT_TRAILING),
        ({"axis": (2, 2)}, ValueError, NOT_TRAILING),
        ({"axis": (-1, "x")}, TypeError, "axis must be an integer, got 'x'"),
        ({"eps": -1e-5}, ValueError, "eps must be a finite number >= 0, got -1e-05"),
        ({"eps": np.nan}, ValueError, "eps must be"),
        ({"eps": "small"}, TypeError, "eps must be a number, got .small. \\(str\\)"),
        ({"activation": "gelu"}, ValueError, "activation must be one of"),
        ({"out": read_only(np.ones((4, 3, 2)))}, ValueError, "out must be writable"),
        ({"out": np.ones((4, 3))}, ValueError, "out must have shape"),
        ({"out": np.ones((4, 3, 2), np.float32)}, TypeError, "out must have dtype float64"),
        ({"out": np.ones((4, 3, 4))[:, :, ::2]}, ValueError, "out must be C-contiguous"),
        ({"out": GOOD["x"]}, ValueError, "out must not overlap an input"),
    ],
    ids=lambda v: str(v)[:40],
)
@pytest.mark.parametrize("op", [F.layer_norm, F.rms_norm])
def test_bad_arguments_are_named(op, bad, error, words, backend):
    with pytest.raises(error, match=words):
        op(**(GOOD | bad))


@pytest.mark.parametrize(
    ("partial", "error", "words"),
    [
        (0.0, ValueError, r"partial must be a number in \(0, 1\], got 0.0"),
        (1.5, ValueError, r"partial must be a number in \(0, 1\], got 1.5"),
        (-0.5, ValueError, "partial must be a number"),
        (np.nan, ValueError, "partial must be a number"),
        ("half", TypeError, "partial must be a number, got 'half'"),
        (True, TypeError, "partial must be a number"),
    ],
)
def test_bad_parts_are_named(partial, error, words, backend):
    with pytest.raises(error, match=words):
        F.rms_norm(np.ones((2, 3)), partial=partial)


@kinds
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize(
    ("dy", "kw", "error", "words"),
    [
        (np.ones((4, 2)), {}, ValueError, "dy must have shape"),
        (np.ones((4, 2, 2), np.float32), {}, TypeError, "dy must have dtype float64"),
        (None, {}, TypeError, "dy must be a NumPy array"),
        (np.ones((4, 2, 2)), {"dweight": np.ones(3)}, ValueError, "dweight must have shape"),
        (np.ones((4, 2, 2)), {"dbias": read_only(np.ones(2))}, ValueError, "dbias must be writ"),
        (np.ones((4, 2, 2)), {"out": np.ones((4, 2))}, ValueError, "out must have shape"),
    ],
    ids=["shape", "dtype", "none", "dweight", "dbias", "out"],
)
def test_bad_backward_arguments_are_named(kind, axis, dy, kw, error, words, backend):
    _, saved = norm(kind, np.ones((4, 2, 2)), np.ones(2), np.ones(2), axis=axis)
    with pytest.raises(error, match=words):
        norm_backward(kind, dy, saved, **kw)


def test_backward_without_a_forward_is_named(backend):
    _, of_batch_norm = F.batch_norm(np.ones((4, 3)))
    for saved in ((1, 2), None, of_batch_norm):
        with pytest.raises(TypeError, match="saved must be what the forward call returned, got"):
            F.layer_norm_backward(np.ones((4, 3)), saved)


@kinds
@pytest.mark.parametrize("axis", [-1, 0])
def test_gradients_must_not_overlap_what_else_is_read_or_written(kind, axis, backend):
    x, weight, bias = np.ones((4, 4)), np.ones(4), np.ones(4)
    _, saved = norm(kind, x, weight, bias, axis=axis)
    dy, dx, shared = np.ones((4, 4)), np.empty((4, 4)), np.empty(4)
    for array, kw in ((dy, {}), (x, {}), (dx, {"out": dx}), (bias, {}), (weight, {})):
        with pytest.raises(ValueError, match="dweight must not overlap"):
            norm_backward(kind, dy, saved, dweight=array.reshape(-1)[:4], **kw)
    with pytest.raises(ValueError, match="dbias must not overlap"):
        norm_backward(kind, dy, saved, dweight=shared, dbias=shared)
    for array in (dy, x):
        with pytest.raises(ValueError, match="out must not overlap"):
            norm_backward(kind, dy, saved, out=array)


@kinds
@pytest.mark.parametrize("axis", [-1, 1])
def test_inputs_are_not_written_to(kind, axis, backend, dtype, rng):
    x, dy = (read_only(rng.standard_normal((6, 5, 5)).astype(dtype)) for _ in range(2))
    weight, bias = (read_only(rng.standard_normal(5).astype(dtype)) for _ in range(2))
    y, saved = norm(kind, x, weight, bias, axis=axis, activation="relu")
    gradients = norm_backward(kind, dy, saved)
    assert y.flags.writeable and all(g.flags.writeable for g in gradients)


@kinds
@pytest.mark.parametrize(
    "view",
    [
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=2)[:, :, ::2],
        lambda x: x[::-1].copy()[::-1],
        lambda x: x.astype(x.dtype.newbyteorder()),
        lambda x: np.frombuffer(b"\0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
    ],
    ids=["fortran", "strided", "reversed", "byteorder", "unaligned"],
)
def test_any_memory_layout_gives_the_same_bits(kind, view, backend, dtype, rng):
    x, dy = (rng.standard_normal((6, 4, 5)).astype(dtype) for _ in range(2))
    y, saved = norm(kind, x)
    y2, saved2 = norm(kind, view(x))
    assert np.array_equal(y, y2)
    first, second = norm_backward(kind, dy, saved), norm_backward(kind, view(dy), saved2)
    assert np.array_equal(first[0], second[0])
    assert first[1:] == second[1:] == (None, None)


@kinds
def test_results_can_be_written_to_memmaps(kind, backend, tmp_path, rng):
    """Arrays on disk are no ndarrays of the exact type: all backends take them all the same."""

    def mapped(name, shape):
        return np.memmap(tmp_path / name, np.float64, "w+", shape=shape)

    x, dy, weight = mapped("x", (6, 4)), rng.standard_normal((6, 4)), np.ones(4)
    x[...] = rng.standard_normal((6, 4))
    out, dx = mapped("y", (6, 4)), mapped("dx", (6, 4))
    dweight, dbias = mapped("dweight", 4), mapped("dbias", 4)
    wanted, saved = norm(kind, np.array(x), weight, weight)
    norm(kind, x, weight, weight, out=out)
    wanted_gradients = norm_backward(kind, dy, saved)
    norm_backward(kind, dy, saved, dweight=dweight, dbias=dbias, out=dx)
    pairs = zip((out, dx, dweight, dbias), (wanted, *wanted_gradients), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


@kinds
def test_saved_state_survives_a_change_of_backend(kind, native, dtype):
    a = arrays((9, 4), 1, dtype)
    options = {"activation": "relu"}
    with backends.use_backend("numpy"):
        _, from_numpy = norm(kind, a.x, a.weight, a.bias, **options)
    _, from_native = norm(kind, a.x, a.weight, a.bias, **options)
    crossed = norm_backward(kind, a.dy, from_numpy)
    with backends.use_backend("numpy"):
        crossed_back = norm_backward(kind, a.dy, from_native)
    for one, other in zip(crossed, crossed_back, strict=True):
        assert relative_error(one, other) <= tolerance(dtype, 32)

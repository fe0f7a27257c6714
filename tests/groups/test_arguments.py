"""Bad arguments of group and instance norm are named; inputs are never written to; any layout of memory is taken."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import functional as F

GOOD = {"x": np.ones((2, 4, 3)), "weight": np.ones(4), "bias": np.ones(4)}


def read_only(a):
    a.flags.writeable = False
    return a


COMMON = [
    ({"x": [[1.0, 2.0]]}, TypeError, "x must be a NumPy array.*list"),
    (
        {"x": np.ones((2, 4), np.int64)},
        TypeError,
        "x must be float32 or float64, got int64.*astype",
    ),
    ({"x": np.ones((2, 4), np.float16)}, TypeError, "x must be float32 or float64, got float16"),
    ({"x": np.ones(4)}, ValueError, r"x must have rank >= 2, got shape \(4,\)"),
    ({"weight": np.ones(3)}, ValueError, r"weight must have shape \(4,\), got \(3,\)"),
    ({"weight": np.ones(4, np.float32)}, TypeError, "weight must have dtype float64"),
    ({"bias": [1.0] * 4}, TypeError, "bias must be a NumPy array"),
    ({"eps": -1e-5}, ValueError, "eps must be a finite number >= 0, got -1e-05"),
    ({"eps": np.nan}, ValueError, "eps must be"),
    ({"eps": None}, TypeError, "eps must be a number, got None"),
    ({"axis": 3}, ValueError, "axis must lie in"),
    ({"axis": 0}, ValueError, "axis must not be 0, which counts samples"),
    ({"axis": -3}, ValueError, "axis must not be 0, which counts samples"),
    ({"axis": 2**70}, ValueError, "axis"),
    ({"axis": 1.0}, TypeError, "axis"),
    ({"activation": "gelu"}, ValueError, "activation must be one of"),
    ({"out": read_only(np.ones((2, 4, 3)))}, ValueError, "out must be writable"),
    ({"out": np.ones((2, 4))}, ValueError, "out must have shape"),
    ({"out": np.ones((2, 4, 3), np.float32)}, TypeError, "out must have dtype float64"),
    ({"out": np.ones((2, 4, 6))[:, :, ::2]}, ValueError, "out must be C-contiguous"),
    ({"out": GOOD["x"]}, ValueError, "out must not overlap"),
]
GROUP = [
    ({"num_groups": 3}, ValueError, "num_groups must divide the number of channels, got 3 for 4"),
    ({"num_groups": 0}, ValueError, "num_groups must be an integer >= 1, got 0"),
    ({"num_groups": -2}, ValueError, "num_groups must be an integer >= 1, got -2"),
    ({"num_groups": 2.0}, TypeError, "num_groups must be an integer, got 2.0"),
    ({"num_groups": None}, TypeError, "num_groups must be an integer, got None"),
]
INSTANCE = [
    ({"momentum": 1.5}, ValueError, r"momentum must be a number in \[0, 1\], got 1.5"),
    ({"momentum": None}, TypeError, "momentum must be a number, got None"),
    ({"running_mean": np.zeros(3)}, ValueError, "running_mean must have shape"),
    ({"running_mean": read_only(np.zeros(4))}, ValueError, "running_mean must be writable"),
    ({"running_var": np.zeros(4, np.float32)}, TypeError, "running_var must have dtype"),
    ({"running_mean": GOOD["weight"]}, ValueError, "running_mean must not overlap"),
    ({"running_var": GOOD["x"].reshape(-1)[:4]}, ValueError, "running_var must not overlap"),
]


@pytest.mark.parametrize(("bad", "error", "words"), COMMON + GROUP, ids=lambda v: str(v)[:40])
def test_bad_arguments_of_group_norm(bad, error, words, backend):
    with pytest.raises(error, match=words):
        F.group_norm(**({"num_groups": 2} | GOOD | bad))


@pytest.mark.parametrize(("bad", "error", "words"), COMMON + INSTANCE, ids=lambda v: str(v)[:40])
def test_bad_arguments_of_instance_norm(bad, error, words, backend):
    with pytest.raises(error, match=words):
        F.instance_norm(**(GOOD | bad))


def test_running_statistics_must_lie_apart(backend):
    shared = np.zeros(4)
    with pytest.raises(ValueError, match="running_var must not overlap"):
        F.instance_norm(**GOOD, running_mean=shared, running_var=shared)


@pytest.mark.parametrize(
    ("dy", "kw", "error", "words"),
    [
        (np.ones((2, 4)), {}, ValueError, "dy must have shape"),
        (np.ones((2, 4, 3), np.float32), {}, TypeError, "dy must have dtype float64"),
        (None, {}, TypeError, "dy must be a NumPy array"),
        (np.ones((2, 4, 3)), {"dweight": np.ones(2)}, ValueError, "dweight must have shape"),
        (
            np.ones((2, 4, 3)),
            {"dbias": read_only(np.ones(4))},
            ValueError,
            "dbias must be writable",
        ),
        (np.ones((2, 4, 3)), {"out": np.ones((2, 4))}, ValueError, "out must have shape"),
    ],
    ids=["shape", "dtype", "none", "dweight", "dbias", "out"],
)
def test_bad_arguments_of_the_backward_pass(dy, kw, error, words, backend):
    _, saved = F.group_norm(num_groups=2, **GOOD)
    with pytest.raises(error, match=words):
        F.group_norm_backward(dy, saved, **kw)


@pytest.mark.parametrize("saved", [(1, 2), None, F.batch_norm(np.ones((4, 3)))[1]])
def test_a_foreign_state_is_named(saved, backend):
    with pytest.raises(TypeError, match="saved must be what the forward call returned, got"):
        F.group_norm_backward(np.ones((4, 3)), saved)


def test_gradients_must_not_overlap_what_else_is_read_or_written(backend):
    _, saved = F.group_norm(num_groups=2, **GOOD)
    dy, dx, shared = np.ones((2, 4, 3)), np.empty((2, 4, 3)), np.empty(4)
    for array, kw in ((dy, {}), (saved.x, {}), (dx, {"out": dx}), (saved.bias, {})):
        with pytest.raises(ValueError, match="dweight must not overlap"):
            F.group_norm_backward(dy, saved, dweight=array.reshape(-1)[:4], **kw)
    with pytest.raises(ValueError, match="dbias must not overlap"):
        F.group_norm_backward(dy, saved, dweight=shared, dbias=shared)
    for array in (dy, saved.x):
        with pytest.raises(ValueError, match="out must not overlap"):
            F.group_norm_backward(dy, saved, out=array)


def test_a_refused_call_leaves_the_running_statistics_alone(backend):
    running_mean = np.zeros(4)
    with pytest.raises(ValueError, match="running_var"):
        F.instance_norm(np.arange(24.0).reshape(2, 4, 3), None, None, running_mean, np.ones(5))
    assert not running_mean.any()


def test_inputs_are_not_written_to(backend, dtype, rng):
    x, dy = (read_only(rng.standard_normal((6, 4, 5)).astype(dtype)) for _ in range(2))
    weight, bias = read_only(np.ones(4, dtype)), read_only(np.ones(4, dtype))
    for y, saved in (
        F.group_norm(x, 2, weight, bias, activation="relu"),
        F.instance_norm(x, weight, bias),
    ):
        F.group_norm_backward(dy, saved)
        assert y.flags.writeable


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
def test_any_memory_layout_gives_the_same_bits(view, backend, dtype, rng):
    x, dy = (rng.standard_normal((6, 4, 5)).astype(dtype) for _ in range(2))
    for norm in (lambda x: F.group_norm(x, 2), F.instance_norm):
        (y, saved), (y2, saved2) = norm(x), norm(view(x))
        assert np.array_equal(y, y2)
        gradients = F.group_norm_backward(dy, saved), F.group_norm_backward(view(dy), saved2)
        assert np.array_equal(gradients[0][0], gradients[1][0])
        assert gradients[1][1:] == (None, None)


def test_memmaps_are_taken_and_written_to(backend, tmp_path, rng):
    x = rng.standard_normal((6, 4, 5))
    x.tofile(tmp_path / "x.bin")
    mapped = np.memmap(tmp_path / "x.bin", np.float64, "r", shape=x.shape)
    out = np.memmap(tmp_path / "y.bin", np.float64, "w+", shape=x.shape)
    F.group_norm(mapped, 2, out=out)
    assert np.array_equal(out, F.group_norm(x, 2)[0])

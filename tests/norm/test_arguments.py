"""Bad arguments of batch norm are named, and nothing is lost: inputs are never written to, states stay as they were."""

from __future__ import annotations

import numpy as np
import pytest

from bncore import BatchNorm, Linear
from bncore import functional as F

GOOD = {"x": np.ones((4, 3, 2)), "weight": np.ones(3), "bias": np.ones(3)}
RUNNING = {"running_mean": np.zeros(3), "running_var": np.ones(3)}


def read_only(a):
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ({"x": [[1.0, 2.0]]}, TypeError, "x must be a NumPy array.*list"),
        (
            {"x": np.ones((4, 3, 2), np.int64)},
            TypeError,
            "x must be float32 or float64, got int64.*astype",
        ),
        (
            {"x": np.ones((4, 3, 2), np.float16)},
            TypeError,
            "x must be float32 or float64, got float16",
        ),
        ({"x": np.ones((4, 3, 2), object)}, TypeError, "x must be float32 or float64, got object"),
        (
            {"x": np.ma.masked_array(np.ones((4, 3)))},
            TypeError,
            "x must be a NumPy array.*MaskedArray",
        ),
        ({"x": np.ones(3)}, ValueError, r"x must have rank >= 2, got shape \(3,\)"),
        ({"weight": np.ones(4)}, ValueError, r"weight must have shape \(3,\), got \(4,\)"),
        ({"weight": np.ones(3, np.float32)}, TypeError, "weight must have dtype float64"),
        ({"bias": np.ones((3, 1))}, ValueError, "bias must have shape"),
        ({"bias": [1.0, 1.0, 1.0]}, TypeError, "bias must be a NumPy array"),
        ({"residual": np.ones((4, 3))}, ValueError, "residual must have shape"),
        ({"eps": -1e-5}, ValueError, "eps must be a finite number >= 0, got -1e-05"),
        ({"eps": np.nan}, ValueError, "eps must be"),
        ({"eps": np.inf}, ValueError, "eps must be"),
        ({"eps": "small"}, TypeError, "eps must be a number, got .small. \\(str\\)"),
        ({"momentum": 1.5}, ValueError, r"momentum must be a number in \[0, 1\], got 1.5"),
        ({"momentum": None}, TypeError, "momentum must be a number, got None"),
        ({"axis": 3}, ValueError, "axis"),
        ({"axis": 2**70}, ValueError, "axis"),
        ({"axis": 1.0}, TypeError, "axis"),
        ({"activation": "gelu"}, ValueError, "activation"),
        ({"running_mean": np.zeros(4)}, ValueError, "running_mean must have shape"),
        ({"running_mean": read_only(np.zeros(3))}, ValueError, "running_mean must be writable"),
        ({"running_var": np.zeros(3, np.float32)}, TypeError, "running_var must have dtype"),
        ({"running_mean": GOOD["weight"]}, ValueError, "running_mean must not overlap"),
        ({"running_mean": GOOD["x"].reshape(-1)[:3]}, ValueError, "running_mean must not overlap"),
        (
            {"running_mean": RUNNING["running_mean"], "running_var": RUNNING["running_mean"]},
            ValueError,
            "running_var must not overlap",
        ),
        (
            {"out": read_only(np.ones((4, 3, 2)))},
            ValueError,
            "out must be writable, got a read-only array",
        ),
        ({"out": np.ones((4, 3))}, ValueError, "out must have shape"),
        ({"out": np.ones((4, 3, 2), np.float32)}, TypeError, "out must have dtype float64"),
        ({"out": np.ones((4, 3, 4))[:, :, ::2]}, ValueError, "out must be C-contiguous"),
        (
            {"training": False},
            ValueError,
            "running_mean and running_var must be given in evaluation",
        ),
    ],
    ids=lambda v: str(v)[:40],
)
def test_bad_arguments_are_named(bad, error, words, backend):
    with pytest.raises(error, match=words):
        F.batch_norm(**(GOOD | bad))


def test_out_must_not_overlap_an_input(backend):
    x = np.ones((4, 3, 2))
    with pytest.raises(ValueError, match="out must not overlap"):
        F.batch_norm(x, out=x)
    _, saved = F.batch_norm(x)
    dy = np.ones_like(x)
    with pytest.raises(ValueError, match="out must not overlap"):
        F.batch_norm_backward(dy, saved, out=dy)


@pytest.mark.parametrize(
    ("dy", "kw", "error", "words"),
    [
        (np.ones((4, 3)), {}, ValueError, "dy must have shape"),
        (np.ones((4, 3, 2), np.float32), {}, TypeError, "dy must have dtype float64"),
        (None, {}, TypeError, "dy must be a NumPy array"),
        (np.ones((4, 3, 2)), {"dweight": np.ones(2)}, ValueError, "dweight must have shape"),
        (
            np.ones((4, 3, 2)),
            {"dbias": read_only(np.ones(3))},
            ValueError,
            "dbias must be writable",
        ),
    ],
    ids=["shape", "dtype", "none", "dweight", "dbias"],
)
def test_bad_backward_arguments_are_named(dy, kw, error, words, backend):
    _, saved = F.batch_norm(**GOOD)
    with pytest.raises(error, match=words):
        F.batch_norm_backward(dy, saved, **kw)


def test_backward_without_a_forward_is_named(backend):
    with pytest.raises(TypeError, match="saved must be what the forward call returned, got tuple"):
        F.batch_norm_backward(np.ones((4, 3)), (1, 2))
    x = np.ones((4, 3))
    _, sums = F.batch_norm(x)
    sums = F.gradient_sums(x, sums)
    for _, other in (
        F.layer_norm(x),
        F.group_norm(x, 1),
        F.ghost_batch_norm(x, ghost_batch_size=2),
    ):
        for call in (
            F.batch_norm_backward,
            F.gradient_sums,
            lambda dy, s: F.input_gradient(dy, s, sums),
        ):
            with pytest.raises(TypeError, match="saved must be what the forward call returned"):
                call(x, other)


def test_normalize_wants_statistics(backend):
    with pytest.raises(TypeError, match="stats must be Statistics"):
        F.normalize(np.ones((4, 3)), (1, 2))
    with pytest.raises(ValueError, match=r"stats must have 3 channels, got shape \(2,\)"):
        F.normalize(np.ones((4, 3)), F.statistics(np.ones((4, 2))))


def test_a_refused_call_leaves_the_running_statistics_alone(backend):
    running_mean = np.zeros(3)
    with pytest.raises(ValueError, match="running_var"):
        F.batch_norm(np.arange(12.0).reshape(4, 3), None, None, running_mean, np.ones(5))
    assert np.all(running_mean == 0)


@pytest.mark.parametrize("training", [True, False])
def test_inputs_are_not_written_to(training, backend, dtype, rng):
    x, dy, residual = (read_only(rng.standard_normal((6, 4, 5)).astype(dtype)) for _ in range(3))
    weight, bias = read_only(np.ones(4, dtype)), read_only(np.ones(4, dtype))
    running = np.zeros(4, dtype), np.ones(4, dtype)
    if not training:
        running = read_only(running[0]), read_only(running[1])
    y, saved = F.batch_norm(
        x, weight, bias, *running, training=training, residual=residual, activation="relu"
    )
    F.batch_norm_backward(dy, saved)
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
    x = rng.standard_normal((6, 4, 5)).astype(dtype)
    dy = rng.standard_normal((6, 4, 5)).astype(dtype)
    y, saved = F.batch_norm(x)
    y2, saved2 = F.batch_norm(view(x))
    assert np.array_equal(y, y2)
    for a, b in zip(
        F.batch_norm_backward(dy, saved), F.batch_norm_backward(view(dy), saved2), strict=True
    ):
        assert (a is None and b is None) or np.array_equal(a, b)


def test_subclasses_and_memmaps_are_taken(backend, tmp_path, rng):
    x = rng.standard_normal((6, 4))
    x.tofile(tmp_path / "x.bin")
    mapped = np.memmap(tmp_path / "x.bin", np.float64, "r", shape=(6, 4))
    assert np.array_equal(F.batch_norm(mapped)[0], F.batch_norm(x)[0])


def test_wrong_dtype_for_a_layer_says_what_to_convert(backend):
    """NumPy makes float64 unless asked: the commonest mistake with a float32 net."""
    for layer in (BatchNorm(3), BatchNorm(3, affine=False), Linear(3, 2)):
        with pytest.raises(
            TypeError, match=r"dtype float64 like the input, got float32; .*np\.float32"
        ):
            layer(np.ones((4, 3)))


def test_gradients_must_not_overlap_what_else_is_read_or_written(backend):
    _, saved = F.batch_norm(**GOOD)
    dy, dx, shared = np.ones((4, 3, 2)), np.empty((4, 3, 2)), np.empty(3)
    for array, kw in (
        (dy, {}),
        (saved.x, {}),
        (dx, {"out": dx}),
        (saved.bias, {}),
    ):
        with pytest.raises(ValueError, match="dweight must not overlap"):
            F.batch_norm_backward(dy, saved, dweight=array.reshape(-1)[:3], **kw)
    with pytest.raises(ValueError, match="dbias must not overlap"):
        F.batch_norm_backward(dy, saved, dweight=shared, dbias=shared)
    one, saved = F.batch_norm(np.ones((2, 3)), np.ones(3))
    wide = np.ones((2, 3))
    _, saved = F.batch_norm(one, wide[0])
    with pytest.raises(ValueError, match="out must not overlap"):
        F.batch_norm_backward(one, saved, out=wide)


def test_results_can_be_written_to_memmaps(backend, tmp_path, rng):
    """Arrays on disk are no ndarrays of the exact type: all backends take them all the same."""

    def mapped(shape):
        mapped.count += 1
        return np.memmap(tmp_path / f"{mapped.count}", np.float64, "w+", shape=shape)

    mapped.count = 0
    x, dy, weight = rng.standard_normal((6, 4)), rng.standard_normal((6, 4)), np.ones(4)
    running, wanted_running = (mapped(4), mapped(4)), (np.zeros(4), np.zeros(4))
    out, dx, dweight, dbias = mapped((6, 4)), mapped((6, 4)), mapped(4), mapped(4)
    wanted, saved = F.batch_norm(x, weight, weight, *wanted_running)
    F.batch_norm(x, weight, weight, *running, out=out)
    wanted_gradients = F.batch_norm_backward(dy, saved)
    F.batch_norm_backward(dy, saved, dweight=dweight, dbias=dbias, out=dx)
    pairs = zip((*running, out, dx, dweight, dbias), (*wanted_running, wanted, *wanted_gradients))
    assert all(np.array_equal(a, b) for a, b in pairs)
    again = F.input_gradient(dy, saved, F.gradient_sums(dy, saved), out=mapped((6, 4)))
    assert np.array_equal(again, dx)
    evaluated = F.batch_norm(x, None, None, *running, training=False)[0]
    assert np.array_equal(
        evaluated, F.batch_norm(x, None, None, *wanted_running, training=False)[0]
    )


def test_statistics_and_sums_may_be_made_by_hand(backend, rng):
    x, dy = rng.standard_normal((6, 4)), rng.standard_normal((6, 4))
    stats = F.statistics(x)
    wanted, saved = F.normalize(x, stats)
    strided = F.Statistics(6, np.repeat(stats.mean, 2)[::2], np.repeat(stats.var, 2)[::2])
    assert np.array_equal(F.normalize(x, strided)[0], wanted)
    single = F.Statistics(6, stats.mean.astype(np.float32), stats.var.astype(np.float32))
    assert np.allclose(F.normalize(x, single)[0], wanted, atol=1e-6)
    sums = F.gradient_sums(dy, saved)
    by_hand = F.GradientSums(6, np.repeat(sums.dy, 2)[::2], np.repeat(sums.dy_x_hat, 2)[::2])
    assert np.array_equal(F.input_gradient(dy, saved, by_hand), F.input_gradient(dy, saved, sums))
    with pytest.raises(ValueError, match=r"stats must have 4 channels, got shape \(3,\)"):
        F.normalize(x, F.Statistics(6, stats.mean, stats.var[:3]))
    with pytest.raises(ValueError, match=r"sums must have 4 channels, got shape \(3,\)"):
        F.input_gradient(dy, saved, F.GradientSums(6, sums.dy, sums.dy_x_hat[:3]))


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (F.batch_norm, (0, 2**60)),
        (F.batch_norm, (0, 2**59)),
        (F.layer_norm, (2**60, 0)),
        (F.rms_norm, (2**60, 0)),
        (F.instance_norm, (2**30, 2**30, 0)),
        (lambda x: F.group_norm(x, 2**10), (2**50, 2**10, 0)),
    ],
)
def test_statistics_beyond_all_memory_are_refused(norm, shape, native):
    """Nothing is stored of arrays without values, so their dimensions have no bound but that of numbers."""
    with pytest.raises(MemoryError):
        norm(np.empty(shape, np.float32))

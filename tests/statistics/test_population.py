"""Statistics of data of any size and kind: every way to hand it over gives what brute force gives."""

from __future__ import annotations

import io
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bncore as bn
from bncore import functional as F
from bncore.support.progress import Progress
from tests.helpers import relative_error, tolerance
from tests.reference import norm as exact

REAL = np.longdouble


def agrees(stats, x, axis=-1, weights=None, roundings=16):
    """Against two passes in long double; a far mean is held by float64 to 2**-53 only."""
    x = np.asarray(x)
    if weights is not None:
        x = np.repeat(x, weights, axis=0)
    mean, var = exact.statistics(x.astype(REAL), axis)
    small = x.dtype.itemsize <= 2 or (x.dtype.kind == "f" and x.dtype.itemsize == 4)
    dtype = np.float32 if small else np.float64
    far = float(np.max(np.abs(mean) / np.sqrt(var + (var == 0))))
    limit = (
        tolerance(dtype, roundings) + tolerance(np.float64, 256) + far * tolerance(np.float64, 8)
    )
    assert stats.count == x.size / x.shape[axis]
    assert float(np.max(np.abs(stats.mean - mean) / np.sqrt(var + (var == 0)))) <= limit
    assert relative_error(stats.var, var) <= limit


@pytest.mark.parametrize("far", [0.0, 1e4, 1e5])
def test_means_of_many_deviations(far, backend, dtype, rng):
    x = (far + rng.standard_normal((30_000, 12))).astype(dtype)
    agrees(bn.population(x), x, roundings=2)


@pytest.mark.parametrize("order", ["sorted", "classes", "trend", "outlier first"])
def test_data_in_an_order(order, backend, dtype, rng):
    """Blocks are summed around the mean of the block before, which such data moves away from."""
    x = rng.standard_normal((20_000, 70))
    if order == "sorted":
        x.sort(axis=0)
    elif order == "classes":
        x += np.repeat(50 * rng.standard_normal((10, 70)), 2000, axis=0)
    elif order == "trend":
        x += 0.1 * np.arange(20_000)[:, None]
    else:
        x[0] = 1e5
    x = x.astype(dtype)
    agrees(bn.population(x), x)


@pytest.mark.parametrize("magnitude", [1e30, 1e-30])
def test_extreme_magnitudes(magnitude, backend, dtype, rng):
    x = (magnitude * (1 + rng.standard_normal((3000, 70)))).astype(dtype)
    stats = bn.population(x)
    mean, var = exact.statistics(x, -1)
    assert relative_error(stats.mean / magnitude, mean / magnitude) <= tolerance(dtype, 16)
    assert relative_error(stats.var / magnitude**2, var / magnitude**2) <= tolerance(dtype, 16)


@pytest.mark.parametrize("value", [60.0, 0.1, -1e10, 1e-30])
def test_constant_features_are_exact(value, backend, dtype):
    for x in (np.full((9000, 3), value, dtype), np.full((9000, 3), value, dtype).T.copy().T):
        for stats in (bn.population(x), bn.population(iter(np.array_split(x, 7)))):
            assert np.all(stats.mean == dtype.type(value))
            assert np.all(stats.var == 0)


def test_one_row(backend, dtype):
    stats = bn.population(np.array([[1, 2, 3]], dtype))
    assert (stats.count, stats.mean.tolist(), stats.var.tolist()) == (1, [1, 2, 3], [0, 0, 0])


KINDS = ["bool", "u1", "i2", "<i4", ">i4", "u8", "f2", ">f4", ">f8", "g"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_any_real_type(kind, axis, backend, rng):
    x = (20 * rng.random((80, 70, 66))).astype(kind)  # more than one piece
    before = x.copy()
    agrees(bn.population(x, axis=axis), x, axis)
    assert np.array_equal(x, before)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed"])
def test_any_layout_and_axis(layout, axis, backend, dtype, rng):
    x = (3 + rng.standard_normal((60, 50, 110))).astype(dtype)
    if layout == "F":
        x = np.asfortranarray(x)
    elif layout == "strided":
        x = x[::2, :, 1::3]
    elif layout == "reversed":
        x = x[::-1, :, ::-1]
    agrees(bn.population(x, axis=axis), x, axis)


def test_memory_maps(tmp_path, backend, dtype, rng):
    x = rng.standard_normal((5000, 30)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    whole = bn.population(x)
    for stats in (bn.population(mapped), bn.population([mapped[:17], mapped[17:]])):
        assert np.max(np.abs(stats.mean - whole.mean)) <= tolerance(dtype)
        assert relative_error(stats.var, whole.var) <= tolerance(dtype)


class Sliced:
    """What HDF5 and Zarr give: a shape and slices, no array."""

    def __init__(self, x):
        self.x, self.shape, self.largest = x, x.shape, 0

    def __getitem__(self, where):
        part = self.x[where]
        self.largest = max(self.largest, len(part))
        return part


def test_what_can_be_sliced_is_read_in_slices(backend, rng):
    source = Sliced(rng.standard_normal((20_000, 40)))
    agrees(bn.population(source), source.x)
    assert source.largest < 20_000
    agrees(bn.population(source, batch_size=123), source.x)


@pytest.mark.parametrize("cuts", [[], [1], [0, 0, 1, 2, 3], [500, 500, 999], [7] * 3])
def test_uneven_and_empty_pieces(cuts, backend, dtype, rng):
    x = (1e3 + rng.standard_normal((1000, 6))).astype(dtype)
    agrees(bn.population(iter(np.split(x, cuts))), x)
    agrees(bn.population(np.split(x, cuts)), x)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 5000])
def test_batch_size(batch_size, backend, dtype, rng):
    x = rng.standard_normal((500, 6)).astype(dtype)
    agrees(bn.population(x, batch_size=batch_size), x)


def test_pieces_of_several_types_and_shapes(backend, rng):
    pieces = [
        rng.standard_normal((30, 5)).astype(np.float32),
        rng.integers(0, 9, (20, 4, 5)),
        rng.standard_normal((5, 40)).T,
    ]
    flat = np.concatenate([p.reshape(-1, 5).astype(np.float64) for p in pieces])
    stats = bn.population(pieces)
    assert stats.count == len(flat)
    np.testing.assert_allclose(stats.mean, flat.mean(0), rtol=1e-6)
    np.testing.assert_allclose(stats.var, flat.var(0), rtol=1e-6)


def test_a_generator_is_read_in_constant_memory(rng):
    block = rng.standard_normal((5000, 20))

    def forever():
        for _ in range(200):
            yield block.copy()

    bn.population([block])  # imports, buffers
    tracemalloc.start()
    try:
        bn.population(forever())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * block.nbytes  # of 200; the NumPy twin holds a few copies of a block


def test_integers_are_converted_piece_by_piece():
    x = np.zeros((4000, 2000), np.uint8)
    bn.population(x[:10])
    tracemalloc.start()
    try:
        bn.population(x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_cutting_gives_the_same(data):
    rows, channels = data.draw(st.integers(1, 400)), data.draw(st.integers(1, 9))
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, channels)) * np.exp(5 * rng.standard_normal(channels))
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=6)))
    w = rng.integers(0, 4, rows) if data.draw(st.booleans()) else None
    if w is not None and not w.any():
        w[0] = 1
    agrees(bn.population(iter(np.split(x, cuts)), weights=w), x, weights=w)


# ---- weights


@pytest.mark.parametrize("shape", [(3000, 7), (40, 6, 90)])
def test_whole_weights_are_repetitions(shape, backend, dtype, rng):
    x, w = rng.standard_normal(shape).astype(dtype), rng.integers(0, 4, shape[0])
    agrees(bn.population(x, weights=w), x, weights=w)
    agrees(bn.population(x[::1], weights=w, batch_size=11), x, weights=w)
    agrees(bn.population(np.asfortranarray(x), weights=w), x, weights=w)
    pairs = zip(np.array_split(x, 9), np.array_split(w, 9), strict=True)
    agrees(bn.population(pairs), x, weights=w)


def test_weights_of_one_change_nothing(backend, dtype, rng):
    x = rng.standard_normal((900, 7)).astype(dtype)
    one, plain = bn.population(x, weights=np.ones(900)), bn.population(x)
    assert one.count == plain.count
    assert np.array_equal(one.mean, plain.mean)
    assert np.array_equal(one.var, plain.var)


@pytest.mark.parametrize("cuts", [[], [1, 2, 3], [0, 50, 50, 99]])
def test_weights_may_be_cut_differently(cuts, backend, rng):
    x, w = rng.standard_normal((100, 3)), rng.integers(0, 4, 100)
    for given_ in (w, list(w), iter(np.split(w, cuts))):
        agrees(bn.population(iter(np.split(x, [20, 70])), weights=given_), x, weights=w)


@pytest.mark.parametrize("rest", [99, 101])
def test_too_few_and_too_many_weights(rest, rng):
    x = rng.standard_normal((100, 3))
    message = "got 99 for more samples" if rest == 99 else "got more of them than the 100 samples"
    for data in (x, iter(np.array_split(x, 3))):
        with pytest.raises(ValueError, match=f"weights must be one number per sample, {message}"):
            bn.population(data, weights=np.ones(rest))


def test_a_bad_weight_is_named_by_its_sample(rng):
    w = np.ones(100)
    w[73] = -1
    with pytest.raises(ValueError, match="got -1.0 for sample 73"):
        bn.population(iter(np.array_split(rng.standard_normal((100, 3)), 10)), weights=w)


# ---- shards


def test_shards_merge_pickle_and_normalize(backend, dtype, rng):
    x = (100 + rng.standard_normal((999, 5))).astype(dtype)
    shards = [pickle.loads(pickle.dumps(bn.population(part))) for part in np.array_split(x, 4)]
    total = shards[0]
    for shard in shards[1:]:
        total = total.merge(shard)
    agrees(total, x)
    y, _ = F.normalize(x, total, eps=0.0)
    assert np.max(np.abs(y.mean(0, dtype=np.float64))) < 1e-5
    np.testing.assert_allclose(y.var(0, dtype=np.float64), 1, rtol=1e-5)


# ---- poison


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("weighted", [False, True])
def test_poison_is_named_and_stays_in_its_feature(poison, weighted, backend, dtype, rng):
    x = rng.standard_normal((4000, 20)).astype(dtype)
    w = rng.random(4000) if weighted else None
    clean = bn.population(x, weights=w)
    x[2500, 3] = x[10, 17] = poison
    with pytest.warns(RuntimeWarning, match="channels 3, 17 are not finite"):
        stats = bn.population(x, weights=w)
    others = ~np.isin(np.arange(20), (3, 17))
    assert not np.any(np.isfinite(stats.var[~others]))
    assert np.array_equal(stats.mean[others], clean.mean[others])
    assert np.array_equal(stats.var[others], clean.var[others])


def test_no_other_warnings(backend, dtype, rng):
    x = rng.standard_normal((400, 5)).astype(dtype)
    x[0] = np.inf
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bn.population(np.array_split(x, 5))
    assert len(caught) == 1


# ---- the rest


def test_nothing_measured(backend, dtype):
    stats = bn.population(np.ones((0, 3), dtype))
    assert (stats.count, stats.mean.tolist(), stats.var.tolist()) == (0, [0] * 3, [0] * 3)
    with pytest.raises(ValueError, match="data must give at least one array, got none"):
        bn.population(iter([]))


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (3.0, {}, TypeError, "data must be an array or an iterable of arrays, got float"),
        ("file.npy", {}, TypeError, "got str"),
        ([[1, 2], [3, 4]], {}, TypeError, "got item 0 as a list"),
        (np.ma.ones((3, 2)), {}, TypeError, "got item 0 as a MaskedArray"),
        (np.ones(3), {}, ValueError, r"samples along axis 0 and features after it, got shape \(3,\)"),
        (np.ones((3, 2), complex), {}, TypeError, "data must be real numbers, got complex128"),
        (np.array([["a"]]), {}, TypeError, "data must be real numbers"),
        (np.ones((3, 2)), {"axis": 2}, ValueError, r"axis must lie in \[-2, 2\)"),
        (np.ones((3, 2)), {"axis": 1.5}, TypeError, "axis must be an integer"),
        ([np.ones((3, 2)), np.ones((3, 4))], {}, ValueError, r"2 channels in every array, got shape \(3, 4\)"),
        (np.ones((3, 2)), {"batch_size": 0}, ValueError, "batch_size"),
        (np.ones((3, 2)), {"batch_size": 1, "axis": 0}, ValueError, "axis must not be 0 with batch_size"),
        (np.ones((3, 2)), {"weights": [1, 2, 3], "axis": 0}, ValueError, "axis must not be 0 with weights"),
        (np.ones((3, 2)), {"weights": 4}, TypeError, "weights must be an array or an iterable"),
        (np.ones((3, 2)), {"weights": np.ones((3, 1))}, ValueError, "weights must have shape"),
        ([(np.ones((3, 2)), [1, 2, 3])], {"weights": [1, 2, 3]}, TypeError, "got both"),
        ([(np.ones((3, 2)), [1, 2])], {}, ValueError, r"weights must have shape \(3,\)"),
        (np.ones((3, 2)), {"progress": 1}, TypeError, "progress must be a Progress, True or False"),
        (np.ones((3, 2)), {"threads": 0}, ValueError, "threads must be an integer >= 1, got 0"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(data, options, error, message):
    with pytest.raises(error, match=message):
        bn.population(data, **options)


def test_progress_counts_samples(rng):
    x = rng.integers(0, 9, (3000, 1000))
    for data in (x, iter(np.array_split(x, 4)), np.asfortranarray(x), x.T[None]):
        samples = 1 if getattr(data, "ndim", 2) == 3 else 3000
        told = io.StringIO()
        with Progress(samples, "stats", stream=told, interval=0) as progress:
            bn.population(data, progress=progress)
        assert progress.done == samples
        assert told.getvalue().splitlines()[-1] == f"stats {samples}/{samples}"


def test_progress_of_its_own(capsys, rng):
    bn.population(rng.standard_normal((100, 3)), progress=True)
    assert "population 100/100" in capsys.readouterr().err
    bn.population(rng.standard_normal((100, 3)), progress=False)
    assert capsys.readouterr().err == ""


def test_same_bits_for_any_number_of_threads(native, dtype, rng):
    x = rng.standard_normal((40_000, 30)).astype(dtype)
    w = rng.random(40_000)
    for options in ({}, {"weights": w}, {"batch_size": 9999}):
        one, two = (bn.population(x, threads=n, **options) for n in (1, 2))
        assert np.array_equal(one.mean, two.mean)
        assert np.array_equal(one.var, two.var)

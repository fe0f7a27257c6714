"""Pooling: every window against the definition and PyTorch, both layouts, ties, NaN, `out`, refusals."""

import numpy as np
import pytest

from bncore import functional as F
from tests.helpers import central_difference
from tests.reference import pooling as reference

pytestmark = pytest.mark.usefixtures("backend")

axes = pytest.mark.parametrize("axis", [1, -1])
# (n, c, h, w), kernel, stride, padding: no overlap, overlap, gaps, padding, one window, wide and odd channel counts
CASES = [
    ((2, 3, 6, 8), (2, 2), (2, 2), (0, 0)),
    ((2, 3, 7, 9), (3, 3), (2, 2), (1, 1)),
    ((1, 5, 8, 8), (3, 3), (1, 1), (1, 1)),
    ((2, 17, 5, 23), (2, 3), (1, 2), (1, 0)),
    ((1, 2, 9, 9), (2, 2), (4, 3), (0, 1)),
    ((1, 40, 4, 5), (4, 5), (4, 5), (0, 0)),
    ((3, 1, 3, 70), (1, 4), (1, 1), (0, 2)),
    (
        (1, 2, 40, 40),
        (17, 16),
        (1, 3),
        (8, 8),
    ),  # more than 256 taps: wider saved indices
]
each_case = pytest.mark.parametrize("shape, kernel, stride, padding", CASES)


def close(dtype):
    """Roundings of sums over a window."""
    return {"rtol": 16 * np.finfo(dtype).eps, "atol": 32 * np.finfo(dtype).eps}


def laid_out(a, axis):
    """A channels-first array in the layout of `axis`."""
    return a if axis == 1 else np.ascontiguousarray(np.moveaxis(a, 1, -1))


def channels_first(a, axis):
    return a if axis == 1 else np.moveaxis(a, -1, 1)


def image(shape, dtype, seed=41):
    """Few distinct values, so that windows hold ties."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(dtype)


@axes
@each_case
def test_max_pool_is_the_definition(shape, kernel, stride, padding, axis, dtype):
    x = image(shape, dtype)
    expected, winner = reference.max_pool(x, kernel, stride, padding)
    y, saved = F.max_pool(laid_out(x, axis), kernel, stride=stride, padding=padding, axis=axis)
    assert y.dtype == dtype
    np.testing.assert_array_equal(channels_first(y, axis), expected)
    dy = np.random.default_rng(42).normal(size=expected.shape).astype(dtype)
    dx = F.max_pool_backward(laid_out(dy, axis), saved)
    np.testing.assert_allclose(
        channels_first(dx, axis),
        reference.max_pool_backward(dy, winner, shape),
        **close(dtype),
    )


@axes
@each_case
@pytest.mark.parametrize("include", [True, False])
def test_avg_pool_is_the_definition(shape, kernel, stride, padding, include, axis, dtype):
    x = np.random.default_rng(43).normal(size=shape).astype(dtype)
    options = {
        "stride": stride,
        "padding": padding,
        "axis": axis,
        "count_include_pad": include,
    }
    y, saved = F.avg_pool(laid_out(x, axis), kernel, **options)
    assert y.dtype == dtype
    expected = reference.avg_pool(x, kernel, stride, padding, include)
    np.testing.assert_allclose(channels_first(y, axis), expected, **close(dtype))
    dy = np.random.default_rng(44).normal(size=expected.shape).astype(dtype)
    dx = F.avg_pool_backward(laid_out(dy, axis), saved)
    expected = reference.avg_pool_backward(dy, shape, kernel, stride, padding, include)
    np.testing.assert_allclose(channels_first(dx, axis), expected, **close(dtype))


@axes
@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_one_dimension_is_an_image_of_height_one(name, axis, dtype):
    function, backward = getattr(F, name), getattr(F, name + "_backward")
    x = np.random.default_rng(45).normal(size=(2, 3, 21)).astype(dtype)
    tall = x[:, :, None, :]
    y, saved = function(laid_out(x, axis), 3, stride=2, padding=1, axis=axis)
    z, tall_saved = function(laid_out(tall, axis), (1, 3), stride=(1, 2), padding=(0, 1), axis=axis)
    assert y.ndim == 3
    np.testing.assert_array_equal(y, z.reshape(y.shape))
    dx = backward(y, saved)
    assert dx.shape == laid_out(x, axis).shape
    np.testing.assert_array_equal(dx, backward(z, tall_saved).reshape(dx.shape))


@axes
@pytest.mark.parametrize("name", ["max_pool", "avg_pool", "global_max_pool", "global_avg_pool"])
def test_gradients_agree_with_central_differences(name, axis):
    rng = np.random.default_rng(46)
    x = laid_out(rng.permutation(2 * 3 * 5 * 6).reshape(2, 3, 5, 6) / 7.0, axis)  # no ties
    window = {} if "global" in name else {"kernel_size": 3, "stride": 2, "padding": 1}

    def forward(v):
        return getattr(F, name)(v, axis=axis, **window)

    y, saved = forward(x)
    dy = rng.normal(size=y.shape)
    numeric = central_difference(lambda v: forward(v)[0], x, dy)
    dx = getattr(F, name + "_backward")(dy, saved)
    np.testing.assert_allclose(dx, numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", ["max", "avg", "avg without padding"])
@each_case
def test_matches_pytorch(shape, kernel, stride, padding, kind):
    torch = pytest.importorskip("torch")
    x = image(shape, np.float64)
    t = torch.tensor(x, requires_grad=True)
    name, extra = kind[:3] + "_pool", {}
    if kind != "max":
        extra["count_include_pad"] = kind == "avg"
    expected = getattr(torch.nn.functional, name + "2d")(t, kernel, stride, padding, **extra)
    dy = np.random.default_rng(47).normal(size=expected.shape)
    expected.backward(torch.tensor(dy))
    y, saved = getattr(F, name)(x, kernel, stride=stride, padding=padding, **extra)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=0, atol=1e-10)
    dx = getattr(F, name + "_backward")(dy, saved)
    np.testing.assert_allclose(dx, t.grad.numpy(), rtol=0, atol=1e-10)


@axes
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 17, 4, 5), (1, 64, 7, 7), (3, 5, 2, 3, 4)])
def test_global_pools_are_mean_and_maximum(shape, axis, dtype):
    x = image(shape, dtype)
    space = tuple(range(2, x.ndim))
    flat = x.reshape(*shape[:2], -1)
    y, saved = F.global_avg_pool(laid_out(x, axis), axis=axis)
    np.testing.assert_allclose(y, x.astype(np.float64).mean(axis=space), **close(dtype))
    dy = np.random.default_rng(48).normal(size=y.shape).astype(dtype)
    dx = channels_first(F.global_avg_pool_backward(dy, saved), axis)
    expected = np.broadcast_to((dy / flat.shape[2])[:, :, None], flat.shape).reshape(shape)
    np.testing.assert_allclose(dx, expected, **close(dtype))
    y, saved = F.global_max_pool(laid_out(x, axis), axis=axis)
    np.testing.assert_array_equal(y, x.max(axis=space))
    dx = channels_first(F.global_max_pool_backward(dy, saved), axis)
    expected = np.zeros_like(flat)
    np.put_along_axis(expected, flat.argmax(axis=2)[:, :, None], dy[:, :, None], 2)
    np.testing.assert_array_equal(dx, expected.reshape(shape))


def test_global_average_of_many_values_keeps_its_digits():
    x = np.full((1, 2, 300_000), 0.1, np.float32)
    y, _ = F.global_avg_pool(x)
    np.testing.assert_array_equal(y, np.float32(0.1))
    y, _ = F.global_avg_pool(np.ascontiguousarray(x.transpose(0, 2, 1)), axis=-1)
    np.testing.assert_array_equal(y, np.float32(0.1))


@axes
def test_max_takes_the_first_of_equal_values(axis, dtype):
    x = laid_out(np.zeros((1, 33, 4, 4), dtype), axis)
    y, saved = F.max_pool(x, 2, axis=axis)
    dx = channels_first(F.max_pool_backward(np.ones_like(y), saved), axis)
    expected = np.zeros((4, 4))
    expected[::2, ::2] = 1
    np.testing.assert_array_equal(dx, np.broadcast_to(expected, dx.shape))
    y, saved = F.global_max_pool(x, axis=axis)
    dx = channels_first(F.global_max_pool_backward(np.ones_like(y), saved), axis)
    assert (dx[:, :, 0, 0] == 1).all() and dx.sum() == 33


@axes
def test_max_finds_values_below_any_padding(axis, dtype):
    x = laid_out(np.full((1, 2, 4, 4), -np.inf, dtype), axis)
    y, saved = F.max_pool(x, 3, stride=2, padding=1, axis=axis)
    assert (y == -np.inf).all()
    dx = F.max_pool_backward(np.ones_like(y), saved)
    assert dx.sum() == y.size  # every gradient found a place inside the image


@axes
def test_nan_reaches_its_windows_and_no_others(axis, dtype):
    x = image((1, 20, 6, 6), dtype)
    clean, _ = F.max_pool(laid_out(x, axis), 2, axis=axis)
    for at in ((2, 2), (3, 3)):  # first and last of its window
        bad = x.copy()
        bad[0, 4][at] = np.nan
        for function in (F.max_pool, F.avg_pool):
            y = channels_first(function(laid_out(bad, axis), 2, axis=axis)[0], axis)
            hit = np.isnan(y)
            assert hit[0, 4, 1, 1] and hit.sum() == 1
        y, saved = F.max_pool(laid_out(bad, axis), 2, axis=axis)
        rest = ~np.isnan(y)
        np.testing.assert_array_equal(y[rest], clean[rest])
        dx = channels_first(F.max_pool_backward(np.ones_like(y), saved), axis)
        assert dx[0, 4][at] == 1
        for function in (F.global_max_pool, F.global_avg_pool):
            y, _ = function(laid_out(bad, axis), axis=axis)
            np.testing.assert_array_equal(np.isnan(y)[0], np.arange(20) == 4)


def test_saved_positions_are_compact(dtype):
    _, saved = F.max_pool(np.zeros((1, 1, 8, 8), dtype), 2)
    assert saved.argmax.itemsize == 1


@axes
def test_bits_do_not_depend_on_threads(axis, dtype, with_threads):
    x = laid_out(np.random.default_rng(49).normal(size=(3, 37, 41, 43)).astype(dtype), axis)

    def everything():
        results = []
        for name, options in (
            ("max_pool", {"kernel_size": 3, "stride": 2, "padding": 1}),
            ("avg_pool", {"kernel_size": 3, "stride": 2, "padding": 1}),
            ("global_avg_pool", {}),
            ("global_max_pool", {}),
        ):
            y, saved = getattr(F, name)(x, axis=axis, **options)
            results += [y, getattr(F, name + "_backward")(y, saved)]
        return results

    first, *others = [with_threads(n, everything) for n in (1, 2, 3, 8)]
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)


@axes
def test_out_receives_the_result(axis, dtype):
    x = laid_out(np.random.default_rng(50).normal(size=(2, 5, 6, 6)).astype(dtype), axis)
    for name, options in (
        ("max_pool", {"kernel_size": 2}),
        ("avg_pool", {"kernel_size": 2}),
        ("global_avg_pool", {}),
        ("global_max_pool", {}),
    ):
        function, backward = getattr(F, name), getattr(F, name + "_backward")
        expected, saved = function(x, axis=axis, **options)
        expected_dx = backward(expected, saved)
        out, dx = np.full_like(expected, 7), np.full_like(x, 7)
        y, saved = function(x, axis=axis, out=out, **options)
        np.testing.assert_array_equal(out, expected)
        assert y is out
        assert backward(expected, saved, out=dx) is dx
        np.testing.assert_array_equal(dx, expected_dx)
        with pytest.raises(ValueError, match="out must have shape"):
            function(x, axis=axis, out=np.empty((1, 2), dtype), **options)


@axes
def test_empty_batch(axis, dtype):
    x = laid_out(np.empty((0, 3, 4, 4), dtype), axis)
    for function, backward, options in (
        (F.max_pool, F.max_pool_backward, {"kernel_size": 2}),
        (F.avg_pool, F.avg_pool_backward, {"kernel_size": 2}),
        (F.global_avg_pool, F.global_avg_pool_backward, {}),
        (F.global_max_pool, F.global_max_pool_backward, {}),
    ):
        y, saved = function(x, axis=axis, **options)
        assert y.shape[0] == 0
        assert backward(y, saved).shape == x.shape


def test_inputs_are_not_written_and_views_are_taken(dtype):
    x = np.random.default_rng(51).normal(size=(2, 3, 12, 8)).astype(dtype)[:, :, ::2, ::-1]
    x.flags.writeable = False
    for function, options in (
        (F.max_pool, {"kernel_size": 2}),
        (F.global_max_pool, {}),
    ):
        np.testing.assert_array_equal(function(x, **options)[0], function(x.copy(), **options)[0])


@pytest.mark.parametrize(
    "options, kind, message",
    [
        ({"kernel_size": 0}, ValueError, "kernel_size must be integers >= 1"),
        ({"kernel_size": 2.0}, TypeError, "kernel_size must be an integer"),
        (
            {"kernel_size": (2, 2, 2)},
            ValueError,
            "kernel_size must be one integer or 2 of them",
        ),
        ({"kernel_size": 2, "stride": 0}, ValueError, "stride must be integers >= 1"),
        ({"kernel_size": 2, "padding": -1}, ValueError, "padding must be integers >= 0"),
        ({"kernel_size": 2, "padding": 2}, ValueError, "padding must be at most half"),
        ({"kernel_size": 9}, ValueError, "kernel_size must fit"),
        ({"kernel_size": 2, "axis": 2}, ValueError, "axis must be 1"),
    ],
)
def test_bad_windows_are_refused(options, kind, message):
    for function in (F.max_pool, F.avg_pool):
        with pytest.raises(kind, match=message):
            function(np.zeros((1, 2, 8, 8)), **options)


def test_bad_arrays_are_refused(dtype):
    with pytest.raises(TypeError, match="x must be float32 or float64"):
        F.max_pool(np.zeros((1, 2, 4, 4), int), 2)
    with pytest.raises(ValueError, match="x must have 3 dimensions"):
        F.avg_pool(np.zeros((4, 4), dtype), 2)
    with pytest.raises(ValueError, match="x must have at least 3 dimensions"):
        F.global_avg_pool(np.zeros((4, 4), dtype))
    with pytest.raises(ValueError, match="at least one value per channel"):
        F.global_max_pool(np.zeros((4, 4, 0), dtype))
    _, saved = F.max_pool(np.zeros((1, 2, 4, 4), dtype), 2)
    with pytest.raises(ValueError, match=r"dy must have shape \(1, 2, 2, 2\)"):
        F.max_pool_backward(np.zeros((1, 2, 4, 4), dtype), saved)
    with pytest.raises(TypeError, match="count_include_pad"):
        F.avg_pool(np.zeros((1, 2, 4, 4), dtype), 2, count_include_pad="yes")


def test_a_window_of_more_taps_than_an_index_can_number_is_refused(backend):
    x = np.ones((1, 1, 8, 8), np.float32)
    for pool in (F.max_pool, F.avg_pool):
        with pytest.raises(ValueError, match="kernel_size must have at most 2147483647 taps"):
            pool(x, 100_000, stride=1, padding=50_000)


@pytest.mark.parametrize("huge", [2**40, 2**63 - 1, 2**70])
def test_the_stride_of_a_single_window_may_be_huge(huge, backend, dtype, rng):
    x = rng.standard_normal((2, 3, 3, 3)).astype(dtype)
    for pool, back in ((F.max_pool, F.max_pool_backward), (F.avg_pool, F.avg_pool_backward)):
        (y, saved), (wanted, other) = pool(x, 3, stride=huge), pool(x, 3)
        assert np.array_equal(y, wanted)
        assert np.array_equal(back(y, saved), back(y, other))


@pytest.mark.parametrize("stride", [2, 3, 2**62])
def test_one_window_at_a_stride_it_never_uses(stride, backend):
    """A single output where the input has room for more at stride 1."""
    x = np.arange(6.0).reshape(1, 1, 2, 3)
    for function, expected in ((F.max_pool, 1.0), (F.avg_pool, 0.5)):
        y, saved = function(x, (1, 2), stride=stride)
        np.testing.assert_array_equal(y, np.full((1, 1, 1, 1), expected))
        assert saved is not None

"""Properties of pooling over random windows: every backend finds what the definition says, in both layouts."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bncore import functional as F
from tests.helpers import tolerance
from tests.reference import pooling as reference

many = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def windows(draw):
    """(shape, kernel, stride, padding) of a pooling that is allowed."""
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    sizes = [draw(st.integers(max(1, k - 2 * p), 14)) for k, p in zip(kernel, padding, strict=True)]
    return (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *sizes), kernel, stride, padding


@many
@given(window=windows(), seed=st.integers(0, 2**32), last=st.booleans(), include=st.booleans())
def test_random_windows(window, seed, last, include, backend, dtype):
    shape, kernel, stride, padding = window
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, shape).astype(dtype)
    options = {"stride": stride, "padding": padding, "axis": -1 if last else 1}

    def there(a):
        return np.ascontiguousarray(np.moveaxis(a, 1, -1)) if last else a

    def back(a):
        return np.moveaxis(a, -1, 1) if last else a

    expected, winner = reference.max_pool(x, kernel, stride, padding)
    dy = rng.standard_normal(expected.shape).astype(dtype)
    close = {"rtol": tolerance(dtype), "atol": tolerance(dtype, 64)}
    y, saved = F.max_pool(there(x), kernel, **options)
    np.testing.assert_array_equal(back(y), expected)
    dx = F.max_pool_backward(there(dy), saved)
    np.testing.assert_allclose(back(dx), reference.max_pool_backward(dy, winner, shape), **close)

    y, saved = F.avg_pool(there(x), kernel, **options, count_include_pad=include)
    expected = reference.avg_pool(x, kernel, stride, padding, include)
    np.testing.assert_allclose(back(y), expected, **close)
    dx = F.avg_pool_backward(there(dy), saved)
    expected = reference.avg_pool_backward(dy, shape, kernel, stride, padding, include)
    np.testing.assert_allclose(back(dx), expected, **close)

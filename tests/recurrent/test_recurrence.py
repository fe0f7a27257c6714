"""One direction over packed sequences gives the equations' numbers in every backend and dtype; its gradients are its
derivatives; the number of threads and the company a sequence keeps change no bit.
"""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn
from bncore import functional as F
from tests.helpers import central_difference
from tests.recurrent.cases import KINDS, SIZES, arrays, everything, flat, run
from tests.reference import recurrent as reference

sizes = pytest.mark.parametrize(("lengths", "units"), SIZES, ids=lambda v: str(v)[:24])
kinds = pytest.mark.parametrize("kind", KINDS)
directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def oracle(a, kind, lengths, reverse):
    h0, c0 = a.state if kind == "lstm" else (a.state, None)
    y, h, c = reference.recurrent(a.products, a.weight, a.bias, h0, c0, kind, lengths, reverse)
    return [y, h, c] if kind == "lstm" else [y, h]


@sizes
@kinds
@directions
def test_forward_is_the_equations(lengths, units, kind, reverse, backend, dtype):
    a = arrays(kind, lengths, units, dtype)
    y, state, _ = run(a, kind, np.array(lengths), reverse)
    # rounding errors of a step are carried on, in a ReLU's state even grow
    close = {"rtol": 2e-4, "atol": 2e-4} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-11}
    for ours, exact in zip(flat((y, state)), oracle(a, kind, lengths, reverse), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, exact, **close)


@kinds
@directions
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_gradients_are_central_differences(kind, reverse, bias, backend):
    lengths = np.array([3, 0, 1, 5])
    a = arrays(kind, lengths, 3, bias=bias)

    def outcome(**changed):
        y, state, _ = run(a._replace(**changed), kind, lengths, reverse)
        return np.concatenate([v.reshape(-1) for v in flat((y, state))])

    seeds = np.concatenate([v.reshape(-1) for v in flat((a.dy, a.dstate))])
    _, _, saved = run(a, kind, lengths, reverse)
    dproducts, dweight, dbias, dstate = F.recurrent_backward(a.dy, saved, dstate=a.dstate)
    close = {"rtol": 1e-6, "atol": 1e-7}
    for name, ours in (("products", dproducts), ("weight", dweight), ("bias", dbias)):
        if ours is None:
            assert not bias and name == "bias"
            continue
        numeric = central_difference(
            lambda v, name=name: outcome(**{name: v}), getattr(a, name), seeds
        )
        np.testing.assert_allclose(ours, numeric, **close, err_msg=name)
    for place, ours in enumerate(flat((dstate,))):

        def moved(v, place=place):
            if kind != "lstm":
                return outcome(state=v)
            return outcome(state=tuple(v if i == place else s for i, s in enumerate(a.state)))

        start = a.state[place] if kind == "lstm" else a.state
        np.testing.assert_allclose(ours, central_difference(moved, start, seeds), **close)


@kinds
@directions
def test_backends_agree_on_gradients(kind, reverse, backend, dtype):
    """Larger sizes than differences can check: against the twin in float64."""
    lengths = np.arange(20) % 7
    a = arrays(kind, lengths, 37, dtype)
    wide = arrays(kind, lengths, 37)
    wide = wide._replace(**{name: _as64(value) for name, value in a._asdict().items()})
    with bn.use_backend("numpy"):
        exact = everything(wide, kind, lengths, reverse)
    tolerance = 5e-5 if dtype == np.float32 else 1e-11
    for ours, want in zip(everything(a, kind, lengths, reverse), exact, strict=True):
        np.testing.assert_allclose(ours, want, rtol=tolerance, atol=tolerance * abs(want).max())


def _as64(value):
    if isinstance(value, tuple):
        return tuple(map(_as64, value))
    return None if value is None else value.astype(np.float64)


@kinds
def test_no_state_is_a_state_of_zeros(kind, backend):
    lengths = np.array([2, 4])
    a = arrays(kind, lengths, 5)
    zeros = tuple(map(np.zeros_like, a.state)) if kind == "lstm" else np.zeros_like(a.state)
    without = everything(a._replace(state=None), kind, lengths)
    for ours, want in zip(without, everything(a._replace(state=zeros), kind, lengths), strict=True):
        np.testing.assert_array_equal(ours, want)


@kinds
def test_gradients_that_are_absent_count_as_zeros(kind, backend):
    lengths = np.array([2, 4])
    a = arrays(kind, lengths, 5)
    zero_state = tuple(map(np.zeros_like, a.state)) if kind == "lstm" else np.zeros_like(a.state)
    for absent, zeros in (
        ({"dy": None, "dstate": a.dstate}, {"dy": np.zeros_like(a.dy), "dstate": a.dstate}),
        ({"dy": a.dy, "dstate": None}, {"dy": a.dy, "dstate": zero_state}),
    ):
        results = []
        for how in (absent, zeros):
            _, _, saved = run(a, kind, lengths)
            results.append(flat(F.recurrent_backward(how["dy"], saved, dstate=how["dstate"])))
        for ours, want in zip(*results, strict=True):
            np.testing.assert_array_equal(ours, want)


@kinds
@directions
def test_an_empty_sequence_keeps_its_state(kind, reverse, backend):
    lengths = np.array([0, 3, 0])
    a = arrays(kind, lengths, 4)
    _, state, saved = run(a, kind, lengths, reverse)
    *_, dstate = F.recurrent_backward(a.dy, saved, dstate=a.dstate)
    for final, initial in zip(flat((state,)), flat((a.state,)), strict=True):
        np.testing.assert_array_equal(final[[0, 2]], initial[[0, 2]])
    for ours, given in zip(flat((dstate,)), flat((a.dstate,)), strict=True):
        np.testing.assert_array_equal(ours[[0, 2]], given[[0, 2]])


@kinds
def test_no_sequences_at_all(kind, backend):
    lengths = np.zeros(0, np.int64)
    y, *rest = everything(arrays(kind, lengths, 3), kind, lengths)
    assert y.shape == (0, 3)
    assert not any(gradient.any() for gradient in rest)


@kinds
@directions
def test_a_sequence_has_the_same_bits_in_any_company(kind, reverse, backend, dtype):
    """Other sequences, their order and lengths do not reach it."""
    if backend == "numpy":
        pytest.skip("BLAS rounds a row according to how many there are")
    lengths = np.array([5, 2, 7, 3] * 6)
    a = arrays(kind, lengths, 11, dtype)
    y, _, _ = run(a, kind, lengths, reverse)
    starts = np.cumsum(lengths) - lengths
    for i in (0, 2, 13):
        rows = slice(starts[i], starts[i] + lengths[i])
        state = tuple(s[i : i + 1] for s in a.state) if kind == "lstm" else a.state[i : i + 1]
        alone = a._replace(products=a.products[rows], state=state)
        np.testing.assert_array_equal(run(alone, kind, lengths[i : i + 1], reverse)[0], y[rows])


@kinds
@pytest.mark.parametrize(
    "size", [(np.arange(100) % 9, 24), (np.full(70, 5), 150)], ids=["ragged", "large"]
)
def test_bits_do_not_depend_on_the_number_of_threads(kind, size, native, dtype):
    from bncore.backend import native as core

    lengths, units = size
    a = arrays(kind, lengths, units, dtype)
    results = []
    try:
        for threads in (1, 2, 3, 7):
            core.force_threads(threads)
            results.append(everything(a, kind, lengths))
    finally:
        core.force_threads(0)
    for other in results[1:]:
        for ours, want in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(ours, want)


@kinds
def test_saturated_gates_stay_finite(kind, backend, dtype):
    lengths = np.array([4, 4])
    a = arrays(kind, lengths, 3, dtype)
    if kind == "rnn_relu":
        pytest.skip("a ReLU does not saturate")
    big = np.asarray(1e30, dtype) * np.sign(a.products)
    for value in everything(a._replace(products=big), kind, lengths):
        assert np.isfinite(value).all()


@kinds
def test_nan_stays_in_its_sequence(kind, backend, dtype):
    lengths = np.array([4, 4, 4])
    a = arrays(kind, lengths, 3, dtype)
    clean, *_ = run(a, kind, lengths)
    a.products[5] = np.nan
    y, *_ = run(a, kind, lengths)
    np.testing.assert_array_equal(np.isnan(y).any(axis=1), [4 < row < 8 for row in range(12)])
    np.testing.assert_array_equal(y[[*range(5), *range(8, 12)]], clean[[*range(5), *range(8, 12)]])


@kinds
def test_writes_into_given_arrays(kind, backend, dtype):
    lengths = np.array([3, 1, 2])
    a = arrays(kind, lengths, 5, dtype)
    y, _, saved = run(a, kind, lengths)
    plain = F.recurrent_backward(a.dy, saved)
    both = np.full((6, 10), np.nan, dtype)
    for out in (np.full((6, 5), np.nan, dtype), both[:, 5:]):
        again, _, saved = run(a, kind, lengths, out=out)
        assert np.shares_memory(again, out)
        np.testing.assert_array_equal(out, y)
        dweight, dbias = np.full_like(a.weight, np.nan), np.full_like(a.bias, np.nan)
        wide = np.hstack((a.dy, a.dy))
        for dy in (a.dy, wide[:, 5:]):
            results = F.recurrent_backward(dy, saved, dweight=dweight, dbias=dbias)
            assert results[1] is dweight and results[2] is dbias
            for ours, want in zip(flat(results), flat(plain), strict=True):
                np.testing.assert_array_equal(ours, want)
    assert np.isnan(both[:, :5]).all()


@kinds
def test_inputs_are_read_only_safe_and_may_be_strided(kind, backend, dtype):
    lengths = np.array([3, 1, 2])
    a = arrays(kind, lengths, 5, dtype)
    plain = everything(a, kind, lengths)

    def harden(value):
        if isinstance(value, tuple):
            return tuple(map(harden, value))
        other = np.asfortranarray(value)
        other.flags.writeable = False
        return other

    hard = a._replace(**{name: harden(value) for name, value in a._asdict().items()})
    for ours, want in zip(everything(hard, kind, [3, 1, 2]), plain, strict=True):
        np.testing.assert_array_equal(ours, want)
    for ours, want in zip(everything(a, kind, lengths.astype(np.int32)), plain, strict=True):
        np.testing.assert_array_equal(ours, want)


@kinds
def test_keeps_nothing_if_told_so(kind, backend):
    lengths = np.array([2, 3])
    a = arrays(kind, lengths, 4)
    y, state, saved = run(a, kind, lengths, keep=False)
    assert saved is None
    want, wanted, _ = run(a, kind, lengths)
    for ours, other in zip(flat((y, state)), flat((want, wanted)), strict=True):
        np.testing.assert_array_equal(ours, other)
    with pytest.raises(TypeError, match=r"saved must come from recurrent\(keep=True\)"):
        F.recurrent_backward(a.dy, saved)

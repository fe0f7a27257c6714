"""Folded state dicts compute what the originals do, in float64, with and without their norms; what cannot is refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from bncore.folding import fold_linear, fold_state_dict
from bncore.folding.state import absorb, check
from bncore.support.floats import FLOATS
from tests.folding.state.cases import (
    EPS,
    apply_linear,
    apply_norm,
    bfloat16_state,
    fold,
    kept,
    linear,
    norm,
    values,
)

RESIDUAL = 1e-12  # float64, sums of a few dozen products of order 1


@pytest.fixture
def rng():
    return np.random.default_rng(50)


# op in bncore.functional, kind, weight, its outputs, options of the op
OPERATIONS = {
    "linear": ("linear", "linear", (6, 5), 6, {}),
    "conv": ("conv2d", "conv", (6, 5, 3, 3), 6, {"padding": 1}),
    "grouped": ("conv2d", "conv", (6, 2, 3, 3), 6, {"groups": 3, "padding": 1}),
    "depthwise": ("conv2d", "conv", (6, 1, 3, 3), 6, {"groups": 6, "padding": 1}),
    "transposed": ("conv_transpose2d", "conv_transpose", (5, 6, 2, 2), 6, {"stride": 2}),
    "grouped transposed": ("conv_transpose2d", "conv_transpose", (6, 4, 2, 2), 12, {"groups": 3}),
    "1-D": ("conv1d", "conv", (6, 5, 3), 6, {"padding": 1}),
}
MODES = pytest.mark.parametrize("keep_norm", ["identity", "drop"])
BIASES = pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])
AFFINES = pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])


def sample(rng, kind, shape, groups):
    inputs = shape[0] if kind == "conv_transpose" else shape[1] * groups
    return rng.normal(size=(3, inputs, *(6, 5)[: len(shape) - 2]))


@MODES
@BIASES
@AFFINES
@pytest.mark.parametrize("case", OPERATIONS)
def test_a_norm_after_an_operation(rng, case, biased, affine, keep_norm):
    op, kind, shape, out, how = OPERATIONS[case]
    arrays = linear(rng, "op", shape, "float64", out if biased else 0)
    arrays |= norm(rng, "bn", out, "float64", affine)
    result = fold(arrays, pairs=[f"op -> bn kind={kind}"], keep_norm=keep_norm)
    assert [entry.path for entry in result.report.folded] == ["bn"]
    x, new = sample(rng, kind, shape, how.get("groups", 1)), values(result.state)

    def run(arrays):
        return apply_norm(arrays, "bn", apply_linear(arrays, "op", x, op, **how))

    assert np.abs(run(new) - run(arrays)).max() < RESIDUAL
    if keep_norm == "identity":
        assert new.keys() == arrays.keys()  # what the unchanged module expects
        if biased:
            probe = rng.normal(size=(4, out))
            assert np.abs(apply_norm(new, "bn", probe) - probe).max() < 1e-15
    else:
        assert new.keys() == {"op.weight", "op.bias"}


BEFORE = {
    "linear": ("linear", "linear", (6, 5), 5, {}, ""),
    "conv": ("conv2d", "conv", (6, 5, 3, 3), 5, {}, "padding=0"),
    "grouped": ("conv2d", "conv", (6, 2, 3, 3), 6, {"groups": 3}, "padding=0"),
    "depthwise": ("conv2d", "conv", (6, 1, 3, 3), 6, {"groups": 6}, "padding=0"),
    "padded": ("conv2d", "conv", (6, 5, 3, 3), 5, {"padding": 1}, ""),
    "transposed": ("conv_transpose2d", "conv_transpose", (5, 6, 2, 2), 5, {"stride": 2}, ""),
}


@MODES
@BIASES
@pytest.mark.parametrize("case", BEFORE)
def test_a_norm_before_an_operation(rng, case, biased, keep_norm):
    op, kind, shape, channels, how, words = BEFORE[case]
    arrays = linear(rng, "op", shape, "float64", 6 if biased else 0)
    arrays |= norm(rng, "bn", channels, "float64")
    result = fold(arrays, pairs=[f"bn -> op kind={kind} {words}"], keep_norm=keep_norm)
    if keep_norm == "drop" and case in ("padded", "transposed"):
        assert "shift" in result.report.kept[0].why and values(result.state).keys() == arrays.keys()
        return
    assert [entry.path for entry in result.report.folded] == ["bn"]
    x, new = sample(rng, kind, shape, how.get("groups", 1)), values(result.state)

    def run(arrays):
        return apply_linear(arrays, "op", apply_norm(arrays, "bn", x), op, **how)

    assert np.abs(run(new) - run(arrays)).max() < RESIDUAL
    if keep_norm == "identity":
        assert new.keys() == arrays.keys()
    else:
        assert not any(name.startswith("bn.") for name in new)


@MODES
def test_one_operation_between_two_norms_and_one_norm_before_two(rng, keep_norm):
    arrays = norm(rng, "bn0", 5, "float64") | norm(rng, "bn1", 6, "float64")
    arrays |= linear(rng, "q", (6, 5), "float64", 6) | linear(rng, "k", (4, 5), "float64")
    lines = ["bn0 -> q", "bn0 -> k", "q -> bn1"]
    result = fold(arrays, pairs=lines, keep_norm=keep_norm)
    assert {entry.path: entry.into for entry in result.report.folded} == {"bn0": "q, k", "bn1": "q"}
    x, new = rng.normal(size=(7, 5)), values(result.state)

    def run(arrays):
        h = apply_norm(arrays, "bn0", x)
        return apply_norm(arrays, "bn1", apply_linear(arrays, "q", h)), apply_linear(arrays, "k", h)

    for got, expected in zip(run(new), run(arrays)):
        assert np.abs(got - expected).max() < RESIDUAL


def test_a_norm_before_two_goes_into_both_or_none(rng):
    arrays = (
        norm(rng, "bn0", 5) | linear(rng, "q", (6, 5), bias=6) | linear(rng, "k", (4, 5), bias=4)
    )
    arrays["k.weight"][:] = 3e38
    result = fold(arrays, pairs=["bn0 -> q", "bn0 -> k"])
    assert "would not be finite" in result.report.kept[0].why
    assert all((result.state.read(name) == arrays[name]).all() for name in arrays)


def test_a_constant_channel_before_a_padded_convolution_is_refused(rng):
    arrays = norm(rng, "bn", 5) | linear(rng, "op", (6, 5, 3, 3))
    arrays["bn.weight"][2] = 0
    assert "channel 2 has scale 0" in kept(arrays, pairs=["bn -> op kind=conv"])["bn"]


@pytest.mark.parametrize("dtype", sorted(FLOATS))
def test_every_storage_type_is_rounded_once(rng, dtype):
    arrays = linear(rng, "0", (16, 24), bias=16) | norm(rng, "1", 16)
    if dtype == "bfloat16":
        state = bfloat16_state(arrays)
    else:
        arrays = {n: a.astype(dtype) if a.dtype.kind == "f" else a for n, a in arrays.items()}
        state = arrays
    result = fold(state)
    found = result.checks["1"]
    assert found.agrees
    assert found.max_rel_error <= (4 if dtype == "float64" else 0.75) * FLOATS[dtype].eps
    assert result.state.tensors["0.weight"].dtype == dtype
    assert result.off == {} or dtype in ("float16", "bfloat16")


@pytest.mark.parametrize("eps", [0.0, 1e-12, 1e-5, 1e-3, 0.3, 1.0])
def test_the_norm_that_stays_is_neutral_to_the_bit_in_float32(rng, eps):
    arrays = linear(rng, "0", (64, 8), bias=64) | norm(rng, "1", 64)
    result = fold(arrays, eps=eps)
    left = {
        m: result.state.read(f"1.{m}") for m in ("weight", "bias", "running_mean", "running_var")
    }
    assert result.off == {}
    for scale in (
        left["weight"] / np.sqrt(left["running_var"] + np.float32(eps)),
        left["weight"] * (1 / np.sqrt(left["running_var"] + np.float32(eps))),
    ):
        assert scale.dtype == np.float32 and (scale == 1).all()
    assert not left["bias"].any() and not left["running_mean"].any()
    assert result.state.read("1.num_batches_tracked") == 100


def test_float64_noise_is_no_disagreement(rng):
    """Bias and mean that cancel: the original itself is known to ten digits only."""
    arrays = linear(rng, "0", (6, 4000), "float64", 6) | norm(rng, "1", 6, "float64")
    arrays["0.bias"] += 1e6
    arrays["1.running_mean"] += 1e6
    found = fold(arrays).checks["1"]
    assert found.agrees and found.max_abs_error > 1e-11


def test_a_norm_of_half_precision_says_how_far_it_is_from_neutral(rng):
    arrays = linear(rng, "0", (6, 8), "float16", 6) | norm(rng, "1", 6, "float16")
    off = fold(arrays).off["1"]
    assert 4e-6 < off < 6e-6  # of sqrt(1 + 1e-5), for which float16 has no number


def test_a_plain_norm_with_a_large_eps_cannot_be_made_neutral(rng):
    arrays = linear(rng, "0", (6, 8), bias=6) | norm(rng, "1", 6, affine=False)
    result = fold(arrays, eps=2.0)
    assert "no variance makes" in result.report.kept[0].why
    assert len(fold(arrays, eps=2.0, keep_norm="drop").report.folded) == 1


REFUSALS = {
    "NaN": ("1.running_mean", np.nan, "running_mean holds NaN"),
    "negative": ("1.running_var", -1.0, "running_var is negative"),
    "infinite weight": ("0.weight", np.inf, "0 holds NaN or infinity"),
    "NaN bias": ("0.bias", np.nan, "0 holds NaN or infinity"),
    "overflow": ("0.weight", 3e38, "folded weight would not be finite in float32"),
}


@pytest.mark.parametrize("name, value, reason", REFUSALS.values(), ids=list(REFUSALS))
def test_numbers_that_cannot_be_folded_stay_as_they_are(rng, name, value, reason):
    arrays = linear(rng, "0", (6, 8), bias=6) | norm(rng, "1", 6)
    arrays[name][...] = value
    arrays["1.weight"][...] = 4.0
    result = fold(arrays)
    assert reason in result.report.kept[0].why
    for name, array in arrays.items():
        np.testing.assert_array_equal(result.state.read(name), array)


def test_integers_and_odd_biases_are_refused(rng):
    arrays = linear(rng, "0", (6, 8), bias=6) | norm(rng, "1", 6)
    assert "is of type int8" in kept(arrays | {"0.weight": np.ones((6, 8), np.int8)})["1"]
    assert "has shape [5]" in kept(arrays | {"0.bias": np.ones(5, np.float32)})["1"]


def test_modules_with_tensors_of_unknown_use_are_refused(rng):
    arrays = linear(rng, "0", (6, 8), bias=6) | norm(rng, "1", 6)
    extra = np.ones((6, 2), np.float32)
    assert kept(arrays | {"0.lora_A": extra})["1"] == "0 has tensors of unknown use: lora_A"
    assert kept(arrays | {"1.gate": extra})["1"] == "it has tensors of unknown use: gate"


def test_shared_weights_are_refused(rng):
    arrays = linear(rng, "a.0", (6, 8)) | norm(rng, "a.1", 6)
    arrays |= {"b.weight": arrays["a.0.weight"].copy()}
    assert kept(arrays)["a.1"] == "a.0.weight is equal to b.weight, bit for bit: it may be shared"
    arrays["b.weight"][0, 0] += 1
    assert kept(arrays) == {}
    twin = {name.replace("a.1", "c"): a.copy() for name, a in arrays.items() if "a.1." in name}
    assert "a.1.running_mean is equal to c.running_mean" in kept(arrays | twin)["a.1"]
    zeros = {name: np.zeros_like(a) for name, a in arrays.items() if a.ndim == 2}
    assert kept(arrays | zeros) == {}  # equal by chance


def test_names_that_the_metadata_shares_are_refused(rng):
    from bncore.support.tensors import StateDict

    arrays = linear(rng, "0", (6, 8)) | norm(rng, "1", 6)
    state = StateDict.of(arrays)._replace(metadata={"head.weight": "0.weight", "format": "pt"})
    assert kept(state)["1"] == "0.weight is shared with head.weight, says the metadata"


def test_the_check_finds_a_wrong_fold(rng, monkeypatch):
    """Checked with formulas of its own: an algebra that forgets the mean does not pass."""
    from bncore.folding import algebra

    right = algebra.into_output

    def wrong(weight, bias, affine):
        return right(weight, bias, algebra.Affine(affine.scale, 0 * affine.center, affine.shift))

    arrays = linear(rng, "0", (6, 8), bias=6) | norm(rng, "1", 6)
    assert fold(arrays).checks["1"].agrees
    monkeypatch.setattr(algebra, "into_output", wrong)
    found = fold(arrays).checks["1"]
    assert not found.agrees and found.max_abs_error > 1e-3


def test_tolerances_are_those_given(rng):
    arrays = linear(rng, "0", (6, 8), bias=6) | norm(rng, "1", 6)
    assert not fold(arrays, rtol=0.0, atol=0.0).checks["1"].agrees
    assert fold(arrays, rtol=0.0, atol=1e-3).checks["1"].agrees


def test_the_check_sees_every_input_and_tap(rng):
    """One wrong number anywhere in a grouped weight is seen."""
    for transposed in (False, True):
        weight = rng.normal(size=(6, 2, 2, 2))
        for index in np.ndindex(weight.shape):
            other = weight.copy()
            other[index] += 0.01
            pair = (
                check.Operation(w, "float64", None, 3, transposed, None, None)
                for w in (weight, other)
            )
            assert not check.compare(*pair, np.random.default_rng(0), 1e-6, 0.0).agrees


def test_inputs_are_never_written_to_and_eps_is_the_one_given(rng):
    arrays = linear(rng, "0", (6, 8), bias=6) | norm(rng, "1", 6)
    for array in arrays.values():
        array.flags.writeable = False
    default, other = fold(arrays), fold(arrays, eps=0.1)
    assert (default.state.read("0.weight") != other.state.read("0.weight")).all()
    by_pair = fold(arrays, pairs=["0 -> 1 eps=0.1"], eps=EPS)
    assert (by_pair.state.read("0.weight") == other.state.read("0.weight")).all()


def test_folding_an_identity_again_changes_nothing_that_matters(rng):
    arrays = linear(rng, "0", (6, 8), bias=6) | norm(rng, "1", 6)
    once = fold(arrays)
    again = fold(once.state)
    for name in once.state.tensors:
        assert (again.state.read(name) == once.state.read(name)).all(), name


def test_large_weights_are_folded_in_parts_of_the_same_numbers(rng, monkeypatch):
    arrays = linear(rng, "op", (50, 7, 3, 3), bias=50) | norm(rng, "a", 50) | norm(rng, "b", 7)
    pairs = ["op -> a", "b -> op padding=0"]
    whole = values(fold(arrays, pairs=pairs).state)
    monkeypatch.setattr(absorb, "SLAB", 4 * 63 + 1)
    monkeypatch.setattr(check, "BLOCK", 100)
    result = fold(arrays, pairs=pairs)
    assert all(found.agrees for found in result.checks.values())
    assert all((values(result.state)[name] == whole[name]).all() for name in whole)


def test_subnormal_weights_are_counted_over_all_parts(rng, monkeypatch):
    arrays = linear(rng, "0", (40, 8)) | norm(rng, "1", 40)
    arrays["0.weight"][::8] *= 1e-39  # an eighth; with parts of one row, all of some
    monkeypatch.setattr(absorb, "SLAB", 8)
    assert "40 of 320 entries of the folded weight would be subnormal" in kept(arrays)["1"]
    arrays["0.weight"][8:] = 1.0
    assert kept(arrays) == {}


def test_a_large_weight_is_never_there_in_float64(rng, monkeypatch):
    monkeypatch.setattr(absorb, "SLAB", 1 << 16)
    monkeypatch.setattr(check, "BLOCK", 1 << 16)
    rows = 3000
    arrays = linear(rng, "0", (rows, 1000)) | norm(rng, "1", rows)
    tracemalloc.start()
    result = fold(arrays)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(result.report.folded) == 1
    assert peak < 3 * arrays["0.weight"].nbytes


@MODES
def test_one_call_folds_arrays(rng, keep_norm):
    arrays = linear(rng, "0", (6, 8), bias=6) | norm(rng, "1", 6) | linear(rng, "3", (2, 6))
    folded, report = fold_state_dict(arrays, keep_norm=keep_norm)
    assert [entry.into for entry in report.folded] == ["0"]
    expected = fold(arrays, keep_norm=keep_norm).state
    assert folded.keys() == expected.tensors.keys()
    assert all((folded[name] == expected.read(name)).all() for name in folded)
    weight, bias = fold_linear(
        arrays["0.weight"],
        arrays["0.bias"],
        *(arrays[f"1.{member}"] for member in ("running_mean", "running_var", "weight", "bias")),
    )
    assert (folded["0.weight"] == weight).all() and (folded["0.bias"] == bias).all()


def test_one_call_takes_bfloat16_as_ml_dtypes_has_it(rng):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    arrays = linear(rng, "0", (6, 8)) | norm(rng, "1", 6)
    arrays = {n: a.astype(bfloat16) if a.dtype.kind == "f" else a for n, a in arrays.items()}
    folded, report = fold_state_dict(arrays)
    assert len(report.folded) == 1
    assert {n: a.dtype for n, a in folded.items()} == {n: a.dtype for n, a in arrays.items()}


def test_one_call_never_returns_what_differs(rng, monkeypatch):
    from bncore.folding import algebra

    arrays = linear(rng, "0", (6, 8), bias=6) | norm(rng, "1", 6)
    right = algebra.into_output
    monkeypatch.setattr(algebra, "into_output", lambda w, b, a: right(w * 1.01, b, a))
    with pytest.raises(algebra.FoldRefused, match="differ by more than rounding at 1"):
        fold_state_dict(arrays)
    with pytest.raises(ValueError, match="is called 'x'"):
        fold_state_dict(arrays, kinds=["x=conv"])

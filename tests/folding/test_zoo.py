"""Every model of the zoo comes down to its minimum, stays valid and callable as before, and answers
as exactly as it did.
"""

import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from bncore.folding.onnx import engine, store  # noqa: E402
from tests.zoo import DEEP, MODELS  # noqa: E402
from tests.zoo.measures import Judge, counts, interface, run  # noqa: E402

ALL = MODELS | DEEP
NAMES = sorted(ALL)
LEVELS = frozenset({"backward", "forward", "relu"})


def fold(model, levels=LEVELS):
    """A folded copy."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    report = engine.fold_model(copy, store.Store(), levels=levels)
    return copy, report


@cache
def folded(name):
    original = ALL[name].build()
    return original, *fold(original)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_left_is_the_minimum(name):
    """A norm that the algebra keeps may also have become one Mul or Add."""
    original, model, _ = folded(name)
    minimum = ALL[name].minimum
    (before, elementwise), (left, now) = counts(original), counts(model)
    added = now - elementwise
    assert left <= minimum.norms, minimum.why
    assert left + added <= minimum.norms + minimum.added, minimum.why
    assert left == minimum.norms or added > minimum.added, "fewer than the minimum: think again"
    assert left <= before


@pytest.mark.parametrize("name", NAMES)
def test_as_exact_as_before(name):
    """Within twice the unfolded model's own error against float64, and a few units in the last
    place.
    """
    judge = Judge(ALL[name])
    _, model, _ = folded(name)
    for error, limit in zip(judge.errors(model), judge.limits(), strict=True):
        assert error <= limit


@pytest.mark.parametrize("name", sorted(MODELS))
def test_other_sizes_of_dynamic_dimensions(name):
    """A fold may depend on no size that is open."""
    entry = MODELS[name]
    larger = {key: size + 3 for key, size in entry.inputs.items() if isinstance(size, int)}
    judge = Judge(replace(entry, inputs=entry.inputs | larger))
    _, model, _ = folded(name)
    for error, limit in zip(judge.errors(model), judge.limits(), strict=True):
        assert error <= limit


@pytest.mark.parametrize("name", ["overridable", "overridable_weight"])
def test_overridden_defaults_count_as_before(name):
    original, model, _ = folded(name)
    (default,) = {value.name for value in original.graph.input} - {"image"}
    shape = next(each.dims for each in original.graph.initializer if each.name == default)
    values = np.random.default_rng(5).normal(size=shape).astype(np.float32)
    feeds = MODELS[name].feeds() | {default: values}
    (before,), (after,) = run(original, feeds), run(model, feeds)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)
    assert abs(before - run(original, MODELS[name].feeds())[0]).max() > 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_valid_and_called_as_before(name):
    original, model, _ = folded(name)
    onnx.checker.check_model(model, full_check=True)
    assert interface(model) == interface(original)


@pytest.mark.parametrize("name", NAMES)
def test_folding_twice_changes_nothing_and_bytes_are_the_same_every_time(name):
    original, model, _ = folded(name)
    data = model.SerializeToString(deterministic=True)
    assert fold(original)[0].SerializeToString(deterministic=True) == data
    again, _ = fold(model)
    assert again.SerializeToString(deterministic=True) == data


@pytest.mark.parametrize("name", NAMES)
def test_every_norm_is_reported_once(name):
    """Counted in the inlined model, a norm is folded or kept; what is kept has a reason."""
    original, model, report = folded(name)
    before, _ = counts(original)
    left, _ = counts(model)
    assert len(report.kept) >= left
    assert all(entry.why for entry in report.kept)
    assert report.applied or left == before


OPTIONAL = [(name, level) for name in NAMES for level in ALL[name].optional]


@pytest.mark.parametrize(("name", "level"), OPTIONAL)
def test_an_option_leaves_less(name, level):
    original = ALL[name].build()
    model, _ = fold(original, LEVELS | {level})
    minimum = ALL[name].optional[level]
    (_, before), (left, elementwise) = counts(original), counts(model)
    assert (left, elementwise - before) == (minimum.norms, minimum.added), minimum.why


@pytest.mark.parametrize("name", sorted(MODELS))
def test_with_all_options_still_valid_and_as_exact(name):
    """Rebasing changes the size of intermediate values, so the limit is not twice but ten times."""
    original = ALL[name].build()
    model, _ = fold(original, LEVELS | {"norms", "rebase"})
    onnx.checker.check_model(model, full_check=True)
    assert interface(model) == interface(original)
    judge = Judge(ALL[name])
    for error, limit in zip(judge.errors(model), judge.limits(), strict=True):
        assert error <= 5 * limit


@pytest.mark.parametrize("name", sorted(DEEP))
def test_three_hundred_layers_take_less_than_three_seconds(name):
    """Of this process, whatever else the machine does; verification is not in it."""
    original = DEEP[name].build()
    start = time.process_time()
    fold(original)
    assert time.process_time() - start < 3

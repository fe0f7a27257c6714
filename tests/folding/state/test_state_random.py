"""Random operations between random norms, in every combination of kind, side, groups, biases and mode, against the formulas."""

from __future__ import annotations

import numpy as np
import pytest

from tests.folding.state.cases import apply_linear, apply_norm, fold, linear, norm, values

RESIDUAL = 1e-10  # float64, sums of up to 150 products of norms' outputs

OPS = {"linear": "linear", "conv": "conv2d", "conv_transpose": "conv_transpose2d"}


def problem(rng):
    """State dict, pairs, and how to run the operation on an input."""
    kind = str(rng.choice(list(OPS)))
    groups = 1 if kind == "linear" else int(rng.integers(1, 4))
    per_in, per_out, tap = (int(n) for n in rng.integers(1, 5, 3))
    inputs, outputs = groups * per_in, groups * per_out
    shape = {
        "linear": (outputs, inputs),
        "conv": (outputs, per_in, tap, tap),
        "conv_transpose": (inputs, per_out, tap, tap),
    }[kind]
    how = {} if kind == "linear" else {"groups": groups}
    if kind == "conv":
        how["padding"] = int(rng.integers(2))
    arrays = linear(rng, "op", shape, "float64", outputs if rng.integers(2) else 0)
    pairs = []
    sides = rng.integers(1, 4)
    if sides & 1:
        arrays |= norm(rng, "after", outputs, "float64", bool(rng.integers(2)))
        pairs.append(f"op -> after kind={kind}")
    if sides & 2:
        arrays |= norm(rng, "before", inputs, "float64", bool(rng.integers(2)))
        known = "padding=0" if how.get("padding") == 0 else ""
        pairs.append(f"before -> op kind={kind} {known}")
    for name in ("after.weight", "before.weight", "before.running_mean", "before.bias"):
        if name in arrays and rng.integers(4) == 0:
            arrays[name][0] = 0.0
    x = rng.normal(size=(2, inputs) if kind == "linear" else (2, inputs, 5, 6))

    def run(arrays):
        y = apply_linear(arrays, "op", apply_norm(arrays, "before", x), OPS[kind], **how)
        return apply_norm(arrays, "after", y)

    return arrays, pairs, run


@pytest.mark.parametrize("seed", range(80))
@pytest.mark.parametrize("keep_norm", ["identity", "drop"])
def test_random_pairs(seed, keep_norm):
    arrays, pairs, run = problem(np.random.default_rng(seed))
    result = fold(arrays, pairs=pairs, keep_norm=keep_norm)
    assert len(result.report.folded) + len(result.report.kept) == len(pairs)
    assert all(found.agrees for found in result.checks.values())
    new = values(result.state)
    assert keep_norm == "drop" or new.keys() == arrays.keys()
    assert np.abs(run(new) - run(arrays)).max() < RESIDUAL

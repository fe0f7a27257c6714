"""What looks wrong in a norm's numbers is found, counted and told; what looks well gives nothing."""

from __future__ import annotations

import numpy as np
import pytest

from bncore.folding import findings

CHANNELS = 8


def healthy():
    rng = np.random.default_rng(60)
    return {
        "weight": rng.uniform(0.5, 2, CHANNELS),
        "bias": rng.normal(size=CHANNELS),
        "mean": rng.normal(size=CHANNELS),
        "var": rng.uniform(0.5, 2, CHANNELS),
    }


def codes(dtype="float32", eps=1e-5, **changes):
    norm = healthy()
    for name, values in changes.items():
        if values is None or np.ndim(values):
            norm[name] = values
        else:
            norm[name][2] = values
    return {found.code: found.channels for found in findings(**norm, eps=eps, dtype=dtype)}


def test_a_healthy_norm_gives_nothing():
    for dtype in ("float16", "bfloat16", "float32", np.float64):
        assert codes(dtype) == {}
    assert codes(weight=None, bias=None) == {}


FOUND = [
    ({"mean": np.nan}, {"not_finite": 1}),
    ({"weight": np.inf}, {"not_finite": 1}),
    ({"var": -0.5}, {"negative_variance": 1}),
    ({"mean": np.zeros(CHANNELS), "var": np.ones(CHANNELS)}, {"never_updated": CHANNELS}),
    ({"var": 1e-9}, {"near_zero_variance": 1}),
    ({"var": 0.0, "eps": 0.0}, {"near_zero_variance": 1}),
    ({"weight": 0.0}, {"dead_channels": 1}),
    ({"weight": np.zeros(CHANNELS)}, {"dead_channels": CHANNELS}),
    ({"weight": 1e-5}, {"near_zero_gamma": 1}),
    ({"weight": 5e3}, {"near_zero_gamma": CHANNELS - 1, "float16_overflow": 1}),
    ({"bias": 7e4}, {"float16_overflow": 1}),
    ({"bias": 7e4, "dtype": "float16"}, {"overflow": 1, "float16_overflow": 1}),
]


@pytest.mark.parametrize("changes, expected", FOUND, ids=[str(list(e)) for _, e in FOUND])
def test_what_looks_wrong_is_counted(changes, expected):
    assert codes(**changes) == expected


def test_findings_are_one_line_each_and_say_how_many():
    norm = healthy() | {"mean": np.full(CHANNELS, np.nan), "var": np.full(CHANNELS, -1.0)}
    found = findings(**norm, eps=1e-5, dtype="float32")
    assert [entry.code for entry in found] == ["not_finite", "negative_variance"]
    for entry in found:
        assert entry.text.startswith(f"{entry.channels} of {CHANNELS} channels: ")
        assert len(entry.text.splitlines()) == 1
    assert "running_mean not finite" in found[0].text


def test_the_arrays_are_left_alone_and_nothing_warns():
    norm = healthy()
    norm["var"][:2] = -1.0, 0.0
    for array in norm.values():
        array.flags.writeable = False
    with np.errstate(all="raise"):
        assert findings(**norm, eps=0.0, dtype="float16")

"""Statistics in files: what is read has the bits that were written; foreign and damaged files are one clear line."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import bncore as bn
from bncore import functional as F
from bncore.io.statistics_file import is_statistics


@pytest.fixture
def stats(rng):
    return F.Statistics(1234.5, rng.standard_normal(4) * 1e30, rng.random(4) * 1e-30)


@pytest.mark.parametrize("name", ["s.npz", "s.json", "s"])
@pytest.mark.parametrize("features", [(), ("a", "b, c", "ü", "")])
def test_the_same_bits_come_back(stats, name, features, tmp_path):
    bn.save_statistics(stats, tmp_path / name, features=features)
    found, names = bn.load_statistics(tmp_path / name)
    assert names == features
    assert found.count == stats.count
    assert np.array_equal(found.mean, stats.mean)
    assert np.array_equal(found.var, stats.var)
    assert is_statistics(tmp_path / name)


@pytest.mark.parametrize("name", ["s.npz", "s.json"])
def test_poison_survives(name, tmp_path):
    bn.save_statistics(
        F.Statistics(3, np.array([1, np.nan]), np.array([2, np.nan])), tmp_path / name
    )
    found, _ = bn.load_statistics(tmp_path / name)
    assert np.array_equal(found.mean, [1, np.nan], equal_nan=True)
    assert np.array_equal(found.var, [2, np.nan], equal_nan=True)


def test_tables_for_other_programs(stats, tmp_path):
    bn.save_statistics(stats, tmp_path / "s.csv", features="abcd")
    with open(tmp_path / "s.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["feature", "count", "mean", "std", "var"]
    assert [row[0] for row in rows] == list("abcd")
    numbers = np.array([row[1:] for row in rows], float)
    assert np.array_equal(numbers[:, 1], stats.mean)
    assert np.array_equal(numbers[:, 3], stats.var)


def test_nothing_is_overwritten_without_force(stats, tmp_path):
    for name in ("s.npz", "s.json", "s.csv"):
        bn.save_statistics(stats, tmp_path / name)
        with pytest.raises(FileExistsError, match="--force"):
            bn.save_statistics(stats, tmp_path / name)
        bn.save_statistics(stats, tmp_path / name, force=True)


def test_bad_arguments(stats, tmp_path):
    with pytest.raises(TypeError, match="stats must be Statistics, got dict"):
        bn.save_statistics({}, tmp_path / "s.npz")
    with pytest.raises(ValueError, match="features must be 4 names, one per channel, got 2"):
        bn.save_statistics(stats, tmp_path / "s.npz", features=["a", "b"])
    assert list(tmp_path.iterdir()) == []


def damaged_json(**changes):
    good = {
        "format": "bncore-statistics", "version": 1, "features": [], "count": 3,
        "mean": [1, 2], "var": [1, 2],
    }  # fmt: skip
    return json.dumps(good | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "truncated or corrupt"),
        ("{}", "does not say format"),
        (damaged_json(version=99), "upgrade bncore"),
        (damaged_json(mean=[1]), "shapes"),
        (damaged_json(mean="x"), "not all numbers"),
        (damaged_json(mean=None), "shapes"),
        (damaged_json(count=-1), "negative"),
        (damaged_json(var=[1, -1]), "variance < 0"),
        (damaged_json(features=["a"]), "1 names of 2"),
        (damaged_json(features=3), "no 'features'"),
    ],
)
def test_damaged_json(text, message, tmp_path):
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(bn.FileFormatError, match=message) as caught:
        bn.load_statistics(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_foreign_and_damaged_npz(stats, tmp_path):
    path = tmp_path / "s.npz"
    bn.save_statistics(stats, path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    for content in (b"", b"hello", whole[:middle], whole[:60] + bytes(40) + whole[100:]):
        path.write_bytes(content)
        with pytest.raises(bn.FileFormatError, match="s.npz: "):
            bn.load_statistics(path)
    np.savez(path, mean=np.ones(3))
    with pytest.raises(
        bn.FileFormatError, match="not statistics written by bncore.save_statistics"
    ):
        bn.load_statistics(path)
    assert not is_statistics(path)
    bn.save(bn.Linear(2, 3, rng=0), path, force=True)
    assert not is_statistics(path)
    with pytest.raises(bn.FileFormatError, match="does not say format"):
        bn.load_statistics(path)

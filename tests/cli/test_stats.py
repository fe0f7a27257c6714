"""`bncore stats`: the numbers of the library for files of every kind, shards that merge, one line for what is wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

import bncore as bn
from tests.cli.conftest import Command
from tests.cli.test_errors import assert_refused


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((300, 4)) * [1, 2, 3, 4] + [0, 10, 1e4, -5]


@pytest.fixture
def files(tmp_path: Path, x: np.ndarray) -> dict[str, Path]:
    """The same 300 samples in every format."""
    found = {kind: tmp_path / f"x.{kind}" for kind in ("npy", "npz", "csv")}
    np.save(found["npy"], x)
    np.savez_compressed(found["npz"], labels=np.arange(300), x=x)
    lines = [",".join(map(repr, map(float, row))) for row in x]
    found["csv"].write_text("\n".join(["a,b,c,d", *lines]))
    found["idx"] = tmp_path / "x-idx2-double"
    found["idx"].write_bytes(
        struct.pack(">BBBBII", 0, 0, 0x0E, 2, 300, 4) + x.astype(">f8").tobytes()
    )
    return found


def close(result: dict, x: np.ndarray) -> None:
    assert result["count"] == len(x)
    np.testing.assert_allclose(result["mean"], x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(result["var"], x.var(0), rtol=1e-11)
    np.testing.assert_allclose(result["std"], x.std(0), rtol=1e-11)


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "idx"])
def test_every_format(call: Command, files: dict[str, Path], x: np.ndarray, kind: str) -> None:
    done = call("stats", files[kind], "--json")
    assert done.code == 0, done.err
    result = done.json
    close(result, x)
    assert result["command"] == "stats"
    assert result["samples"] == 300
    assert result["features"] == (list("abcd") if kind == "csv" else list("0123"))
    assert "300 samples read" in done.err
    assert call("stats", files[kind], "--quiet").err == ""


def test_a_table_for_people(call: Command, files: dict[str, Path], tmp_path: Path) -> None:
    lines = call("stats", files["csv"]).out.splitlines()
    assert lines[0] == "4 features, count 300"
    assert lines[1].split() == ["feature", "mean", "std", "var"]
    assert [line.split()[0] for line in lines[2:]] == list("abcd")
    # as many digits as tell means apart that differ by a thousandth of the standard deviation
    np.save(tmp_path / "far.npy", np.array([[1e4 + 0.123, 0.0, 3.0], [1e4 + 2.123, 0.0, 4.0]]))
    cells = [line.split()[1] for line in call("stats", tmp_path / "far.npy").out.splitlines()[2:]]
    assert cells == ["10001.123", "0", "3.5"]
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).random((5, 100)))
    short, long = (
        call("stats", tmp_path / "wide.npy", *more).out.splitlines() for more in ((), ("--all",))
    )
    assert len(short) < 30 and "... 80 more (--all)" in "\n".join(short)
    assert len(long) == 102
    assert short[-1].split() == long[-1].split()


def test_several_files_are_one_data_set(call: Command, tmp_path: Path, x: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", x[:100])
    np.savez(tmp_path / "b.npz", x[100:110])
    np.save(tmp_path / "c.npy", x[110:].astype(np.float64, order="F"))
    result = call("stats", *(tmp_path / f for f in ("a.npy", "b.npz", "c.npy")), "--json").json
    close(result, x)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_shards_of_several_machines(
    call: Command, tmp_path: Path, x: np.ndarray, suffix: str
) -> None:
    for i, part in enumerate(np.array_split(x, 3)):
        np.save(tmp_path / f"{i}.npy", part)
    shards = [tmp_path / f"s{i}{suffix}" for i in range(2)]
    for i, shard in enumerate(shards):
        done = call("stats", tmp_path / f"{i}.npy", "--out", shard)
        assert done.code == 0 and f"saved {shard}" in done.err
    total = tmp_path / "total.npz"
    result = call("stats", *shards, tmp_path / "2.npy", "--out", total, "--json").json
    close(result, x)
    stats, names = bn.load_statistics(total)
    assert (stats.count, names) == (300, ())
    assert stats.mean.tolist() == result["mean"]


def test_names_of_features_are_saved_and_must_agree(
    call: Command, files: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "s.npz"
    assert call("stats", files["csv"], "--out", out, "--quiet").err == ""
    assert bn.load_statistics(out)[1] == ("a", "b", "c", "d")
    assert call("stats", out, files["npy"], "--json").json["features"] == list("abcd")
    (tmp_path / "other.csv").write_text("a,b,x,d\n1,2,3,4\n5,6,7,8\n")
    assert_refused(call("stats", out, tmp_path / "other.csv", "--quiet"), "'x'", "'c'", "other.csv")
    assert_refused(call("stats", files["csv"], "--out", out, "--quiet"), "--force")
    assert call("stats", files["npy"], "--out", out, "--force").code == 0
    table = tmp_path / "s.csv"
    assert call("stats", files["csv"], "--out", table).code == 0
    assert table.read_text().startswith("feature,count,mean,std,var\n")


@pytest.mark.parametrize("kind", ["npy", "csv"])
def test_weights_from_a_file(
    call: Command, files: dict[str, Path], tmp_path: Path, x: np.ndarray, kind: str
) -> None:
    w = np.arange(600) % 4
    np.save(tmp_path / "w.npy", w)
    both = (files[kind], files["npy"])
    result = call("stats", *both, "--weights", tmp_path / "w.npy", "--json").json
    close(result, np.repeat(np.concatenate([x, x]), w, axis=0))
    for count, words in ((599, "got 599 for more samples"), (601, "more of them than the 600")):
        np.save(tmp_path / "w.npy", np.ones(count))
        assert_refused(call("stats", *both, "--weights", tmp_path / "w.npy", "--quiet"), words)
    np.save(tmp_path / "w.npy", np.ones((600, 2)))
    assert_refused(
        call("stats", *both, "--weights", tmp_path / "w.npy", "--quiet"), "one weight per sample"
    )


def test_weights_from_a_column(call: Command, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,w,b\n1,2,3\n4,1,6\n")
    result = call("stats", tmp_path / "t.csv", "--weights", "w", "--json").json
    assert (result["features"], result["count"], result["mean"]) == (["a", "b"], 3, [2, 4])
    assert_refused(call("stats", tmp_path / "t.csv", "--weights", "z"), "no column 'z'")
    np.save(tmp_path / "x.npy", np.ones((3, 2)))
    assert_refused(
        call("stats", tmp_path / "x.npy", "--weights", "w"), "--weights", "'w' is no file"
    )


def test_features(call: Command, files: dict[str, Path], x: np.ndarray) -> None:
    for kind, wanted in (("csv", "d,b-x"), ("npy", "7"), ("npz", "a")):
        assert_refused(
            call("stats", files[kind], "--features", wanted, "--quiet"), str(files[kind])
        )
    for kind, wanted in (("csv", "d,b"), ("csv", "3,1"), ("npy", "3, 1"), ("npz", "-1,1")):
        result = call("stats", files[kind], f"--features={wanted}", "--json").json
        close(result, x[:, [3, 1]])
    assert call("stats", files["csv"], "--features", "1-3", "--json").json["features"] == list(
        "bcd"
    )


def test_images(call: Command, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (50, 4, 6)).astype(np.uint8)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, *x.shape) + x.tobytes())
    one = call("stats", path, "--json").json
    assert (one["count"], len(one["mean"])) == (x.size, 1)
    assert one["mean"][0] == pytest.approx(x.mean())
    pixels = call("stats", path, "--flatten", "--json").json
    np.testing.assert_allclose(pixels["var"], x.reshape(50, -1).var(0), rtol=1e-6)
    np.save(tmp_path / "x.npy", x)
    rows = call("stats", tmp_path / "x.npy", "--axis", "1", "--json").json
    np.testing.assert_allclose(rows["mean"], x.mean((0, 2)), rtol=1e-6)
    assert_refused(call("stats", path, "--flatten", "--axis", "1"), "--flatten")
    assert_refused(call("stats", tmp_path / "x.npy", "--axis", "3", "--quiet"), "axis", "x.npy")


def test_missing_values(call: Command, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3,\n5,6\n")
    assert_refused(call("stats", path, "--quiet"), "line 3, column 'b': missing value ''")
    done = call("stats", path, "--skip-missing", "--json")
    assert (done.json["count"], done.json["skipped"], done.json["mean"]) == (2, 1, [3, 4])
    assert "1 left out for missing values" in done.err


def test_poisoned_features_are_named(call: Command, tmp_path: Path, x: np.ndarray) -> None:
    x[7, 2] = np.nan
    np.save(tmp_path / "x.npy", x)
    done = call("stats", tmp_path / "x.npy", "--json")
    assert done.code == 0
    assert done.json["not_finite"] == ["2"]
    assert done.json["mean"][2] is None
    assert "1 features are not finite (NaN, infinity or overflow): 2" in done.err
    assert "Warning" not in done.err


def test_bad_files(call: Command, tmp_path: Path, files: dict[str, Path]) -> None:
    assert_refused(call("stats"), "FILE")
    assert_refused(call("stats", "nosuch.npy"), "nosuch.npy: no such file")
    np.save(tmp_path / "narrow.npy", np.ones((3, 2)))
    assert_refused(
        call("stats", files["npy"], tmp_path / "narrow.npy", "--quiet"),
        "narrow.npy",
        "2 features",
        "has 4",
    )
    np.savez(tmp_path / "two.npz", a=np.ones(3), b=np.ones(3))
    assert_refused(call("stats", tmp_path / "two.npz"), "no array 'x': choose one of a, b")
    assert call("stats", tmp_path / "two.npz", "--array", "b", "--json").json["mean"] == [1]
    (tmp_path / "x.txt").write_text("hello")
    assert_refused(call("stats", tmp_path / "x.txt"), "expected .npy")
    assert_refused(
        call("stats", files["npy"], "--out", tmp_path / "none" / "s.npz"), "does not exist"
    )
    call("stats", files["npy"], "--out", tmp_path / "s.npz", "--quiet")
    assert_refused(
        call("stats", tmp_path / "s.npz", "--weights", "w"), "--weights needs data files"
    )


def test_as_users_run_it(shell: Command, files: dict[str, Path], x: np.ndarray) -> None:
    done = shell("stats", str(files["npy"]), "--json", "--threads", "1")
    assert done.code == 0, done.err
    close(done.json, x)

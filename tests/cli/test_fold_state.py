"""`bncore fold` with state dicts, and which kind of file it takes a file for: the same answers, or no file."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np
import pytest

import bncore as bn
from bncore.cli import fold_state as command
from bncore.cli.kind_options import add_own, judge_own
from bncore.cli.model_kind import kind_of
from bncore.folding import algebra
from bncore.folding.state import KEEP_NORM
from bncore.io.state_file import open_state

from .conftest import Command
from .state_files import arrays, mutated, write
from .test_errors import assert_refused

MUTATIONS = 64


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.safetensors", arrays(), {"format": "pt"})


def read(path: Path) -> dict[str, np.ndarray]:
    with open_state(path) as state:
        return {name: state.read(name) for name in state.tensors}


def test_every_norm_is_accounted_for_in_text_and_json(
    call: Command, source: Path, tmp_path: Path
) -> None:
    done = call("fold", source, tmp_path / "a.safetensors")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "folding: 2 norms folded, 0 left"
    assert "folded into  conv1" in done.out and "still adds its shift" in done.out
    assert "no graph and no eps" in done.err and "saved" in done.err
    result = call("fold", source, tmp_path / "b.safetensors", "--json", "--quiet").json
    assert [item["path"] for item in result["fold"]["folded"]] == ["bn1", "bn2"]
    assert result["out"] == str(tmp_path / "b.safetensors") and result["eps"] == 1e-5
    assert all(item["agrees"] and item["max_abs_error"] < 1e-5 for item in result["fold"]["folded"])


def test_the_file_keeps_its_names_types_and_metadata(
    call: Command, source: Path, tmp_path: Path
) -> None:
    before = source.read_bytes()
    assert call("fold", source, tmp_path / "out.safetensors").code == 0
    assert source.read_bytes() == before
    with open_state(source) as old, open_state(tmp_path / "out.safetensors") as new:
        assert new.metadata == old.metadata == {"format": "pt"}
        assert new.tensors == old.tensors
        for name in ("fc.weight", "bn1.num_batches_tracked"):
            assert (new.read(name) == old.read(name)).all()
    call("fold", source, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (
        tmp_path / "out.safetensors"
    ).read_bytes()


def test_formats_follow_the_suffixes(call: Command, source: Path, tmp_path: Path) -> None:
    done = call("fold", source, tmp_path / "out.npz")
    assert done.code == 0 and "metadata of the file is gone" in done.err
    assert call("fold", tmp_path / "out.npz", tmp_path / "back.safetensors").code == 0
    direct = call("fold", source, tmp_path / "direct.safetensors")
    assert direct.code == 0
    npz, direct_arrays = read(tmp_path / "out.npz"), read(tmp_path / "direct.safetensors")
    assert all((npz[name] == direct_arrays[name]).all() for name in direct_arrays)
    assert_refused(call("fold", source, tmp_path / "out.pt"), "out.pt", ".safetensors or .npz")


def test_norms_can_be_dropped(call: Command, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    assert call("fold", source, out, "--keep-norm", "drop").code == 0
    assert set(read(out)) == {
        "conv1.weight",
        "conv1.bias",
        "conv2.weight",
        "conv2.bias",
        "fc.weight",
    }


def test_a_dry_run_writes_nothing_and_needs_no_target(call: Command, source: Path) -> None:
    done = call("fold", source, "--dry-run", "--json")
    assert done.code == 0 and done.json["out"] is None and done.json["fold"]["norms_folded"] == 2
    assert "nothing was written" in done.err
    assert list(source.parent.iterdir()) == [source]


def test_pairs_by_file_and_by_rule(call: Command, source: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("conv2 -> bn2 eps=0.1\n")
    result = call("fold", source, "--dry-run", "--json", "--pairs", pairs).json["fold"]
    assert [item["path"] for item in result["folded"]] == ["bn2"]
    assert result["kept"][0]["why"] == "no pair names it"
    rule = r"conv(\d) -> bn\1"
    assert (
        call("fold", source, "--dry-run", "--json", "--pairs", rule).json["fold"]["norms_left"] == 0
    )


def test_doubtful_kinds_are_asked_for(call: Command, tmp_path: Path) -> None:
    square = {"0.weight": np.ones((4, 4, 3, 3), np.float32)}
    square |= {f"1.{m}": np.ones(4, np.float32) for m in ("running_mean", "running_var")}
    path = write(tmp_path / "square.npz", square)
    done = call("fold", path, "--dry-run")
    assert done.code == 0 and "--kind '*=conv' if the model has none" in done.err
    done = call("fold", path, "--dry-run", "--kind", "0=conv_transpose")
    assert "1 norms folded" in done.out and "conv_transpose → norm" in done.out


def test_disagreement_writes_nothing(
    call: Command, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = algebra.into_output
    monkeypatch.setattr(algebra, "into_output", lambda w, b, a: right(np.asarray(w) * 1.01, b, a))
    done = call("fold", source, tmp_path / "out.npz", "--json")
    assert done.code == 1
    assert done.json["out"] is None and done.json["fold"]["agree"] is False
    assert "differ by more than rounding at bn1, bn2; nothing was saved" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["in.safetensors"]
    assert call("fold", source, tmp_path / "out.npz", "--rtol", "0.1").code == 0


def test_no_overwriting_without_force_and_never_of_the_input(
    call: Command, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.npz"
    out.write_text("precious")
    assert_refused(call("fold", source, out), "out.npz", "--force")
    assert out.read_text() == "precious"
    assert call("fold", source, out, "--force").code == 0
    before = source.read_bytes()
    assert_refused(call("fold", source, source, "--force"), "never written to")
    assert source.read_bytes() == before


WRONG = [
    (("--kind", "nothing=conv"), "--kind: no linear operation is called 'nothing'"),
    (("--kind", "conv1=rnn"), "--kind: expected NAME=KIND"),
    (("--pairs", "nosuchfile"), "--pairs: expected auto, a file or a rule"),
    (("--pairs", "( -> x"), "--pairs: '( -> x' is no rule"),
    (("--eps", "-1"), "--eps"),
    (("--keep-norm", "both"), "--keep-norm"),
    (("--check", "digits"), "--check is for a net saved by bncore"),
    (("--tolerance", "1"), "--tolerance is for a net saved by bncore"),
    (("--out", "other.npz"), "give one of them"),
]


@pytest.mark.parametrize("options, message", WRONG, ids=[" ".join(o) for o, _ in WRONG])
def test_bad_options_are_one_line(
    call: Command, source: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    assert_refused(call("fold", source, tmp_path / "out.npz", *options), message)
    assert list(tmp_path.iterdir()) == [source]


def test_a_pairs_file_is_told_by_name_and_line(call: Command, source: Path, tmp_path: Path) -> None:
    for text in (b"\nconv1 bn1\n", b"\xff\xfe"):
        (tmp_path / "pairs.txt").write_bytes(text)
        done = call("fold", source, "--dry-run", "--pairs", tmp_path / "pairs.txt")
        assert_refused(done, "pairs.txt", "line 2" if text.startswith(b"\n") else "utf-8")


def test_options_of_state_dicts_are_not_for_nets(call: Command, tmp_path: Path) -> None:
    bn.save(bn.Sequential(bn.Linear(3, 2, rng=0), bn.BatchNorm(2)), tmp_path / "net.npz")
    for options in (("--eps", "1"), ("--pairs", "auto"), ("--rtol", "1")):
        done = call("fold", tmp_path / "net.npz", tmp_path / "out.npz", *options)
        assert_refused(done, options[0], "a net saved by bncore")
    done = call("fold", tmp_path / "net.npz", tmp_path / "out.npz")  # OUT or --out
    assert done.code == 0 and bn.load(tmp_path / "out.npz") is not None
    done = call("fold", tmp_path / "net.npz", "--dry-run")
    assert done.code == 0 and "nothing was written" in done.err


def test_the_kind_of_a_file_is_seen(tmp_path: Path) -> None:
    bn.save(bn.Linear(2, 2, rng=0), tmp_path / "net.npz")
    np.savez(tmp_path / "state.npz", a=np.zeros(2))
    for name in ("a.onnx", "b.SAFETENSORS", "c.npz"):
        (tmp_path / name).write_bytes(b"anything")
    with zipfile.ZipFile(tmp_path / "model.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    kinds = {path.name: kind_of(str(path)) for path in tmp_path.iterdir()}
    assert kinds == {
        "net.npz": "net", "state.npz": "state", "a.onnx": "onnx", "b.SAFETENSORS": "state", "c.npz": "net",
        "model.pth": "state",
    }  # fmt: skip


def test_a_pickle_of_pytorch_is_never_read(call: Command, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80")
    done = call("fold", tmp_path / "model.pth", tmp_path / "out.npz")
    assert_refused(done, "model.pth", "never reads", ".safetensors")


def test_own_options_have_their_defaults_back() -> None:
    """Whatever way a kind states them: text that is parsed, lists, flags."""
    parser = argparse.ArgumentParser()

    def add(group: argparse._ActionsContainer) -> None:
        group.add_argument("--levels", type=lambda text: text.split(","), default="a,b")
        group.add_argument("--dim", action="append", default=[])
        group.add_argument("--fast", action="store_true")

    add_own(parser, "onnx", add)
    args = parser.parse_args([])
    judge_own(args, "onnx")
    assert (args.levels, args.dim, args.fast) == (["a", "b"], [], False)
    args = parser.parse_args(["--dim", "n=2", "--levels", "c"])
    args.source = "x.npz"
    with pytest.raises(
        ValueError, match="--levels is for an ONNX model, and x.npz is a state dict"
    ):
        judge_own(args, "state")


def test_choices_are_what_the_library_knows() -> None:
    assert command.KEEP_NORM == KEEP_NORM


@pytest.mark.parametrize("seed", range(MUTATIONS))
def test_damaged_files_are_refused_in_one_line_or_folded_whole(
    call: Command, source: Path, tmp_path: Path, seed: int
) -> None:
    bad, out = tmp_path / "bad.safetensors", tmp_path / "out.safetensors"
    bad.write_bytes(mutated(source.read_bytes(), seed))
    done = call("fold", bad, out)
    if done.code == 0:  # the damage made another valid file
        assert read(out).keys() == read(bad).keys()
        return
    assert_refused(done, str(bad))
    assert {path.name for path in tmp_path.iterdir()} == {"bad.safetensors", "in.safetensors"}
    assert_refused(call("inspect", bad), str(bad))

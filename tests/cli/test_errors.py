"""Bad input to any command: one line on stderr, the right exit code, nothing on stdout."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import bncore as bn
from bncore import cli

from .conftest import Command, Trained, environment


def assert_refused(done: object, *fragments: str) -> None:
    """Exit code 2 and exactly one line, which says all of ``fragments``."""
    assert done.code == 2, (done.code, done.err)
    assert done.out == ""
    assert len(done.err.splitlines()) == 1, done.err
    assert "Traceback" not in done.err
    for fragment in fragments:
        assert fragment in done.err


@pytest.mark.parametrize(
    ("argv", "fragment"),
    [
        ((), "COMMAND"),
        (("fly",), "fly"),
        (("train",), "DATA"),
        (("train", "nosuchdata"), "nosuchdata"),
        (("train", "digits", "--epochs", "0"), "--epochs"),
        (("train", "digits", "--epochs", "2.5"), "--epochs"),
        (("train", "digits", "--lr", "-1"), "--lr"),
        (("train", "digits", "--lr", "nan"), "--lr"),
        (("train", "digits", "--batch-size", "none"), "--batch-size"),
        (("train", "digits", "--momentum", "1.5"), "--momentum"),
        (("train", "digits", "--threads", "0"), "--threads"),
        (("train", "digits", "--seed", "-1"), "--seed"),
        (("train", "digits", "--norm", "layers"), "--norm"),
        (("train", "digits", "--net", "vgg"), "--net"),
        (("train", "digits", "--epoch", "3"), "--epoch"),
        (("eval", "nosuchnet.npz", "digits"), "nosuchnet.npz"),
        (("recalibrate", "nosuchnet.npz", "digits", "--out", "new.npz"), "nosuchnet.npz"),
        (("recalibrate", "nosuchnet.npz", "digits"), "--out"),
        (("fold", "nosuchnet.npz", "--out", "new.npz"), "nosuchnet.npz"),
        (("fold", "nosuchnet.npz"), "--out"),
        (("info", "--force"), "--force"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_arguments(
    call: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    argv: tuple[str, ...],
    fragment: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(call(*argv), fragment)
    assert list(tmp_path.iterdir()) == []


def damaged(kind: str, good: bytes) -> bytes:
    if kind == "empty":
        return b""
    if kind == "text":
        return b"hello, I am no net\n"
    if kind == "pickle":
        return pickle.dumps({"weight": [1, 2, 3]})
    if kind == "truncated":
        return good[: len(good) // 2]
    middle = len(good) // 2  # "corrupt": bytes overwritten in the middle
    return good[:middle] + bytes(64) + good[middle + 64 :]


@pytest.mark.parametrize("kind", ["empty", "text", "pickle", "truncated", "corrupt"])
@pytest.mark.parametrize("command", ["eval", "recalibrate", "fold"])
def test_damaged_nets(
    call: Command, trained: Trained, tmp_path: Path, command: str, kind: str
) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(damaged(kind, trained.path.read_bytes()))
    argv = {
        "eval": ("eval", path, trained.data),
        "recalibrate": ("recalibrate", path, trained.data, "--out", tmp_path / "new.npz"),
        "fold": ("fold", path, "--out", tmp_path / "new.npz"),
    }[command]
    assert_refused(call(*argv), str(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.npz"]


def test_foreign_archive(call: Command, tmp_path: Path, images: Path) -> None:
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    assert_refused(call("eval", tmp_path / "arrays.npz", images), "arrays.npz")


def test_data_of_another_shape(call: Command, trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(
        path,
        x=np.random.default_rng(0).normal(size=(60, 2, 6, 6)).astype(np.float32),
        y=np.arange(60) % 3,
    )
    assert_refused(call("eval", trained.path, path))
    assert_refused(call("fold", trained.path, "--out", tmp_path / "f.npz", "--check", path))
    assert_refused(
        call("fold", trained.path, "--out", tmp_path / "f.npz", "--input-shape", "2,6,6")
    )
    assert not (tmp_path / "f.npz").exists()


def test_convolutions_need_images(call: Command, tmp_path: Path) -> None:
    path = tmp_path / "flat.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(60, 4)), y=np.arange(60) % 2)
    assert_refused(call("train", path, "--net", "cnn"), "cnn", "mlp")


def test_csv_without_its_target(call: Command, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    assert_refused(call("train", path, "--target", "price"), "price")


def test_missing_scikit_learn_names_the_extra(
    call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert_refused(call("train", "digits"), "bncore[sklearn]")


def test_debug_lets_the_traceback_through(call: Command, tmp_path: Path, images: Path) -> None:
    (tmp_path / "bad.npz").write_text("x")
    with pytest.raises(bn.FileFormatError):
        call("eval", tmp_path / "bad.npz", images, "--debug")


def test_a_defect_is_told_apart_from_bad_input(
    call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(args: object) -> int:
        raise KeyError("nothing there")

    monkeypatch.setattr(cli.info, "run", broken)
    done = call("info")
    assert done.code == 70
    assert len(done.err.splitlines()) == 1 and "KeyError" in done.err and "--debug" in done.err


def test_reader_gone(tmp_path: Path) -> None:
    """`bncore info | head -0`: no complaint, an exit code of its own."""
    child = subprocess.Popen(
        [sys.executable, "-m", "bncore", "info"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    complaint = child.stderr.read()
    child.stderr.close()
    assert child.wait(timeout=60) == 141
    assert complaint == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_on_stdout(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bncore", "info"],
            env=environment(),
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert "No space left" in done.stderr and "Traceback" not in done.stderr


def test_interrupted_training(images: Path, tmp_path: Path) -> None:
    """Ctrl-C: one line, exit code 130, no half-written file."""
    out = tmp_path / "net.npz"
    # a suite in the background may have been started with the signal ignored, which children inherit
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bncore",
            "train",
            str(images),
            "--epochs",
            "100000",
            "--out",
            str(out),
        ],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    assert child.stdout is not None and child.stderr is not None
    try:
        for line in child.stderr:  # the first epochs are reported: training runs
            if line.startswith("training"):
                break
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        out_text, err_text = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130, err_text
    assert err_text.splitlines()[-1] == "bncore: interrupted"
    assert "Traceback" not in err_text and out_text == ""
    assert list(tmp_path.iterdir()) == []

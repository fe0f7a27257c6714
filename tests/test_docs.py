"""What the documents say is so: the README's code and commands run, versions agree, the map names what exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import bncore

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
SUBCOMMANDS = (
    "train",
    "eval",
    "recalibrate",
    "diagnose",
    "stats",
    "fold",
    "inspect",
    "lab",
    "info",
)


def blocks(language: str) -> list[str]:
    """The README's fenced blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """Every `bncore ...` of the README's shell blocks, and what prepares files for them, as words, in order."""
    parts = [
        part.strip()
        for block in blocks("sh")
        for line in block.splitlines()
        for part in line.split("&&")
    ]
    return [shlex.split(part) for part in parts if part.startswith(("bncore ", "python -c "))]


def run(argv: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(Path(bncore.__file__).resolve().parents[1])}
    return subprocess.run(
        argv,
        cwd=cwd,
        env=env,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[0])
def test_readme_code_runs(code: str, tmp_path: Path) -> None:
    if "digits" in code:
        pytest.importorskip("sklearn")
    done = run([sys.executable, "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr


def test_readme_commands_run_in_the_order_they_stand(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    for optional in ("torch", "onnx", "onnxruntime", "safetensors"):
        pytest.importorskip(optional)
    ours = [words[1] for words in commands() if words[0] == "bncore"]
    assert ours == ["train", "lab", "lab", "diagnose", "stats", "fold", "fold", "inspect", "fold"]
    # that the commands work is the point here, not what nets learn in so many epochs
    shorter = {"train": ["--epochs", "1"], "lab": ["--quick"]}
    for words in commands():
        short = shorter.get(words[1], [])
        module = [] if words[0] == "python" else ["-m", "bncore"]
        done = run([sys.executable, *module, *words[1:], *short], tmp_path)
        assert done.returncode == 0, (words, done.stderr)
    models = {"model.onnx", "folded.onnx", "net.safetensors", "folded.safetensors"}
    made = {"bncore-lab.html", "digits.npz", "x.npy", "stats.npz", "folded.npz", *models}
    assert {path.name for path in tmp_path.iterdir()} == made


def test_readme_names_every_command() -> None:
    for command in SUBCOMMANDS:
        assert re.search(rf"`(bncore )?{command}`", README), command


def test_the_two_set_up_commands_are_there() -> None:
    shell = "\n".join(blocks("sh"))
    assert 'python -m pip install ".[sklearn]" && bncore train digits --out digits.npz' in shell
    assert 'python -m pip install -e ".[test]" && python -m pytest' in shell


def test_one_version_everywhere() -> None:
    version = bncore.__version__
    assert re.search(
        rf"^## {re.escape(version)}\b",
        (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    stated = re.search(
        r'^version\s*=\s*"([^"]+)"',
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert stated is None or stated[1] == version  # absent where it is read from the package


@pytest.mark.parametrize("text", [README, ARCHITECTURE], ids=["README.md", "ARCHITECTURE.md"])
def test_files_the_documents_name_exist(text: str) -> None:
    """Every `path` in backquotes that looks like one of ours, with * as a wildcard."""
    named = re.findall(r"`((?:bncore|src_c|tests|benchmarks|\.ci)/[\w./*-]*)`", text)
    assert named
    missing = [name for name in named if not list(ROOT.glob(name.rstrip("/")))]
    assert not missing


def test_architecture_is_short() -> None:
    assert len(ARCHITECTURE.splitlines()) < 150

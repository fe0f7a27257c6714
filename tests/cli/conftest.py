"""A small net trained once for all command tests, and two ways to run a command: here, and as users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bncore
from bncore.cli import main

ROOT = Path(bncore.__file__).resolve().parents[1]

Command = Callable[..., "Outcome"]


@dataclass
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """stdout as the one JSON object it must be."""
        return json.loads(self.out)


def environment(**extra: str) -> dict[str, str]:
    """The environment of a child that imports the same bncore as this process."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **extra}


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process: fast, and open to monkeypatching."""

    def run(*argv: str) -> Outcome:
        capsys.readouterr()
        try:
            code = main([str(arg) for arg in argv])
        except SystemExit as leaving:  # argparse
            code = int(leaving.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def shell() -> Command:
    """Run a command in a process of its own."""

    def run(*argv: str, **extra: str) -> Outcome:
        command = [sys.executable, "-m", "bncore", *map(str, argv)]
        done = subprocess.run(
            command,
            env=environment(**extra),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of three kinds of 6×6 images that a net learns within an epoch or two."""
    rng = np.random.default_rng(0)
    y = np.arange(240) % 3
    x = rng.normal(0.0, 0.3, (240, 1, 6, 6))
    for kind in range(3):
        x[y == kind, :, 2 * kind : 2 * kind + 2] += 2.0
    path = tmp_path_factory.mktemp("data") / "stripes.npz"
    np.savez(path, x=x.astype(np.float32), y=y)
    return path


@dataclass
class Trained:
    """A net in a file, the data it was trained on and what `train --json` said."""

    path: Path
    data: Path
    result: dict[str, Any]


@pytest.fixture(scope="session")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    path = tmp_path_factory.mktemp("net") / "net.npz"
    argv = ["train", images, "--epochs", "3", "--seed", "5", "--out", path, "--json", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "bncore", *map(str, argv)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Trained(path, images, json.loads(done.stdout))

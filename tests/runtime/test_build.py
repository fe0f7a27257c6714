"""Builds that go wrong: what is left, and what it says of itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_build_without_a_compiler_says_so_beside_the_sources(tmp_path):
    """In place too: `bncore info` gives the reason, and the suite knows that NumPy is all there is."""
    pytest.importorskip("Cython")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("bncore", "src_c"):
        made = shutil.ignore_patterns("*.so", "_build_info.json", "_native.c", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=made)
    env = {**os.environ, "CC": "/bin/false"}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]

    env["BNCORE_REQUIRE_EXT"] = "1"
    assert (
        subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=False).returncode
        != 0
    )

    del env["BNCORE_REQUIRE_EXT"]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WITHOUT the compiled extension" in done.stderr
    info = json.loads((tmp_path / "bncore" / "_build_info.json").read_text())
    assert info["extension"] is False and "compiling" in info["reason"]

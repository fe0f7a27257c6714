"""The benchmarks run and find every contender right; nothing here looks at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import bncore

ROOT = Path(__file__).resolve().parents[1]


def run(*argv: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(Path(bncore.__file__).resolve().parents[1])}
    return subprocess.run(
        [sys.executable, *map(str, argv)], env=env, check=False, capture_output=True, text=True
    )


def test_norms_run_and_make_a_table(tmp_path: Path) -> None:
    results, readme = tmp_path / "norm.json", tmp_path / "README.md"
    done = run(ROOT / "benchmarks/bench_norm.py", "--quick", "--threads", 1, "--json", results)
    assert done.returncode == 0, done.stderr + done.stdout
    cases = json.loads(results.read_text())["cases"]
    assert {case["op"] for case in cases} == {"forward", "forward+relu", "backward", "evaluation"}
    assert not any(case["wrong"] for case in cases)
    readme.write_bytes((ROOT / "README.md").read_bytes())
    done = run(ROOT / "benchmarks/table.py", "--json", results, "--readme", readme)
    assert done.returncode == 0, done.stderr
    text = readme.read_text(encoding="utf-8")
    assert all("×".join(map(str, case["shape"])) in text for case in cases)  # losing cases too
    assert (
        run(
            ROOT / "benchmarks/table.py", "--json", results, "--readme", readme, "--check"
        ).returncode
        == 0
    )

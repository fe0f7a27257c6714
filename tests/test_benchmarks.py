"""The benchmarks run and find every contender right; nothing here looks at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bncore

ROOT = Path(__file__).resolve().parents[1]
NETS = ["mlp", "cnn", "resnet20", "inception_small", "lstm", "separable"]


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
    ops = {case["op"] for case in cases}
    assert {"forward", "forward+add+relu", "backward+relu", "evaluation", "statistics"} < ops
    assert {"layer backward", "rms forward"} < ops
    assert not any(case["wrong"] for case in cases)
    assert all("bncore user" in case["median_us"] for case in cases)
    for table, source in (("norm", "README.md"), ("rows", "benchmarks/README.md")):
        readme.write_bytes((ROOT / source).read_bytes())
        write = (ROOT / "benchmarks/table.py", "--table", table, "--json", results)
        done = run(*write, "--readme", readme)
        assert done.returncode == 0, done.stderr
        assert run(*write, "--readme", readme, "--check").returncode == 0
    text = readme.read_text(encoding="utf-8")
    assert all("×".join(map(str, case["shape"])) in text for case in cases)  # losing cases too
    picture = tmp_path / "norm.png"
    done = run(ROOT / "benchmarks/plot.py", "--json", results, "--out", picture)
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 0
    cut = json.loads(results.read_text())
    kept = cut["cases"].pop()
    results.write_text(json.dumps(cut))
    again = ("--quick", "--threads", 1, "--json", results, "--resume")
    done = run(ROOT / "benchmarks/bench_norm.py", *again)
    assert done.stdout.count("[") == 1  # the missing row alone
    assert json.loads(results.read_text())["cases"][-1]["shape"] == kept["shape"]


def test_the_family_runs_and_makes_a_table(tmp_path: Path) -> None:
    results, readme = tmp_path / "family.json", tmp_path / "README.md"
    done = run(ROOT / "benchmarks/bench_family.py", "--quick", "--threads", 1, "--json", results)
    assert done.returncode == 0, done.stderr + done.stdout
    cases = json.loads(results.read_text())["cases"]
    kinds = {case["op"].rpartition(" ")[0] for case in cases}
    assert kinds == {"group norm", "instance norm", "lstm", "gru"}
    assert not any(case["wrong"] for case in cases)
    begin = "<!-- benchmark table of the family: written by benchmarks/table.py -->"
    readme.write_text(f"a\n{begin}\nyesterday\n<!-- end of benchmark table of the family -->\nb\n")
    table = (ROOT / "benchmarks/table.py", "--table", "family", "--json", results)
    assert run(*table, "--readme", readme, "--check").returncode == 1
    assert run(*table, "--readme", readme).returncode == 0
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("a\n") and text.endswith("\nb\n") and "yesterday" not in text
    assert all(case["op"] in text for case in cases)


def test_population_runs_and_finds_bncore_right(tmp_path: Path) -> None:
    results = tmp_path / "population.json"
    done = run(
        ROOT / "benchmarks/bench_population.py", "--quick", "--threads", 1, "--json", results
    )
    assert done.returncode == 0, done.stderr + done.stdout
    (case,) = json.loads(results.read_text())["cases"]
    assert {"bncore", "bncore memmap", "bncore weighted", "read numpy"} <= set(case["median_us"])
    assert case["var_error"]["bncore"] < 1e-6
    assert "numpy float32" in case["wrong"]
    readme = tmp_path / "README.md"
    readme.write_bytes((ROOT / "README.md").read_bytes())
    table = (ROOT / "benchmarks/table.py", "--table", "population", "--json", results)
    assert run(*table, "--readme", readme).returncode == 0
    assert "2000×64, 1 thread" in readme.read_text(encoding="utf-8")


def test_convolutions_run_and_make_a_table(tmp_path: Path) -> None:
    results, readme = tmp_path / "conv.json", tmp_path / "README.md"
    done = run(ROOT / "benchmarks/bench_conv.py", "--quick", "--threads", 1, "--json", results)
    assert done.returncode == 0, done.stderr + done.stdout
    cases = json.loads(results.read_text())["cases"]
    assert {case["op"] for case in cases} == {"forward", "backward"}
    assert all(case["error"] < 1e-5 for case in cases)
    readme.write_bytes((ROOT / "README.md").read_bytes())
    table = (ROOT / "benchmarks/table.py", "--table", "conv", "--json", results)
    assert run(*table, "--readme", readme).returncode == 0
    assert "| 3×3, 16 → 16, 32×32, 2 |" in readme.read_text(encoding="utf-8")


def test_training_steps_run_and_make_a_table(tmp_path: Path) -> None:
    results, readme = tmp_path / "train.json", tmp_path / "README.md"
    train = (ROOT / "benchmarks/bench_train.py", "--quick", "--threads", 1, "--json", results)
    done = run(*train, "--no-memory")
    assert done.returncode == 0, done.stderr + done.stdout
    cases = json.loads(results.read_text())["cases"]
    assert [case["net"] for case in cases] == NETS
    assert all("bncore" in case["median_ms"] and not case["wrong"] for case in cases)
    assert not any(case["memory"] or case["failed"] for case in cases)
    done = run(*train, "--nets", "mlp", "--peers")  # one row again, without peers
    assert done.returncode == 0, done.stderr + done.stdout
    cases = json.loads(results.read_text())["cases"]
    assert [case["net"] for case in cases] == NETS
    memory = cases[0]["memory"]["bncore"]
    assert 0 <= memory["growth"] < memory["peak"]
    draw_and_tell("train", results, readme)
    assert all(f"| {case['net']}, 4 | 1 |" in readme.read_text("utf-8") for case in cases)


def test_inference_runs_and_makes_a_table(tmp_path: Path) -> None:
    results, readme = tmp_path / "infer.json", tmp_path / "README.md"
    infer = (ROOT / "benchmarks/bench_infer.py", "--quick", "--threads", 1, "--json", results)
    done = run(*infer, "--no-memory")
    assert done.returncode == 0, done.stderr + done.stdout
    cases = json.loads(results.read_text())["cases"]
    assert [case["net"] for case in cases] == NETS
    assert all("bncore layers" in case["median_ms"] and not case["wrong"] for case in cases)
    assert not any(case["failed"] for case in cases)
    draw_and_tell("infer", results, readme)
    assert all(f"| {case['net']}, 3 | 1 |" in readme.read_text("utf-8") for case in cases)


def draw_and_tell(what: str, results: Path, readme: Path) -> None:
    """Makes the table in a copy of the README, and the picture."""
    readme.write_bytes((ROOT / "README.md").read_bytes())
    table = (ROOT / "benchmarks/table.py", "--table", what, "--json", results, "--readme", readme)
    assert run(*table).returncode == 0
    assert run(*table, "--check").returncode == 0
    picture = readme.with_suffix(".png")
    plot = (ROOT / "benchmarks/plot.py", "--picture", what, "--json", results, "--out", picture)
    done = run(*plot)
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 0


@pytest.mark.parametrize("what", ["train", "infer"])
def test_profiles_are_shown_or_missed_in_words(what: str) -> None:
    bench = ROOT / f"benchmarks/bench_{what}.py"
    done = run(bench, "--quick", "--threads", 1, "--nets", "cnn", "--profile")
    assert done.returncode == 0, done.stderr
    assert " steps\n" in done.stdout or "no profile: " in done.stdout


def test_instruction_sets_run_and_agree(native: None, tmp_path: Path) -> None:
    results = tmp_path / "isa.json"
    done = run(ROOT / "benchmarks/bench_isa.py", "--quick", "--threads", 1, "--json", results)
    assert done.returncode == 0, done.stderr + done.stdout
    cases = json.loads(results.read_text())["cases"]
    assert {case["layout"] for case in cases} == {"NCHW", "NHWC", "(N, C)"}
    assert {case["dtype"] for case in cases} == {"float32", "float64"}
    assert all(case["disagreement"] < 1e-5 and not case["wrong"] for case in cases)

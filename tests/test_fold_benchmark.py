"""The parts of bench_fold.py that decide something: what counts as left, crashes and hangs of
tools, the table.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_benchmarks import ROOT, run

sys.path.insert(0, str(ROOT / "benchmarks"))
from folds import figures, processes, tables


def results() -> dict[str, Any]:
    """Two models: one with 3 norms that can all go, one with 2 of which one becomes an Add."""
    models = {
        "first": {"name": "first", "norms": 3, "minimum": 0, "minimum_added": 0, "deep": False},
        "second": {"name": "second", "norms": 2, "minimum": 0, "minimum_added": 1, "deep": False},
        "tall": {"name": "tall", "norms": 301, "minimum": 0, "minimum_added": 0, "deep": True},
    }
    right = {"status": "right", "ratio": 1.5, "ms": 4.0}
    cases = [
        {"tool": "ours", "model": "first", **right, "norms": 0, "added": 0},
        {"tool": "ours", "model": "second", **right, "norms": 0, "added": 1},
        {"tool": "ours", "model": "tall", **right, "norms": 0, "added": 0, "ms": 99.0},
        {"tool": "theirs", "model": "first", **right, "status": "wrong", "norms": 0, "added": 7},
        {"tool": "theirs", "model": "second", "status": "crashed", "why": "folding: code -11"},
        {"tool": "adds", "model": "first", **right, "norms": 1, "added": 1},
        {"tool": "adds", "model": "second", **right, "norms": 1, "added": 0},
    ]
    machine = {"cpu": "a CPU", "date": "a day", "versions": {"bncore": "1"}}
    versions, missing = {"onnx": "2"}, {"absent": "no module"}
    return {
        "models": models, "cases": cases, "machine": machine, "versions": versions, "missing": missing
    }  # fmt: skip


def test_norms_of_unusable_models_count_as_left() -> None:
    total = figures.summary(results(), "theirs")
    assert (total["norms_left"], total["added"], total["at_minimum"]) == (5, 0, 0)
    assert (total["wrong"], total["crashed"]) == (1, 1)


def test_the_minimum_is_of_passes_and_a_norm_in_place_of_an_add_is_not_it() -> None:
    assert figures.summary(results(), "ours")["at_minimum"] == 2
    total = figures.summary(results(), "adds")
    assert (total["at_minimum"], total["norms_left"], total["added"]) == (0, 2, 1)
    assert figures.totals(results()) == (5, 0, 1)


def test_the_table_shows_losing_cells_and_who_is_missing() -> None:
    table = tables.render(results())
    assert "| ours | 0 | +1 | 2 of 2 |  |  |  |  |  | 1.5 | 4.0 | 99 |" in table
    assert "| theirs | 5 | +0 | 0 of 2 | 1 |  |  | 1 |" in table
    assert "| second | 2 | 0 (+1) | 0 (+1) | **crashed** | **1** |" in table
    assert "| absent | not installed |" in table


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("pass", None),
        ("import sys; sys.exit(3)", "the process ended with code 3"),
        ("import time; time.sleep(60)", "no answer in 0.3 s"),
    ],
)
def test_how_a_worker_ends(tmp_path: Path, code: str, end: str | None) -> None:
    file = tmp_path / "lines"
    file.touch()
    process = subprocess.Popen([sys.executable, "-S", "-c", code])
    try:
        assert processes.wait(process, file, 0.3 if "sleep" in code else 60) == end
    finally:
        process.kill()
        process.wait()


def test_a_crash_is_the_result_of_its_model_and_the_rest_goes_on(monkeypatch) -> None:
    row = {"status": "right"}
    answers = {
        ("a", "b", "c"): (
            [{"model": "a", "row": row}, {"model": "b", "stage": "folding"}],
            "the process ended with code -11",
        ),
        ("c",): ([{"model": "c", "stage": "folding"}, {"model": "c", "row": row}], None),
    }
    monkeypatch.setattr(processes, "one_process", lambda tool, names, *_: answers[tuple(names)])
    rows = processes.fold_all("tool", ["a", "b", "c"], timeout=1, repeats=1)
    assert rows["a"] == rows["c"] == row
    assert rows["b"] == {"status": "crashed", "why": "folding: the process ended with code -11"}


def test_a_worker_that_leaves_without_a_word_ends_as_well(monkeypatch) -> None:
    monkeypatch.setattr(processes, "one_process", lambda *_: ([], None))
    rows = processes.fold_all("tool", ["a", "b"], timeout=1, repeats=1)
    assert [row["status"] for row in rows.values()] == ["crashed"] * 2


def test_a_tool_that_is_not_there_says_so(monkeypatch) -> None:
    answer = [{"missing": "ModuleNotFoundError: No module named 'tool'"}], None
    monkeypatch.setattr(processes, "one_process", lambda *_: answer)
    with pytest.raises(processes.Missing, match="tool"):
        processes.fold_all("tool", ["a"], timeout=1, repeats=1)


def test_folding_runs_and_makes_a_table_and_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    file, readme, picture = (tmp_path / name for name in ("fold.json", "README.md", "fold.png"))
    chosen = ("--models", "resnet_post", "dcgan_generator", "--tools", "onnxruntime basic")
    done = run(ROOT / "benchmarks/bench_fold.py", *chosen, "--repeats", 1, "--json", file)
    assert done.returncode == 0, done.stderr + done.stdout
    rows = {row["model"]: row for row in json.loads(file.read_text())["cases"]}
    assert rows["resnet_post"]["status"] == "right" and rows["resnet_post"]["norms"] == 0
    readme.write_text(
        "<!-- benchmark table of folding: written by benchmarks/table.py -->\n"
        "<!-- end of benchmark table of folding -->\n"
    )
    write = (ROOT / "benchmarks/table.py", "--table", "fold", "--json", file, "--readme", readme)
    assert run(*write).returncode == 0
    assert run(*write, "--check").returncode == 0
    assert "dcgan_generator" in readme.read_text(encoding="utf-8")
    drawn = run(ROOT / "benchmarks/plot.py", "--picture", "fold", "--json", file, "--out", picture)
    assert drawn.returncode == 0, drawn.stderr
    assert picture.stat().st_size > 0

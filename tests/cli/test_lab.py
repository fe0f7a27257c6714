"""`bncore lab`: lists, runs, writes what was asked for and nothing over anything; exit codes by criteria."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bncore import lab

from ..lab.conftest import toys  # noqa: F401 (a fixture)
from .conftest import Command


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pages without a folder go into the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_experiments_are_listed_with_what_they_ask(call: Command) -> None:
    done = call("lab")
    assert done.code == 0 and done.err == ""
    for name in lab.NAMES:
        assert any(line.startswith(name) and lab.question(name) in line for line in done.out.splitlines())  # fmt: skip
    listed = call("lab", "--json").json["experiments"]
    assert [entry["name"] for entry in listed] == list(lab.NAMES)
    assert all(entry["question"] for entry in listed)


def test_a_folder_without_an_experiment_is_refused(call: Command, folder: Path) -> None:
    done = call("lab", "--out", "made")
    assert done.code == 2 and "NAME" in done.err and names(folder) == set()
    assert call("lab", "grades", "--out", "").code == 2


def test_an_unknown_name_lists_the_known_ones(call: Command, folder: Path) -> None:
    done = call("lab", "sped")
    assert done.code == 2 and "'sped'" in done.err and "speed" in done.err and "all" in done.err
    assert names(folder) == set()


@pytest.mark.usefixtures("toys")
def test_one_experiment(call: Command, folder: Path) -> None:
    done = call("lab", "toy-good")
    assert done.code == 0 and "With <norm>" in done.out and "Seeds 0, 1, 2" in done.out
    assert "toy-good 6/6" in done.err
    assert call("lab", "toy-good", "--quiet").err == ""
    assert names(folder) == set()


@pytest.mark.usefixtures("toys")
def test_a_criterion_that_is_not_met_is_exit_code_1(call: Command) -> None:
    done = call("lab", "toy-bad", "--quiet")
    assert done.code == 1 and "NOT MET" in done.out
    assert call("lab", "toy-bad", "--quiet", "--json").json["passed"] is False


@pytest.mark.usefixtures("toys")
def test_seeds_are_counted_from_the_first(call: Command) -> None:
    def seeds(*options: str) -> list[int]:
        return call("lab", "toy-good", "--json", "--quiet", *options).json["experiments"][0][
            "seeds"
        ]

    assert seeds() == [0, 1, 2]
    assert seeds("--quick") == [0]
    assert seeds("--quick", "--seeds", "2") == [0, 1]
    assert seeds("--seed", "5") == [5, 6, 7]
    assert call("lab", "toy-good", "--seeds", "0").code == 2


@pytest.mark.usefixtures("toys")
def test_all_of_them_are_one_object_and_one_page(call: Command, folder: Path) -> None:
    done = call("lab", "all", "--json")
    assert done.code == 1
    found = done.json["experiments"]
    assert [entry["name"] for entry in found] == ["toy-good", "toy-bad"]
    assert [entry["passed"] for entry in found] == [True, False]
    for entry in found:
        assert entry["seconds"] >= 0 and entry["criteria"][0]["figure"] == 90
    assert "1/2 toy-good: Is toy_good so?" in done.err and "wrote bncore-lab.html" in done.err
    assert done.json["files"] == ["bncore-lab.html"]
    assert "ended early" not in (folder / "bncore-lab.html").read_text()
    assert names(folder) == {"bncore-lab.html"}


@pytest.mark.usefixtures("toys")
def test_a_page_takes_a_free_name(call: Command, folder: Path) -> None:
    (folder / "bncore-lab.html").write_text("mine")
    assert call("lab", "all", "--quiet").code == 1
    assert names(folder) == {"bncore-lab.html", "bncore-lab-2.html"}
    assert (folder / "bncore-lab.html").read_text() == "mine"


@pytest.mark.usefixtures("toys")
def test_a_name_taken_during_the_run_is_left_alone(
    call: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = sys.modules["bncore.lab.experiments.toy_bad"]
    run = toy.run

    def slow(given: object) -> object:
        (folder / "bncore-lab.html").write_text("mine")
        return run(given)

    monkeypatch.setattr(toy, "run", slow)
    assert "wrote bncore-lab-2.html" in call("lab", "all").err
    assert (folder / "bncore-lab.html").read_text() == "mine"


@pytest.mark.usefixtures("toys")
def test_two_runs_that_end_at_once_take_two_names(
    call: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name that was free when the page was begun is not any more when it is done."""
    from bncore.cli import lab_files

    write = lab_files.LabFiles._text

    def late(self: lab_files.LabFiles, path: Path, content: str) -> None:
        if path.name == "bncore-lab.html":
            path.write_text("the other's")
        write(self, path, content)

    monkeypatch.setattr(lab_files.LabFiles, "_text", late)
    assert call("lab", "all", "--quiet").code == 1
    assert names(folder) == {"bncore-lab.html", "bncore-lab-2.html"}
    assert (folder / "bncore-lab.html").read_text() == "the other's"


@pytest.mark.usefixtures("toys")
def test_a_folder_gets_page_numbers_and_pictures(call: Command, folder: Path) -> None:
    pytest.importorskip("matplotlib")
    done = call("lab", "toy-good", "--out", "made", "--quiet")
    assert done.code == 0
    pictures = {f"toy-good-{number}.png" for number in (1, 2, 3)}
    assert names(folder / "made") == {"bncore-lab.html", "bncore-lab.json", *pictures}
    kept = json.loads((folder / "made" / "bncore-lab.json").read_text())
    assert kept["experiments"][0]["criteria"][0]["figure"] == 90
    again = call("lab", "toy-good", "--out", "made", "--quiet")
    assert again.code == 2 and "--force" in again.err and again.out == ""
    assert call("lab", "toy-good", "--out", "made", "--force", "--quiet").code == 0


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("where", ["file", "missing/folder"])
def test_a_folder_that_cannot_be_is_said_before_training(call: Command, folder: Path, where: str) -> None:  # fmt: skip
    (folder / "file").write_text("mine")
    done = call("lab", "all", "--out", where)
    assert done.code == 2 and where.partition("/")[0] in done.err and "1/2" not in done.err
    assert (folder / "file").read_text() == "mine"


@pytest.mark.usefixtures("toys")
def test_what_an_interrupted_run_found_is_kept(
    call: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["bncore.lab.experiments.toy_bad"], "run", interrupted)
    done = call("lab", "all")
    assert done.code == 130
    page = (folder / "bncore-lab.html").read_text()
    assert "1 of 1 experiments met" in page and "toy-bad" not in page
    assert "The run ended early: 1 of 2 were not finished." in page


@pytest.mark.usefixtures("toys")
def test_without_matplotlib_tables_and_page_still_come(
    call: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bncore.cli.lab_files.find_spec", lambda _: None)
    done = call("lab", "toy-good", "--out", "made")
    assert done.code == 0 and "batch & more" in done.out
    assert names(folder / "made") == {"bncore-lab.html", "bncore-lab.json"}
    assert "bncore[plot]" in (folder / "made" / "bncore-lab.html").read_text()


def test_without_scikit_learn_the_extra_is_named(call: Command, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    done = call("lab", "speed", "--quick", "--quiet")
    assert done.code == 2 and "bncore[sklearn]" in done.err

"""The small helpers: whole files or none, clear scalar errors, extras that name themselves, quiet progress."""

from __future__ import annotations

import io
import os
import stat
import sys

import numpy as np
import pytest

from bncore.support import checks
from bncore.support import progress as progress_module
from bncore.support.extras import require
from bncore.support.files import atomic_path, check_target
from bncore.support.progress import Progress

# ---- files


def write(path, text, force=False):
    with atomic_path(path, force) as temporary:
        temporary.write_text(text)


def test_a_file_appears_whole_under_its_name(tmp_path):
    target = tmp_path / "net.tar.gz"
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".tar.gz")
        temporary.write_text("x")
        assert not target.exists()
    assert target.read_text() == "x"
    assert os.listdir(tmp_path) == ["net.tar.gz"]


def test_an_error_leaves_the_old_file_and_no_temporary(tmp_path):
    target = tmp_path / "a.npz"
    write(target, "old")
    with pytest.raises(ZeroDivisionError), atomic_path(target, force=True) as temporary:
        temporary.write_text("half")
        1 / 0  # noqa: B018
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.npz"]


def test_nothing_is_overwritten_without_force(tmp_path):
    target = tmp_path / "a.npz"
    write(target, "old")
    with pytest.raises(FileExistsError, match=r"a\.npz: exists already.*--force"):
        write(target, "new")
    write(target, "new", force=True)
    assert target.read_text() == "new"


def test_a_file_that_appears_while_writing_is_not_overwritten(tmp_path):
    target = tmp_path / "a.npz"
    with pytest.raises(FileExistsError), atomic_path(target) as temporary:
        temporary.write_text("mine")
        target.write_text("theirs")
    assert target.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["a.npz"]


def test_permissions_are_those_of_any_new_file_or_of_the_old_one(tmp_path):
    plain, target = tmp_path / "plain", tmp_path / "a.npz"
    plain.write_text("")
    write(target, "x")
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    target.chmod(0o640)
    write(target, "y", force=True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real.npz").write_text("old")
    (tmp_path / "link.npz").symlink_to("real.npz")
    write(tmp_path / "link.npz", "new", force=True)
    assert (tmp_path / "real.npz").read_text() == "new"
    assert (tmp_path / "link.npz").is_symlink()


@pytest.mark.parametrize("call", [check_target, lambda path: write(path, "x")])
def test_impossible_targets_are_refused_before_the_work(tmp_path, call):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        call(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        call(tmp_path / "missing" / "a.npz")
    (tmp_path / "a.npz").write_text("")
    with pytest.raises(FileExistsError):
        call(tmp_path / "a.npz")


# ---- scalars


@pytest.mark.parametrize(
    ("check", "value", "result"),
    [
        (checks.positive_int, np.int32(3), 3),
        (checks.non_negative_int, 0, 0),
        (checks.finite, np.float32(-2.5), -2.5),
        (checks.positive, 3, 3.0),
        (checks.non_negative, 0, 0.0),
        (checks.fraction, 1, 1.0),
        (checks.boolean, np.True_, True),
    ],
)
def test_good_values_come_back_as_plain_python(check, value, result):
    got = check(value, "x")
    assert got == result
    assert type(got) is type(result)


@pytest.mark.parametrize(
    ("check", "value", "error"),
    [
        (checks.positive_int, 0, ValueError),
        (checks.positive_int, 2.0, TypeError),
        (checks.positive_int, True, TypeError),
        (checks.non_negative_int, -1, ValueError),
        (checks.finite, float("inf"), ValueError),
        (checks.finite, "1", TypeError),
        (checks.finite, None, TypeError),
        (checks.finite, True, TypeError),
        (checks.finite, np.ones(1), TypeError),
        (checks.finite, 1j, TypeError),
        (checks.positive, 0.0, ValueError),
        (checks.non_negative, float("nan"), ValueError),
        (checks.fraction, 1.01, ValueError),
        (checks.fraction, float("nan"), ValueError),
        (checks.boolean, 1, TypeError),
    ],
)
def test_bad_values_are_named(check, value, error):
    with pytest.raises(error, match="^lr must be"):
        check(value, "lr")


def test_tuples_and_choices():
    assert checks.int_tuple(3, "k", 2) == (3, 3)
    assert checks.int_tuple([1, 2], "k", 2) == (1, 2)
    with pytest.raises(ValueError, match=r"k must .*2 of them, got \(1, 2, 3\)"):
        checks.int_tuple((1, 2, 3), "k", 2)
    with pytest.raises(ValueError, match="k must be integers >= 1"):
        checks.int_tuple((0, 2), "k", 2, minimum=1)
    with pytest.raises(TypeError, match="k must be an integer"):
        checks.int_tuple("ab", "k", 2)
    assert checks.int_tuple(np.array([1, 2]), "k", 2) == (1, 2)
    for unordered in ({1, 2}, {1: 2, 3: 4}, iter([1, 2])):
        with pytest.raises(TypeError, match="k must be an integer, got"):
            checks.int_tuple(unordered, "k", 2)
    assert checks.one_of("a", "x", ("a", "b")) == "a"
    assert type(checks.one_of(np.int64(-1), "axis", (1, -1))) is int
    with pytest.raises(ValueError, match="x must be one of 'a', 'b', got 'c'"):
        checks.one_of("c", "x", ("a", "b"))
    with pytest.raises(TypeError, match="x must be one of 1, -1, got True"):
        checks.one_of(True, "x", (1, -1))


# ---- extras


def test_a_missing_package_names_the_extra():
    with pytest.raises(
        ImportError, match=r"'no_such_package'.*pip install \"bncore\[plot\]\""
    ) as error:
        require("no_such_package.sub", extra="plot")
    assert error.value.name == "no_such_package"


def test_a_broken_package_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_package_for_test.py").write_text("import another_missing_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="another_missing_package"):
        require("broken_package_for_test", "plot")


def test_a_package_that_is_there_is_returned():
    assert require("json", "plot") is sys.modules["json"]


# ---- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(stream, **options):
    with Progress(3, "epochs", stream=stream, **options) as progress:
        for _ in range(3):
            progress.step(loss=0.123456, note="x")
        progress.write("done")
    return stream.getvalue()


def test_without_a_terminal_there_are_plain_lines():
    lines = run(io.StringIO(), interval=0.0).splitlines()
    assert lines == [
        *(f"epochs {i}/3 loss 0.1235, note x" for i in (1, 2, 3)),
        "done",
    ]


def test_plain_lines_are_rare_but_the_last_is_always_there():
    lines = run(io.StringIO(), interval=1e9).splitlines()
    assert [line.split()[1] for line in lines[:-1]] == ["1/3", "3/3"]


def test_an_interrupted_loop_shows_where_it_stopped():
    stream = io.StringIO()
    with (
        pytest.raises(KeyboardInterrupt),
        Progress(100, "steps", stream=stream, interval=1e9) as progress,
    ):
        for _ in range(7):
            progress.step()
        raise KeyboardInterrupt
    assert stream.getvalue().splitlines()[-1] == "steps 7/100"


def test_silence_when_asked():
    assert run(io.StringIO(), show=False) == ""
    assert run(Terminal(), show=False) == ""


def test_a_terminal_gets_a_bar():
    pytest.importorskip("tqdm")
    text = run(Terminal())
    assert "epochs" in text
    assert "3/3" in text
    assert "loss 0.1235" in text


def test_a_bar_learns_of_a_total_that_is_known_late(monkeypatch):
    class Bar:
        total = None
        set_postfix_str = update = close = staticmethod(lambda *args, **options: None)

    bar = Bar()
    monkeypatch.setattr(progress_module, "_bar", lambda *_: bar)
    with Progress(label="x", stream=Terminal()) as progress:
        progress.total = 4
        progress.step()
    assert bar.total == 4


def test_a_terminal_without_tqdm_gets_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert "epochs 3/3" in run(Terminal())


def test_nothing_goes_to_stdout(capsys):
    with Progress(1, "x") as progress:
        progress.step()
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "x 1/1\n"

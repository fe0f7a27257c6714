"""How an experiment is run: names, seeds, progress."""

from __future__ import annotations

import inspect

import pytest

from bncore import lab
from bncore.lab.catalogue import find


@pytest.mark.parametrize("name", lab.NAMES)
def test_every_experiment_says_what_it_asks_and_how(name):
    module = find(name)
    assert lab.question(name).endswith("?") and len(module.SETTING) > 40
    assert module.__doc__.startswith(f"{name}: ")
    assert len(inspect.getsource(module).splitlines()) <= 150


def test_another_name_is_an_error():
    with pytest.raises(ValueError, match="name must be one of"):
        lab.run("sped")


@pytest.mark.parametrize("seeds", [0, -1, [], [1, 1], [-1]])
def test_seeds_are_judged(seeds, toys):
    with pytest.raises(ValueError, match="seeds"):
        lab.run(toys[0], seeds, progress=False)


def test_seeds_are_a_number_of_them_or_themselves(toys):
    assert lab.run(toys[0], 3, progress=False).seeds == (0, 1, 2)
    assert lab.run(toys[0], [7, 3], progress=False).seeds == (7, 3)


def test_progress_is_told(toys, capsys):
    lab.run(toys[0], 2)
    captured = capsys.readouterr()
    assert "toy-good 1/4" in captured.err and "toy-good 4/4" in captured.err
    assert captured.out == ""

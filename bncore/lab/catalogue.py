"""The experiments by name, in the order in which they are shown. Each is a module with QUESTION, SETTING and ``run``."""

from __future__ import annotations

import importlib
from types import ModuleType

from ..support import checks

__all__ = ["NAMES", "find", "question"]

NAMES = (
    "speed",
    "grid",
    "moving-averages",
    "whole-set",
    "population",
    "small-batch",
    "biased-batches",
    "grades",
    "online",
    "inputs",
    "dropout",
    "placement",
    "landscape",
    "residual",
    "sequences",
    "norms",
    "tail",
)


def find(name: str) -> ModuleType:
    """The module of an experiment.

    Raises
    ------
    ValueError
        If there is no experiment of this name.
    """
    checks.one_of(name, "name", NAMES)
    return importlib.import_module(f"{__package__}.experiments.{name.replace('-', '_')}")


def question(name: str) -> str:
    """What an experiment answers."""
    asked: str = find(name).QUESTION
    return asked

"""bncore: a Trainer as it is, one that goes layer by layer, and the folded net, in both layouts of images."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import numpy as np

import bncore as bn

from . import Contender, Makers, Missing
from .cases import LR, MOMENTUM, Case

LAYOUTS = {1: "", -1: " channels-last"}


def trainer(case: Case, axis: int, **options: Any) -> Any:
    optimizer = bn.SGD(lr=LR, momentum=MOMENTUM)
    return bn.Trainer(case.build(axis), optimizer=optimizer, **options)


def train(case: Case) -> Makers:
    ways: dict[str, dict[str, Any]] = {"bncore": {}}
    if "plan" in inspect.signature(bn.Trainer).parameters:
        ways["bncore layers"] = {"plan": False}
    return {
        way + LAYOUTS[axis]: partial(step, case, axis, options)
        for way, options in ways.items()
        for axis in case.axes
    }


def step(case: Case, axis: int, options: dict[str, Any]) -> Contender:
    made, (x, y) = trainer(case, axis, **options), case.data(axis)
    return Contender(lambda: made.step(x, y), float)


def infer(case: Case) -> Makers:
    ways = {"bncore layers": layers}
    if hasattr(bn, "compile"):
        ways = {"bncore": compiled, **ways}
    return {
        way + LAYOUTS[axis]: partial(make, case, axis)
        for way, make in ways.items()
        for axis in case.axes
    }


def layers(case: Case, axis: int) -> Contender:
    net, (x, _) = case.folded(axis), case.data(axis)
    return Contender(lambda: net(x), np.asarray)


def compiled(case: Case, axis: int) -> Contender:
    x, _ = case.data(axis)
    run = bn.compile(case.folded(axis), x.shape)
    return Contender(lambda: run(x), np.array)


def exact(case: Case) -> Any:
    """Outputs of the net with its norms, in float64."""
    state = case.trained().state_dict()
    double = case.build(dtype="float64").eval()
    double.load_state_dict({name: np.asarray(value, "f8") for name, value in state.items()})
    return double(case.data()[0].astype("f8"))


def profile(what: str, case: Case, axis: int) -> list[tuple[str, float]]:
    """(name, seconds) of the steps of a plan, medians of several runs.

    Raises
    ------
    Missing
        If this bncore does not measure them, or has no plan for this net.
    """
    arguments: tuple[Any, ...] = case.data(axis)
    if what == "train":
        made = trainer(case, axis)
    elif hasattr(bn, "compile"):
        arguments = arguments[:1]
        made = bn.compile(case.folded(axis), arguments[0].shape)
    else:
        raise Missing("this bncore has no bn.compile(), so there is no plan to profile")
    if not hasattr(made, "profile"):
        raise Missing(f"this bncore's {type(made).__name__} has no profile() to ask for its steps")
    for _ in range(3):
        made.step(*arguments) if what == "train" else made(*arguments)
    try:
        runs = [made.profile(*arguments) for _ in range(9)]
    except ValueError as error:
        raise Missing(str(error)) from error
    seconds = np.median([[s for _, s in run] for run in runs], axis=0)
    return [(name, float(s)) for (name, _), s in zip(runs[0], seconds)]

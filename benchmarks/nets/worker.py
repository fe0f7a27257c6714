"""A process that does one thing for a benchmark of nets and prints it as a line of JSON: a contest, a contender's memory, a profile.

Started by processes.py, which has limited its threads before anything here is imported.
"""

from __future__ import annotations

import json
import math
import sys
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from . import KINDS, OTHER_WORK, Contender, Makers, Missing, makers, ours
from .cases import Case
from .memory import measure
from .turns import QUICK, Call, Effort, in_turns

LIMIT = 1e-4
STEPS = 3
"""Of training, whose losses must agree: the gradients of the first ones decide the last."""

Row = dict[str, Any]
Values = Any  # losses, or outputs


def note(text: str) -> None:
    print(f"    {text}", file=sys.stderr, flush=True)


def contest(request: dict[str, Any], case: Case) -> Row:
    """Every contender's time and error; who could not take part, and why."""
    what = request["what"]
    row: Row = {"kinds": {}, "missing": {}, "failed": {}, "error": {}}
    calls: dict[str, Call] = {}
    values: dict[str, Values] = {}
    for kind in request["kinds"]:
        for name, make in find(kind, what, case, row).items():
            entered = enter(name, make, what, row)
            if entered is not None:
                calls[name], values[name] = entered
                row["kinds"][name] = kind
    reference = reference_of(what, case, values)
    checked = [name for name, kind in row["kinds"].items() if kind not in OTHER_WORK]
    row["error"] = {name: error_of(values[name], reference) for name in checked}
    row["wrong"] = [name for name, error in row["error"].items() if not error <= LIMIT]
    for name in row["wrong"]:
        note(f"{name} is WRONG: off by {row['error'][name]:.1e}")
    note("timing")
    times = in_turns(calls, QUICK if case.quick else Effort(rounds=request["rounds"]))
    for which in ("median", "min"):
        row[f"{which}_ms"] = {name: found[which] for name, found in times.items()}
    return row


def enter(
    name: str, make: Callable[[], Contender], what: str, row: Row
) -> tuple[Call, Values] | None:
    """What to time, and the values of its first calls; None for one that fails."""
    note(f"{name}: first calls")
    try:
        contender = make()
        return contender.call, first(what, contender)
    except Exception as error:
        if name.startswith("bncore"):
            traceback.print_exc()
        row["failed"][name] = f"{type(error).__name__}: {error}".splitlines()[0]
        note(f"{name} left out: {row['failed'][name]}")
        return None


def find(kind: str, what: str, case: Case, row: Row) -> Makers:
    try:
        return makers(kind, what, case)
    except Missing as error:
        row["missing"][kind] = str(error)
        note(f"{kind} left out: {error}")
        return {}


def first(what: str, contender: Contender) -> Values:
    """The losses of the first steps, or the outputs."""
    if what == "infer":
        return np.asarray(contender.read(contender.call()))
    return [contender.read(contender.call()) for _ in range(STEPS)]


def reference_of(what: str, case: Case, values: dict[str, Values]) -> Values:
    """Training: PyTorch's losses, or those of our Trainer without it. Inference: the net with its norms, in float64."""
    if what == "infer":
        return ours.exact(case)
    return values["torch"] if "torch" in values else next(iter(values.values()))


def error_of(found: Values, reference: Values) -> float:
    """The largest difference: of losses relative to each, of outputs relative to the largest."""
    found, reference = np.asarray(found), np.asarray(reference)
    if found.shape != reference.shape:
        return math.inf
    scale = np.abs(reference) if reference.ndim == 1 else np.abs(reference).max()
    return float(np.max(np.abs(found - reference) / scale))


def memory(request: dict[str, Any], case: Case) -> Row:
    return measure(makers(request["kind"], request["what"], case)[request["name"]])


def profile(request: dict[str, Any], case: Case) -> Row:
    """Our steps in every layout, or why there are none."""
    try:
        return {
            "steps": {
                f"axis {axis}": ours.profile(request["what"], case, axis) for axis in case.axes
            }
        }
    except Missing as error:
        return {"missing": str(error)}


JOBS: dict[str, Callable[[dict[str, Any], Case], Row]] = {
    "contest": contest,
    "memory": memory,
    "profile": profile,
}


def main() -> None:
    request = json.loads(sys.argv[1])
    assert set(request.get("kinds", ())) <= set(KINDS)
    case = Case(**request["case"])
    print(json.dumps(JOBS[request["job"]](request, case)), flush=True)


if __name__ == "__main__":
    main()

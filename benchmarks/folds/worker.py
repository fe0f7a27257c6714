"""A process with one tool in it: folds and judges model after model, one line of JSON in a file for
each step.

    python -m folds.worker TOOL FILE REPEATS MODEL...

It may crash or hang: processes.py knows from the last line in whose hands, and starts another one
for the rest.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import onnx

from tests.zoo import DEEP, MODELS, Entry
from tests.zoo.measures import Judge, counts, interface

from .tools import TOOLS, Fold

Row = dict[str, Any]
ALL = MODELS | DEEP
WRONG = 20.0
"""Times the unfolded model's own error from which on a result is wrong, not only less exact."""


def main() -> None:
    tool, file, repeats, *names = sys.argv[1:]
    with Path(file).open("a", encoding="utf-8", buffering=1) as out:

        def say(**line: Any) -> None:
            out.write(json.dumps(line) + "\n")

        try:
            fold = TOOLS[tool]()
        except ImportError as error:
            say(missing=first_line(error))
            return
        for name in names:
            say(model=name, stage="folding")
            row, model = folded(fold, ALL[name], int(repeats))
            if model is not None:
                say(model=name, stage="judging")
                row |= judged(ALL[name], model)
            say(model=name, row=row)


def folded(fold: Fold, entry: Entry, repeats: int) -> tuple[Row, onnx.ModelProto | None]:
    """The folded model, if there is one, and the median time of calls after the first; no more of
    them once a second is over.
    """
    data = entry.build().SerializeToString()
    times = []
    try:
        model = fold(onnx.load_from_string(data))
        while len(times) < repeats and sum(times) < 1:
            again = onnx.load_from_string(data)
            start = time.perf_counter()
            fold(again)
            times.append(time.perf_counter() - start)
    except Exception as error:
        return {"status": "failed", "why": first_line(error)}, None
    return {"ms": 1e3 * statistics.median(times)}, model


def judged(entry: Entry, model: onnx.ModelProto) -> Row:
    """What is left, and whether it is a model, the same one to a caller, and right."""
    try:
        onnx.checker.check_model(model, full_check=True)
        left, elementwise = counts(model)
        judge = Judge(entry)
        pairs = list(zip(judge.errors(model), judge.limits(), strict=True))
    except Exception as error:
        return {"status": "invalid", "why": first_line(error)}
    original = entry.build()
    row: Row = {
        "norms": left,
        "added": elementwise - counts(original)[1],
        "ratio": max(2 * error / limit for error, limit in pairs),
    }
    if row["ratio"] > WRONG:
        return row | {"status": "wrong"}
    if row["ratio"] > 2:
        return row | {"status": "less exact"}
    kept = ["inputs", "outputs", "metadata", *(["defaults"] if original.ir_version >= 4 else [])]
    before, after = interface(original), interface(model)
    changed = [what for what in kept if before[what] != after[what]]
    if changed:
        return row | {"status": "other interface", "why": f"{', '.join(changed)} changed"}
    return row | {"status": "right"}


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200]


if __name__ == "__main__":
    main()

"""Folding of ONNX models: bncore, ONNX Runtime's basic optimizer, onnxoptimizer, onnxslim,
onnxscript, on the zoo of tests/zoo.

For every model: norms left, element-wise nodes added, whether the result is valid (full check,
loads), has the same interface and is as exact as the unfolded model was, and the time. Every tool
is in a process of its own, a new one after a crash or a minute without an answer: that is a result.
Returns 1 if a model of ours is not right, or not at its minimum.

    python benchmarks/bench_fold.py --json benchmarks/results/fold.json    then    python benchmarks/table.py --table fold
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for tests.zoo

from folds import figures, tables
from folds.processes import Missing, fold_all
from folds.tools import TOOLS, versions
from timing import save

from tests.zoo import DEEP, MODELS
from tests.zoo.measures import counts

ALL = MODELS | DEEP


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--tools", nargs="+", choices=tuple(TOOLS), default=list(TOOLS))
    parser.add_argument("--models", nargs="+", choices=tuple(ALL), default=list(ALL))
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for a model")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls for a model")
    args = parser.parse_args()
    results: dict[str, Any] = {
        "models": {name: described(name) for name in args.models},
        "versions": versions(),
        "cases": [],
        "missing": {},
    }
    for tool in args.tools:
        print(f"{tool}: {len(args.models)} models", file=sys.stderr, flush=True)
        try:
            rows = fold_all(tool, args.models, timeout=args.timeout, repeats=args.repeats)
        except Missing as missing:
            print(f"{tool} is missing: {missing}", file=sys.stderr)
            results["missing"][tool] = str(missing)
            continue
        results["cases"] += [{"tool": tool, "model": name, **rows[name]} for name in args.models]
    save(args.json, **results)
    print("\n".join([*tables.summaries(results), "", *tables.details(results)]))
    return int(any(not figures.at_minimum(*pair) for pair in figures.of_tool(results, "bncore")))


def described(name: str) -> dict[str, Any]:
    """What is known of a model before anything folds it."""
    minimum = ALL[name].minimum
    return {
        "name": name,
        "norms": counts(ALL[name].build())[0],
        "deep": name in DEEP,
        "minimum": minimum.norms,
        "minimum_added": minimum.added,
        "why": minimum.why,
    }


if __name__ == "__main__":
    sys.exit(main())

"""Damages model files and looks at what `bncore fold` makes of them: mutated, truncated, with absurd fields.

Whatever the file: no traceback, no hang, no partial output; exit code 2 with one line on stderr, or 0 or 1 if the model still
is one. Everything runs in this process, by one seed. Not a test of what folding computes.

    python tools/fuzz_files.py MODEL.onnx [MODEL.safetensors ...] --count 2000 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[list[str]], int]
SIZES = (-1, 0, 1, 7, 255, 1 << 20, 1 << 31, 1 << 40, (1 << 62) + 3, -(1 << 60))


class Hang(BaseException):
    """Passes through `except Exception`."""


@dataclass
class Report:
    """How the runs ended, and which ended badly."""

    codes: Counter[int] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    slowest: float = 0.0


def fuzz(
    seeds: Sequence[Path],
    run: Run,
    *,
    count: int,
    seed: int = 0,
    timeout: float = 30.0,
    options: Sequence[str] = (),
    keep: Path | None = None,
) -> Report:
    """Damage the files in turn and run ``["fold", IN, OUT, *options]`` on each; problems' files are kept in ``keep``."""
    report = Report()
    originals = [path.read_bytes() for path in seeds]
    for number in range(count):
        at = number % len(seeds)
        rng = np.random.default_rng([seed, number])
        name, data = damaged(originals[at], seeds[at].suffix, rng)
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "in", f"damaged{seeds[at].suffix}")
            shutil.copytree(seeds[at].parent, source.parent)  # external data comes along
            source.write_bytes(data)
            found = one(source, Path(folder, "out"), run, options, timeout, report)
            if found:
                report.problems.append(f"number {number} ({seeds[at].name}, {name}): {found}")
                if keep is not None:
                    keep.mkdir(exist_ok=True, parents=True)
                    shutil.copy(source, keep / f"{number}{source.suffix}")
    return report


def one(
    source: Path, folder: Path, run: Run, options: Sequence[str], timeout: float, report: Report
) -> str:
    """What is wrong with one run; empty if nothing is."""
    folder.mkdir()
    out, data = folder / f"out{source.suffix}", source.read_bytes()
    start = time.perf_counter()
    try:
        with captured() as said, time_limit(timeout):
            code = run(["fold", str(source), str(out), *options])
    except Hang:
        return f"no end after {timeout:g} s"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    report.slowest = max(report.slowest, seconds)
    report.codes[code] += 1
    stdout, stderr = said()
    left = sorted(path.name for path in folder.iterdir())
    if seconds > timeout:
        return f"took {seconds:.1f} s"
    if source.read_bytes() != data:
        return "wrote to its input"
    if code == 2:
        report.lines[stderr.partition(": ")[2].partition(": ")[2].strip()[:60]] += 1
        return judge_refusal(stdout, stderr, left)
    if code == 1:
        return f"code 1, but {left} are there" if left else ""
    if code != 0:
        return f"exit code {code}: {stderr.strip()[:300]}"
    return "" if out.name in left and not strange(left, out.name) else f"code 0 leaves {left}"


def judge_refusal(stdout: str, stderr: str, left: list[str]) -> str:
    if left:
        return f"code 2, but {left} are there"
    if stdout or len(stderr.splitlines()) != 1 or len(stderr) > 1000:
        return f"code 2 is not one line: {stdout[:200]!r} {stderr[:400]!r}"
    return ""


def strange(left: list[str], name: str) -> list[str]:
    return [entry for entry in left if entry not in (name, f"{name}.data")]


def damaged(data: bytes, suffix: str, rng: np.random.Generator) -> tuple[str, bytes]:
    """The name of a kind of damage, and the file with it."""
    if suffix == ".onnx" and rng.random() < 0.5:
        return damaged_fields(data, rng)
    kind = ("truncated", "bits", "run", "deleted", "doubled", "inserted", "zeroed", "header")[
        rng.integers(8)
    ]
    changed = bytearray(data)
    at = int(rng.integers(len(data)))
    end = at + int(2 ** rng.uniform(0, 9))
    if kind == "truncated":
        del changed[at:]
    elif kind == "bits":
        for place in rng.integers(0, len(data), rng.integers(1, 9)):
            changed[place] ^= 1 << int(rng.integers(8))
    elif kind == "run":
        changed[at:end] = rng.bytes(len(changed[at:end]))
    elif kind == "deleted":
        del changed[at:end]
    elif kind == "doubled":
        changed[at:at] = changed[at:end]
    elif kind == "inserted":
        changed[at:at] = rng.bytes(end - at)
    elif kind == "zeroed":
        changed[at:end] = bytes(len(changed[at:end]))
    else:  # where formats keep lengths and names
        for place in rng.integers(0, min(200, len(data)), rng.integers(1, 5)):
            changed[place] = int(rng.integers(256))
    return kind, bytes(changed)


def damaged_fields(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Still protobuf, no longer sense: one to three fields of random messages change."""
    import onnx

    from bncore.folding.onnx.protos import messages

    model = onnx.ModelProto.FromString(data)
    names = []
    for _ in range(int(rng.integers(1, 4))):
        parts = [part for part in messages(model) if part.ListFields()]
        part = parts[rng.integers(len(parts))]
        fields = part.ListFields()
        entry, value = fields[rng.integers(len(fields))]
        names.append(f"{part.DESCRIPTOR.name}.{entry.name}")
        damage_field(part, entry.name, value, rng)
    return " ".join(names), model.SerializeToString()


def damage_field(part: Any, name: str, value: Any, rng: np.random.Generator) -> None:
    size = SIZES[rng.integers(len(SIZES))]
    if isinstance(value, str):
        words = ("", "x", "Relu", "Loop", "../secret", "/etc/passwd", "A" * 5000, "y", "c0")
        setattr(part, name, words[rng.integers(len(words))])
    elif isinstance(value, bytes):
        setattr(part, name, value[: int(rng.integers(len(value) + 1))])
    elif isinstance(value, (bool, int)):
        with contextlib.suppress(ValueError):
            setattr(part, name, size)
    elif isinstance(value, float):
        setattr(part, name, (float("nan"), float("inf"), -1.0, 0.0, 1e30)[rng.integers(5)])
    elif hasattr(value, "ListFields") or rng.random() < 0.4:
        part.ClearField(name)
    elif len(value):
        damage_item(value, rng, size)


def damage_item(values: Any, rng: np.random.Generator, size: int) -> None:
    at = int(rng.integers(len(values)))
    if hasattr(values[at], "ListFields"):
        if rng.random() < 0.5:
            values.add().CopyFrom(values[at])
        else:
            del values[at]
    elif isinstance(values[at], int):
        with contextlib.suppress(ValueError):
            values[at] = size
    elif rng.random() < 0.5:
        values.append(values[at])
    else:
        values[at] = values[int(rng.integers(len(values)))]


@contextlib.contextmanager
def captured() -> Iterator[Callable[[], tuple[str, str]]]:
    """All that goes to stdout and stderr, from C++ too."""
    out, err = io.StringIO(), io.StringIO()
    saved = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as native_out, tempfile.TemporaryFile() as native_err:
        texts: list[str] = []
        try:
            os.dup2(native_out.fileno(), 1)
            os.dup2(native_err.fileno(), 2)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                yield lambda: (out.getvalue() + texts[0], err.getvalue() + texts[1])
        finally:
            for target, copy in zip((1, 2), saved):
                os.dup2(copy, target)
                os.close(copy)
            for file in (native_out, native_err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Python is interrupted; native code that never returns ends the process, with where it was."""

    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(4 * seconds, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".onnx or .safetensors")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for one file")
    parser.add_argument("--keep", type=Path, help="a folder for the files that cause problems")
    args = parser.parse_args()
    from bncore.cli import main as bncore

    warnings.simplefilter("ignore")
    report = fuzz(
        args.files,
        bncore,
        count=args.count,
        seed=args.seed,
        timeout=args.timeout,
        options=("--quiet",),
        keep=args.keep,
    )
    show(report)
    return 1 if report.problems else 0


def show(report: Report) -> None:
    print(f"exit codes: {dict(sorted(report.codes.items()))}; slowest {report.slowest:.1f} s")
    for line, times in report.lines.most_common(20):
        print(f"{times:6d}  {line}")
    for problem in report.problems:
        print(f"PROBLEM {problem}")


if __name__ == "__main__":
    raise SystemExit(main())

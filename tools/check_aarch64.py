"""Does the C core build for aarch64, with vectors in its hot loops, and compute right there?

Cross-compiles src_c with the flags of setup.py, warnings being errors; counts vector and scalar arithmetic in the innermost
loops of the norms' kernels; runs tests/c/test_norms.c under emulation. Needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross
and qemu-user: what is missing is said and left out. Not a measurement of speed.

    python tools/check_aarch64.py [--host]       --host: the same for this machine's compiler and processor
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = "gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
# Kernels that walk whole arrays; the other norm_* and group_* files walk channels.
HOT = (
    "norm_normalize",
    "norm_input_gradient",
    "norm_gradient_sums",
    "norm_moments",
    "rows_normalize",
    "rows_gradient",
    "rows_statistics",
    "group_input_gradient",
)
VECTOR = re.compile(r"\bv\d+\.(4s|2d)")
ARITHMETIC = re.compile(r"f(n?m?add|n?m?sub|n?mul|mla|mls|div|sqrt|max|min)")
BRANCH = re.compile(r"(b\.\w+|b|cbn?z|tbn?z)$")


def flags_of_setup() -> list[str]:
    """COMMON of setup.py, read, not run."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "COMMON":
            flags: list[str] = ast.literal_eval(node.value)
            return flags
    raise SystemExit("setup.py has no COMMON")


def compile_all(cc: str, out: Path) -> dict[str, list[Path]]:
    """Objects by source, every one in both dtypes but the runtime's; a warning ends it."""
    flags = [*flags_of_setup(), "-Werror", "-O3", "-fPIC", f"-I{ROOT / 'src_c'}"]
    jobs = []
    for source in sorted((ROOT / "src_c").glob("*/*.c")):
        defines = [["-fopenmp"]]
        if source.parent.name != "runtime":
            isa = ["-DBNC_ISA=generic"] if source.parent.name == "kernels" else []
            defines = [[*isa, f"-DBNC_F64={f64}"] for f64 in (0, 1)]
        for number, more in enumerate(defines):
            name = f"{source.parent.name}_{source.stem}_{number}.o"
            jobs.append((source, [cc, *flags, *more, "-c", str(source), "-o", str(out / name)]))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda job: subprocess.run(job[1], check=False).returncode, jobs))
    if any(results):
        raise SystemExit("it does not compile cleanly")
    objects: dict[str, list[Path]] = {}
    for source, command in jobs:
        objects.setdefault(f"{source.parent.name}/{source.stem}", []).append(Path(command[-1]))
    print(f"{len(jobs)} objects compiled without a warning")
    return objects


def functions(objdump: str, path: Path) -> list[list[tuple[int, str, str]]]:
    """Per function its instructions: (address, operation, operands)."""
    command = [objdump, "-d", "--no-show-raw-insn", str(path)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: list[list[tuple[int, str, str]]] = []
    for line in text.splitlines():
        if re.match(r"[0-9a-f]+ <.+>:", line):
            found.append([])
        elif match := re.match(r"\s*([0-9a-f]+):\s+(\S+)\s*(.*)", line):
            found[-1].append((int(match[1], 16), match[2], match[3]))
    return found


def innermost_loops(code: list[tuple[int, str, str]]) -> list[list[tuple[int, str, str]]]:
    """From the target of a backward branch to the branch, where no other such lies within."""
    at = {address: i for i, (address, _, _) in enumerate(code)}
    loops = set()
    for i, (_, operation, operands) in enumerate(code):
        target = re.search(r"([0-9a-f]+) <", operands) if BRANCH.match(operation) else None
        if target and at.get(int(target[1], 16), i + 1) <= i:
            loops.add((at[int(target[1], 16)], i))
    return [
        code[a : b + 1]
        for a, b in sorted(loops)
        if not any((c, d) != (a, b) and a <= c and d <= b for c, d in loops)
    ]


def arithmetic(loop: list[tuple[int, str, str]]) -> tuple[int, int]:
    """Floating-point instructions on vectors and on single values."""
    operands = [args for _, operation, args in loop if ARITHMETIC.match(operation)]
    vectors = sum(bool(VECTOR.search(args)) for args in operands)
    return vectors, len(operands) - vectors


def check_vectors(objdump: str, objects: dict[str, list[Path]]) -> bool:
    """In every hot file loops on vectors must outweigh those on single values, which are the ends of rows."""
    good = True
    print(f"{'kernels (float32, float64)':32s} vector loops (instructions)    scalar loops")
    for name in (
        f"kernels/{stem}" for stem in sorted(p.stem for p in ROOT.glob("src_c/kernels/*.c"))
    ):
        for path in objects[name]:
            loops = [
                arithmetic(x) for code in functions(objdump, path) for x in innermost_loops(code)
            ]
            vector = [v for v, _ in loops if v]
            scalar = [s for v, s in loops if s and not v]
            hot = name.partition("/")[2].startswith(HOT)
            bad = hot and sum(vector) <= sum(scalar)
            good = good and not bad
            if hot:
                print(
                    f"{name:32s} {len(vector):5d} ({sum(vector):4d}) {len(scalar):15d} ({sum(scalar):4d})"
                    + ("  NOT VECTORIZED" if bad else "")
                )
    return good


def run_test(cc: str, emulator: list[str], objects: dict[str, list[Path]], out: Path) -> bool:
    program, source = out / "test_norms", ROOT / "tests/c/test_norms.c"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'src_c'}"]
    every = [str(path) for paths in objects.values() for path in paths]
    static = ["-static"] if emulator else []  # the emulator then needs no foreign libraries
    command = [cc, *flags, *static, str(source), *every, "-fopenmp", "-lm", "-o", str(program)]
    linked = subprocess.run(command, check=False, capture_output=True, text=True)
    if linked.returncode:
        print(linked.stderr)
        return False
    return subprocess.run([*emulator, str(program)], check=False).returncode == 0


def tool(*names: str) -> str:
    """The first of these programs there is, or ""."""
    return next((path for path in map(shutil.which, names) if path), "")


def arguments() -> Any:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", action="store_true", help="this machine instead of aarch64")
    return parser.parse_args()


def main() -> int:
    host = arguments().host
    cc = tool("cc", "gcc") if host else tool("aarch64-linux-gnu-gcc")
    if not cc:
        print(f"skipped: no compiler for aarch64 (apt-get install {PACKAGES})")
        return 0
    objdump = "" if host else tool("aarch64-linux-gnu-objdump")
    emulator = "" if host else tool("qemu-aarch64", "qemu-aarch64-static")
    with tempfile.TemporaryDirectory() as folder:
        objects = compile_all(cc, Path(folder))
        good = check_vectors(objdump, objects) if objdump else True
        if host or emulator:
            good &= run_test(cc, [emulator] if emulator else [], objects, Path(folder))
        else:
            print(f"not run: no emulator for aarch64 (apt-get install {PACKAGES})")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())

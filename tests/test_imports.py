"""The order of the house: who may import whom, what `import bncore` brings along, where OpenMP is named.

Reads the sources; does not judge what the code does.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bncore

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bncore"

# From the bottom up. A unit may import units of lower floors and itself; units of one floor do not import each other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("support",),
    ("_native",),
    ("backend",),
    ("functional", "pool", "thread_limits", "winograd"),
    ("layers",),
    ("nets",),
    ("plan",),
    ("training",),
    ("statistics",),
    ("folding", "io", "lab"),
    ("cli",),
    ("__main__",),
)
FLOOR = {unit: height for height, units in enumerate(FLOORS) for unit in units}
OPTIONAL = (
    "sklearn",
    "scipy",
    "matplotlib",
    "tqdm",
    "torch",
    "onnx",
    "safetensors",
    "mpi4py",
    "pandas",
    "threadpoolctl",
)


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def unit_of(path: Path) -> str:
    """The part of the house a file belongs to: the name right below `bncore`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_module(dotted: str) -> bool:
    path = ROOT.joinpath(*dotted.split("."))
    return path.is_dir() or path.with_suffix(".py").exists() or path.with_suffix(".pyx").exists()


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute name) of everything a file imports, inside functions too."""
    package = ("bncore", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                # `from .. import backend` is an arrow to bncore.backend, not to the root
                name = f"{origin}.{alias.name}"
                yield (
                    node.lineno,
                    name if origin.startswith("bncore") and is_module(name) else origin,
                )


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down_the_house(path: Path) -> None:
    unit = unit_of(path)
    if unit == "__init__":
        return  # the root hands out names lazily; the next test sees that it imports nothing at once
    assert unit in FLOOR, (
        f"bncore/{unit} has no floor in the house: give it one here and in ARCHITECTURE.md"
    )
    wrong = []
    for line, name in imported(ast.parse(path.read_text()), path):
        parts = name.split(".")
        if parts[0] != "bncore" or len(parts) == 1:
            continue  # `from .. import __version__`
        target = parts[1]
        if target != unit and FLOOR.get(target, len(FLOORS)) >= FLOOR[unit]:
            wrong.append(f"line {line}: {unit} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_the_root_imports_nothing_of_the_package_at_once() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    at_once = [
        ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert not [line for line in at_once if "bncore" in line or re.match(r"from \.", line)]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_optional_packages_are_imported_where_they_are_used(path: Path) -> None:
    """At the top of a file only the standard library, NumPy and bncore itself."""
    tree = ast.parse(path.read_text())
    later = {  # run when called, or never
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or is_type_checking(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)) or id(node) in later:
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            continue
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
        for name in names:
            top = name.partition(".")[0]
            assert top in sys.stdlib_module_names or top in ("numpy", "bncore"), (
                f"line {node.lineno}: {name}"
            )


@pytest.mark.parametrize(
    "statement",
    [
        "import bncore",
        "import bncore.functional, bncore.layers, bncore.nets",
        "import bncore.training, bncore.statistics, bncore.folding, bncore.io",
        "import bncore.cli",
    ],
)
def test_importing_loads_nothing_optional(statement: str) -> None:
    script = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded.intersection(OPTIONAL)


def test_only_one_file_starts_threads() -> None:
    """OpenMP is named in src_c/runtime/openmp.c alone; `omp simd` asks for vectors, not threads."""
    naming = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "src_c").rglob("*.[ch]")
        if re.search(
            r"#\s*include\s*<omp\.h>|\bomp_[a-z]+_[a-z]+\s*\(|#\s*pragma\s+omp\s+(?!simd)",
            path.read_text(),
        )
    }
    assert naming <= {"src_c/runtime/openmp.c"}


def test_every_public_name_is_found_and_every_layer_is_public() -> None:
    import bncore as bn

    assert dir(bn) == sorted(bn.__all__)
    for name in bn.__all__:
        assert getattr(bn, name) is not None
    made = {n for n in bn.layers.__all__ if isinstance(getattr(bn.layers, n), type)}
    assert made - set(bn.__all__) == {"LoadReport", "Parameter"}


def test_type_checkers_see_every_public_name():
    """`bncore/__init__.pyi` imports each name from where `bncore/__init__.py` finds it."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    stated = {
        alias.asname: f"bncore.{node.module}" if node.module else ""
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert stated == bncore._HOME

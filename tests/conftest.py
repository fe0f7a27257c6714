"""Fixtures of the whole suite: every test that asks for ``backend`` runs on each one this machine has.

The suite refuses to run on NumPy alone when the compiled extension was meant to be there: a plain install leaves the
source folder, which pytest imports from a checkout, without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from bncore import backend as backends

# The same examples in every run: a gate must not depend on luck. BNCORE_EXPLORE=1 looks for new ones.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
if os.environ.get("BNCORE_EXPLORE") != "1":
    hypothesis.settings.load_profile("same")

MISSING = """the compiled extension is missing from the package under test ({path}), so these tests would only see NumPy.
Run `python -m pip install -e ".[test]"` in the checkout (a plain install puts the extension elsewhere), or set
BNCORE_BACKEND=numpy to test the NumPy twin on purpose."""


def pytest_configure(config: pytest.Config) -> None:
    on_purpose = os.environ.get("BNCORE_BACKEND") == "numpy"
    built_without = backends.build_info().get("extension") is False
    if "native" not in backends.available() and not on_purpose and not built_without:
        pytest.exit(
            MISSING.format(path=os.path.dirname(os.path.dirname(backends.__file__))), returncode=4
        )


# Folding of other programs' models and builds never reach the core; that benchmarks and the README's commands run at all is
# seen once: the run that leaves the choice of backend alone has these tests. (.ci/run has the lab in NumPy.)
ONCE = (
    "folding/onnx",
    "folding/onnx_files",
    "folding/state",
    "folding/test_random_onnx_graphs.py",
    "folding/test_torch_exports.py",
    "folding/test_zoo.py",
    "folding/test_zoo_itself.py",
    "lab/test_experiments.py",
    "runtime/test_build.py",
    "test_benchmarks.py",
    "test_docs.py",
    "test_fold_benchmark.py",
)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Nothing that would run the same again with BNCORE_BACKEND or BNCORE_ISA; None leaves the rest to pytest."""
    chosen = os.environ.get("BNCORE_BACKEND") or os.environ.get("BNCORE_ISA")
    tests = Path(__file__).parent
    return True if chosen and any(collection_path == tests / name for name in ONCE) else None


def _variants() -> list[str]:
    """numpy, and the instruction sets to test; environment variables that choose narrow the list."""
    if "native" not in backends.available() or os.environ.get("BNCORE_BACKEND") == "numpy":
        return ["numpy"]
    from bncore.backend import native

    chosen = os.environ.get("BNCORE_ISA")
    return ["numpy", *([chosen] if chosen else native.available_isas())]


@pytest.fixture(params=_variants())
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs with this backend (an instruction set's name means native with its kernels)."""
    if request.param == "numpy":
        with backends.use_backend("numpy"):
            yield "numpy"
        return
    from bncore.backend import native

    before = native.isa
    native.use_isa(request.param)
    try:
        with backends.use_backend("native"):
            yield request.param
    finally:
        native.use_isa(before)


@pytest.fixture
def native() -> Iterator[None]:
    """For tests that only make sense with the compiled core."""
    if "native" not in backends.available() or os.environ.get("BNCORE_BACKEND") == "numpy":
        pytest.skip("needs the compiled extension")
    with backends.use_backend("native"):
        yield


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    return np.dtype(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20150211)

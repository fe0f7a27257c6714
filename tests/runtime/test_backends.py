"""The two backends are twins; what decides between them, and between instruction sets, says so."""

from __future__ import annotations

import ast
import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import bncore as bn
from bncore import backend as backends
from bncore import functional as F


def operations(module: ModuleType) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(f)
        for name, f in vars(module).items()
        if callable(f) and not inspect.isclass(f) and not name.startswith("_")
    }


# What only the core has.
CORE_ONLY = {
    "use_isa",
    "isa_names",
    "available_isas",
    "select_isa",
    "norm_plan",
    "rows_plan",
    "group_plan",
    "caches",
    "set_in_force",
    "front",
    "has_openmp",
    "set_winograd",
    "unchanged",
    "workspace",
    "winograd_allowed",
    "thread_limit",
    "thread_statistics",
    "set_cpu_quota",
    "force_threads",
    "pool_statistics",
    "pool_trim",
    "pool_set_bound",
}


def test_twins_have_the_same_functions_and_arguments(native):
    from bncore.backend import native as core

    ours, theirs = operations(core), operations(backends.numpy)
    assert set(ours) - CORE_ONLY == set(theirs)
    for name in set(ours) & set(theirs):
        assert list(ours[name].parameters) == list(theirs[name].parameters), name


def test_the_stub_describes_the_extension(native):
    from bncore import _native

    stub = ast.parse((Path(bn.__file__).parent / "_native.pyi").read_text())
    described = {
        node.name: [argument.arg for argument in node.args.args]
        for node in stub.body
        if isinstance(node, ast.FunctionDef)
    }
    functions = {name for name in _native.__all__ if not inspect.isclass(getattr(_native, name))}
    for name in functions:
        assert described[name] == list(inspect.signature(getattr(_native, name)).parameters), name
    assert set(described) == functions


FRONTS = [F.batch_norm, F.batch_norm_backward, F.batch_renorm, bn.BatchNorm.forward]


@pytest.mark.parametrize("front", FRONTS, ids=lambda front: front.__qualname__)
def test_a_compiled_front_has_the_signature_of_what_stands_behind(native, front):
    behind = inspect.signature(front.__wrapped__).parameters
    compiled = inspect.signature(front, follow_wrapped=False).parameters
    for a, b in zip(compiled.values(), behind.values(), strict=True):
        assert (a.name, a.kind, a.default) == (b.name, b.kind, b.default)
    for name in ("__name__", "__qualname__", "__doc__"):
        assert getattr(front, name) == getattr(front.__wrapped__, name)


def test_a_front_computes_only_while_its_backend_is_in_force(native, rng):
    x = rng.standard_normal((4, 3))
    with bn.use_backend("native"):
        assert type(F.batch_norm(x)[1]) is backends.native_module().NormSaved
    with bn.use_backend("numpy"):
        assert type(F.batch_norm(x)[1]) is backends.numpy.NormSaved


OPTIONS: list[dict] = [
    {},
    {"activation": "relu"},
    {"affine": False},
    {"track_running_stats": False},
    {"momentum": None},
    {"zero_debias": True},
    {"frozen": True},
    {"statistics": "moving"},
    {"ghost_batch_size": 4},
    {"axis": -1, "eps": 1e-3, "unbiased": False, "momentum": 0.3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("how", ["train", "eval", "eval with backward"])
def test_a_layer_does_the_same_with_its_front_and_without(native, rng, options, how):
    x, dy, residual = rng.standard_normal((3, 8, 5, 5)).astype(np.float32)
    layers = [bn.BatchNorm(5, **options) for _ in range(2)]
    forwards = [bn.BatchNorm.forward, bn.BatchNorm.forward.__wrapped__]
    for layer in layers:
        layer.train() if how == "train" else layer.eval(backward=how != "eval")
    with bn.use_backend("native"):
        for given in (
            {},
            {"residual": residual},
            {"activation": "relu"},
            {"mask": np.arange(8) % 3 > 0},
        ):
            ys = [forward(layer, x, **given) for forward, layer in zip(forwards, layers)]
            assert np.array_equal(*ys)
            assert [layer._saved is None for layer in layers] == 2 * [how == "eval"]
            if how != "eval":
                assert all(map(np.array_equal, *(layer.backward(dy) for layer in layers)))
            assert all(map(np.array_equal, *(layer.state_dict().values() for layer in layers)))


def test_the_front_of_a_layer_sees_what_is_set_on_it_later(native, rng):
    x = rng.standard_normal((16, 3))
    with bn.use_backend("native"):
        for name, value in {
            "eps": 0.5,
            "momentum": 0.9,
            "activation": "relu",
            "frozen": True,
        }.items():
            layer, plain = (bn.BatchNorm(3, dtype=np.float64) for _ in range(2))
            setattr(layer, name, value)
            layer(x), plain(x)
            changed = not np.array_equal(layer(x), plain(x))
            assert changed or not np.array_equal(layer.running_mean, plain.running_mean), name


def child(code, **environment):
    env = {k: v for k, v in os.environ.items() if k not in ("BNCORE_BACKEND", "BNCORE_ISA")}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=env | environment,
        check=False,
        timeout=120,
    )


def test_the_environment_chooses_the_backend():
    code = "import bncore as bn; print(bn.info()['backend'])"
    assert child(code, BNCORE_BACKEND="numpy").stdout == "numpy\n"
    bad = child(code, BNCORE_BACKEND="cuda")
    assert "BNCORE_BACKEND must be numpy or native, got 'cuda'" in bad.stderr


def test_the_environment_chooses_the_instruction_set(native):
    code = "import bncore as bn; print(bn.info()['isa'])"
    for isa in bn.info()["available_isas"]:
        assert child(code, BNCORE_ISA=isa).stdout == f"{isa}\n"
    bad = child(code, BNCORE_ISA="sse9")
    assert "BNCORE_ISA: instruction set must be one of" in bad.stderr


def test_the_best_instruction_set_is_the_default(native):
    code = "import json, bncore as bn; print(json.dumps(bn.info()))"
    info = json.loads(child(code).stdout)
    assert info["isa"] == info["available_isas"][-1]


def test_use_backend_switches_and_restores():
    before = bn.info()["backend"]
    with bn.use_backend("numpy"):
        assert bn.info()["backend"] == "numpy"
        with pytest.raises(RuntimeError, match="inside"), bn.use_backend("numpy"):
            raise RuntimeError("inside")
    assert bn.info()["backend"] == before
    with (
        pytest.raises(ValueError, match="backend must be one of .*'torch'"),
        bn.use_backend("torch"),
    ):
        pass


def test_instruction_sets_agree(native, dtype, rng):
    from bncore.backend import native as core

    x = rng.standard_normal((50, 37, 9)).astype(dtype)
    before = core.isa
    try:
        results = []
        for isa in core.available_isas():
            core.use_isa(isa)
            results.append(F.batch_norm(x)[0])
    finally:
        core.use_isa(before)
    for r in results[1:]:
        np.testing.assert_allclose(
            r, results[0], rtol=0, atol=8 * np.finfo(dtype).eps * np.max(np.abs(results[0]))
        )


def test_importing_sets_no_rounding_mode(native):
    """Linking with fast-math start-up code would flush denormals to zero for the whole process."""
    code = "import numpy as np, bncore.backend; print(float(np.float64(5e-324) * np.float64(1.0)) > 0, np.float32(1e-40) * np.float32(1) > 0)"
    assert child(code).stdout == "True True\n"


def test_a_missing_extension_falls_back_and_says_so():
    """Without the extension the package works on NumPy, and info tells why."""
    code = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == "bncore._native":
            raise ModuleNotFoundError("hidden", name=name)
sys.meta_path.insert(0, Hide())
import numpy as np, bncore as bn
from bncore import functional as F
F.batch_norm(np.random.rand(4, 3))
print(bn.info()["backend"], bool(bn.info()["reason"]), bn.pool.statistics(), bn.pool.trim())
"""
    done = child(code)
    assert done.stdout == "numpy True {} 0\n", done.stderr
    wanted = child(
        code.replace(
            "import numpy as np, bncore",
            "import os; os.environ['BNCORE_BACKEND']='native'\nimport numpy as np, bncore",
        )
    )
    assert "BNCORE_BACKEND=native: no compiled extension" in wanted.stderr


def test_a_checkout_without_its_extension_warns(tmp_path):
    """After a plain install, Python started in the checkout finds the sources first: slow, so it says so."""
    package = Path(bn.__file__).parent
    compiled = shutil.ignore_patterns("*.so", "_build_info.json", "_native.c", "__pycache__")
    shutil.copytree(package, tmp_path / "bncore", ignore=compiled)
    code = f"""
import sys
# that of an editable install would find the extension of its own checkout
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in finder.__module__]
sys.path.insert(0, {str(tmp_path)!r})
import bncore.backend
"""
    assert "its extension was never compiled: NumPy computes" in child(code).stderr
    assert child(code, BNCORE_BACKEND="numpy").stderr == ""

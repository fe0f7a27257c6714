"""`bncore fold` and `bncore inspect` on ONNX files, with the engine itself: nothing stands in for anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from bncore.cli import main
from bncore.folding.onnx.fold_file import Options, fold_file
from bncore.folding.onnx.inspect import inspect_model

from . import models

TOOLS = Path(__file__).resolve().parents[3] / "tools"


def run(capfd: Any, *argv: object) -> tuple[int, str, str]:
    capfd.readouterr()
    code = main([str(arg) for arg in argv])
    return (code, *capfd.readouterr())


@pytest.mark.parametrize("external", [False, True], ids=["one file", "external data"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_all_norms_go_and_folding_again_changes_nothing(
    capfd: Any, tmp_path: Path, external: bool, dtype: Any
) -> None:
    model = models.conv_net(3, 16, dtype=dtype)
    path = (models.save_external if external else models.save)(model, tmp_path / "m.onnx")
    code, out, err = run(capfd, "fold", path, tmp_path / "a.onnx", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert said["norms"] == {"before": 4, "after": 0}
    assert said["verification"]["status"] == "agree"
    assert (tmp_path / "a.onnx.data").exists() == external
    code, _, err = run(capfd, "fold", tmp_path / "a.onnx", tmp_path / "b.onnx", "--quiet")
    assert code == 0, err
    again = onnx.load(tmp_path / "b.onnx")
    assert again == onnx.load(tmp_path / "a.onnx")


def test_inspect_says_where_norms_go(tmp_path: Path) -> None:
    rows = inspect_model(models.save(models.conv_net(), tmp_path / "m.onnx"))
    assert [row.norm for row in rows] == ["bn_in", "bn0", "bn1", "bn2"]
    assert all(row.foldable for row in rows[1:])
    assert all("conv" in row.why for row in rows[1:])


def test_never_updated_statistics_are_found(tmp_path: Path) -> None:
    model = models.conv_net(1)
    for tensor in model.graph.initializer:
        value = {"bn0.mean": 0.0, "bn0.var": 1.0}.get(tensor.name)
        if value is not None:
            tensor.CopyFrom(models.initializer(tensor.name, np.full(4, value)))
    rows = inspect_model(models.save(model, tmp_path / "m.onnx"))
    assert [entry.code for entry in rows[1].findings] == ["never_updated"]


def test_three_hundred_layers_in_three_seconds(tmp_path: Path) -> None:
    path = models.save(models.conv_net(300, 8), tmp_path / "m.onnx")
    start = time.perf_counter()
    result = fold_file(path, tmp_path / "out.onnx", Options(verify=False))
    assert time.perf_counter() - start < 3
    assert result.after.norms == 0


def test_sixty_damaged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TOOLS)
    import fuzz_files

    for name in ("plain", "outside"):
        (tmp_path / name).mkdir()
    seeds = [
        models.save(models.conv_net(1), tmp_path / "plain" / "m.onnx"),
        models.save_external(models.conv_net(2, 16), tmp_path / "outside" / "m.onnx"),
    ]
    report = fuzz_files.fuzz(seeds, main, count=60, seed=7, timeout=20, options=("--quiet",))
    assert report.problems == []
    sys.modules.pop("fuzz_files")


def test_memory_is_near_that_of_the_largest_tensor(tmp_path: Path) -> None:
    """40 tensors of 4 MB, whose folding takes a few float64 copies of one of them at a time."""
    models.save_external(models.wide_net(40, 1024), tmp_path / "m.onnx")
    script = (
        "import resource, numpy, onnx\n"
        "from bncore.folding.onnx.fold_file import Options, fold_file\n"
        "import bncore.folding.onnx.engine\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "done = fold_file('m.onnx', 'out.onnx', Options(verify=False))\n"
        "assert done.after.norms == 0\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TOOLS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 80 * 1024  # KB; all tensors together are 160 MB

"""Files that are no models, or no whole ones: one line, exit code 2, nothing written."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from . import models
from .command import run_with
from .standin import fold_model

TOOLS = Path(__file__).resolve().parents[3] / "tools"


@pytest.mark.parametrize(
    ("data", "fragment"),
    [
        (b"", "empty file"),
        (b"\x80\x04\x95", "not an ONNX model"),
        (b"PK\x03\x04" + bytes(100), "not an ONNX model"),
        (b"This is some text.\n" * 10, "not an ONNX model"),
        (b"\x08\x08", "no graph"),
        (b"\x08\x08\x3a\x00", "no opset"),
    ],
    ids=["empty", "pickle", "zip", "text", "only an IR version", "empty graph"],
)
def test_what_is_no_model(refused: Callable, tmp_path: Path, data: bytes, fragment: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    assert fragment in refused(path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_a_truncated_model(refused: Callable, tmp_path: Path, share: float) -> None:
    data = models.conv_net().SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(data[: int(share * len(data))])
    assert "m.onnx: " in refused(path)


def _opset(model: onnx.ModelProto, version: int) -> None:
    model.opset_import[0].version = version


def _ir(model: onnx.ModelProto, version: int) -> None:
    model.ir_version = version


def _dims(model: onnx.ModelProto, *dims: int) -> None:
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend(dims)


def _two_opsets(model: onnx.ModelProto) -> None:
    model.opset_import.add(domain="ai.onnx", version=12)


@pytest.mark.parametrize(
    ("damage", "fragment"),
    [
        (lambda model: _opset(model, 6), "opset 6"),
        (lambda model: _opset(model, 999), "opset 999"),
        (lambda model: _ir(model, 2), "IR version 2"),
        (lambda model: _ir(model, 999), "IR version 999"),
        (_two_opsets, "twice"),
        (lambda model: _dims(model, -3), "shape"),
        (lambda model: _dims(model, 1 << 30, 1 << 30), "absurd"),
        (lambda model: _dims(model, 4), "12 bytes"),
        (lambda model: model.graph.initializer[0].ClearField("raw_data"), "no data"),
        (lambda model: model.graph.node[1].input.pop(), "not a valid model"),
        (lambda model: setattr(model.graph.node[1], "op_type", "Convo"), "not a valid model"),
        (lambda model: model.graph.node.pop(0), "not a valid model"),
        (lambda model: model.graph.ClearField("output"), "no outputs"),
        (lambda model: model.graph.output.add(name="z"), "not a valid model"),
    ],
    ids=[
        "opset too old", "opset too new", "IR too old", "IR too new", "two opsets", "negative size", "absurd shape", "short data",
        "no data", "missing input", "unknown operator", "missing node", "no outputs", "unknown output",
    ],
)  # fmt: skip
def test_what_is_no_valid_model(
    refused: Callable, tmp_path: Path, damage: Callable, fragment: str
) -> None:
    model = models.conv_net()
    damage(model)
    assert fragment in refused(models.save(model, tmp_path / "m.onnx"))


def test_a_name_that_is_not_text(refused: Callable, tmp_path: Path) -> None:
    data = models.conv_net().SerializeToString().replace(b"bn_in.weight", b"bn\xff\xfe.weight")
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    refused(path)


def test_a_missing_file_and_a_folder(refused: Callable, tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.onnx")
    (tmp_path / "folder.onnx").mkdir()
    refused(tmp_path / "folder.onnx")


def test_a_file_without_an_end(refused: Callable) -> None:
    assert "not a plain file" in refused(Path("/dev/zero"))


def test_sixty_damaged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run of the tool on 2 000 files is the same with other numbers."""
    monkeypatch.syspath_prepend(TOOLS)
    import fuzz_files

    for name in ("plain", "outside"):
        (tmp_path / name).mkdir()
    seeds = [
        models.save(models.conv_net(1), tmp_path / "plain" / "m.onnx"),
        models.save_external(models.conv_net(2, 16), tmp_path / "outside" / "m.onnx"),
    ]
    report = fuzz_files.fuzz(
        seeds,
        run_with(fold_model, monkeypatch),
        count=60,
        timeout=20,
        options=("--quiet", "--time-limit", "5"),
    )
    assert report.problems == []
    assert sum(report.codes.values()) == 60
    assert report.codes[2] > 30
    sys.modules.pop("fuzz_files")

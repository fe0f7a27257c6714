"""What the command says: every norm, counts, sizes, errors; for machines the same; a picture of what stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from . import models
from .standin import untouched


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return models.save(models.conv_net(), tmp_path / "m.onnx")


def test_a_line_for_every_norm(command: Callable, source: Path, tmp_path: Path) -> None:
    code, out, err = command(source, tmp_path / "out.onnx")
    assert code == 0
    assert "4 norms, 1 left" in out
    for number in range(3):
        assert any(
            line.split()[:4] == [f"bn{number}", "folded", "into", f"conv{number}"]
            for line in out.splitlines()
        )
    assert "bn_in" in out and "not after a convolution" in out
    assert "verified with ONNX Runtime" in out and "largest |folded - original|" in out
    assert "saved" in err


def test_json_says_everything(command: Callable, source: Path, tmp_path: Path) -> None:
    _, out, _ = command(source, tmp_path / "out.onnx", "--json", "--latency")
    said = json.loads(out)
    assert said["norms"] == {"before": 4, "after": 1}
    assert [item["norm"] for item in said["folded"]] == ["bn0", "bn1", "bn2"]
    assert said["kept"] == [{"norm": "bn_in", "reason": "not after a convolution", "rule": "conv"}]
    assert said["before"]["nodes"] - said["after"]["nodes"] == 3
    assert said["before"]["operators"]["BatchNormalization"] == 4
    assert said["after"]["size"] == (tmp_path / "out.onnx").stat().st_size
    assert said["before"]["size"] == source.stat().st_size
    assert said["verification"]["status"] == "agree"
    assert said["verification"]["rtol"] == 1e-4
    assert said["verification"]["outputs"][0]["max_abs"] < 1e-4
    assert said["latency_us"]["before"] > 0 and said["latency_us"]["after"] > 0
    assert said["written"] is True and said["culprit"] is None


def test_json_of_a_disagreement(command: Callable, source: Path, tmp_path: Path) -> None:
    from .standin import injected

    code, out, _ = command(source, tmp_path / "out.onnx", "--json", fold=injected(1))
    said = json.loads(out)
    assert code == 1 and said["written"] is False
    assert said["culprit"]["number"] == 2 and said["culprit"]["norm"] == "bn1"


def test_tolerances_are_obeyed(command: Callable, source: Path, tmp_path: Path) -> None:
    strict = ("--rtol", "0", "--atol", "0", "--dry-run")
    code, _, err = command(source, *strict, fold=untouched)
    assert code == 0, err


def test_pictures_of_the_norms_that_stay(command: Callable, source: Path, tmp_path: Path) -> None:
    dot, svg = tmp_path / "kept.dot", tmp_path / "kept.svg"
    code, _, err = command(source, "--dry-run", "--dot", dot, "--svg", svg)
    assert code == 0, err
    text = dot.read_text()
    assert (
        text.startswith("digraph") and "bn_in" in text and "conv0" in text and "conv2" not in text
    )
    labels = [e.text for e in ElementTree.parse(svg).iter() if e.tag.endswith("text")]
    assert "bn_in" in labels and "BatchNormalization" in labels


def test_names_are_escaped_in_pictures_and_lines(command: Callable, tmp_path: Path) -> None:
    model = models.conv_net(1)
    model.graph.node[0].name = 'a<b>&"\\\n\x1b[31m'
    source = models.save(model, tmp_path / "m.onnx")
    dot, svg = tmp_path / "kept.dot", tmp_path / "kept.svg"
    code, out, _ = command(source, "--dry-run", "--dot", dot, "--svg", svg)
    assert code == 0
    assert 'a<b>&"\\??[31m' in out and "\x1b" not in out
    ElementTree.parse(svg)
    assert 'a<b>&\\"\\\\??[31m' in dot.read_text()


@pytest.mark.parametrize(
    "options",
    [
        ("--dim", "N"),
        ("--dim", "N=-1"),
        ("--dim", "=3"),
        ("--time-limit", "0"),
    ],
    ids=" ".join,
)
def test_bad_options(
    command: Callable, source: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        command(source, "--dry-run", *options)
    assert leaving.value.code == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--dim", "Q=3"),
        ("--inputs", "none.npz"),
        ("--levels", "backward,sideways"),
        ("--levels", ""),
    ],
    ids=" ".join,
)
def test_options_that_do_not_fit_the_model(
    refused: Callable, source: Path, options: tuple[str, ...]
) -> None:
    refused(source, *options)

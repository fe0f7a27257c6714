"""What stands at OUT: whole, valid, the same every time, with everything of IN that folding does not concern."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from bncore.folding.onnx.fold_file import Options, fold_file

from . import models
from .standin import Applied, fold_model, injected, untouched


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return models.save(models.conv_net(), tmp_path / "m.onnx")


@pytest.mark.parametrize(("opset", "ir"), [(7, 3), (8, 4), (11, 6), (15, 8), (18, 8), (21, 10)])
def test_every_opset_and_ir(tmp_path: Path, opset: int, ir: int) -> None:
    path = models.save(models.conv_net(opset=opset, ir=ir), tmp_path / "m.onnx")
    result = fold_file(path, tmp_path / "out.onnx", fold=untouched)
    assert result.verification.status == "agree", result.verification.reason
    written = onnx.load(tmp_path / "out.onnx")
    assert (written.opset_import[0].version, written.ir_version) == (opset, ir)
    assert written == onnx.load(path)


def test_the_newest_opset(tmp_path: Path) -> None:
    """ONNX Runtime may be behind onnx: then the file is written and called not verified."""
    opset, ir = onnx.defs.onnx_opset_version(), onnx.IR_VERSION
    path = models.save(models.conv_net(opset=opset, ir=ir), tmp_path / "m.onnx")
    result = fold_file(path, tmp_path / "out.onnx", fold=fold_model)
    assert result.written
    assert result.verification.status in ("agree", "not verified")
    assert result.verification.status == "agree" or "does not run" in result.verification.reason


def test_the_same_bytes_every_time(source: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        fold_file(source, tmp_path / name / "out.onnx", fold=fold_model)
    assert (tmp_path / "a" / "out.onnx").read_bytes() == (tmp_path / "b" / "out.onnx").read_bytes()


def test_folding_twice_changes_nothing(source: Path, tmp_path: Path) -> None:
    fold_file(source, tmp_path / "a.onnx", fold=fold_model)
    fold_file(tmp_path / "a.onnx", tmp_path / "b.onnx", fold=fold_model)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_what_folding_does_not_concern_stays(tmp_path: Path) -> None:
    model = models.conv_net()
    model.doc_string, model.producer_name, model.domain = "a net", "somebody", "org.example"
    model.metadata_props.add(key="author", value="me")
    model.graph.doc_string = "the graph"
    model.graph.node[0].doc_string = "the first node"
    unknown = b"\xfa\x3f\x05hello"  # field 1023 of ModelProto, of a later version
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString() + unknown)
    fold_file(path, tmp_path / "out.onnx", fold=fold_model)
    written = onnx.load(tmp_path / "out.onnx")
    assert written.doc_string == "a net" and written.producer_name == "somebody"
    assert [(p.key, p.value) for p in written.metadata_props] == [("author", "me")]
    assert written.graph.doc_string == "the graph"
    assert written.graph.node[0].doc_string == "the first node"
    assert list(written.graph.input) == list(model.graph.input)
    assert list(written.graph.output) == list(model.graph.output)
    assert unknown in (tmp_path / "out.onnx").read_bytes()


def test_wrong_shapes_of_inner_values_do_no_harm(command: Callable, tmp_path: Path) -> None:
    """Some exporters leave shapes from before their optimizations."""
    model = models.conv_net()
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("c0", 1, [1, 2]))
    path = models.save(model, tmp_path / "m.onnx")
    code, out, err = command(path, tmp_path / "out.onnx")
    assert code == 0, err
    assert "verified" in out and "remark: the shapes" in out
    assert not onnx.load(tmp_path / "out.onnx").graph.value_info


def test_an_existing_file_is_kept_without_force(
    refused: Callable, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.onnx"
    out.write_bytes(b"mine")
    assert "--force" in refused(source)
    assert out.read_bytes() == b"mine"
    fold_file(source, out, Options(force=True), fold=fold_model)
    onnx.checker.check_model(str(out), full_check=True)


def test_in_place_needs_force(refused: Callable, source: Path) -> None:
    before = source.read_bytes()
    with pytest.raises(FileExistsError):
        fold_file(source, source, fold=fold_model)
    assert source.read_bytes() == before
    fold_file(source, source, Options(force=True), fold=fold_model)
    assert len(onnx.load(source).graph.node) < len(onnx.load_from_string(before).graph.node)


def test_a_linked_target_stays_a_link(source: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.onnx"
    real.write_bytes(b"old")
    (tmp_path / "link.onnx").symlink_to(real)
    fold_file(source, tmp_path / "link.onnx", Options(force=True), fold=fold_model)
    assert (tmp_path / "link.onnx").is_symlink()
    onnx.checker.check_model(str(real))


@pytest.mark.parametrize("option", ["--dry-run", None])
def test_nothing_else_is_left_behind(
    command: Callable, source: Path, tmp_path: Path, option: Any
) -> None:
    code, _, err = command(source, tmp_path / "out.onnx", *filter(None, [option]))
    assert code == 0, err
    expected = {"m.onnx"} if option else {"m.onnx", "out.onnx"}
    assert set(os.listdir(tmp_path)) == expected


def test_a_dry_run_needs_no_target(command: Callable, source: Path, tmp_path: Path) -> None:
    code, out, err = command(source, "--dry-run")
    assert code == 0 and "verified" in out and "nothing was written" in err
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_a_missing_folder(command: Callable, source: Path, tmp_path: Path) -> None:
    code, _, err = command(source, tmp_path / "none" / "out.onnx")
    assert code == 2 and len(err.splitlines()) == 1 and "does not exist" in err


def test_an_invalid_result_is_never_written(
    command: Callable, source: Path, tmp_path: Path
) -> None:
    """An engine whose second rewrite leaves a node without its input."""

    def breaking(model: Any, store: Any, **options: Any) -> Any:
        done = fold_model(model, store, **options)
        if len(done.applied) > 1:
            model.graph.node[-1].input[0] = "nowhere"
        return done

    code, out, err = command(source, tmp_path / "out.onnx", fold=breaking)
    assert code == 1 and "not valid" in err and "rewrite 2 of 3" in err
    assert os.listdir(tmp_path) == ["m.onnx"]
    assert "DIFFERS" in out


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_wrong_rewrite_is_named_and_nothing_written(
    command: Callable, source: Path, tmp_path: Path, number: int
) -> None:
    code, _, err = command(source, tmp_path / "out.onnx", fold=injected(number))
    assert code == 1
    assert len(err.splitlines()) == 1
    assert f"rewrite {number + 1} of 3" in err and f"bn{number} into conv{number}" in err
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_a_wrong_rewrite_of_a_model_with_external_data(command: Callable, tmp_path: Path) -> None:
    path = models.save_external(models.conv_net(3, 16), tmp_path / "m.onnx")
    code, _, err = command(path, tmp_path / "out.onnx", fold=injected(1))
    assert code == 1 and "bn1 into conv1" in err
    assert sorted(os.listdir(tmp_path)) == ["m.onnx", "weights.bin"]


def test_a_fold_that_forgets_the_zero_padding_is_caught(
    command: Callable, source: Path, tmp_path: Path
) -> None:
    """The norm before the first, zero-padded convolution is put into its weights: wrong at the border alone."""

    def naive(model: Any, store: Any, *, limit: int | None = None, **options: Any) -> Any:
        done = untouched(model, store)
        if limit == 0:
            return done
        values = {t.name: t for t in model.graph.initializer}
        norm, conv = model.graph.node[:2]
        gamma, beta, mean, var = (store.read(values[name]) for name in norm.input[1:5])
        scale = gamma / np.sqrt(var + 1e-5)
        weight = store.read(values["conv0.weight"])
        bias = np.einsum("oihw,i->o", weight, beta - scale * mean).astype(np.float32)
        scaled = (weight * scale.reshape(1, -1, 1, 1)).astype(np.float32)
        values["conv0.weight"].CopyFrom(store.write("conv0.weight", scaled, 1))
        model.graph.initializer.append(store.write("bias", bias, 1))
        conv.input[0] = "x"
        conv.input.append("bias")
        del model.graph.node[0]
        done.applied.append(Applied(("bn_in",), "naive", ("conv0",), ""))
        return done

    code, _, err = command(source, tmp_path / "out.onnx", fold=naive)
    assert code == 1 and "naive, bn_in into conv0" in err

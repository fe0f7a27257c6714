"""Tensors in files of their own: found only where they may lie, read one at a time, written beside the result."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from bncore.folding.onnx.fold_file import Options, fold_file
from bncore.folding.onnx.load import load
from bncore.folding.onnx.save import commit, stage

from . import models
from .standin import fold_model, untouched


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    return models.save_external(models.conv_net(3, 16), tmp_path / "model" / "m.onnx")


def whole(path: Path) -> onnx.ModelProto:
    """A model with all tensors inside, as if it had never been otherwise."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.ClearField("data_location")
    return model


def rewrite(path: Path, **entries: str) -> None:
    """Change the external_data entries of the first tensor that has them."""
    model = onnx.load(path, load_external_data=False)
    tensor = next(t for t in model.graph.initializer if t.external_data)
    for entry in tensor.external_data:
        entry.value = entries.get(entry.key, entry.value)
    path.write_bytes(model.SerializeToString())


def test_it_is_folded_as_if_it_were_one_file(source: Path, tmp_path: Path) -> None:
    plain = models.save(models.conv_net(3, 16), tmp_path / "plain.onnx")
    fold_file(plain, tmp_path / "a.onnx", fold=fold_model)
    result = fold_file(source, tmp_path / "b.onnx", fold=fold_model)
    assert result.verification.status == "agree"
    assert (tmp_path / "b.onnx.data").exists()
    assert whole(tmp_path / "a.onnx").graph == whole(tmp_path / "b.onnx").graph


@pytest.mark.parametrize(
    "location",
    ["/etc/hostname", "../secret.bin", "sub/../../secret.bin", "..\\secret.bin", "C:\\secret", ""],
)
def test_a_path_that_leaves_the_folder(
    refused: Callable, source: Path, tmp_path: Path, location: str
) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(100_000))
    rewrite(source, location=location)
    line = refused(source)
    assert "outside the model's folder" in line or not location


def test_a_link_that_leads_out_of_the_folder(
    refused: Callable, source: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.bin"
    (source.parent / "weights.bin").rename(secret)
    (source.parent / "weights.bin").symlink_to(secret)
    assert "outside the model's folder" in refused(source)


def test_a_linked_folder_that_leads_out(refused: Callable, source: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (source.parent / "weights.bin").rename(tmp_path / "elsewhere" / "w.bin")
    (source.parent / "sub").symlink_to(tmp_path / "elsewhere")
    rewrite(source, location="sub/w.bin")
    assert "outside the model's folder" in refused(source)


def test_a_link_inside_the_folder_is_followed(source: Path, tmp_path: Path) -> None:
    (source.parent / "weights.bin").rename(source.parent / "real.bin")
    (source.parent / "weights.bin").symlink_to("real.bin")
    result = fold_file(source, tmp_path / "out.onnx", fold=fold_model)
    assert result.verification.status == "agree"


@pytest.mark.parametrize(
    ("entries", "fragment"),
    [
        ({"location": "none.bin"}, "cannot be read"),
        ({"location": "."}, "not a file"),
        ({"offset": "10000000"}, "too short"),
        ({"offset": "-1"}, "offset"),
        ({"offset": "1e3"}, "offset"),
        ({"offset": "9" * 40}, "offset"),
        ({"length": "12"}, "its shape needs"),
        ({"offset": "128"}, "overlap"),
    ],
    ids=["missing", "folder", "beyond the end", "negative", "no integer", "absurd", "other length", "overlap"],
)  # fmt: skip
def test_data_that_cannot_be_right(
    refused: Callable, source: Path, entries: dict[str, str], fragment: str
) -> None:
    rewrite(source, **entries)
    assert fragment in refused(source)


def test_a_data_file_that_is_too_short(refused: Callable, source: Path) -> None:
    data = source.parent / "weights.bin"
    os.truncate(data, data.stat().st_size - 1)
    assert "too short" in refused(source)


def test_tied_weights_stay_one(source: Path, tmp_path: Path) -> None:
    model = onnx.load(source, load_external_data=False)
    tied = [t for t in model.graph.initializer if t.name in ("conv1.weight", "conv2.weight")]
    for old, new in zip(tied[0].external_data, tied[1].external_data):
        new.value = old.value
    source.write_bytes(model.SerializeToString())
    fold_file(source, tmp_path / "out.onnx", fold=untouched)
    written = onnx.load(tmp_path / "out.onnx", load_external_data=False)
    places = {t.name: str(list(t.external_data)) for t in written.graph.initializer}
    assert places["conv1.weight"] == places["conv2.weight"] != places["conv0.weight"]


def test_folding_a_model_into_itself(source: Path) -> None:
    result = fold_file(source, source, Options(force=True), fold=fold_model)
    assert result.written
    again = fold_file(source, source, Options(force=True), fold=fold_model)
    assert again.fold.applied == [] and again.verification.status == "agree"


def test_another_models_data_is_never_written_over(
    refused: Callable, source: Path, tmp_path: Path
) -> None:
    """IN keeps its tensors where OUT would put its own."""
    (source.parent / "weights.bin").rename(source.parent / "other.onnx.data")
    model = onnx.load(source, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "other.onnx.data" if entry.key == "location" else entry.value
    source.write_bytes(model.SerializeToString())
    with pytest.raises(FileExistsError, match="is read"):
        fold_file(source, source.parent / "other.onnx", Options(force=True), fold=fold_model)
    with pytest.raises(FileExistsError, match="is read"):
        fold_file(source, source.parent / "other.onnx.data", Options(force=True), fold=fold_model)


def test_data_in_the_way_is_kept_without_force(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out.onnx.data").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"out\.onnx\.data"):
        fold_file(source, tmp_path / "out.onnx", fold=fold_model)
    assert (tmp_path / "out.onnx.data").read_bytes() == b"mine"
    assert not (tmp_path / "out.onnx").exists()


def test_a_failed_replacement_brings_both_old_files_back(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.onnx"
    fold_file(source, out, fold=untouched)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    loaded = load(source)
    folder = tmp_path / "staging"
    folder.mkdir()
    staged = stage(loaded.model, loaded.store, folder, out, external=True)
    staged.model.unlink()  # the second of two renames fails
    with pytest.raises(FileNotFoundError):
        commit(staged, out, force=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("appeared", ["out.onnx", "out.onnx.data"])
def test_a_file_that_appears_meanwhile_is_kept(source: Path, tmp_path: Path, appeared: str) -> None:
    loaded = load(source)
    (tmp_path / "staging").mkdir()
    staged = stage(
        loaded.model, loaded.store, tmp_path / "staging", tmp_path / "out.onnx", external=True
    )
    (tmp_path / appeared).write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        commit(staged, tmp_path / "out.onnx", force=False)
    assert (tmp_path / appeared).read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [appeared]


def test_a_model_too_large_for_one_file_gets_external_data(tmp_path: Path) -> None:
    """2 GB scaled down to 10 KB."""
    path = models.save(models.conv_net(3, 16), tmp_path / "m.onnx")
    loaded = load(path)
    (tmp_path / "staging").mkdir()
    staged = stage(
        loaded.model, loaded.store, tmp_path / "staging", path, external=False, limit=10_000
    )
    assert staged.data is not None
    assert staged.model.stat().st_size < 10_000
    assert whole(staged.model).graph == loaded.model.graph


def test_memory_is_that_of_the_largest_tensor(tmp_path: Path) -> None:
    """40 tensors of 4 MB, folded in a process whose memory may grow by 48 MB."""
    models.save_external(models.wide_net(40, 1024), tmp_path / "m.onnx")
    script = (
        "import resource, sys, onnx, numpy\n"
        "from bncore.folding.onnx.fold_file import Options, fold_file\n"
        "from standin import fold_model\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "done = fold_file('m.onnx', 'out.onnx', Options(verify=False), fold=fold_model)\n"
        "assert len(done.fold.applied) == 40, done.fold\n"
        "print(peak() - before)\n"
    )
    root, here = Path(__file__).resolve().parents[3], Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{here}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 48 * 1024  # KB; all tensors together are 160 MB
    assert (tmp_path / "out.onnx.data").stat().st_size > 160 << 20

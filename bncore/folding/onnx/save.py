"""A model as files: written to a folder of their own first, checked there, then put in place together.

A reader of the target sees the old model or the new one, whole. What is written depends on the model and the target's name
alone.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ...support.errors import FileFormatError
from ...support.files import atomic_path, check_target
from .external import Extent, is_external, refer
from .load import LARGEST_MESSAGE, file_errors
from .protos import tensors
from .sizes import storage_bytes
from .store import SPILL_FROM

if TYPE_CHECKING:
    from onnx import ModelProto

    from .store import Store

__all__ = [
    "InvalidModel",
    "Staged",
    "check_place",
    "commit",
    "data_name",
    "stage",
    "staging_folder",
]

# Tensors start at pages, so that runtimes can map them; small ones where any type is aligned.
_PAGE, _ALIGNMENT = 4096, 64
_MARGIN = 1 << 20
"""Room left below protobuf's limit for what serializing adds."""


class InvalidModel(FileFormatError):
    """onnx's full check refuses what was to be written."""


@dataclass(frozen=True)
class Staged:
    """A written model that is not in place yet."""

    model: Path
    data: Path | None

    @property
    def size(self) -> int:
        """Bytes of both files."""
        return self.model.stat().st_size + (self.data.stat().st_size if self.data else 0)


def data_name(target: str | os.PathLike[str]) -> str:
    """Name of the external data beside a model."""
    return Path(os.path.realpath(target)).name + ".data"


def check_place(
    target: str | os.PathLike[str], sources: Iterable[str], *, external: bool, force: bool
) -> None:
    """Raise what `commit` would raise, before any work is done.

    ``sources`` are the real paths of what was read, the model's own first. The model may be written over itself (with
    ``force``), but its files are never written over by another one's.
    """
    check_target(target, force)
    model, *others = sources
    real = os.path.realpath(target)
    data = os.path.join(os.path.dirname(real), data_name(target))
    if real in others or (real != model and data in (model, *others)):
        name = real if real in others else data
        raise FileExistsError(
            f"{os.fspath(target)}: {os.path.basename(name)!r} is a file of the model that is read; choose another name"
        )
    if external:
        check_target(data, force)


@contextmanager
def staging_folder(target: str | os.PathLike[str] | None) -> Iterator[Path]:
    """A folder for files that are not in place yet: beside the target, or where temporary files go; removed at the end."""
    beside = None if target is None else os.path.dirname(os.path.realpath(target))
    with tempfile.TemporaryDirectory(dir=beside, prefix=".bncore-fold-") as folder:
        yield Path(folder)


def stage(
    model: ModelProto,
    store: Store,
    folder: Path,
    target: str | os.PathLike[str],
    *,
    external: bool,
    limit: int = LARGEST_MESSAGE - _MARGIN,
) -> Staged:
    """Write a model under the target's name into a folder, and check it completely.

    Parameters
    ----------
    external : bool
        The model read had external data. Else everything goes into one file, unless that would be larger than ``limit``.

    Raises
    ------
    InvalidModel
        onnx's full check does not accept the model.
    """
    path = folder / Path(os.path.realpath(target)).name
    inline = sum(
        storage_bytes(t) for t in tensors(model) if t.HasField("raw_data") or is_external(t)
    )
    data = folder / data_name(target) if external or inline > limit else None
    if data is not None:
        with open(data, "wb") as file:
            model = _with_data_outside(model, store, file, data.name, everything=not external)
        if not data.stat().st_size:
            data.unlink()
            data = None
    path.write_bytes(model.SerializeToString(deterministic=True))
    _check(path, os.fspath(target))
    return Staged(path, data)


def commit(staged: Staged, target: str | os.PathLike[str], *, force: bool) -> None:
    """Put the files in place. With external data, an old model is set aside before its data is replaced: at no time do a
    model and another model's data stand together.
    """
    real = Path(os.path.realpath(target))
    with ExitStack() as stack:
        if staged.data is not None:
            place = real.parent / staged.data.name
            if force:
                stack.enter_context(_aside([real, place], staged.model.parent / "old"))
            stack.enter_context(_in_place(staged.data, place, force))
        with atomic_path(target, force) as temporary:
            os.replace(staged.model, temporary)


def _with_data_outside(
    model: ModelProto, store: Store, file: IO[bytes], location: str, *, everything: bool
) -> ModelProto:
    """A copy of the model whose large tensors lie in the file: those that lay outside and the spilled ones, or all initializers."""
    copy = type(model)()
    copy.CopyFrom(model)
    written: dict[Extent, int] = {}
    for tensor in copy.graph.initializer if everything else tensors(copy):
        outside = is_external(tensor)
        movable = outside or (everything and tensor.HasField("raw_data"))
        length = storage_bytes(tensor) if movable else 0
        if length < SPILL_FROM:
            continue
        extent = store.extent(tensor) if outside else None
        offset = written.get(extent) if extent else None
        if offset is None:
            offset = _align(file, length)
            store.copy_raw(tensor, file)
            if extent:
                written[extent] = offset
        refer(tensor, location, offset, length)
    return copy


def _align(file: IO[bytes], length: int) -> int:
    step = _PAGE if length >= _PAGE else _ALIGNMENT
    end = file.tell()
    file.write(bytes(-end % step))
    return file.tell()


def _check(path: Path, shown: str) -> None:
    import onnx

    try:
        with file_errors(shown):
            onnx.checker.check_model(os.fspath(path), full_check=True)
    except FileFormatError as error:
        raise InvalidModel(str(error)) from None


@contextmanager
def _in_place(staged: Path, place: Path, force: bool) -> Iterator[None]:
    """A file that stays only if what follows succeeds."""
    with atomic_path(place, force) as temporary:
        os.replace(staged, temporary)
    try:
        yield
    except BaseException:
        place.unlink()
        raise


@contextmanager
def _aside(paths: list[Path], folder: Path) -> Iterator[None]:
    """Move files away while others take their names; an error brings them back."""
    folder.mkdir()
    moved = [(path, folder / path.name) for path in paths if path.exists()]
    for path, away in moved:
        os.replace(path, away)
    try:
        yield
    except BaseException:
        for path, away in moved:
            os.replace(away, path)
        raise

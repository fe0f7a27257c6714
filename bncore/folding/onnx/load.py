"""An ONNX file as a model to be folded: read, judged, its external data found. Executes nothing, writes nothing.

protobuf reads much that is no model, so everything the engine relies on is looked at here: one line says what is wrong.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...support.errors import FileFormatError
from ...support.extras import require
from .external import is_external, judge_extents
from .protos import is_all_text, messages, tensors
from .sizes import judge_tensor, storage_bytes
from .skeleton import skeleton
from .store import SPILL_FROM, Store

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Loaded", "file_errors", "load"]

OLDEST_OPSET, OLDEST_IR = 7, 3
LARGEST_MESSAGE = (1 << 31) - 1
"""What protobuf can hold in one file."""


@dataclass
class Loaded:
    """A model, the values of its tensors, and what it was read from.

    Attributes
    ----------
    files : tuple of str
        Real paths of the model's file and of its external data.
    external : bool
        Whether tensors lie in files of their own.
    size : int
        Bytes of the model's file and of the tensors outside it.
    remark : str
        What was wrong with the file and did no harm.
    """

    path: str
    model: ModelProto
    store: Store
    files: tuple[str, ...]
    external: bool
    size: int
    remark: str = ""


def load(path: str | os.PathLike[str], *, scratch: str | os.PathLike[str] | None = None) -> Loaded:
    """Read a model of opset 7 or newer, IR 3 or newer, and check it completely.

    Parameters
    ----------
    path : path
        The model's file. External data is looked for in its folder and below, and nowhere else.
    scratch : path, optional
        A folder for large new tensors of a model whose tensors lie outside its file.

    Raises
    ------
    FileFormatError
        One line that starts with the path: not an ONNX model, truncated or corrupt, invalid, of another opset, or with
        external data that is missing, too short, overlapping or outside the folder.
    OSError
        The file cannot be read.
    """
    require("onnx", "onnx")
    shown = os.fspath(path)
    with file_errors(shown):
        data = _read(shown)
        model = _parse(data)
        _judge_versions(model)
        folder = os.path.dirname(shown) or "."
        store = Store(folder)
        files, outside = _judge_tensors(model, store)
        remark = _check(data, model, external=bool(files))
    if files:
        store = Store(folder, scratch=scratch)
    sources = (os.path.realpath(shown), *files)
    return Loaded(shown, model, store, sources, bool(files), len(data) + outside, remark)


@contextmanager
def file_errors(path: str) -> Iterator[None]:
    """Whatever goes wrong with a file's contents becomes one FileFormatError of one short line."""
    try:
        yield
    except (OSError, ImportError, KeyboardInterrupt):
        raise
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {_line(error)}") from None
    except Exception as error:  # protobuf, onnx and ONNX Runtime have exceptions of many kinds
        raise FileFormatError(f"{path}: {_line(error)}") from error


def _read(path: str) -> bytes:
    found = os.stat(path)
    size = found.st_size
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise FileFormatError("not a plain file")
    if size > LARGEST_MESSAGE:
        raise FileFormatError(
            f"has {size} bytes, an ONNX file has less than 2 GiB (larger models keep tensors in external data)"
        )
    with open(path, "rb") as file:
        data = file.read()
    if not data:
        raise FileFormatError("an empty file, expected an ONNX model")
    return data


def _parse(data: bytes) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RecursionError):
        raise FileFormatError("not an ONNX model, or truncated or corrupt") from None
    if not model.HasField("graph") or not model.opset_import:
        raise FileFormatError("not an ONNX model, or truncated or corrupt (no graph or no opset)")
    if not is_all_text(model):
        raise FileFormatError("corrupt (a name in it is not text)")
    return model


def _judge_versions(model: ModelProto) -> None:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_IR <= model.ir_version <= onnx.IR_VERSION:
        raise FileFormatError(
            f"has IR version {model.ir_version}; {OLDEST_IR} to {onnx.IR_VERSION} can be read with onnx {onnx.__version__}"
        )
    domains = ["" if item.domain == "ai.onnx" else item.domain for item in model.opset_import]
    if len(set(domains)) < len(domains):
        raise FileFormatError("names an opset twice")
    for domain, item in zip(domains, model.opset_import, strict=True):
        if domain == "" and not OLDEST_OPSET <= item.version <= newest:
            raise FileFormatError(
                f"has opset {item.version}; {OLDEST_OPSET} to {newest} can be read with onnx {onnx.__version__}"
            )
    if not model.graph.output:
        raise FileFormatError("not an ONNX model, or truncated or corrupt (no outputs)")


def _judge_tensors(model: ModelProto, store: Store) -> tuple[tuple[str, ...], int]:
    """Files of external data, and their tensors' bytes. Small external tensors move into the model."""
    extents = []
    for tensor in tensors(model):
        if not is_external(tensor):
            judge_tensor(tensor)
            continue
        extents.append((tensor.name, store.extent(tensor)))
        if storage_bytes(tensor) < SPILL_FROM:
            tensor.raw_data = store.raw(tensor)
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
    judge_extents(extents)
    return (
        tuple(dict.fromkeys(extent.path for _, extent in extents)),
        sum(extent.length for extent in {extent for _, extent in extents}),
    )


def _check(data: bytes, model: ModelProto, *, external: bool) -> str:
    """onnx's own full check: every node against its schema, every shape; returns a remark.

    Stated shapes of values inside the model may be left over from an earlier form of it: runtimes do not mind, so they are
    dropped if that is all that is wrong.
    """
    import onnx

    try:
        onnx.checker.check_model(skeleton(model) if external else data, full_check=True)
        return ""
    except Exception as error:
        reason = _line(error)
    stated = [part for part in messages(model.graph) if part.DESCRIPTOR.name == "GraphProto"]
    if not any(graph.value_info for graph in stated):
        raise FileFormatError(f"not a valid model: {reason}")
    for graph in stated:
        graph.ClearField("value_info")
    try:
        onnx.checker.check_model(skeleton(model), full_check=True)
    except Exception:
        raise FileFormatError(f"not a valid model: {reason}") from None
    return "the shapes that the file states of values inside it are wrong; they are left out"


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= 300 else text[:297] + "..."

"""What kind of model a file holds: an ONNX graph, a state dict, or a net that bncore saved. Looks, and reads no more than it must."""

from __future__ import annotations

import zipfile
from pathlib import Path

__all__ = ["KINDS", "kind_of"]

# what a message calls a file of each kind
KINDS = {"onnx": "an ONNX model", "state": "a state dict", "net": "a net saved by bncore"}


def kind_of(path: str) -> str:
    """A key of `KINDS`. By the suffix, or for a zip file by what is in it; the rest is for the readers to judge.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    from ..io.npz import HEADER

    with open(path, "rb") as file:
        suffix = Path(path).suffix.lower()
        if suffix == ".onnx":
            return "onnx"
        if suffix == ".safetensors":
            return "state"
        if file.read(4) != b"PK\x03\x04":
            return "net"
        try:
            with zipfile.ZipFile(file) as archive:
                return "net" if f"{HEADER}.npy" in archive.namelist() else "state"
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            return "net"

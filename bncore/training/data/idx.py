"""IDX, the format of MNIST and its relatives: a magic number, big-endian sizes, bytes.

Plain or .gz.

Format: http://yann.lecun.com/exdb/mnist/ (two zero bytes, type 0x08 for bytes, number of
dimensions, each size as big-endian int32).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from ...support.errors import FileFormatError
from .assemble import Options, Raw

__all__ = ["is_folder", "read"]

_TEST = ("t10k", "test")
# bytes that one byte of a .gz can stand for (https://zlib.net/zlib_tech.html)
_MOST_DEFLATED = 1032


def is_folder(path: Path) -> bool:
    """Whether this folder holds IDX image files."""
    return bool(_image_files(path))


def read(path: Path, options: Options) -> Raw:
    """A folder (training pair, test pair if there), or one image file with its labels beside it.

    x is (n, 1, height, width).
    """
    if not path.is_dir():
        x, y = _pair(path)
        return Raw(str(path), x, y, task="classification")
    images = _image_files(path)
    test = [p for p in images if any(word in p.name.lower() for word in _TEST)]
    train = [p for p in images if p not in test]
    if len(train) != 1 or len(test) > 1:
        found = ", ".join(p.name for p in images)
        raise FileFormatError(
            f"{path}: expected one file of training images and at most one of test images, "
            f"found {found}"
        )
    x, y = _pair(train[0])
    x_test, y_test = _pair(test[0]) if test else (None, None)
    return Raw(str(path), x, y, x_test, y_test, task="classification")


def _image_files(folder: Path) -> list[Path]:
    """IDX files of images; of a file that is there both plain and as .gz, the plain one."""
    found = {
        p.name.removesuffix(".gz"): p
        for p in sorted(folder.iterdir(), reverse=True)
        if "images" in p.name and "ubyte" in p.name
    }
    return sorted(found.values())


def _pair(images: Path) -> tuple[np.ndarray, np.ndarray]:
    if "images" not in images.name:
        raise FileFormatError(
            f"{images}: expected the file of images (its name holds 'images'); the labels are "
            "found beside it"
        )
    labels = _labels_beside(images)
    x, y = _read_array(images, 3), _read_array(labels, 1)
    if len(x) != len(y):
        raise FileFormatError(f"{images}: {len(x)} images, but {len(y)} labels in {labels.name}")
    return x[:, np.newaxis], y


def _labels_beside(images: Path) -> Path:
    name = images.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    for candidate in (images.with_name(name), images.with_name(name + ".gz")):
        if candidate.exists():
            return candidate
    raise FileFormatError(
        f"{images}: its labels are missing: expected {name} or {name}.gz beside it"
    )


def _read_array(path: Path, dimensions: int) -> np.ndarray:
    """Bytes of an IDX file as an array of uint8, header and size checked."""
    try:
        with gzip.open(path) if path.name.endswith(".gz") else open(path, "rb") as file:
            head = file.read(4 + 4 * dimensions)
            magic = bytes([0, 0, 8, dimensions])
            if head[:4] != magic:
                raise FileFormatError(
                    f"{path}: expected the magic number {magic.hex()}, found "
                    f"{head[:4].hex() or 'an empty file'}"
                )
            if len(head) < 4 + 4 * dimensions:
                raise FileFormatError(f"{path}: truncated within its header")
            shape = struct.unpack(f">{dimensions}I", head[4:])
            size = math.prod(shape)
            # never ask for more than the file can hold; one byte more than promised shows what
            # should not be there
            data = file.read(min(size, path.stat().st_size * _MOST_DEFLATED) + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FileFormatError(f"{path}: not a whole gzip file: {error}") from None
    if len(data) != size:
        what = "truncated" if len(data) < size else "too long"
        found = len(data) if len(data) < size else f"more than {size}"
        raise FileFormatError(
            f"{path}: {what}: its header {shape} promises {size} bytes, found {found}"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)

"""The part of oneDNN's C interface (version 3) that normalization needs, through ctypes: primitives on given arrays.

Knows no cases (onednn.py does). The numbers are those of oneapi/dnnl/dnnl_types.h.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import Array, Missing

CPU, FLOAT32 = 1, 3
TRAINING, INFERENCE, BACKWARD = 64, 96, 128
GLOBAL_STATS, SCALE, SHIFT, RELU = 1, 2, 4, 8
WORKSPACE_OF, NAME_OF = 135, 8  # what dnnl_primitive_desc_query may be asked
BLOCKED = {3: 56, 4: 78, 5: 121}  # rank -> nCw16c, nChw16c, nCdhw16c
ARGUMENTS = {
    "src": 1,
    "dst": 17,
    "mean": 49,
    "var": 50,
    "scale": 51,
    "shift": 52,
    "workspace": 64,
    "diff_src": 129,
    "diff_dst": 145,
    "diff_scale": 255,
    "diff_shift": 256,
}
P = ctypes.c_void_p
EPSILON = ctypes.c_float


class Unsupported(Exception):
    """oneDNN has no such primitive, or cannot execute it."""


class _ExecArg(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_int), ("memory", P))


def _find() -> ctypes.CDLL:
    """The library of the package onednn-cpu-gomp, which it puts beside Python's own."""
    for folder in ("lib", "lib64", "Library/bin"):
        for path in sorted(Path(sys.prefix, folder).glob("libdnnl.so.3")):
            return ctypes.CDLL(str(path))
    raise Missing("oneDNN is not installed (pip install 'bncore[bench]')")


class Library:
    """An engine and a stream of the CPU. Every function here that makes something raises Unsupported if it cannot."""

    def __init__(self) -> None:
        self.lib = _find()
        self.engine, self.stream = P(), P()
        self.call("engine_create", ctypes.byref(self.engine), CPU, ctypes.c_size_t(0))
        self.call("stream_create", ctypes.byref(self.stream), self.engine, 1)
        self.lib.dnnl_version.restype = ctypes.POINTER(ctypes.c_int * 3)
        self.version = ".".join(map(str, self.lib.dnnl_version().contents))
        self.lib.dnnl_primitive_desc_query_md.restype = P
        self.lib.dnnl_memory_desc_get_size.restype = ctypes.c_size_t

    def call(self, name: str, *args: Any) -> None:
        status = getattr(self.lib, f"dnnl_{name}")(*args)
        if status:
            raise Unsupported(f"dnnl_{name} returns {status}")

    def layout(self, dims: tuple[int, ...], strides: tuple[int, ...] | None) -> Any:
        """Describes float32 values of these dimensions; blocks of 16 channels where no strides (in elements) are given."""
        desc, rank = P(), len(dims)
        sizes = (ctypes.c_int64 * rank)(*dims)
        if strides is None:
            made = "memory_desc_create_with_tag", BLOCKED[rank]
        else:
            made = "memory_desc_create_with_strides", (ctypes.c_int64 * rank)(*strides)
        self.call(made[0], ctypes.byref(desc), rank, sizes, FLOAT32, made[1])
        return desc

    def describe(self, norm: str, way: str, *args: Any) -> Any:
        """A primitive descriptor of ``norm``, "batch" or "layer", ``way`` "forward" or "backward"."""
        desc = P()
        name = f"{norm}_normalization_{way}_primitive_desc_create"
        self.call(name, ctypes.byref(desc), self.engine, *args, None)
        return desc


class Primitive:
    """A primitive with its arrays, by the names of ARGUMENTS: (layout, array); it has run once. ``run`` is the call to time."""

    def __init__(
        self, library: Library, desc: Any, arrays: Mapping[str, tuple[Any, Array]]
    ) -> None:
        self.lib = library.lib
        self.arrays = {name: array for name, (_, array) in arrays.items()}
        self.memories: list[Any] = []
        handle = P()
        library.call("primitive_create", ctypes.byref(handle), desc)
        pairs = dict(arrays)
        extra = P(self.lib.dnnl_primitive_desc_query_md(desc, WORKSPACE_OF, 0))
        size = self.lib.dnnl_memory_desc_get_size(extra) if extra else 0
        if size and "workspace" not in pairs:
            pairs["workspace"] = extra, np.zeros(size, np.uint8)
        if "workspace" in pairs:
            pairs["workspace"] = extra, pairs["workspace"][1]
            self.arrays["workspace"] = pairs["workspace"][1]
        for layout, array in pairs.values():
            memory = P()
            library.call(
                "memory_create", ctypes.byref(memory), layout, library.engine, P(array.ctypes.data)
            )
            self.memories.append(memory)
        numbers = [ARGUMENTS[name] for name in pairs]
        arguments = (_ExecArg * len(pairs))(
            *(_ExecArg(n, m.value) for n, m in zip(numbers, self.memories, strict=True))
        )
        execute, wait = self.lib.dnnl_primitive_execute, self.lib.dnnl_stream_wait
        stream, count = library.stream, ctypes.c_int(len(pairs))
        self.handle = handle
        library.call("primitive_execute", handle, stream, count, arguments)
        wait(stream)

        def run() -> None:
            execute(handle, stream, count, arguments)
            wait(stream)

        self.run = run

    def close(self) -> None:
        for memory in self.memories:
            self.lib.dnnl_memory_destroy(memory)
        self.lib.dnnl_primitive_destroy(self.handle)
        self.arrays.clear()

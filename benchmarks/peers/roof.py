"""The roof: what memory allows, measured as one more contender. Copies for one array read and one written, triads
for two read, sums for statistics; with regular and with non-temporal stores, of which the faster one counts.

Without a C compiler it is NumPy's, on one thread, and the row says so.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from norms.cases import ARRAYS
from norms.data import Data

from . import Contender

SOURCE = Path(__file__).resolve().parents[1] / "roof.c"
FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")


def compiled() -> ctypes.CDLL | None:
    """roof.c as a library, or None if it does not compile here."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        return None
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "roof.so")
        done = subprocess.run(
            [*compiler.split(), *FLAGS, SOURCE, "-o", target], capture_output=True, check=False
        )
        return None if done.returncode else ctypes.CDLL(str(target))


class Peer:
    digests = False

    def __init__(self, threads: int) -> None:
        self.threads = ctypes.c_int(threads)
        self.lib = compiled()
        self.version = "roof.c" if self.lib else "NumPy (roof.c does not compile here)"

    def contenders(self, data: Data) -> dict[str, Callable[[], Contender]]:
        count, n = ARRAYS[data.case.op], data.case.nbytes // 4
        arrays = [data.fresh((n,), "float32") for _ in range(count)]
        if self.lib is None:
            return {"roof numpy": lambda: numpy_roof(arrays)}
        size, pointers = ctypes.c_size_t(n), [ctypes.c_void_p(a.ctypes.data) for a in arrays]
        if count == 1:
            run = self.lib.roof_read
            read = keep(lambda: run(pointers[0], size, self.threads), arrays)
            return {"roof read": lambda: read}
        run = self.lib.roof_affine if count == 2 else self.lib.roof_triad
        ways = {"roof regular": ctypes.c_int(0)}
        if self.lib.roof_can_stream():
            ways["roof streaming"] = ctypes.c_int(1)

        def make(way: ctypes.c_int) -> Contender:
            return keep(lambda: run(*pointers, size, self.threads, way), arrays)

        return {name: partial(make, way) for name, way in ways.items()}

    def forget(self) -> None:
        pass


def keep(call: Callable[[], Any], arrays: list[np.ndarray]) -> Contender:
    """A contender that holds on to the memory it uses."""
    return Contender(lambda: (call(), arrays)[0], None)


def numpy_roof(arrays: list[np.ndarray]) -> Contender:
    if len(arrays) == 1:
        return Contender(arrays[0].sum, None)
    if len(arrays) == 2:
        return Contender(lambda: np.multiply(arrays[0], 0.5, out=arrays[1]), None)
    return Contender(lambda: np.add(arrays[0], arrays[1], out=arrays[2]), None)

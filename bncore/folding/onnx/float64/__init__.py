"""Models run in float64, to tell rounding from error: by ONNX Runtime, or by onnx's evaluator with kernels from here.

A second opinion that decides nothing alone; see verify.py for what it is used for.
"""

from __future__ import annotations

from .run import Float64Run, float64_run

__all__ = ["Float64Run", "float64_run"]

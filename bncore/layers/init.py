"""Where weights start: the initializations by name, the random generators behind them, and dtypes.

PyTorch's defaults, so that a net starts as its twin there does; see DEFINITIONS for the list.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..support import checks

__all__ = [
    "INITS",
    "float_dtype",
    "generator",
    "initial_bias",
    "initial_weight",
    "judge_init",
    "seed",
]

Array = npt.NDArray[Any]
INITS = ("kaiming_uniform", "he_normal", "xavier")

_default: np.random.Generator | None = None


def seed(value: int | None) -> None:
    """Seed the generator that layers built without ``rng`` draw from; None: from the operating system again."""
    global _default
    _default = (
        None if value is None else np.random.default_rng(checks.non_negative_int(value, "seed"))
    )


def generator(rng: np.random.Generator | int | None) -> np.random.Generator:
    """``rng`` itself, one seeded with an integer, or for None the one that `seed` sets."""
    global _default
    if rng is None:
        if _default is None:
            _default = np.random.default_rng()
        return _default
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, bool) or not isinstance(rng, (int, np.integer)):
        raise TypeError(
            f"rng must be a numpy Generator, an integer or None, got {type(rng).__name__}"
        )
    return np.random.default_rng(checks.non_negative_int(rng, "rng"))


def float_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """float32 or float64 as a NumPy dtype."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if dtype is None or found not in (np.float32, np.float64) or not found.isnative:
        raise TypeError(f"dtype must be float32 or float64, got {dtype!r}")
    return found


def judge_init(init: str | float) -> str | float:
    """A known name or a finite standard deviation >= 0."""
    if isinstance(init, str):
        if init not in INITS:
            raise ValueError(f"init must be one of {INITS} or a standard deviation, got {init!r}")
        return init
    return checks.non_negative(init, "init")


def initial_weight(
    shape: tuple[int, ...], init: str | float, dtype: np.dtype[Any], rng: np.random.Generator
) -> Array:
    """A weight of shape (out, in/groups, *kernel); drawn in float64, so that both dtypes start alike.

    * ``kaiming_uniform``: U(-b, b), b = 1/sqrt(fan_in): PyTorch's ``kaiming_uniform_(a=sqrt(5))``, its default
    * ``he_normal``: N(0, 2/fan_in) (He 2015, arXiv 1502.01852)
    * ``xavier``: U(-b, b), b = sqrt(6/(fan_in + fan_out)) (Glorot & Bengio 2010)
    * a number: N(0, number²)

    fan_in counts axis 1 and the kernel, fan_out axis 0 and the kernel, for a transposed convolution too, as there.
    """
    fan_in, fan_out = _fans(shape)
    if init == "kaiming_uniform":
        bound = 1.0 / math.sqrt(fan_in)
        values = rng.uniform(-bound, bound, shape)
    elif init == "xavier":
        bound = math.sqrt(6.0 / (fan_in + fan_out))
        values = rng.uniform(-bound, bound, shape)
    else:
        std = math.sqrt(2.0 / fan_in) if init == "he_normal" else float(init)
        values = std * rng.standard_normal(shape)
    return values.astype(dtype)


def initial_bias(
    size: int,
    weight_shape: tuple[int, ...],
    init: str | float,
    dtype: np.dtype[Any],
    rng: np.random.Generator,
) -> Array:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)) with kaiming_uniform, as in PyTorch; zero with the others."""
    if init != "kaiming_uniform":
        return np.zeros(size, dtype)
    bound = 1.0 / math.sqrt(_fans(weight_shape)[0])
    return rng.uniform(-bound, bound, size).astype(dtype)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    receptive = math.prod(shape[2:])
    return shape[1] * receptive, shape[0] * receptive

"""The handwritten digits that most experiments use, and the axis on which their nets are judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..training.data import Dataset, load
from .pictures import Axis

__all__ = ["ACCURACY", "digits"]

TEST = 500
ACCURACY = Axis(f"accuracy on {TEST} test digits", "%", limits=(0, 102))


def digits(test: int = TEST) -> Dataset:
    """1797 images of handwritten digits, (n, 1, 8, 8), from 0 to 1; so many of them to test with."""
    data = load("digits", test_fraction=test / 1797)
    scale = np.float32(1 / 16)
    return replace(data, x_train=data.x_train * scale, x_test=data.x_test * scale)

"""How the experiment on sequences counts values that differ."""

from __future__ import annotations

import numpy as np

from bncore.lab.experiments import sequences


def test_differences_are_those_of_bits():
    a = np.array([0.0, 1.0, np.nan, 2.0], np.float32)
    b = np.array([-0.0, 1.0, np.nan, np.nextafter(np.float32(2), np.float32(3))], np.float32)
    assert sequences._differences([a, a], [b, a]).tolist() == [2, 8]

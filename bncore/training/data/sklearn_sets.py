"""The data sets that ship inside scikit-learn: nothing is downloaded.

Needs the ``sklearn`` extra.
"""

from __future__ import annotations

import numpy as np

from ...support.extras import require
from .assemble import Raw

__all__ = ["NAMES", "read"]

NAMES = ("digits", "wine", "breast_cancer", "iris", "diabetes")


def read(name: str) -> Raw:
    """One of :data:`NAMES`. Digits come as images (n, 1, 8, 8) of raw values 0 to 16."""
    datasets = require("sklearn.datasets", "sklearn")
    if name == "diabetes":
        # scaled=False: the measured values; standardizing them is the first norm's work
        found = datasets.load_diabetes(scaled=False)
        return Raw(
            name,
            found.data,
            found.target,
            feature_names=tuple(found.feature_names),
            task="regression",
        )
    found = getattr(datasets, f"load_{name}")()
    classes = tuple(str(c) for c in found.target_names)
    if name == "digits":
        return Raw(
            name, found.images[:, np.newaxis], found.target, classes=classes, task="classification"
        )
    features = tuple(str(f) for f in found.feature_names)
    return Raw(
        name,
        found.data,
        found.target,
        classes=classes,
        feature_names=features,
        task="classification",
    )

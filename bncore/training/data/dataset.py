"""The container every loader returns. Arrays and their names.

No reading, no scaling, no batching.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Dataset"]


@dataclass(frozen=True, repr=False)
class Dataset:
    """Training and test data of one task.

    Attributes
    ----------
    name : str
        The name it was loaded by, or the file's name.
    x_train, x_test : array of float32 or float64
        Samples first: (n, features), or (n, channels, height, width) for images. Raw values, not
        scaled.
    y_train, y_test : array
        Classification: int64 (n,), positions in ``classes``. Regression: dtype of x, (n, 1).
    task : str
        ``"classification"`` or ``"regression"``.
    classes : tuple of str
        Names of the classes in order; empty for regression.
    feature_names : tuple of str
        Names of the columns of x where the source has any, else empty.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    task: str
    classes: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.x_train.shape[1:]

    @property
    def outputs(self) -> int:
        """Width of a net's last layer: number of classes, or of regression targets."""
        return len(self.classes) if self.task == "classification" else int(self.y_train.shape[1])

    def __repr__(self) -> str:
        kind = (
            f"{len(self.classes)} classes"
            if self.task == "classification"
            else f"regression to {self.outputs}"
        )
        return (
            f"<Dataset {self.name}: {len(self.x_train)} training and {len(self.x_test)} test "
            "samples of shape "
            f"{self.shape}, {self.x_train.dtype}, {kind}>"
        )

"""Training of small nets: losses, optimizers, schedules, data and the fit loop.

Not where layers or kernels live.
"""

from __future__ import annotations

import importlib
from typing import Any

# public name -> module here that defines it; "" means the name is itself a submodule
_HOME = {
    "CrossEntropy": "losses",
    "MSE": "losses",
    "BCEWithLogits": "losses",
    "SGD": "optimizers",
    "AdamW": "optimizers",
    "clip_gradients": "clipping",
    "Trainer": "trainer",
    "fit": "fitting",
    "evaluate": "evaluation",
    "predict": "evaluation",
    "History": "history",
    "EarlyStopping": "callbacks",
    "EpochEnd": "callbacks",
    "TargetScale": "targets",
    "schedules": "",
    "augment": "",
    "recipes": "",
    "data": "",
}

__all__ = [*sorted(_HOME)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'bncore.training' has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{home or name}")
    value = getattr(module, name) if home else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

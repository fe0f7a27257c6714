"""Optional packages: imported where they are used, and a missing one names the extra to install.

Not a plug-in system: one function, one error message.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package.

    Parameters
    ----------
    module : str
        What to import, e.g. ``"sklearn.datasets"``.
    extra : str
        The extra of bncore that installs it, e.g. ``"sklearn"``.

    Raises
    ------
    ImportError
        If the package is not installed; the message says how to install it. A package that is there
        but broken (one of its own imports fails) raises its own error.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise ImportError(
            f'this needs the package {package!r}, which is not installed: pip install "bncore[{extra}]"',
            name=package,
        ) from error

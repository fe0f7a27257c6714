"""Puts the compiled front before a function of functional or a layer's forward: the common call then runs no Python
function at all.

What the front does not take (arrays to convert, arguments to explain, masks, another backend) it hands on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from . import native_module

Function = TypeVar("Function", bound=Callable[..., Any])


def fronted(function: Function) -> Function:
    """Decorator: the front of that name where there is a compiled core, else the function itself."""
    core = native_module()
    return function if core is None else core.front(function)

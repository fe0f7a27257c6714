"""Layers by name: from ``layer.config()`` back to a layer. Knows names, imports no layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .base import Layer

__all__ = ["build", "register"]

_classes: dict[str, type[Layer]] = {}
_Class = TypeVar("_Class", bound="type[Layer]")


def register(cls: _Class) -> _Class:
    """Make a class known to `build` under its name (a class decorator).

    Raises
    ------
    ValueError
        If another class has that name.
    """
    known = _classes.get(cls.__name__)
    # the same class again (a notebook cell, a reload) replaces itself
    if known is not None and (known.__module__, known.__qualname__) != (
        cls.__module__,
        cls.__qualname__,
    ):
        raise ValueError(
            f"a layer named {cls.__name__!r} is registered already: {known.__module__}"
        )
    _classes[cls.__name__] = cls
    return cls


def build(config: Mapping[str, Any]) -> Layer:
    """A new layer or net from what ``config()`` returned; its weights are initial ones.

    Raises
    ------
    ValueError
        For an unknown type or arguments that its constructor does not take.
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("type"), str):
        raise ValueError(f'config must be a dict with a "type", got {_short(config)}')
    arguments = dict(config)
    kind = arguments.pop("type")
    cls = _classes.get(kind)
    if cls is None:
        known = ", ".join(sorted(_classes))
        raise ValueError(
            f"config: no layer of type {kind!r}; a class of your own needs @bncore.layers.register before. "
            f"Known: {known}"
        )
    try:
        return cls.from_config(arguments)
    except TypeError as error:
        raise ValueError(
            f"config: {kind} cannot be built from {_short(arguments)}: {error}"
        ) from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."

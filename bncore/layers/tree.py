"""What all containers need: the name of a child, a judgement of all children, building them from a config."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .base import Layer
from .registry import build

__all__ = ["LOCATED", "build_all", "judge_children", "name_of"]

LOCATED = (TypeError, ValueError, RuntimeError)
"""Errors that get the path of the failing layer."""


def name_of(layer: Layer, container: Layer) -> str:
    return next((name for name, child in container.children() if child is layer), "")


def judge_children(container: Layer, children: Iterable[tuple[str, Layer]]) -> None:
    """Layers, and every object once in the whole tree: each holds what its last forward saved."""
    seen: dict[int, str] = {id(container): "itself"}
    for name, child in children:
        if not isinstance(child, Layer):
            raise TypeError(f"{name} must be a layer, got {type(child).__name__}")
        for path, layer in child.named_layers(name):
            if id(layer) in seen:
                raise ValueError(
                    f"{path}: {layer.brief()} is the same object as {seen[id(layer)]}; use a copy() of it"
                )
            seen[id(layer)] = path


def build_all(arguments: dict[str, Any], name: str) -> list[Layer]:
    configs = arguments.get(name)
    if not isinstance(configs, (list, tuple)):
        raise ValueError(
            f"config must have a list of layers under {name!r}, got {type(configs).__name__}"
        )
    return [build(config) for config in configs]

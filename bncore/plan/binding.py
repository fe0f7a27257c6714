"""Values and nodes with memory: views of one block, and the arguments of steps in C, each made once."""

from __future__ import annotations

from typing import Any

from .core import core
from .memory import Layout
from .nodes import Convolve, Normalize
from .values import Array, Value

__all__ = ["Binding"]


class Binding:
    """Gives the array of a value, ``binding[value]``, and the arguments of norms and convolutions.

    Parameters
    ----------
    layout : Layout
    block : ndarray of bytes or None
        Memory to use, if it is large enough.
    """

    def __init__(self, layout: Layout, block: Array | None = None) -> None:
        self._layout = layout
        if block is None or block.nbytes < layout.nbytes:
            block = core.workspace(max(1, layout.nbytes))
        self.block: Array = block
        self._arrays: dict[Value, Array] = {}
        self._norms: dict[Normalize, Any] = {}
        self._convolutions: dict[Convolve, Any] = {}

    def __getitem__(self, value: Value) -> Array:
        array = self._arrays.get(value)
        if array is None:
            begin = self._layout.offsets[value.owner()]
            raw = self.block[begin : begin + value.nbytes]
            array = raw.view(value.dtype).reshape(value.shape)
            self._arrays[value] = array
        return array

    def optional(self, value: Value | None) -> Array | None:
        """The array of a value, if there is one."""
        return None if value is None else self[value]

    def optional_norm(self, node: Normalize | None) -> Any:
        """Arguments of a norm, if there is one."""
        return None if node is None else self.norm(node)

    def norm(self, node: Normalize) -> Any:
        """Arguments of a norm, forward and backward."""
        arguments = self._norms.get(node)
        if arguments is None:
            arguments = self._norms[node] = self._new_norm(node)
        return arguments

    def _new_norm(self, node: Normalize) -> Any:
        layer = node.layer
        running = (layer.running_mean, layer.running_var)
        arguments = core.NormArguments(
            node.x.dtype, node.rows, layer.num_features, layer.weight, layer.bias, *running,
            layer.momentum or 0.0, layer.eps, layer.unbiased, node.relu, node.batch,
        )  # fmt: skip
        x = None if node.applied else self[node.x]
        arguments.place(x, self[node.y] if node.stored else None, self.optional(node.residual))
        if node.applied:
            arguments.use_running()
        if node.dy is not None:
            arguments.place_gradients(
                self[node.dy], self.optional(node.dx), self.optional(node.dresidual),
                None if layer.weight is None else layer.weight_grad,
                None if layer.bias is None else layer.bias_grad,
            )  # fmt: skip
        return arguments

    def norm_gradient(self, node: Normalize) -> Any:
        """Arguments of a norm's backward pass as a step."""
        return core.NormGradientArguments(self.norm(node))

    def convolution(self, node: Convolve) -> Any:
        """Arguments of a convolution's forward pass."""
        arguments = self._convolutions.get(node)
        if arguments is None:
            arguments = self._convolutions[node] = self._new_convolution(node)
        return arguments

    def _new_convolution(self, node: Convolve) -> Any:
        layer: Any = node.layer
        norm = node.measures
        applied = norm is not None and norm.applied
        y = norm.y if norm is not None and applied else node.y
        return core.ConvArguments(
            node.x.dtype, node.geometry, self[node.reads.x if node.reads else node.x],
            layer.weight, layer.bias, self.optional(node.residual), node.relu, self[y],
            self.optional_norm(node.reads), self.optional_norm(norm), applied,
        )  # fmt: skip

    @property
    def convolutions(self) -> dict[Convolve, Any]:
        """Arguments of all convolutions so far."""
        return self._convolutions

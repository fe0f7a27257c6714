"""Weights of linear operations: constants, constants behind a DequantizeLinear, or computed ones.

All can be multiplied along their axes. A dequantized weight keeps its integers (a negative factor
turns their sign) and changes the scales of its DequantizeLinear.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..algebra import Array64, FoldRefused
from .constants import Constant
from .graph import Node
from .program import Program
from .store import FLOATS

__all__ = ["Weight", "weight_of"]

Change = Callable[[], None]
BYTES = (2, 3, 4, 5, 6)  # uint8, int8, uint16, int16, int32: a number of whole bytes each


class Weight:
    """Input `index` of a node."""

    def __init__(self, program: Program, node: Node, index: int, constant: Constant) -> None:
        self.program, self.node, self.index, self.constant = program, node, index, constant

    @property
    def shape(self) -> tuple[int, ...]:
        return self.constant.shape

    @property
    def data_type(self) -> int:
        return self.constant.data_type

    @property
    def added(self) -> bool:
        """Whether `multiplied` puts a node in front of the operation."""
        return False

    def float64(self) -> Array64:
        return self.constant.float64()

    def changed(self, change: Callable[[Array64], Array64]) -> Change:
        """Any change that keeps the shape."""
        old = self.constant

        def compute() -> Array64:
            return change(old.float64())

        self.program.constants.judge(compute, old.data_type, "weight", old)
        return lambda: self.program.constants.assign(
            self.node, self.index, compute, old.shape, old.data_type, "weight"
        )

    def multiplied(self, factor: Array64) -> Change:
        """Times a factor that is broadcast to the weight's shape."""
        return self.changed(lambda values: values * factor)


class QuantizedWeight(Weight):
    """A weight that comes out of a DequantizeLinear of constants."""

    def __init__(self, program: Program, node: Node, index: int, source: Node) -> None:
        find = program.constants.find
        parts = [find(source.graph, name) for name in source.inputs]
        if source.attribute("block_size", 0):
            raise FoldRefused("its weight is quantized in blocks")
        if len(parts[1].shape) > 1:
            raise FoldRefused("its weight's quantization scales are no vector")
        self.source, self.parts = source, parts
        self.axis = source.attribute("axis", 1) % max(len(parts[0].shape), 1)
        scale = parts[1]
        super().__init__(
            program, node, index, Constant(scale.data_type, parts[0].shape, self._dequantized)
        )

    def _dequantized(self) -> np.ndarray:
        quantized, scale = (part.float64() for part in self.parts[:2])
        zero = self.parts[2].float64() if len(self.parts) > 2 else np.zeros(())
        return (quantized - self._spread(zero)) * self._spread(scale)

    def _spread(self, values: Array64) -> Array64:
        if values.size == 1:
            return values.reshape(())
        shape = [1] * len(self.parts[0].shape)
        shape[self.axis] = values.size
        return values.reshape(shape)

    def changed(self, change: Callable[[Array64], Array64]) -> Change:
        raise FoldRefused("its weight is quantized and can be scaled only")

    def multiplied(self, factor: Array64) -> Change:
        shape = self.parts[0].shape
        factor = factor.reshape((1,) * (len(shape) - factor.ndim) + factor.shape)
        axes = [axis for axis, size in enumerate(factor.shape) if size > 1]
        if len(axes) > 1:
            raise FoldRefused("its weight is quantized, which has one axis of scales")
        axis = axes[0] if axes else self.axis
        per_channel = self.parts[1].shape not in ((), (1,))
        if axes and per_channel and axis != self.axis:
            raise FoldRefused("its weight is quantized along another axis")
        if axes and not per_channel and self.program.opset < 13:
            raise FoldRefused(
                f"per-channel quantization needs opset 13, this is {self.program.opset}"
            )
        return self._rescaled(factor.reshape(-1), axis)

    def _rescaled(self, factor: Array64, axis: int) -> Change:
        self.axis = axis
        quantized, scale = self.parts[:2]
        flips = factor < 0
        new = np.where(factor == 0, 1.0, np.abs(factor)) * scale.float64().reshape(-1)
        constants = self.program.constants
        constants.judge(lambda: new, scale.data_type, "quantization scale", scale)
        zero = self.parts[2] if len(self.parts) > 2 else None
        zeros = (
            np.zeros(1, np.int64) if zero is None else zero.values().astype(np.int64).reshape(-1)
        )
        if zero is not None and new.size > zero.values().size and zero.data_type not in BYTES:
            raise FoldRefused("its weight's zero point is of a packed type")
        integers = quantized.values()
        if flips.any() or (factor == 0).any():
            integers = self._turned(integers, zeros, np.sign(factor))
        vector = new.size > 1

        def apply() -> None:
            node = self._own_source()
            if integers is not quantized.values():
                constants.assign(
                    node, 0, lambda: integers, integers.shape, quantized.data_type, "quantized"
                )
            shape = new.shape if vector else scale.shape
            constants.assign(node, 1, lambda: new.reshape(shape), shape, scale.data_type, "scale")
            if zero is not None and vector and zero.shape != shape:
                spread = np.broadcast_to(zero.values(), shape)
                constants.assign(node, 2, lambda: spread, shape, zero.data_type, "zero_point")
            if vector:
                node.set_attribute("axis", axis)

        return apply

    def _turned(self, integers: np.ndarray, zeros: np.ndarray, sign: Array64) -> np.ndarray:
        """zero + sign·(q - zero), where the integer type has it."""
        zero = self._spread(zeros)
        turned = zero + self._spread(sign).astype(np.int64) * (integers.astype(np.int64) - zero)
        try:
            limits = np.iinfo(integers.dtype)
        except ValueError:
            raise FoldRefused("its quantized weight cannot change sign") from None
        if turned.min() < limits.min or turned.max() > limits.max:
            raise FoldRefused(
                "its quantized weight cannot change sign: the integer type ends before"
            )
        return turned.astype(integers.dtype)

    def _own_source(self) -> Node:
        """The DequantizeLinear, or a copy of it if others read it too."""
        source, node = self.source, self.node
        name = source.outputs[0]
        if source.graph is node.graph and node.graph.uses(name) == 1:
            return source
        copy = self.program.insert("DequantizeLinear", source.inputs, name, before=node)
        for attribute in source.proto.attribute:
            copy.proto.attribute.append(attribute)
        node.set_input(self.index, copy.outputs[0])
        return copy


class ComputedWeight(Weight):
    """A weight that the graph computes: it can be multiplied by a Mul of its own, which costs a pass over it."""

    def __init__(self, program: Program, node: Node, index: int, reason: FoldRefused) -> None:
        name = node.input(index)
        shape, data_type = program.shape(node.graph, name), program.data_type(node.graph, name)
        if data_type not in FLOATS or shape is None or not all(isinstance(s, int) for s in shape):
            raise reason
        self._reason = reason
        sizes = tuple(size for size in shape if isinstance(size, int))
        super().__init__(program, node, index, Constant(data_type, sizes, self._refuse))

    @property
    def added(self) -> bool:
        return True

    def _refuse(self) -> np.ndarray:
        raise self._reason

    def changed(self, change: Callable[[Array64], Array64]) -> Change:
        raise self._reason

    def multiplied(self, factor: Array64) -> Change:
        program, node, data_type = self.program, self.node, self.data_type
        program.constants.judge(lambda: factor, data_type, "scale")

        def apply() -> None:
            name = node.input(self.index)
            scale = program.constants.new(f"{name}.scale", lambda: factor, factor.shape, data_type)
            product = program.insert("Mul", [name, scale], name, before=node)
            node.set_input(self.index, product.outputs[0])

        return apply


def weight_of(program: Program, node: Node, index: int, *, computed: bool = False) -> Weight:
    """The weight at an input of a node; with `computed` it may be any value of known shape.

    Raises
    ------
    FoldRefused
        If it is computed by the graph or may be overridden.
    """
    name = node.input(index)
    owner = node.graph.owner(name) if name else None
    source = owner.producer.get(name) if owner is not None else None
    if source is not None and source.op == "DequantizeLinear":
        return QuantizedWeight(program, node, index, source)
    try:
        constant = program.constants.find(node.graph, name)
    except FoldRefused as reason:
        if not computed:
            raise
        return ComputedWeight(program, node, index, reason)
    if not constant.is_float:
        raise FoldRefused(f"{name} is no float tensor")
    return Weight(program, node, index, constant)

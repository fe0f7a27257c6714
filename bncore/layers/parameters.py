"""All parameters of a net in one vector and all gradients in another, the layers' attributes being views.

So that an optimizer step, a gradient norm, an average of weights is one call over one array. Nothing here computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .base import Layer

__all__ = ["FlatVectors", "Parameter", "aligned_zeros", "layer_parameters"]

Array = npt.NDArray[Any]
ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


class Parameter(NamedTuple):
    """One trained array, where it lives, and whether weight decay applies to it."""

    layer: Layer
    name: str
    value: Array
    gradient: Array | None
    decayed: bool


def layer_parameters(layer: Layer) -> Iterator[Parameter]:
    """A layer's own parameters, those that are there (a layer without bias has ``bias`` None)."""
    for name in layer.parameter_names:
        value = getattr(layer, name)
        if value is not None:
            gradient = getattr(layer, name + "_grad", None)
            yield Parameter(layer, name, value, gradient, name in layer.decayed_names)


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """A 1-D array of zeros that starts at a 64-byte border."""
    raw = np.zeros(size * dtype.itemsize + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size * dtype.itemsize].view(dtype)


class FlatVectors:
    """The two vectors of one net, and what is needed to notice that the net has changed since.

    Attributes
    ----------
    parameters, gradients : 1-D arrays of one length
        Each parameter starts at a multiple of 64 bytes; what is between them is zero and stays zero.
    decayed : int
        The first so many elements hold the parameters that take weight decay.
    """

    def __init__(self, net: Layer) -> None:
        found = [parameter for _, parameter in net.named_parameters()]
        found.sort(
            key=lambda parameter: not parameter.decayed
        )  # stable: decayed first, else the net's order
        dtype = _common_dtype(found)
        step = ALIGNMENT // dtype.itemsize
        lengths = [-(-parameter.value.size // step) * step for parameter in found]
        self.decayed = sum(n for n, parameter in zip(lengths, found) if parameter.decayed)
        self.parameters = aligned_zeros(sum(lengths), dtype)
        self.gradients = aligned_zeros(sum(lengths), dtype)
        self._gradient_views: list[tuple[Layer, str, Array]] = []
        start = 0
        for parameter, length in zip(found, lengths):
            self._place(parameter, start)
            start += length
        self._expected = [
            (layer, name, getattr(layer, name))
            for _, layer in net.named_layers()
            for name in layer.parameter_names
        ]
        self._children = [
            (layer, children)
            for _, layer in net.named_layers()
            if (children := [child for _, child in layer.children()])
        ]

    def _place(self, parameter: Parameter, start: int) -> None:
        """Copy one parameter and its gradient in and leave views behind."""
        layer, name, value, gradient, _ = parameter
        view = self.parameters[start : start + value.size].reshape(value.shape)
        view[...] = value
        gradient_view = self.gradients[start : start + value.size].reshape(value.shape)
        if gradient is not None and gradient.shape == value.shape:
            gradient_view[...] = gradient
        setattr(layer, name, view)
        setattr(layer, name + "_grad", gradient_view)
        self._gradient_views.append((layer, name + "_grad", gradient_view))

    def is_current(self) -> bool:
        """Whether all parameters still are the views handed out and the tree is the same: a few microseconds."""
        for layer, name, value in self._expected:
            if getattr(layer, name) is not value:
                return False
        for layer, children in self._children:
            if [child for _, child in layer.children()] != children:
                return False
        return True

    def collect_gradients(self) -> None:
        """Bring back gradients that a layer assigned (``self.weight_grad = ...``) instead of writing into the view."""
        for layer, name, view in self._gradient_views:
            gradient = getattr(layer, name)
            if gradient is not view:
                view[...] = 0 if gradient is None else gradient
                setattr(layer, name, view)


def _common_dtype(found: list[Parameter]) -> np.dtype[Any]:
    dtypes = {parameter.value.dtype for parameter in found}
    if not dtypes:
        return np.dtype(np.float32)
    if len(dtypes) > 1 or not dtypes <= {np.dtype(np.float32), np.dtype(np.float64)}:
        listed = ", ".join(
            f"{parameter.layer.brief()}.{parameter.name} {parameter.value.dtype}"
            for parameter in found
        )
        raise TypeError(f"a net's parameters must be all float32 or all float64, got {listed}")
    return dtypes.pop()

"""Numbers that describe a model: nodes by operator, parameters. Nothing of values."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .protos import messages
from .sizes import count
from .store import FLOATS

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Facts", "facts"]

# Passes over an activation that folding means to save, and might add.
ELEMENTWISE = ("Add", "Sub", "Mul", "Div")


@dataclass
class Facts:
    """What a model is made of, subgraphs and functions counted.

    Attributes
    ----------
    norms, elementwise, nodes : int
        BatchNormalization nodes; Add, Sub, Mul and Div; all nodes but constants.
    parameters : int
        Elements of all floating initializers and constants.
    size : int
        Bytes of the file and its external data.
    """

    nodes: int
    norms: int
    elementwise: int
    parameters: int
    size: int
    operators: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def facts(model: ModelProto, size: int = 0) -> Facts:
    """Count; ``size`` is given by whoever knows the files."""
    operators: Counter[str] = Counter()
    parameters = 0
    for part in messages(model):
        kind = part.DESCRIPTOR.name
        if kind == "NodeProto" and part.op_type != "Constant":
            operators[part.op_type] += 1
        elif kind == "TensorProto" and part.data_type in FLOATS:
            parameters += count(part)
    return Facts(
        operators.total(),
        operators["BatchNormalization"],
        sum(operators[name] for name in ELEMENTWISE),
        parameters,
        size,
        dict(sorted(operators.items())),
    )

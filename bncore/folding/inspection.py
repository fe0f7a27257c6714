"""What `bncore inspect` says of a norm, whatever kind of model it is in; and the rows of nets made of bncore's layers.

State dicts' rows are made in state/inspect.py, ONNX models' in onnx/inspect.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .. import layers as L
from .chain import Chain, Net, Place
from .findings import Finding, findings
from .net import fold_net, running_statistics

__all__ = ["NormRow", "inspect_net"]


@dataclass
class NormRow:
    """One norm of a model.

    Attributes
    ----------
    norm : str
        Its name or path.
    op : str
        What it is.
    channels : int or None
        None where that cannot be told.
    producer : str
        What computes its input; empty where nobody knows.
    consumers : list of str
        What reads its result.
    foldable : bool
    why : str
        Into what by which rule, or why not.
    findings : list of Finding
        What looks wrong in its parameters and statistics.
    """

    norm: str
    op: str
    channels: int | None
    producer: str
    consumers: list[str]
    foldable: bool = False
    why: str = ""
    findings: list[Finding] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Python numbers and strings only, ready for JSON."""
        return {**vars(self), "findings": [entry._asdict() for entry in self.findings]}


def inspect_net(net: L.Layer, *, input_ndim: int | None = None) -> list[NormRow]:
    """One row for every norm of a net, in the order of the forward pass.

    Parameters
    ----------
    net : Layer
        Only read.
    input_ndim : int, optional
        Rank of the net's input, as `fold_net` takes it.
    """
    _, report = fold_net(net, input_ndim=input_ndim)
    verdicts = {entry.path: (True, f"into {entry.into} ({entry.rule})") for entry in report.folded}
    verdicts |= {entry.path: (False, entry.why) for entry in report.kept}
    places = {place.path: (chain, place) for chain, place in Net(net, input_ndim).chain.places()}
    rows = []
    for path, layer in net.named_layers():
        if path not in verdicts:
            continue
        # a norm inside another layer, such as a recurrent one, has no neighbours of its own
        owner = path.rpartition(".")[0]
        producer, consumer = _neighbours(*places[path]) if path in places else (owner, owner)
        channels = getattr(layer, "num_features", None)
        row = NormRow(path or "(net)", type(layer).__name__, channels, producer, [consumer])
        row.foldable, row.why = verdicts[path]
        row.findings = _findings(layer)
        rows.append(row)
    return rows


def _neighbours(chain: Chain, place: Place) -> tuple[str, str]:
    index = chain.items.index(place)
    before = chain.items[index - 1].name if index else chain.begin
    after = chain.items[index + 1].name if index + 1 < len(chain.items) else chain.end
    return before, after


def _findings(layer: Any) -> list[Finding]:
    if getattr(layer, "running_mean", None) is None or getattr(layer, "running_var", None) is None:
        return []
    mean, var, eps = running_statistics(layer)
    return findings(layer.weight, layer.bias, mean, var, eps, layer.dtype)

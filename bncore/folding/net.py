"""Folds nets made of bncore's layers: asks the rules about every norm until none can do more.

The rules are backward.py and forward.py, their arithmetic is algebra.py. A norm that no rule can
remove exactly stays, and the report says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import layers as L
from ..support import checks
from . import algebra
from .algebra import Affine, FoldRefused
from .backward import absorb_before, relu_home
from .chain import BATCH_NORMS, Chain, Change, Net, Place, layout
from .forward import Signal, absorb_after
from .recurrent import RECURRENT, fold_inside, input_parameters
from .report import Folded, FoldReport, Kept

__all__ = ["fold_net", "running_statistics"]

OWN_STATISTICS = "it normalizes every sample by statistics of its own"
Rule = Callable[[Chain, Place], list[Change]]


def fold_net(net: L.Layer, *, input_ndim: int | None = None) -> tuple[L.Layer, FoldReport]:
    """Remove a net's batch norms by changing the weights around them; the result computes the same.

    With ``s = weight/sqrt(var + eps)`` a norm after a linear operation becomes ``W' = s·W``,
    ``b' = s·(b - mean) + bias`` there; one before it ``W' = W·s``, ``b' = b + W·(bias - s·mean)``.
    Arithmetic is in float64 with one rounding at the end, however many norms a weight absorbs.

    Parameters
    ----------
    net : Layer
        Only read. It is folded as it evaluates, whatever its mode.
    input_ndim : int, optional
        Rank of the net's input. By default what its first convolution takes, or else 2, (N,
        features).

    Returns
    -------
    folded : Layer
        A new net of the same structure without the norms that could be folded, in evaluation mode.
        Folding it again changes nothing.
    report : FoldReport
        For every norm what took it by which rule, or why it stays.

    Raises
    ------
    TypeError, ValueError
        For a net that is no Layer, or an ``input_ndim`` below 2. A norm that cannot be folded is no error.

    Notes
    -----
    Folded are norms after Linear, convolutions and transposed convolutions (any groups), also
    behind pooling, dropout or Flatten, and after residual sums and concatenations whose every
    branch can take the map; norms before Linear and convolutions, also through pooling and Flatten,
    and into every branch of a block; norms in a row become one. A norm in front of a zero-padded
    convolution is replaced by a `Pad` with the values that it would have mapped to zero. A ReLU
    that is part of a norm goes to the layer that takes the norm. Norms of input products inside
    recurrent layers go into ``weight_ih`` and a ``bias_ih``. Frozen norms, `BatchRenorm`,
    norms with other statistics in training and `InstanceNorm` with running statistics fold like any
    other; what normalizes every sample by itself stays.
    """
    if not isinstance(net, L.Layer):
        raise TypeError(f"net must be a Layer, got {type(net).__name__}")
    if input_ndim is not None and checks.integer(input_ndim, "input_ndim") < 2:
        raise ValueError(f"input_ndim must be an integer >= 2, got {input_ndim}")
    view = Net(net, input_ndim)
    inside = _fold_recurrent(view)
    order = [place.path for _, place in view.norms()]
    done: dict[str, Folded] = {}
    why: dict[str, dict[Rule, str]] = {path: {} for path in order}
    while len(done) < len(order):
        before = len(done)
        for chain, place in view.norms():
            _attempt(_backward, chain, place, done, why)
        for chain, place in reversed(view.norms()):
            _attempt(_forward, chain, place, done, why)
        if len(done) == before:
            break
    report = FoldReport([done[path] for path in order if path in done])
    for path in order:
        if path not in done:
            # the same reason from both rules (a NaN, say) is told once
            reasons = dict.fromkeys(why[path].values())
            report.kept.append(Kept(path, "; ".join(reasons), "kept"))
    for place in view.sample_norms():
        report.kept.append(Kept(place.path, OWN_STATISTICS, "kept"))
    for path, container in view.hidden:
        report.kept.append(
            Kept(path, f"it is inside a {container}, of which folding knows nothing", "kept")
        )
    _add_inside(report, inside, net)
    return view.finish(), report


def _fold_recurrent(view: Net) -> list[Folded | Kept]:
    """Every recurrent layer without the norms inside it, where that is exact."""
    entries: list[Folded | Kept] = []
    for _, place in view.chain.places():
        if place.kind in RECURRENT:
            place.layer, products, found = fold_inside(place.layer, place.path, _inside)
            if products:
                place.weight, place.bias = input_parameters(place.layer, products)
            entries += found
    return entries


def _inside(norm: L.Layer) -> Affine:
    """What a norm of input products computes in evaluation."""
    if not isinstance(norm, L.BatchNorm):
        raise FoldRefused(OWN_STATISTICS)
    return _affine(Place("", norm))


def _add_inside(report: FoldReport, entries: list[Folded | Kept], net: L.Layer) -> None:
    """What became of norms inside recurrent layers, in the order of the forward pass."""
    order = {path: number for number, (path, _) in enumerate(net.named_layers())}
    report.folded += [entry for entry in entries if isinstance(entry, Folded)]
    report.kept += [entry for entry in entries if isinstance(entry, Kept)]
    report.folded.sort(key=lambda entry: order[entry.path])
    report.kept.sort(key=lambda entry: order[entry.path])


def _attempt(
    rule: Rule,
    chain: Chain,
    place: Place,
    done: dict[str, Folded],
    why: dict[str, dict[Rule, str]],
) -> None:
    """Apply a rule to a norm, all of it or nothing, and note what happened."""
    try:
        changes = rule(chain, place)
        for change in changes:
            change.judge()
    except FoldRefused as reason:
        why[place.path][rule] = str(reason)
        return
    into = ", ".join(change.place.path or "(net)" for change in changes)
    name = _rule_name(rule, place.kind.__name__, changes)
    done[place.path] = Folded(place.path, into, name)
    home = relu_home(chain, chain.items.index(place), changes)
    for change in changes:
        change.apply()
    if not place.has_relu:
        chain.items.remove(place)
        place.removed = True
    elif home is not None:
        home.layer.activation = "relu"
        chain.items.remove(place)
        place.removed = True
    else:
        place.layer = L.ReLU()
        place.weight = place.bias = None


def _backward(chain: Chain, place: Place) -> list[Change]:
    affine = _affine(place)
    axis = layout(place.layer.axis, place.ndim)
    return absorb_before(chain, chain.items.index(place), affine, axis, place.ndim)


def _forward(chain: Chain, place: Place) -> list[Change]:
    affine = _affine(place)
    if place.has_relu:
        raise FoldRefused("its ReLU is before whatever follows")
    signal = Signal(affine, layout(place.layer.axis, place.ndim), place.ndim)
    return absorb_after(chain, chain.items.index(place) + 1, signal)


def _affine(place: Place) -> Affine:
    """What a norm computes in evaluation, with the norms it has absorbed."""
    norm = place.layer
    if type(norm) not in (*BATCH_NORMS, L.InstanceNorm):
        raise FoldRefused(f"a {type(norm).__name__} may compute something else than BatchNorm")
    if norm.running_mean is None or norm.running_var is None:
        raise FoldRefused("it has no running statistics and normalizes by those of the batch")
    weight, bias = place.parameters()
    return algebra.norm_affine(weight, bias, *running_statistics(norm))


def running_statistics(norm: Any) -> tuple[Any, Any, float]:
    """Mean, variance and eps of a norm that has running statistics."""
    if isinstance(norm, L.BatchRenorm):  # its standard deviation has eps in it
        return norm.running_mean, norm.running_std.astype(np.float64) ** 2, 0.0
    return norm.running_mean, norm.running_var, norm.eps


def _rule_name(rule: Rule, norm: str, changes: list[Change]) -> str:
    kinds = " + ".join(dict.fromkeys(change.place.kind.__name__ for change in changes))
    if rule is _backward:
        return f"{kinds} → {norm}"
    return f"{norm} → {'Pad + ' if any(change.pad for change in changes) else ''}{kinds}"

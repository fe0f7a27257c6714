"""The folding engine: asks the moves about every label node until none of them wins anything.

Rounds: all that folds backward without a rest, then forward, then what leaves a rest; after any
success from the start. The sum of costs falls with every plan, so it ends; nothing depends on
hashes or time, so it ends the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..algebra import FoldRefused
from ..report import Kept
from . import functions
from .graph import Node
from .moves import ROUNDS, Move, Plan
from .program import Program
from .store import Store

if TYPE_CHECKING:
    import onnx

__all__ = ["DEFAULT_LEVELS", "LEVELS", "Applied", "ModelFold", "fold_model"]

LEVELS = ("backward", "forward", "relu", "norms", "rebase")
DEFAULT_LEVELS = frozenset(LEVELS[:3])
FIRST_OPSET = 7  # before, operands are broadcast by attributes, and norms have a mode of their own
LEAST = 1e-9  # passes a plan has to win
# What NumPy says where shapes or attributes of a file contradict each other. Nothing is changed while a plan is made,
# so that such a place is left as it is, like any other refusal
MALFORMED = (
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    ZeroDivisionError,
    RecursionError,
)


class Applied(NamedTuple):
    """One rewrite.

    Attributes
    ----------
    norms : tuple of str
        Nodes that went or became cheaper.
    rule : str
        E.g. "Conv → BatchNormalization" (backward), "BatchNormalization → Relu → Conv" (forward).
    into : tuple of str
        Nodes that changed.
    text : str
        One line for people.
    """

    norms: tuple[str, ...]
    rule: str
    into: tuple[str, ...]
    text: str


@dataclass
class ModelFold:
    """What was done to a model.

    Attributes
    ----------
    applied : list of Applied
        In the order of application.
    kept : list of Kept
        Norms that stay, with the reason and the nearest rule.
    norms_before, norms_after : int
        Batch norms in all graphs.
    """

    applied: list[Applied] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    norms_before: int = 0
    norms_after: int = 0


def fold_model(
    model: onnx.ModelProto,
    store: Store | None = None,
    *,
    levels: frozenset[str] = DEFAULT_LEVELS,
    limit: int | None = None,
) -> ModelFold:
    """Remove a model's batch norms by changing the weights around them, in place.

    Parameters
    ----------
    model : onnx.ModelProto
        Changed, unless nothing can be done. Inputs, outputs, opset and metadata stay.
    store : Store, optional
        Where tensors' values lie; in the model by default.
    levels : frozenset of str
        Of `LEVELS`.
    limit : int, optional
        Only the first so many rewrites; which ones these are does not depend on the limit.

    Returns
    -------
    ModelFold

    Raises
    ------
    ValueError
        For a level that does not exist.
    """
    unknown = sorted(set(levels) - set(LEVELS))
    if unknown:
        raise ValueError(f"levels must be of {', '.join(LEVELS)}, got {', '.join(unknown)}")
    target = functions.written_out(model)
    program = Program(target, store or Store())
    result = _Engine(program, levels, limit).run()
    result.kept += functions.kept_inside(target)
    if result.applied:
        program.finish()
        if target is not model:
            model.CopyFrom(target)
    return result


class _Engine:
    def __init__(self, program: Program, levels: frozenset[str], limit: int | None) -> None:
        self.program, self.levels = program, levels
        self.limit = limit
        self.result = ModelFold()
        self.why: dict[Node, dict[str, str]] = {}

    def run(self) -> ModelFold:
        self.result.norms_before = sum(node.was_norm for node in self._nodes())
        while self.program.opset >= FIRST_OPSET and self._round():
            pass
        for node in self._nodes():
            if node.op == "BatchNormalization":
                self.result.norms_after += 1
                self.result.kept.append(self._kept(node))
        return self.result

    def _round(self) -> bool:
        """Stages until something was done; True if another round is worth it."""
        for stages in ROUNDS:
            done = [self._sweep(moves) for moves in stages]
            if any(done):
                return True
        return False

    def _sweep(self, stage: tuple[Move, ...]) -> bool:
        """Every node that a stage is for once, in the graph's order."""
        moves = [move for move in stage if move.level in self.levels]
        done = False
        for node in self._nodes() if moves else ():
            if self._is_full():
                return False
            if not node.removed and moves[0].wants(self.program, node):
                done |= self._attempt(node, moves)
        return done

    def _attempt(self, node: Node, moves: list[Move]) -> bool:
        best: tuple[Move, Plan] | None = None
        why = self.why.setdefault(node, {})
        try:
            label = moves[0].read(self.program, node)
        except MALFORMED as error:
            why["label"] = _reason(error)
            return False
        for move in moves:
            try:
                plan = move.plan(self.program, node, label, self.levels)
            except MALFORMED as error:
                why[move.name] = _reason(error)
                continue
            why[move.name] = "it would cost as much as it saves"
            if plan.cost < -LEAST and (best is None or plan.cost < best[1].cost - LEAST):
                best = move, plan
        if best is not None:
            self._apply(node, *best)
        return best is not None

    def _apply(self, node: Node, move: Move, plan: Plan) -> None:
        op, name = node.op, node.name
        others = [edit.node for edit in plan.edits if edit.node is not node]
        into = tuple(dict.fromkeys(other.name for other in others))
        path = " → ".join([op, *plan.path] if move.onward else [*plan.path[::-1], op])
        rest = "".join(f"; {part}" for part in (move.leaves, plan.note) if part)
        taken = f" into {', '.join(into)}" if into else ""
        text = f"{op} {name}{taken} ({path}, {move.name}{rest})"
        plan.apply()
        self.result.applied.append(Applied((name,), f"{move.name}: {path}", into, text))

    def _is_full(self) -> bool:
        return self.limit is not None and len(self.result.applied) >= self.limit

    def _kept(self, node: Node) -> Kept:
        why = self.why.get(node, {})
        if self.program.opset < FIRST_OPSET:
            older = f"opset {self.program.opset} is too old, {FIRST_OPSET} is the first known"
            return Kept(node.name, older, "none")
        if "label" in why:
            return Kept(node.name, why["label"], "none")
        parts = [f"{name}: {why[name]}" for name in ("backward", "forward") if name in why]
        return Kept(node.name, "; ".join(parts) or "not tried", "backward, forward")

    def _nodes(self) -> Iterator[Node]:
        for graph in self.program.main.all():
            yield from list(graph.ordered())


def _reason(error: Exception) -> str:
    """For the report."""
    return str(error) if isinstance(error, FoldRefused) else f"the graph is malformed ({error})"

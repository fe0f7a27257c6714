"""Ways of folding, in the order in which they are tried: one file each, listed here."""

from __future__ import annotations

from . import (
    both_ways,
    identity_branch,
    other_norms,
    parallel,
    scale_backward,
    scale_forward,
    shift_backward,
)
from .plan import Move, Plan
from .rebase import BESIDE, REBASE
from .whole import BACKWARD, FORWARD, FORWARD_WITH_A_MAP, IDENTITY, IN_PART

__all__ = ["ROUNDS", "Move", "Plan"]

# A stage is one sweep over the graph; of its moves the cheapest is taken for every node. A round is some stages; the
# next round begins when nothing is left to do in those before it.
Stage = tuple[Move, ...]
ROUNDS: tuple[tuple[Stage, ...], ...] = (
    ((IDENTITY,), (BACKWARD,), (FORWARD,)),
    (
        (
            both_ways.MOVE,
            scale_forward.MOVE,
            scale_backward.MOVE,
            shift_backward.MOVE,
            FORWARD_WITH_A_MAP,
            IN_PART,
        ),
    ),
    ((identity_branch.MOVE,), (parallel.MOVE,), (BESIDE,), (other_norms.MOVE,)),
    ((REBASE,),),
)

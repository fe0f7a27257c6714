"""A batch in pieces: how many samples a thread takes through a whole inference plan at a time, and memory for each thread.

What one step leaves is then in cache for the next, and threads meet once instead of after every step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers import Layer
from .core import core
from .nodes import Call, Normalize
from .plan import LITTLE_WORK, Plan, lower
from .values import Array, Unsupported

__all__ = ["Pieces", "in_pieces", "samples_per_piece"]

# Values of a piece lie in the second-level cache of one processor, beside weights.
PIECE_MEMORY = 5 << 18
# Multiplications of a piece, many times what handing it to a thread takes.
PIECE_WORK = 1 << 19


def samples_per_piece(samples: int, memory: int, work: int, threads: int) -> int:
    """How many samples a thread takes at a time; all of them where pieces would not pay.

    Parameters
    ----------
    samples : int
        Of the batch.
    memory, work : int
        Bytes and multiplications of the plan for all of them.
    threads : int
    """
    useful = max(1, min(threads, work // PIECE_WORK))
    fits = PIECE_MEMORY * samples // max(1, memory)
    worth = _ceil(PIECE_WORK * samples, max(1, work))
    most = min(max(1, fits, worth), _ceil(samples, useful))
    if _ceil(samples, most) < useful:  # steps share out what they do among more threads
        return samples

    def turns(per: int) -> int:
        """Samples after each other on the thread with the most pieces; the last piece repeats some of another's."""
        return _ceil(_ceil(samples, per), useful) * per

    return min(range(most, most // 2, -1), key=turns)


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


class Pieces:
    """A plan for a piece of the batch, bound once for every thread.

    Attributes
    ----------
    plan : Plan
        Of one piece.
    """

    def __init__(self, plan: Plan, samples: int, threads: int) -> None:
        self.plan = plan
        first: Any = None
        steps, x, y = [], [], []
        for _ in range(threads):
            bound, forward, _ = plan.bind()
            for node, arguments in bound.convolutions.items():
                if first is None:
                    arguments.keep_weight(samples)
                else:
                    arguments.share_weight(first.convolutions[node])
            first = first or bound
            steps.append(forward.native())
            x.append(bound[plan.x])
            y.append(bound[plan.y])
        work = plan.work * samples // plan.x.shape[0]
        self._run = core.Pieces(steps, x, y, samples, work, work <= LITTLE_WORK).run

    def run(self, x: Array) -> Array:
        """y of all samples, a new array."""
        flags = x.flags
        plain = flags.c_contiguous and flags.aligned
        y: Array = self._run(x if plain else np.require(x, requirements=("C", "A")))
        return y


def in_pieces(net: Layer, whole: Plan) -> Pieces | None:
    """A net's inference by pieces; None where samples see each other, layers are called, or pieces would not pay."""
    samples, threads = whole.x.shape[0], core.thread_limit()
    per = samples_per_piece(samples, whole.memory, whole.work, threads)
    if per == samples or whole.y.shape[0] != samples or not all(map(_by_sample, whole.nodes)):
        return None
    try:
        plan = lower(net, (per, *whole.x.shape[1:]), training=False)
    except Unsupported:  # an axis of samples that is one of channels, say
        return None
    return Pieces(plan, samples, min(threads, _ceil(samples, per)))


def _by_sample(node: Any) -> bool:
    """Whether it does the same to a sample whatever the others are, without Python."""
    return not isinstance(node, Call) and not (isinstance(node, Normalize) and node.batch)

"""Plans: a net lowered once for one shape and mode to a list of steps, run with as few calls as possible.

A plan computes what the layers compute, called one by one, up to rounding. It fuses neighbours, keeps images with channels
last, lets values share memory, and allocates nothing when it runs. `bncore.Trainer` uses one by itself; `compile` makes
one for inference.
"""

from .inference import Compiled, compile
from .plan import Plan, guards_of, lower
from .run import Run
from .values import Unsupported

__all__ = ["Compiled", "Plan", "Run", "Unsupported", "compile", "guards_of", "lower"]

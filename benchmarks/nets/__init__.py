"""The reference nets against the same nets in other libraries: one training step, or an inference, of all of them.

Used by bench_train.py and bench_infer.py. A kind of contender is a module here, which is imported where it takes part and
nowhere else; every one has ``train(case)`` and ``infer(case)``, which give names and how to make what they name. The peers'
nets are made from ours, layer by layer, with our weights.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .cases import Case

# kind -> its module
KINDS = {
    "bncore": "nets.ours",
    "torch": "nets.pytorch",
    "compile": "nets.inductor",
    "jax": "nets.xla",
    "sklearn": "nets.scikit",
    "onnx": "nets.ort",
}
SLOW_TO_START = ("compile",)
"""What a quick run leaves out unless it is asked for."""

OTHER_WORK = ("sklearn",)
"""Kinds that compute less than the others: timed, but neither checked nor called the best peer."""


class Missing(Exception):
    """A contender cannot take part here, and why."""


class Contender(NamedTuple):
    """What is timed, and how to read what it returned: a loss, or an array of outputs."""

    call: Callable[[], Any]
    read: Callable[[Any], Any]


Makers = dict[str, Callable[[], Contender]]


def makers(kind: str, what: str, case: Case) -> Makers:
    """Names of the contenders of a kind at "train" or "infer", each with what makes it; none where it has no such net.

    Raises
    ------
    Missing
        If the library is not installed.
    """
    try:
        module = importlib.import_module(KINDS[kind])
    except ImportError as error:
        raise Missing(f"{error.name or error} is not installed") from error
    found: Makers = getattr(module, what)(case)
    return found

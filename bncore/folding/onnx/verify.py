"""Does a folded model compute what the original computes? Both are run by ONNX Runtime, optimizations disabled, on the same
inputs, beside a float64 run of the original.

What could not be run is never called verified: a verification that is not "agree" or "differ" says why.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from .distance import TOLERANCES, OutputError, Tolerance, compare
from .runtime import CannotRun, Session
from .store import BFLOAT16, DOUBLE, FLOAT, FLOAT16
from .twin import NoTwin, twin

if TYPE_CHECKING:
    from onnx import ModelProto

    from .inputs import Feed
    from .store import Store

__all__ = ["Candidate", "Trial", "Verification", "open_session", "tolerance_of"]


class Candidate(NamedTuple):
    """A model to be run: in memory, with its values, and as a file."""

    model: ModelProto
    store: Store
    path: str | os.PathLike[str]


@dataclass
class Verification:
    """Result of `Trial.judge`.

    Attributes
    ----------
    status : "agree", "differ" or "not verified"
    reason : str
        Why, unless it is "agree".
    how : str
        What ran both models.
    cases : list of str
        The inputs tried.
    outputs : list of OutputError
    float64 : str
        What ran the original in float64, or why nothing could.
    """

    status: str
    reason: str = ""
    how: str = ""
    cases: list[str] = field(default_factory=list)
    outputs: list[OutputError] = field(default_factory=list)
    float64: str = ""
    tolerance: Tolerance | None = None

    def to_dict(self) -> dict[str, Any]:
        """Python numbers and strings only, ready for JSON."""
        return {
            "status": self.status,
            "reason": self.reason,
            "how": self.how,
            "inputs": self.cases,
            "float64": self.float64,
            **({} if self.tolerance is None else self.tolerance._asdict()),
            "outputs": [output.to_dict() for output in self.outputs],
        }


@dataclass
class Trial:
    """Inputs and the original's answers, to which folded models are compared; or the reason why there are none."""

    tolerance: Tolerance
    time_limit: float
    reason: str = ""
    how: str = ""
    converted: bool = False
    cases: list[str] = field(default_factory=list)
    feeds: list[Feed] = field(default_factory=list)
    expected: list[dict[str, Any]] = field(default_factory=list)
    exact: list[dict[str, Any] | None] = field(default_factory=list)
    float64: str = ""
    trusted: bool = False

    def judge(self, folded: Candidate) -> Verification:
        """Run a folded model on the same inputs."""
        if self.reason:
            return Verification("not verified", self.reason)
        result = Verification("agree", "", self.how, self.cases, [], self.float64, self.tolerance)
        outputs = {name: OutputError(name) for name in self.expected[0]}
        try:
            session = open_session(folded, converted=self.converted, time_limit=self.time_limit)
            if session.outputs != list(outputs):
                raise CannotRun(f"its outputs are {session.outputs}, not {list(outputs)}")
            for feed, expected, exact in zip(self.feeds, self.expected, self.exact):
                answers = session.run(feed)
                for name, value in expected.items():
                    true = None if exact is None else exact.get(name)
                    outputs[name].add(
                        compare(
                            name, value, answers[name], true, self.tolerance, trusted=self.trusted
                        )
                    )
        except (CannotRun, NoTwin) as error:
            result.status, result.reason = "differ", f"the folded model does not run: {error}"
            return result
        result.outputs = list(outputs.values())
        if any(output.stray for output in result.outputs):
            result.float64 = f"none: that of {self.float64} is far from both models"
            for output in result.outputs:
                output.forget_float64()
        troubles = [f"output {o.name!r}: {o.trouble}" for o in result.outputs if o.trouble]
        if troubles:
            result.status, result.reason = "differ", "; ".join(troubles[:3])
        elif not any(output.largest for output in result.outputs):
            result.status = "not verified"
            result.reason = "for all inputs tried, no output has a finite value other than 0"
        return result


def tolerance_of(types: set[int], rtol: float | None, atol: float | None) -> Tolerance:
    """As given, else by the coarsest of a model's floating types."""
    kind = next((kind for kind in (BFLOAT16, FLOAT16, FLOAT, DOUBLE) if kind in types), FLOAT)
    default = TOLERANCES[kind]
    return Tolerance(default.rtol if rtol is None else rtol, default.atol if atol is None else atol)


def open_session(candidate: Candidate, *, converted: bool, time_limit: float) -> Session:
    """A model as it stands, or its float32 twin."""
    if not converted:
        return Session(candidate.path, time_limit=time_limit)
    data = twin(candidate.model, candidate.store, FLOAT).SerializeToString()
    return Session(data, time_limit=time_limit)

"""Does a folded model compute what the original computes? Both are run by ONNX Runtime, optimizations disabled, on the same
inputs, beside a float64 run of the original.

What could not be run is never called verified: a verification that is not "agree" or "differ" says why.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .distance import TOLERANCES, OutputError, Tolerance, compare, flatten
from .float64 import float64_run
from .hints import Hints
from .inputs import STYLES, Feed, Input, Shapes, from_file, model_inputs, random_feed, shapes_to_try
from .protos import tensors
from .runtime import CannotRun, Session, TooSlow
from .sizes import storage_bytes
from .twin import DOUBLE, FLOAT, NoTwin, float_types, twin

if TYPE_CHECKING:
    from onnx import ModelProto

    from .store import Store

__all__ = ["Candidate", "Trial", "Verification", "prepare", "tolerance_of"]

MOST_SHAPES = 3
# The reference evaluator is some ten times slower than ONNX Runtime: it sees all inputs, one, or none.
_QUICK, _SLOW = 0.05, 2.0
_LARGEST_TWIN = 1 << 28
_UNLIKE = 100.0
"""A float64 run this many tolerances away from ONNX Runtime's answers is wrong itself."""


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
            "outputs": [vars(output) for output in self.outputs],
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

    def judge(self, folded: Candidate) -> Verification:
        """Run a folded model on the same inputs."""
        if self.reason:
            return Verification("not verified", self.reason)
        result = Verification("agree", "", self.how, self.cases, [], self.float64, self.tolerance)
        outputs = {name: OutputError(name) for name in self.expected[0]}
        try:
            session = _session(folded, converted=self.converted, time_limit=self.time_limit)
            if session.outputs != list(outputs):
                raise CannotRun(f"its outputs are {session.outputs}, not {list(outputs)}")
            for feed, expected, exact in zip(self.feeds, self.expected, self.exact):
                answers = session.run(feed)
                for name, value in expected.items():
                    true = None if exact is None else exact.get(name)
                    outputs[name].add(compare(name, value, answers[name], true, self.tolerance))
        except (CannotRun, NoTwin) as error:
            result.status, result.reason = "differ", f"the folded model does not run: {error}"
            return result
        result.outputs = list(outputs.values())
        troubles = [f"output {o.name!r}: {o.trouble}" for o in result.outputs if o.trouble]
        if troubles:
            result.status, result.reason = "differ", "; ".join(troubles[:3])
        return result


def tolerance_of(model: ModelProto, rtol: float | None, atol: float | None) -> Tolerance:
    """As given, else by the coarsest floating type of the model."""
    types = float_types(model)
    kind = next((kind for kind in (16, 10, 1, 11) if kind in types), 1)
    default = TOLERANCES[kind]
    return Tolerance(default.rtol if rtol is None else rtol, default.atol if atol is None else atol)


def prepare(
    original: Candidate,
    *,
    tolerance: Tolerance,
    seed: int = 0,
    inputs: str | os.PathLike[str] | None = None,
    dims: Mapping[str, int] | None = None,
    time_limit: float = 300.0,
) -> Trial:
    """Choose inputs and run the original on them.

    Parameters
    ----------
    inputs : path, optional
        An .npz file with an array for each input, instead of random ones.
    dims : dict, optional
        Sizes of free dimensions by name.

    Raises
    ------
    FileFormatError, ValueError
        ``inputs`` or ``dims`` do not fit the model. What the model itself prevents is the trial's ``reason``.
    """
    trial = Trial(tolerance, time_limit)
    hints = Hints(original.model)
    try:
        wanted = model_inputs(original.model, hints)
        given = None if inputs is None else from_file(inputs, wanted)
        shapes = [] if given is not None else shapes_to_try(wanted, dims or {})
        first = None if given is not None else next(iter(shapes_to_try(wanted, dims or {})), None)
    except ValueError as error:
        if inputs is not None or dims:
            raise
        trial.reason = str(error)
        return trial
    try:
        session = _open(original, trial)
        if given is not None:
            _add(trial, session, given, f"{os.fspath(inputs)}")  # type: ignore[arg-type]
        elif first is not None:
            _try_shapes(trial, session, wanted, shapes, hints, seed)
        seconds = _repeat(trial, session)
        del session
    except (CannotRun, NoTwin, ValueError) as error:
        trial.reason = f"the original does not run: {error}"
        return trial
    _add_float64(trial, original, seconds)
    return trial


def _open(original: Candidate, trial: Trial) -> Session:
    """A session of the original, or of its float32 twin if ONNX Runtime lacks kernels for its type."""
    import onnxruntime

    trial.how = f"ONNX Runtime {onnxruntime.__version__}, optimizations disabled"
    try:
        return _session(original, converted=False, time_limit=trial.time_limit)
    except CannotRun as error:
        if not float_types(original.model) & {10, 16}:
            raise
        trial.converted = True
        trial.how += (
            f"; both models converted to float32, for as it stands the original is refused: {error}"
        )
        return _session(original, converted=True, time_limit=trial.time_limit)


def _session(candidate: Candidate, *, converted: bool, time_limit: float) -> Session:
    if not converted:
        return Session(candidate.path, time_limit=time_limit)
    data = twin(candidate.model, candidate.store, FLOAT).SerializeToString()
    return Session(data, time_limit=time_limit)


def _try_shapes(
    trial: Trial, session: Session, wanted: list[Input], shapes: Any, hints: Hints, seed: int
) -> None:
    """All styles of values on the first shape that the model takes, one style on the next ones."""
    refusal: CannotRun | None = None
    for number, shape in enumerate(shapes):
        styles = STYLES if not trial.feeds else STYLES[1:2]
        try:
            for at, style in enumerate(styles):
                rng = np.random.default_rng([seed, number, at])
                feed = random_feed(wanted, shape, style, rng, hints)
                _add(trial, session, feed, f"{style}: {Shapes(shape.by_name)}")
        except TooSlow:
            raise
        except CannotRun as error:
            refusal = refusal or error
        if len(trial.feeds) >= len(STYLES) + MOST_SHAPES - 1:
            return
    if not trial.feeds:
        raise refusal or CannotRun("no inputs")


def _add(trial: Trial, session: Session, feed: Feed, text: str) -> None:
    if trial.converted:
        feed = {k: v.astype(np.float32) if v.dtype.kind in "fV" else v for k, v in feed.items()}
    answers = session.run(feed)
    trial.feeds.append(feed)
    trial.expected.append(answers)
    trial.exact.append(None)
    trial.cases.append(text)


def _repeat(trial: Trial, session: Session) -> float:
    """Seconds of a run; a model that answers otherwise the second time cannot be compared."""
    start = time.perf_counter()
    again = session.run(trial.feeds[0])
    seconds = time.perf_counter() - start
    for before, after in zip(
        flatten(list(trial.expected[0].values())), flatten(list(again.values()))
    ):
        if not np.array_equal(before, after, equal_nan=np.asarray(before).dtype.kind == "f"):
            raise CannotRun("it gives different answers to the same inputs (random numbers in it?)")
    return seconds


def _add_float64(trial: Trial, original: Candidate, seconds: float) -> None:
    """The float64 answers, as far as they can be had in reasonable time, and who gave them."""
    size = sum(storage_bytes(t) for t in tensors(original.model) if t.data_type in (1, 10, 11, 16))
    if size > _LARGEST_TWIN:
        trial.float64 = f"none: weights of {size >> 20} MB are converted too slowly"
        return
    if float_types(original.model) == {DOUBLE}:
        trial.float64 = "none: the model is in float64 itself"
        return
    try:
        run, by = float64_run(
            original.model, original.store, trial.feeds[0], time_limit=trial.time_limit
        )
        slow = by != "ONNX Runtime"
        if slow and seconds > _SLOW:
            raise NoTwin("none: the model is too large for the reference evaluator")
        count = 1 if slow and seconds > _QUICK else len(trial.feeds)
        exact = [run(trial.feeds[0])]
    except NoTwin as error:
        trial.float64 = f"none: {str(error).removeprefix('none: ')}"
        return
    with suppress(NoTwin):  # what is too large for the evaluator comes last
        for feed in trial.feeds[1:count]:
            exact.append(run(feed))
    count = len(exact)
    loose = Tolerance(_UNLIKE * trial.tolerance.rtol, _UNLIKE * trial.tolerance.atol)
    for answers, expected in zip(exact, trial.expected):
        for name, value in expected.items():
            if not _alike(value, answers[name], loose):
                trial.float64 = f"none: {by} disagrees with ONNX Runtime about the original"
                return
    trial.exact[:count] = exact
    trial.float64 = f"{by}, on {count} of {len(trial.feeds)} inputs"


def _alike(value: Any, exact: Any, tolerance: Tolerance) -> bool:
    as_double = [
        np.asarray(part).astype(np.float64) if np.asarray(part).dtype.kind in "fV" else part
        for part in flatten(value)
    ]
    return not compare("", as_double, list(flatten(exact)), None, tolerance).trouble

"""What folded models are compared with: inputs, the original's answers to them, and its float64 answers where these can be had.

The comparison itself is verify.py's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .distance import compare
from .float64 import float64_run
from .hints import Hints
from .inputs import STYLES, Feed, Shapes, from_file, model_inputs, random_feed, shapes_to_try
from .protos import tensors
from .runtime import CannotRun, Session, TooSlow
from .sizes import storage_bytes
from .store import DOUBLE, FLOAT, FLOATS
from .twin import NoTwin, float_types
from .verify import Candidate, Trial, open_session, tolerance_of
from .work import all_values

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["prepare"]

MOST_SHAPES = 3
# The reference evaluator is some ten times slower than ONNX Runtime: it is not asked if that took so many seconds, and no
# more if it has worked for so many itself.
_SLOW, _PATIENCE = 2.0, 3.0
_LARGEST_TWIN = 1 << 28
_MOST_VALUES, _MOST_CHOSEN = 1 << 29, 3 << 26
"""Elements of all values inside the model, if its sizes are fixed and if they are chosen here: more is damage, or a matter
for `inputs` and `dims`. VGG-16 with norms has 2^27 on three images of 224²."""

_Named = tuple[str, Callable[[], Feed]]  # inputs and what a report calls them


def prepare(
    original: Candidate,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    inputs: str | os.PathLike[str] | None = None,
    dims: Mapping[str, int] | None = None,
    time_limit: float = 300.0,
) -> Trial:
    """Choose inputs and run the original on them.

    Parameters
    ----------
    rtol, atol : float, optional
        Of the comparison, see `Tolerance`; by default what suits the model's types.
    inputs : path, optional
        An .npz file with an array for each input, instead of random ones.
    dims : dict, optional
        Sizes of free dimensions by name.

    Raises
    ------
    FileFormatError, ValueError
        ``inputs`` or ``dims`` do not fit the model. What the model itself prevents is the trial's ``reason``.
    """
    types = float_types(original.model)
    trial = Trial(tolerance_of(types, rtol, atol), time_limit)
    try:
        groups = _groups(original.model, seed, inputs, dims or {})
    except ValueError as error:
        if inputs is not None or dims:
            raise
        trial.reason = str(error)
        return trial
    try:
        session = _open(original, trial)
        if trial.converted and types == {DOUBLE}:
            trial.tolerance = tolerance_of({FLOAT}, rtol, atol)
        _run_groups(trial, session, groups)
        seconds = _repeat(trial, session)
        del session  # one model at a time in memory
    except (CannotRun, NoTwin) as error:
        on = "random inputs" if inputs is None else os.fspath(inputs)
        trial.reason = f"the original does not run on {on}: {error}"
        return trial
    _add_float64(trial, original, seconds)
    return trial


def _groups(
    model: ModelProto, seed: int, inputs: str | os.PathLike[str] | None, dims: Mapping[str, int]
) -> Iterator[list[_Named]]:
    """Inputs to try, those of one shape together. What was asked for is judged at once, arrays are made when needed."""
    hints = Hints(model)
    wanted = model_inputs(model, hints)
    if inputs is not None:
        feed = from_file(inputs, wanted)
        return iter([[(os.fspath(inputs), lambda: feed)]])
    shapes: Iterable[Shapes] = shapes_to_try(wanted, dims)
    if not dims:
        free = any(isinstance(dim, str) for item in wanted for dim in item.dims or ())
        shapes = _reasonable(model, shapes, _MOST_CHOSEN if free else _MOST_VALUES)
    return (
        [
            (
                f"{style}: {shape}",
                partial(random_feed, wanted, shape, style, [seed, number, at], hints),
            )
            for at, style in enumerate(STYLES)
        ]
        for number, shape in enumerate(shapes)
    )


def _open(original: Candidate, trial: Trial) -> Session:
    """A session of the original, or of its float32 twin if ONNX Runtime lacks kernels for its type."""
    import onnxruntime

    trial.how = f"ONNX Runtime {onnxruntime.__version__}, optimizations disabled"
    try:
        return open_session(original, converted=False, time_limit=trial.time_limit)
    except CannotRun as error:
        if not float_types(original.model) - {FLOAT}:
            raise
        trial.converted = True
        trial.how += (
            f"; both models converted to float32, for as it stands the original is refused: {error}"
        )
        return open_session(original, converted=True, time_limit=trial.time_limit)


def _reasonable(model: ModelProto, shapes: Iterable[Shapes], limit: int) -> Iterator[Shapes]:
    """Shapes with which values do not become absurdly large: one operator can take for ever and cannot be stopped."""
    elements, any_left = 0, False
    for shape in shapes:
        elements = all_values(model, shape.by_name)
        if elements <= limit:
            any_left = True
            yield shape
    if not any_left:
        raise CannotRun(
            f"values inside it would have {elements} elements; --inputs or --dim try it all the same"
        )


def _run_groups(trial: Trial, session: Session, groups: Iterable[list[_Named]]) -> None:
    """All of the first group that the model takes, one of each of the next ones."""
    refusal: CannotRun | None = None
    for group in groups:
        try:
            for text, make in group[1:2] if trial.feeds else group:
                _add(trial, session, make(), text)
        except TooSlow:
            raise
        except CannotRun as error:
            refusal = refusal or error
        if len(trial.feeds) >= len(STYLES) + MOST_SHAPES - 1:
            return
    if not trial.feeds:
        raise refusal or CannotRun("there are no inputs to try")


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
    for name, value in trial.expected[0].items():
        if compare(name, value, again[name], None, trial.tolerance).trouble:
            raise CannotRun("it gives different answers to the same inputs (random numbers in it?)")
    return seconds


def _add_float64(trial: Trial, original: Candidate, seconds: float) -> None:
    """The float64 answers, as far as they can be had in reasonable time, and who gave them."""
    size = sum(storage_bytes(t) for t in tensors(original.model) if t.data_type in FLOATS)
    if size > _LARGEST_TWIN:
        trial.float64 = f"none: weights of {size >> 20} MB are converted too slowly"
        return
    if float_types(original.model) == {DOUBLE} and not trial.converted:
        trial.float64 = "none: the model is in float64 itself"
        return
    try:
        run, by = float64_run(
            original.model, original.store, trial.feeds[0], time_limit=trial.time_limit
        )
        if by != "ONNX Runtime" and seconds > _SLOW:
            raise NoTwin("the model is too large for the reference evaluator")
        end = time.perf_counter() + _PATIENCE
        exact = [run(trial.feeds[0])]
    except NoTwin as error:
        trial.float64 = f"none: {error}"
        return
    with suppress(NoTwin):  # what is too large for the evaluator comes last
        while len(exact) < len(trial.feeds) and time.perf_counter() < end:
            exact.append(run(trial.feeds[len(exact)]))
    trial.exact[: len(exact)] = exact
    trial.trusted = by == "ONNX Runtime"
    trial.float64 = f"{by}, on {len(exact)} of {len(trial.feeds)} inputs"

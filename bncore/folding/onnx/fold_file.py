"""From file to file: read, fold, write aside, compare, put in place. The steps are elsewhere; this is their order.

Nothing appears at the target unless the folded model is valid and, where it can be compared, agrees with the original.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...support.files import check_target
from .bisect import first_wrong
from .distance import Tolerance
from .facts import Facts, facts
from .load import Loaded, load
from .save import InvalidModel, Staged, check_place, commit, stage, staging_folder
from .trial import prepare
from .verify import Candidate, Trial, Verification

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["FileFold", "Options", "fold_file"]

FoldModel = Callable[..., Any]


@dataclass
class Options:
    """How to fold and what to try; see `bncore fold --help`."""

    levels: frozenset[str] | None = None
    rtol: float | None = None
    atol: float | None = None
    seed: int = 0
    inputs: str | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    time_limit: float = 300.0
    verify: bool = True
    force: bool = False
    dry_run: bool = False


@dataclass
class FileFold:
    """What `fold_file` did.

    Attributes
    ----------
    model : ModelProto
        The folded model; its external data may be gone.
    fold : ModelFold
        What became of every norm.
    before, after : Facts
    verification : Verification
    culprit : Applied or None
        On disagreement the rewrite that broke the model.
    culprit_number : int or None
        Its place among the rewrites, from 1; 0 if the model disagrees without any.
    written : bool
    measured : object
        What ``measure`` returned.
    remark : str
        What was wrong with the file and did no harm.
    """

    model: ModelProto
    fold: Any
    before: Facts
    after: Facts
    verification: Verification
    culprit: Any = None
    culprit_number: int | None = None
    written: bool = False
    measured: Any = None
    remark: str = ""


def fold_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None,
    options: Options | None = None,
    *,
    fold: FoldModel | None = None,
    measure: Callable[[str, str, dict[str, Any]], Any] | None = None,
) -> FileFold:
    """Fold an ONNX file.

    Parameters
    ----------
    source, target : path
        Read and written; ``target`` may be None for a dry run. They may be the same file, with ``options.force``.
    fold : callable, optional
        Instead of `engine.fold_model`.
    measure : callable, optional
        Called with the paths of the original and the folded model and inputs, while both exist; its result is kept.

    Raises
    ------
    FileFormatError
        ``source`` is not a model that can be read, or the inputs' file does not fit it.
    OSError
        ``target`` cannot be written, or exists and ``options.force`` is false.
    """
    options = options or Options()
    if target is None and not options.dry_run:
        raise ValueError("a target is needed unless it is a dry run")
    if target is not None and not options.dry_run:
        check_target(target, options.force)
    with staging_folder(None if options.dry_run else target) as folder:
        loaded = load(source, scratch=folder)
        if not options.dry_run:
            check_place(target or "", loaded.files, external=loaded.external, force=options.force)
        job = _Job(loaded, target or source, folder, options, fold or _engine())
        with loaded.store:
            return job.run(measure)


def _engine() -> FoldModel:
    from .engine import fold_model

    return fold_model


@dataclass
class _Job:
    loaded: Loaded
    target: str | os.PathLike[str]
    folder: Path
    options: Options
    fold: FoldModel

    def run(self, measure: Callable[[str, str, dict[str, Any]], Any] | None) -> FileFold:
        original = Candidate(self.loaded.model, self.loaded.store, self.loaded.path)
        before = facts(original.model, self.loaded.size)
        trial = self._trial(original)
        done = self._fold(self.loaded)
        result = FileFold(
            original.model, done, before, facts(original.model), Verification("not verified")
        )
        result.remark = self.loaded.remark
        staged = self._judge(result, trial)
        if staged is None:
            self._blame(result, trial)
            return result
        if measure is not None and trial.feeds:
            result.measured = measure(
                os.fspath(self.loaded.path), os.fspath(staged.model), trial.feeds[0]
            )
        if not self.options.dry_run:
            commit(staged, self.target, force=self.options.force)
            result.written = True
        return result

    def _judge(self, result: FileFold, trial: Trial) -> Staged | None:
        """Fill in the verification; the files to put in place, None if the folded model is wrong."""
        try:
            staged = self._stage(self.loaded, self.folder / "folded")
        except InvalidModel as error:
            result.verification = Verification("differ", f"the folded model is not valid: {error}")
            return None
        result.after.size = staged.size
        folded = Candidate(self.loaded.model, self.loaded.store, staged.model)
        result.verification = trial.judge(folded)
        return None if result.verification.status == "differ" else staged

    def _trial(self, original: Candidate) -> Trial:
        if not self.options.verify:
            return Trial(Tolerance(0, 0), 0.0, reason="not asked for (--no-verify)")
        return prepare(
            original,
            rtol=self.options.rtol,
            atol=self.options.atol,
            seed=self.options.seed,
            inputs=self.options.inputs,
            dims=self.options.dims,
            time_limit=self.options.time_limit,
        )

    def _fold(self, loaded: Loaded, **more: Any) -> Any:
        levels = {} if self.options.levels is None else {"levels": self.options.levels}
        return self.fold(loaded.model, loaded.store, **levels, **more)

    def _stage(self, loaded: Loaded, folder: Path) -> Staged:
        folder.mkdir()
        return stage(loaded.model, loaded.store, folder, self.target, external=loaded.external)

    def _blame(self, result: FileFold, trial: Trial) -> None:
        """Name the first rewrite with which the model is wrong, on the same inputs."""
        applied = list(result.fold.applied)

        def agrees(count: int) -> bool:
            with staging_folder(self.folder / "trial") as folder:
                again = load(self.loaded.path, scratch=folder)
                with again.store:
                    self._fold(again, limit=count)
                    try:
                        staged = self._stage(again, folder / "folded")
                    except InvalidModel:
                        return False
                    part = Candidate(again.model, again.store, staged.model)
                    return trial.judge(part).status != "differ"

        number = first_wrong(len(applied), agrees) if applied else None
        result.culprit_number = number or 0
        result.culprit = applied[number - 1] if number else None

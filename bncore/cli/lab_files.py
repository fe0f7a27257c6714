"""Where `bncore lab` writes: a page, the numbers behind it, pictures. Nothing is overwritten that is not meant to be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..support.files import atomic_path, check_target
from .report import plain

if TYPE_CHECKING:
    from ..lab import Report

__all__ = ["LabFiles"]

STEM = "bncore-lab"


@dataclass(frozen=True)
class LabFiles:
    """The files of one call.

    Attributes
    ----------
    folder : Path or None
        Where everything goes; None writes nothing but the page, if there is one.
    page : Path or None
    """

    folder: Path | None
    page: Path | None
    force: bool = False

    @classmethod
    def of(cls, out: str | None, force: bool, *, wanted: bool) -> LabFiles:
        """Judged before minutes of training; ``wanted`` asks for a page also without a folder.

        Raises
        ------
        FileExistsError
            If the folder holds files already, without ``force``.
        NotADirectoryError, PermissionError, FileNotFoundError
            If it cannot be written to.
        """
        if out is None:
            page = _free(Path()) if wanted else None
            if page is not None:
                check_target(page)
            return cls(None, page)
        if not out:
            raise ValueError("--out: expected the name of a folder, got ''")
        folder = Path(out)
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"--out {out}: is a file, expected the name of a folder")
        if folder.is_dir() and any(folder.iterdir()) and not force:
            raise FileExistsError(
                f"--out {out}: holds files already; --force writes beside and over them"
            )
        folder.mkdir(exist_ok=True)
        page = folder / f"{STEM}.html"
        check_target(page, force)
        return cls(folder, page, force)

    def write(self, reports: Sequence[Report], planned: int) -> list[Path]:
        """Write what is asked for, of so many planned reports those that there are; the paths, pictures left out."""
        if not reports or self.page is None:
            return []
        from ..lab import page

        drawn = find_spec("matplotlib") is not None
        if self.folder is None:
            return [self._beside_others(page(reports, pictures=drawn, planned=planned))]
        numbers = self.folder / f"{STEM}.json"  # first: pictures can be drawn again
        self._text(numbers, _lines(reports, planned))
        self._text(self.page, page(reports, pictures=drawn, planned=planned))
        if drawn:
            self._pictures(reports, self.folder)
        return [self.page, numbers]

    def _beside_others(self, content: str) -> Path:
        """Under a name that is free now: another run may have taken the one that was free, and may take the next."""
        assert self.page is not None
        while True:
            path = _free(self.page.parent)
            with suppress(FileExistsError):
                self._text(path, content)
                return path

    def _text(self, path: Path, content: str) -> None:
        with atomic_path(path, self.force) as temporary:
            temporary.write_text(content, encoding="utf-8")

    def _pictures(self, reports: Sequence[Report], folder: Path) -> None:
        from ..lab.draw import save

        for report in reports:
            for number, picture in enumerate(report.outcome.pictures, 1):
                with atomic_path(folder / f"{report.name}-{number}.png", self.force) as temporary:
                    save(picture, temporary)


def _lines(reports: Sequence[Report], planned: int) -> str:
    """The object as JSON, a line for each experiment."""
    found = [json.dumps(plain(report.to_dict()), allow_nan=False) for report in reports]
    return f'{{"planned": {planned}, "experiments": [\n' + ",\n".join(found) + "\n]}\n"


def _free(folder: Path) -> Path:
    """The first name for a page that nothing has yet."""
    number, path = 1, folder / f"{STEM}.html"
    while path.exists():
        number += 1
        path = folder / f"{STEM}-{number}.html"
    return path

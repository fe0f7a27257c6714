"""Writes a file whole or not at all: a temporary name beside the target, flushed to disk, then renamed.

Knows nothing of formats.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["atomic_path", "check_target"]


def check_target(path: str | os.PathLike[str], force: bool = False) -> None:
    """Raise what `atomic_path` would raise for this target, without writing: before hours of work, not after.

    Permission bits do not tell (root, read-only file systems, quotas), so a nameless file is made beside the target.

    Raises
    ------
    FileExistsError, IsADirectoryError, FileNotFoundError
        As `atomic_path`.
    PermissionError
        The folder cannot be written to.
    """
    target = Path(os.path.realpath(path))
    _refuse(target, path, force)
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise PermissionError(
            f"{os.fspath(path)}: its folder cannot be written to ({error.strerror})"
        ) from error


@contextmanager
def atomic_path(path: str | os.PathLike[str], force: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to; on a clean exit it becomes ``path``, on an error it disappears.

    A reader of ``path`` sees the old file or the new one, never half of one, also after a crash or a
    power cut. The temporary name keeps the target's suffixes, for writers that look at them or add one.
    The new file has the permissions of the old one, or those any new file would get.

    Parameters
    ----------
    path : str or path-like
        The target. A symbolic link is followed: the file it points to is replaced.
    force : bool
        Replace an existing file. Without it an existing file is a FileExistsError, and so is one that
        appears while the new one is being written.

    Raises
    ------
    FileExistsError, IsADirectoryError, FileNotFoundError
        Before anything is written: the target exists, is a directory, or its folder is missing.
    """
    target = Path(os.path.realpath(path))
    _refuse(target, path, force)
    # mkstemp: a name nobody else has. Created 0600; widened below, before it gets its real name
    handle, name = tempfile.mkstemp(
        prefix=f".{target.name[:100]}.", suffix="".join(target.suffixes[-2:]), dir=target.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, _mode(target))
        _flush(temporary)
        if force:
            os.replace(temporary, target)
        else:
            _rename_new(temporary, target, path)
        _flush_folder(target.parent)
    finally:
        # gone already after a rename; still there after an error or after a hard link
        with suppress(FileNotFoundError):
            temporary.unlink()


def _refuse(target: Path, shown: str | os.PathLike[str], force: bool) -> None:
    if target.is_dir():
        raise IsADirectoryError(f"{os.fspath(shown)}: is a folder, expected the name of a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"{os.fspath(shown)}: the folder {str(target.parent)!r} does not exist"
        )
    if target.exists() and not force:
        raise _exists(shown)


def _exists(shown: str | os.PathLike[str]) -> FileExistsError:
    return FileExistsError(f"{os.fspath(shown)}: exists already; force=True (--force) replaces it")


def _mode(target: Path) -> int:
    try:
        return target.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _rename_new(temporary: Path, target: Path, shown: str | os.PathLike[str]) -> None:
    """Rename, but never over a file that appeared meanwhile: only a hard link has that guarantee."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise _exists(shown) from None
    except OSError:  # a file system without hard links
        if target.exists():
            raise _exists(shown) from None
        os.replace(temporary, target)


def _flush(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """The rename itself must reach the disk too; not every system lets a folder be opened for that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

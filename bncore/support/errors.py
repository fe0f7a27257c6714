"""Exceptions of bncore's own. Wrong arguments raise plain TypeError and ValueError; these are for what callers single out."""

from __future__ import annotations

__all__ = ["FileFormatError"]


class FileFormatError(ValueError):
    """A file that exists but is not what it should be: foreign, truncated or corrupt.

    The message is one line that starts with the path and says what was expected and what was found.
    """

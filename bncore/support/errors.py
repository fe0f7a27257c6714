"""Exceptions of bncore's own. Wrong arguments raise plain TypeError and ValueError; these are for what callers single out."""

from __future__ import annotations

__all__ = ["FileFormatError", "Refused"]


class FileFormatError(ValueError):
    """A file that exists but is not what it should be: foreign, truncated or corrupt.

    The message is one line that starts with the path and says what was expected and what was found.
    """


class Refused(Exception):
    """The native entry met an argument it does not take as it is: to be converted, or explained, by the caller.

    Internal: users never see it.
    """

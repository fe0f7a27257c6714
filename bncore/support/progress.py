"""Tells a person how far a long loop is: tqdm on a terminal where installed, else a plain line now and then.

Everything goes to stderr, so that stdout stays data. Not a logger.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO

__all__ = ["Progress"]


class Progress:
    """A progress reporter, used as a context manager.

    Parameters
    ----------
    total : int or None
        How many steps there will be, if known.
    label : str
        What is going on, shown in front.
    show : bool or None
        None: show. False: silent. True is the same as None; it is there so that a flag can be passed on.
    interval : float
        Least number of seconds between two plain lines.
    stream : file or None
        Where to; None is ``sys.stderr`` as it is when the reporter starts.

    Examples
    --------
    >>> with Progress(3, "epochs", show=False) as progress:
    ...     for epoch in range(3):
    ...         progress.step(loss=0.5)
    """

    def __init__(
        self,
        total: int | None = None,
        label: str = "",
        *,
        show: bool | None = None,
        interval: float = 2.0,
        stream: TextIO | None = None,
    ) -> None:
        self.total = total
        self.label = label
        self.done = 0
        self._show = show is not False
        self._interval = interval
        self._stream = stream
        self._bar: Any = None
        self._last = -float("inf")
        self._note = ""

    def __enter__(self) -> Progress:
        if not self._show:
            return self
        if self._stream is None:
            self._stream = sys.stderr
        if self._stream is None or self._stream.closed:  # pythonw, or a daemon
            self._show = False
        elif self._stream.isatty():
            self._bar = _bar(self.total, self.label, self._stream)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif self._show and self._note:
            self._write(self._note)

    def step(self, count: int = 1, **values: Any) -> None:
        """``count`` steps are done; ``values`` are shown beside them (floats with four digits)."""
        self.done += count
        if not self._show:
            return
        shown = ", ".join(f"{name} {_number(value)}" for name, value in values.items())
        if self._bar is not None:
            self._bar.total = self.total  # may be known only after the start
            self._bar.set_postfix_str(shown, refresh=False)
            self._bar.update(count)
            return
        position = f"{self.done}/{self.total}" if self.total else str(self.done)
        self._note = " ".join(part for part in (self.label, position, shown) if part)
        now = time.monotonic()
        if now - self._last >= self._interval or self.done == self.total:
            self._last = now
            self._write(self._note)
            self._note = ""

    def write(self, line: str) -> None:
        """One whole line of text, without disturbing the bar."""
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        elif self._show:
            self._write(line)

    def _write(self, line: str) -> None:
        if self._stream is not None:
            print(line, file=self._stream, flush=True)


def _bar(total: int | None, label: str, stream: TextIO) -> Any:
    """tqdm's bar, or None where it is not installed: a progress bar is not worth an error."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, desc=label or None, file=stream, leave=True)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

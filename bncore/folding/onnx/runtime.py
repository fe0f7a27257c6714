"""ONNX Runtime as an oracle: every node as it stands, no graph optimization, with a limit on the time a run may take."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...support.extras import require

__all__ = ["CannotRun", "Session", "TooSlow"]


class CannotRun(Exception):
    """The runtime refuses a model or an input; the message is its first line."""


class TooSlow(CannotRun):
    """A run was ended because it took too long."""


class Session:
    """A loaded model.

    Parameters
    ----------
    model : path or bytes
        A path where there is external data.
    optimized : bool
        As a user would run it, for times; otherwise with all optimizations disabled, for results.
    time_limit : float
        Seconds a run may take.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        *,
        optimized: bool = False,
        time_limit: float = 300.0,
    ) -> None:
        ort = require("onnxruntime", "onnx")
        ort.set_default_logger_severity(4)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        if not optimized:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._ort, self._time_limit = ort, time_limit
        source = model if isinstance(model, bytes) else os.fspath(model)
        with _refusals():
            self._session = ort.InferenceSession(
                source, options, providers=["CPUExecutionProvider"]
            )
        names = (output.name for output in self._session.get_outputs())
        self.outputs = list(dict.fromkeys(names))  # one may be listed twice

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Outputs by name.

        Raises
        ------
        CannotRun
            The runtime refuses the inputs, fails, or takes too long.
        """
        run = self._ort.RunOptions()
        run.log_severity_level = 4
        watch = threading.Timer(self._time_limit, lambda: setattr(run, "terminate", True))
        watch.daemon = True
        watch.start()
        try:
            with _refusals():
                values = self._session.run(self.outputs, dict(feed), run)
        except CannotRun:
            if run.terminate:
                raise TooSlow(f"a run took more than {self._time_limit:g} s") from None
            raise
        finally:
            watch.cancel()
        return dict(zip(self.outputs, values, strict=True))


@contextmanager
def _refusals() -> Any:
    try:
        yield
    except (ImportError, KeyboardInterrupt):
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this
        text = " ".join(str(error).split()) or type(error).__name__
        text = text.rpartition("[ONNXRuntimeError] : ")[2]
        raise CannotRun(text if len(text) <= 240 else text[:237] + "...") from None

"""What happened during a fit, epoch by epoch: a table, a JSON file, a picture.

Collects numbers; decides nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..support.extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["History"]

_FORMATS = {"lr": "{:.3g}", "seconds": "{:.2f}"}


class History:
    """Records of a fit.

    Attributes
    ----------
    epochs : list of dict
        One record per finished epoch, numbered from 1: ``epoch``, ``steps`` (so far), ``lr`` (of
        the last step), ``loss`` and, where the loss knows it, ``accuracy`` (means over the epoch's
        training batches as they were seen), ``val_loss`` and ``val_accuracy`` with validation data,
        ``seconds``.
    stopped : str
        Why the fit ended: ``"epochs"`` (all done), ``"early stopping"``, ``"callback"`` or
        ``"interrupted"``.
    best_epoch : int or None
        With early stopping, the epoch whose weights and buffers the net holds.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.stopped = ""
        self.best_epoch: int | None = None

    def __len__(self) -> int:
        return len(self.epochs)

    def __getitem__(self, name: str) -> list[float]:
        """One column, such as ``history["val_loss"]``."""
        known = self.columns()
        if name not in known:
            raise KeyError(
                f"no column {name!r} in this history; there are {', '.join(known) or 'none yet'}"
            )
        return [record[name] for record in self.epochs]

    def columns(self) -> list[str]:
        """Names of what was recorded."""
        return list(self.epochs[0]) if self.epochs else []

    def __str__(self) -> str:
        names = self.columns()
        rows = [[_cell(name, record[name]) for name in names] for record in self.epochs]
        widths = [max(len(name), *(len(row[i]) for row in rows)) for i, name in enumerate(names)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths))
            for row in [names, *rows]
        ]
        if self.best_epoch is not None:
            lines.append(f"stopped: {self.stopped}; the net holds epoch {self.best_epoch}")
        elif self.stopped and self.stopped != "epochs":
            lines.append(f"stopped: {self.stopped}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<History of {len(self)} epochs, stopped: {self.stopped or 'not yet'}>"

    def to_dict(self) -> dict[str, Any]:
        """``{"epochs": [...], "stopped": ..., "best_epoch": ...}``, ready for JSON."""
        return {
            "epochs": [dict(record) for record in self.epochs],
            "stopped": self.stopped,
            "best_epoch": self.best_epoch,
        }

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1)

    @classmethod
    def from_json(cls, text: str) -> History:
        """The history that :meth:`to_json` wrote."""
        entries = json.loads(text)
        history = cls()
        history.epochs = entries["epochs"]
        history.stopped = entries["stopped"]
        history.best_epoch = entries["best_epoch"]
        return history

    def plot(self, path: str | Path | None = None) -> Figure:
        """Loss, accuracy where known, and learning rate over epochs.

        Needs the ``plot`` extra (matplotlib).

        Parameters
        ----------
        path : path, optional
            Also write the picture there; the suffix chooses the format.

        Returns
        -------
        matplotlib.figure.Figure
            Not registered with pyplot: nothing to close, no window opened.
        """
        if not self.epochs:
            raise ValueError("plot: this history is empty")
        require("matplotlib", "plot")
        from matplotlib.figure import Figure

        panels = [kind for kind in ("loss", "accuracy", "lr") if kind in self.columns()]
        figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
        for axes, kind in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
            for name, label in ((kind, "training"), (f"val_{kind}", "validation")):
                if name in self.columns():
                    axes.plot(self["epoch"], self[name], label=label)
            axes.set_xlabel("epoch")
            axes.set_title({"lr": "learning rate"}.get(kind, kind))
            if self.best_epoch is not None:
                axes.axvline(self.best_epoch, color="0.7", linestyle=":", label="best")
            if kind != "lr":
                axes.legend()
        if path is not None:
            figure.savefig(path)
        return figure


def _cell(name: str, value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return _FORMATS.get(name, "{:.4f}").format(value)

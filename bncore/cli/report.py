"""How results are shown: one JSON object for machines, aligned text for people. Computes nothing."""

from __future__ import annotations

import json
import math
from typing import Any

from ..support.table import table

__all__ = ["emit_json", "percent", "plain", "recalibration_text", "score_text", "table"]


def emit_json(result: dict[str, Any]) -> None:
    """One object on stdout; what JSON has no word for (NaN, infinity) becomes null."""
    print(json.dumps(plain(result), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """The same value made of what JSON knows; NumPy's scalars and arrays become Python's."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def score_text(scores: dict[str, Any]) -> str:
    """Accuracy or R², and the loss."""
    loss = f"loss {scores['loss']:.4g}"
    if scores.get("accuracy") is not None:
        return f"accuracy {percent(scores['accuracy'])}, {loss}"
    return f"R² {scores['r2']:.4f}, {loss}"


def recalibration_text(section: dict[str, Any]) -> list[str]:
    """What new statistics changed, or would have changed, norm by norm and on the test part."""
    lines = [_what_became(section)]
    if section["method"] == "ema":
        return [*lines, f"  test part: {score_text(section['before'])}"]
    rows = [
        (
            layer["path"],
            f"mean moved {layer['mean_shift']:.2g} std",
            "variance times {:.3g} to {:.3g}".format(*layer["variance_ratio"]),
        )
        for layer in section["layers"]
    ]
    if rows:
        lines.append(table(rows))
    lines += [f"  {item['path']} left alone: {item['why']}" for item in section["skipped"]]
    before, after = score_text(section["before"]), score_text(section["after"])
    if section["layers"] and section.get("kept") == "running":
        lines.append(f"  test part: {before}; with these statistics: {after}")
    else:
        lines.append(f"  test part before: {before}; after: {after}")
    return lines


def _what_became(section: dict[str, Any]) -> str:
    """Which statistics the norms have now, and why."""
    if not section["layers"]:
        return "recalibration: no norm with running averages"
    start, measured = (
        f"recalibration ({section['method']})",
        f"{section['samples']} training samples",
    )
    if section["method"] == "ema":
        return "recalibration: none, running averages as training left them"
    if section.get("kept") == "running":
        loss = {kind: scores["loss"] for kind, scores in section["train"].items()}
        return (
            f"{start}: running averages kept, for with statistics of {measured} the loss on these rises from "
            f"{loss['running']:.4g} to {loss['population']:.4g}; what they would change:"
        )
    return f"{start}: running averages replaced by statistics of {measured}"

"""What folding did to a file, for people and for machines. Computes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...support.table import table

if TYPE_CHECKING:
    from .facts import Facts
    from .fold_file import FileFold
    from .verify import Verification

__all__ = ["as_dict", "as_text", "disagreement"]

VERIFIED = {"agree": "verified", "differ": "DIFFERS", "not verified": "NOT VERIFIED"}


def as_dict(result: FileFold) -> dict[str, Any]:
    """Everything, ready for JSON."""
    return {
        "norms": {"before": result.before.norms, "after": result.after.norms},
        "folded": [_applied(entry) for entry in result.fold.applied],
        "kept": [_kept(entry) for entry in result.fold.kept],
        "before": result.before.to_dict(),
        "after": result.after.to_dict(),
        "verification": result.verification.to_dict(),
        "culprit": None
        if result.culprit_number is None
        else {
            "number": result.culprit_number,
            **({} if result.culprit is None else _applied(result.culprit)),
        },
        "written": result.written,
        "latency_us": result.measured,
        "remark": result.remark,
    }


def as_text(result: FileFold) -> str:
    """A line for every norm, then counts and errors."""
    left, total = result.after.norms, result.before.norms
    rows = [
        (item["norm"], "folded into", ", ".join(item["into"]) or "-", item["rule"])
        for item in map(_applied, result.fold.applied)
    ]
    rows += [
        (item["norm"], "kept", item["reason"], item["rule"])
        for item in map(_kept, result.fold.kept)
    ]
    lines = [f"folding: {total} norms, {left} left"]
    if rows:
        lines.append(table(rows))
    lines.append(table(_facts_rows(result.before, result.after)))
    if result.remark:
        lines.append(f"  remark: {result.remark}")
    if result.measured:
        lines.append(
            f"  time of a run, median, ONNX Runtime as it is: {result.measured['before']:.0f} -> "
            f"{result.measured['after']:.0f} µs"
        )
    return "\n".join([*lines, *_verification_lines(result.verification)])


def disagreement(result: FileFold) -> str:
    """One line for stderr: what differs, and which rewrite broke it."""
    text = f"the folded model is wrong: {result.verification.reason}; nothing was written"
    if result.culprit is not None:
        item = _applied(result.culprit)
        return (
            f"{text}. Wrong from rewrite {result.culprit_number} of {len(result.fold.applied)} on: "
            f"{item['rule']}, {item['norm']} into {', '.join(item['into'])}"
        )
    if result.culprit_number == 0 and result.fold.applied:
        return f"{text}. It is wrong without any rewrite"
    return text


def _facts_rows(before: Facts, after: Facts) -> list[tuple[str, str]]:
    pairs = [
        ("nodes", before.nodes, after.nodes),
        ("Add, Sub, Mul, Div", before.elementwise, after.elementwise),
        ("parameters", before.parameters, after.parameters),
        ("bytes", before.size, after.size),
    ]
    return [(name, f"{old} -> {new}") for name, old, new in pairs]


def _verification_lines(found: Verification) -> list[str]:
    word = VERIFIED[found.status]
    if found.status == "not verified":
        return [f"{word}: {found.reason}"]
    lines = [f"{word} with {found.how}" + (f": {found.reason}" if found.reason else "")]
    lines.append(f"  inputs: {'; '.join(found.cases)}")
    rows: list[tuple[str, ...]] = []
    for output in found.outputs:
        errors = ""
        if output.original is not None:
            errors = f"from float64: original {output.original:.2g}, folded {output.folded:.2g}"
        rows.append(
            (
                output.name,
                f"largest |folded - original| {output.max_abs:.2g}",
                f"{output.max_rel:.2g} of the largest value",
                errors,
            )
        )
    if rows:
        lines.append(table(rows))
    lines += [f"  {output.name}: {output.remark}" for output in found.outputs if output.remark]
    if found.float64:
        lines.append(f"  float64 run: {found.float64}")
    return lines


def _applied(entry: Any) -> dict[str, Any]:
    into = entry.into
    return {
        "norm": _names(entry.norms),
        "rule": entry.rule,
        "into": [_names(name) for name in ([into] if isinstance(into, str) else into)],
        "text": _names(entry.text),
    }


def _kept(entry: Any) -> dict[str, str]:
    return {"norm": _names(entry.path), "reason": entry.why, "rule": entry.rule or ""}


def _names(norm: Any) -> str:
    """One norm's name, or those of several that one rewrite concerned, on one line."""
    text = norm if isinstance(norm, str) else ", ".join(norm)
    return "".join(letter if letter.isprintable() else "?" for letter in text)

"""Checks what the commands printed with --json in .ci/run: keys, and the figures the README promises."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(folder: Path) -> None:
    said: dict[str, Any] = {
        path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")
    }
    native, numpy = said["native"], said["numpy"]
    for result in (native, numpy):
        assert result["test_accuracy"] > 0.985, result["test_accuracy"]
        assert result["seconds"] > 0 and result["epochs"] > 0
        assert result["fold"]["norms_folded"] > 0 and result["fold"]["norms_left"] == 0
        assert 0 <= result["fold"]["max_abs_error"] < 1e-5, result["fold"]["max_abs_error"]
        assert result["latency_us"]["before"] > 0 and result["latency_us"]["after"] > 0
    assert abs(native["test_accuracy"] - numpy["test_accuracy"]) <= 0.005
    assert said["info"]["backend"] == "native", said["info"]["backend"]
    assert said["eval"]["accuracy"] > 0.985
    assert said["recalibrate"]["after"]["accuracy"] > 0.97
    assert said["fold"]["fold"]["agree"] is True and said["fold"]["fold"]["norms_left"] == 0
    assert said["diagnose"]["healthy"] is True and len(said["diagnose"]["norms"]) == 3
    assert said["renorm"]["test_accuracy"] > 0.9, said["renorm"]["test_accuracy"]
    assert said["lstm"]["test_accuracy"] > 0.95, said["lstm"]["test_accuracy"]
    assert said["fold-lstm"]["fold"]["agree"] is True
    assert said["fold-lstm"]["fold"]["norms_left"] == 0
    assert said["inspect"]["norms"] == said["inspect"]["foldable"] == 3
    lab = said["lab"]["experiments"]
    assert len(lab) >= 17 and all(e["passed"] and e["backend"] == "numpy" for e in lab)
    stats = said["stats"]
    assert stats["count"] == 100_000 and len(stats["features"]) == 4
    assert all(abs(mean - 1e4) < 0.02 for mean in stats["mean"]), stats["mean"]
    assert all(abs(var - 1) < 0.02 for var in stats["var"]), stats["var"]
    for name, result in said.items():
        print(f"{name}: ok, {len(result)} entries")
    print(
        f"test accuracy {native['test_accuracy']:.4f} in {native['seconds']:.1f} s; "
        f"in NumPy {numpy['test_accuracy']:.4f} in {numpy['seconds']:.1f} s"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The README's table of the lab is made of what `bncore lab` writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bncore.cli import main

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_has_every_conclusion_and_says_what_failed(toys, tmp_path):
    assert main(["lab", "all", "--out", str(tmp_path / "made"), "--quiet", "--json"]) == 1
    readme = tmp_path / "README.md"
    readme.write_text(
        "a\n<!-- table of the lab: written by benchmarks/table.py -->\n<!-- end of table of the lab -->\nb\n"
    )
    table = [sys.executable, ROOT / "benchmarks/table.py", "--table", "lab"]
    table += ["--json", tmp_path / "made/bncore-lab.json", "--readme", readme]
    subprocess.run(table, check=True)
    written = readme.read_text()
    assert "1 of 2 experiments met all their criteria" in written
    for name in toys:
        assert f"| `{name}` | Is {name.replace('-', '_')} so? |" in written
    assert written.count("**A criterion is not met.** With <norm>") == 1
    subprocess.run([*table, "--check"], check=True)
    found = json.loads((tmp_path / "made/bncore-lab.json").read_text())
    found["experiments"][0]["conclusion"] = "Otherwise."
    (tmp_path / "made/bncore-lab.json").write_text(json.dumps(found))
    assert subprocess.run([*table, "--check"], check=False, capture_output=True).returncode == 1

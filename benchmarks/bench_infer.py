"""Inference with the reference nets, their norms folded away: bncore, PyTorch, ONNX Runtime, JAX.

All have the same folded net; outputs must agree with those of the net with its norms in float64, to 1e-4 of the largest,
or the row says so and the program returns 1. Contenders take turns in one process, a new one for every net, batch and
number of threads; medians. Memory is that of a process a contender. Run it with nothing else on the machine:

    python benchmarks/bench_infer.py --json benchmarks/results/infer.json    then    python benchmarks/table.py --table infer
"""

from __future__ import annotations

import sys

from nets.program import main

if __name__ == "__main__":
    sys.exit(main("infer", __doc__))

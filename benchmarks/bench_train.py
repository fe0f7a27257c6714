"""A training step (forward, loss, backward, SGD with momentum) of the reference nets: bncore, PyTorch, JAX, scikit-learn.

All have the same net with the same weights and the same batch; the losses of their first steps must agree with PyTorch's
to 1e-4, or the row says so and the program returns 1. Contenders take turns in one process, a new one for every net and
number of threads; medians. Memory is that of a process a contender. Run it with nothing else on the machine:

    python benchmarks/bench_train.py --json benchmarks/results/train.json    then    python benchmarks/table.py --table train
"""

from __future__ import annotations

import sys

from nets.program import main

if __name__ == "__main__":
    sys.exit(main("train", __doc__))

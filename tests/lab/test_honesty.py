"""What is not a number meets no criterion, wherever it stands; what remarks say of nets is so."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from bncore import functional as F
from bncore.lab.experiments import grades, online
from bncore.lab.training import Run


def test_no_output_counts_as_far_away():
    norms = [lambda x: x, lambda x: np.full_like(x, np.nan)]
    assert math.isnan(grades._farthest(norms, 60))


def test_no_output_of_one_example_counts_too(monkeypatch):
    x = np.zeros((2, 1, 8, 8), np.float32)
    monkeypatch.setattr(F, "normalize", lambda x, *_: (np.full_like(x, np.nan), None))
    monkeypatch.setattr(F, "batch_norm_backward", lambda x, _: (np.full_like(x, np.nan),))
    found = online._of_one(SimpleNamespace(seeds=(0,), digits=SimpleNamespace(x_test=x)))
    assert np.isnan(found).all()


def test_with_renorm_the_end_of_a_net_alone_learns_from_single_examples():
    pytest.importorskip("sklearn")
    from bncore.lab.digits import digits

    net = online._net("renorm", online.LONG.options, 0)
    before = net.state_dict()
    Run(net, digits(), lr=0.003, steps=20, seed=0, batch_size=1).go()
    moved = {name for name, now in net.state_dict().items() if (now != before[name]).any()}
    learned = {name for name in moved if name.endswith((".weight", ".bias"))}
    assert learned == {"6.weight", "6.bias", "7.weight", "7.bias"}

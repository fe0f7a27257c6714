"""Random graphs of all operators that folding knows: whatever it does must compute the same."""

from collections import Counter

import pytest

from bncore.folding.onnx.engine import LEVELS
from tests.folding.onnx.checks import check, fold
from tests.folding.onnx.random_graphs import RandomGraph, disguise
from tests.folding.onnx.random_streams import RandomStreams

SEEDS = range(60)
# float32: ONNX Runtime has no double for most of these operators. Up to 25 operators behind each other
TOLERANCE = 3e-5


def graph(seed):
    return RandomGraph(seed).build(5 + seed % 20)


@pytest.mark.parametrize("seed", range(100, 130))
def test_random_graphs_compute_the_same_after_folding_with_all_options(seed):
    b = graph(seed)
    check(b.model(), b.feeds, relative=TOLERANCE, levels=frozenset(LEVELS))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_graphs_compute_the_same_after_folding(seed):
    b = graph(seed)
    check(b.model(), b.feeds, relative=TOLERANCE)


@pytest.mark.parametrize("seed", range(200, 230))
def test_random_graphs_with_shared_and_hidden_constants(seed):
    b = graph(seed)
    check(disguise(b.model(), seed), b.feeds, relative=TOLERANCE, levels=frozenset(LEVELS))


@pytest.mark.parametrize("seed", range(60))
def test_random_streams(seed):
    b = RandomStreams(seed).build(3 + seed % 12)
    check(b.model(), b.feeds, relative=TOLERANCE, levels=frozenset(LEVELS))


def test_random_streams_have_other_bases():
    rules = Counter()
    for seed in range(60):
        _, result = fold(RandomStreams(seed).build(3 + seed % 12).model(), levels=frozenset(LEVELS))
        rules.update(applied.rule.partition(":")[0] for applied in result.applied)
    assert rules["rebase"] > 3 and rules["two norms of one value"] > 2, rules


def test_random_graphs_exercise_the_moves():
    """Enough of them fold something, keep something, and use every move; else the test above says little."""
    moves, kept, operators = Counter(), 0, set()
    for seed in range(150):
        model = graph(seed).model()
        operators |= {node.op_type for node in model.graph.node}
        _, result = fold(model)
        moves.update(applied.rule.partition(":")[0] for applied in result.applied)
        kept += len(result.kept)
    assert moves["backward"] > 50 and moves["forward"] > 40 and kept > 40, moves
    assert (
        moves["scale forward"] > 5 and moves["scale backward"] > 2 and moves["shift backward"] > 5
    )
    assert len(operators) > 35, operators

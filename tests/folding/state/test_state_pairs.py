"""Which norm goes with which operation: told by names and shapes where these leave no doubt, listed where they do."""

from __future__ import annotations

import numpy as np
import pytest

from bncore.folding.state import Reading, find_modules
from bncore.folding.state.given import candidates_by_rule, candidates_from_lines, kinds_of
from bncore.folding.state.readings import readings
from bncore.support.tensors import StateDict
from tests.folding.state.cases import fold, kept, linear, norm


@pytest.fixture
def rng():
    return np.random.default_rng(40)


def folded(arrays, **options):
    return {entry.path: entry.into for entry in fold(arrays, **options).report.folded}


def net(rng, *parts):
    """Operations by (path, weight's shape) and norms by (path, channels)."""
    arrays = {}
    for path, size in parts:
        arrays |= norm(rng, path, size) if isinstance(size, int) else linear(rng, path, size)
    return arrays


SHAPES = [
    ((8, 3), 8, {}, ["linear after"]),
    ((8, 3), 3, {}, ["linear before"]),
    ((8, 8), 8, {}, ["linear after", "linear before"]),
    ((8, 3, 3, 3), 8, {}, ["conv after"]),
    ((8, 1, 3, 3), 8, {"direction": "after"}, ["conv after"]),
    ((8, 8, 3, 3), 8, {"direction": "after"}, ["conv after", "conv_transpose after"]),
    ((8, 8, 3, 3), 8, {"direction": "after", "kind": "conv"}, ["conv after"]),
    ((8, 4, 3, 3), 4, {"direction": "after"}, ["conv_transpose after"]),
    ((8, 4, 3, 3), 8, {"direction": "after"}, ["conv after"]),
    ((8, 4, 3, 3), 8, {"direction": "after", "doubt_groups": True}, ["conv after", "conv_transpose after"]),
    ((8, 2, 3, 3), 4, {"kind": "conv_transpose"}, ["conv_transpose after"]),
    ((8, 2, 3, 3), 4, {"direction": "before"}, ["conv before"]),
    ((8, 4, 3, 3), 8, {"direction": "before"}, ["conv before", "conv_transpose before"]),
    ((8, 3, 3, 3), 5, {}, []),
    ((8, 0, 3, 3), 8, {}, []),
]  # fmt: skip


@pytest.mark.parametrize("shape, channels, known, expected", SHAPES)
def test_what_a_shape_allows(shape, channels, known, expected):
    assert [f"{r.kind} {r.direction}" for r in readings(shape, channels, **known)] == expected
    assert str(Reading("conv", "after")) == "a convolution before it"


def test_names_and_channels_decide_together(rng):
    arrays = net(
        rng, ("conv1", (8, 3, 3, 3)), ("bn1", 8), ("conv2", (6, 8, 1, 1)), ("bn2", 5),
        ("seq.0", (7, 2)), ("seq.1", 7), ("lonely", 4),
    )  # fmt: skip
    assert folded(arrays) == {"bn1": "conv1", "seq.1": "seq.0"}
    why = kept(arrays)
    assert why["bn2"] == "it has 5 channels, conv2 has a weight of shape [6, 8, 1, 1]"
    assert why["lonely"] == "no linear operation goes with it by name"


def test_square_convolutions_are_listed_until_their_kind_is_given(rng):
    arrays = net(rng, ("0", (8, 8, 3, 3)), ("1", 8))
    assert "--kind 0=conv or 0=conv_transpose" in kept(arrays)["1"]
    assert folded(arrays, kinds=["0=conv"]) == {"1": "0"}
    assert folded(arrays, kinds=["*=conv_transpose"]) == {"1": "0"}
    weights = [
        fold(arrays, kinds=[f"0={kind}"]).state.read("0.weight")
        for kind in ("conv", "conv_transpose")
    ]
    assert not np.array_equal(*weights)


def test_depthwise_convolutions_need_no_kind(rng):
    assert folded(net(rng, ("0", (8, 1, 3, 3)), ("1", 8))) == {"1": "0"}


def test_what_fits_as_transposed_only_is_not_taken_for_granted(rng):
    arrays = net(rng, ("0", (8, 4, 4, 4)), ("1", 4))
    assert "--kind 0=conv_transpose" in kept(arrays)["1"]
    assert folded(arrays, kinds=["0=conv_transpose"]) == {"1": "0"}


def test_where_there_are_transposed_convolutions_groups_are_doubted(rng):
    plain = net(rng, ("0", (8, 4, 3, 3)), ("1", 8))
    assert folded(plain) == {"1": "0"}
    for sign in (net(rng, ("deconv", (3, 3, 2, 2))), net(rng, ("4", (9, 5, 2, 2)), ("5", 5))):
        assert "--kind 0=" in kept(plain | sign)["1"]


def test_a_square_norm_by_name_may_be_on_either_side(rng):
    arrays = net(rng, ("fc1", (8, 8)), ("bn1", 8))
    assert (
        "ambiguous: by its shape fc1 is a linear operation before it or a linear operation after it"
        in kept(arrays)["bn1"]
    )
    assert folded(arrays, pairs=["fc1 -> bn1"]) == {"bn1": "fc1"}
    assert fold(arrays, pairs=["bn1 -> fc1"]).report.folded[0].rule.startswith("norm → linear")


def test_blocks_that_are_numbered_tell_the_side_of_their_square_members(rng):
    post = net(
        rng, ("layer1.0.conv1", (8, 8, 3, 3)), ("layer1.0.bn1", 8),
        ("layer2.0.conv1", (16, 8, 3, 3)), ("layer2.0.bn1", 16),
    )  # fmt: skip
    assert folded(post, kinds=["*=conv"]) == {
        "layer1.0.bn1": "layer1.0.conv1",
        "layer2.0.bn1": "layer2.0.conv1",
    }
    pre = net(
        rng, ("layer1.0.conv1", (8, 8, 3, 3)), ("layer1.0.bn1", 8),
        ("layer2.0.conv1", (16, 8, 3, 3)), ("layer2.0.bn1", 8),
    )  # fmt: skip
    assert folded(pre, kinds=["*=conv"]) == {}
    assert "comes before layer2.0.conv1" in kept(pre, kinds=["*=conv"])["layer2.0.bn1"]
    assert "comes before layer1.0.conv1" in kept(pre, kinds=["*=conv"])["layer1.0.bn1"]
    split = post | net(rng, ("layer3.0.conv1", (32, 16, 3, 3)), ("layer3.0.bn1", 16))
    assert "ambiguous" in kept(split, kinds=["*=conv"])["layer1.0.bn1"]


def test_blocks_with_other_members_are_of_another_kind(rng):
    arrays = net(
        rng, ("0.conv1", (16, 8, 3, 3)), ("0.bn1", 16),
        ("1.conv1", (16, 16, 3, 3)), ("1.bn1", 16), ("1.conv2", (9, 16, 3, 3)), ("1.bn2", 9),
        ("2.conv1", (8, 8, 3, 3)), ("2.bn1", 8), ("2.gate", (3, 8)),
    )  # fmt: skip
    assert set(folded(arrays, kinds=["*=conv"])) == {"0.bn1", "1.bn1", "1.bn2"}


def test_flat_names_tell_nothing_of_each_other(rng):
    """A stem conv1 -> bn1 says nothing of a pre-activation bn2 -> conv2 beside it."""
    arrays = net(rng, ("conv1", (8, 3, 3, 3)), ("bn1", 8), ("conv2", (8, 8, 3, 3)), ("bn2", 8))
    assert folded(arrays, kinds=["*=conv"]) == {"bn1": "conv1"}


def test_two_operations_or_two_norms_for_one_are_ambiguous(rng):
    arrays = net(rng, ("a.conv", (8, 3, 1, 1)), ("a.fc", (8, 5)), ("a.bn", 8))
    assert kept(arrays)["a.bn"] == "ambiguous: by name it goes with a.conv or a.fc"
    arrays = net(rng, ("conv1", (8, 3, 1, 1)), ("bn1", 8), ("norm1", 8))
    why = kept(arrays)
    assert why["bn1"] == why["norm1"] == "ambiguous: bn1 and norm1 both go with conv1"


def test_norms_that_no_pair_can_fold_are_listed_with_their_reason(rng):
    arrays = net(rng, ("conv1", (8, 3, 1, 1)), ("bn1", 8), ("conv2", (8, 3, 1, 1)), ("bn2", 8))
    del arrays["bn1.running_var"]
    arrays["bn2.weight"] = np.ones(7, np.float32)
    arrays |= {"ln.weight": np.ones(4, np.float32), "ln.bias": np.zeros(4, np.float32)}
    arrays |= {"act.weight": np.ones(4, np.float32)}  # a PReLU
    unusable = find_modules(StateDict.of(arrays).tensors).unusable
    assert unusable["bn1"] == "running_var is missing"
    assert "do not fit together" in unusable["bn2"] and "[7]" in unusable["bn2"]
    assert unusable["ln"].startswith("it has no running statistics")
    assert "act" not in unusable


def test_modules_come_in_the_order_of_their_numbers(rng):
    arrays = net(rng, *((f"layer{n}.bn", 2) for n in (10, 2, 1)))
    assert list(find_modules(StateDict.of(arrays).tensors).norms) == [
        "layer1.bn",
        "layer2.bn",
        "layer10.bn",
    ]


@pytest.fixture
def modules(rng):
    arrays = net(
        rng, ("a.conv1", (8, 3, 1, 1)), ("a.bn1", 8), ("fc", (4, 8)), ("bn0", 8), ("bn9", 4)
    )
    del arrays["bn9.running_mean"]
    return find_modules(StateDict.of(arrays).tensors)


def test_pairs_by_lines(modules):
    text = "# data goes this way\na.conv1 -> a.bn1 eps=1e-3\n\nbn0 -> fc  # before\n"
    after, before = candidates_from_lines(text.splitlines(), modules)
    assert (after.norm, after.linear, after.direction, after.eps) == (
        "a.bn1",
        "a.conv1",
        "after",
        1e-3,
    )
    assert (before.norm, before.linear, before.direction, before.eps) == (
        "bn0",
        "fc",
        "before",
        None,
    )
    (padded,) = candidates_from_lines(["bn0 -> a.conv1 padding=0 kind=conv"], modules)
    assert padded.unpadded and padded.kind == "conv"


WRONG_LINES = [
    ("a.conv1 a.bn1", "line 1: expected NAME -> NAME"),
    ("a.conv1 -> ", "line 1: expected NAME -> NAME"),
    ("\na.conv1 -> nothing", "line 2: 'nothing' is neither"),
    ("a.conv1 -> fc", "both linear operations"),
    ("a.bn1 -> bn0", "both norms"),
    ("a.conv1 -> a.bn1 eps=-1", "eps must be a finite number >= 0, got '-1'"),
    ("a.conv1 -> a.bn1 kind=rnn", "'kind=rnn'"),
    ("a.conv1 -> a.bn1 padding=1", "'padding=1'"),
    ("a.conv1 -> a.bn1\na.conv1 -> a.bn1", "line 2: a.bn1 has a pair already"),
    ("a.conv1 -> a.bn1\na.conv1 -> bn0", "line 2: a.conv1 has a norm after it already"),
    ("bn0 -> fc\nbn0 -> a.conv1 eps=1", "another eps"),
    ("fc -> bn9", "bn9: running_mean is missing"),
]


@pytest.mark.parametrize("text, message", WRONG_LINES, ids=[m for _, m in WRONG_LINES])
def test_wrong_lines_are_told_by_number(modules, text, message):
    with pytest.raises(ValueError, match=message):
        candidates_from_lines(text.splitlines(), modules)


def test_pairs_by_rule(modules):
    (pair,) = candidates_by_rule(r"(.*)conv(\d) -> \1bn\2", modules)
    assert (pair.norm, pair.linear, pair.direction) == ("a.bn1", "a.conv1", "after")
    (pair,) = candidates_by_rule(r"bn0 -> fc", modules)
    assert pair.direction == "before"
    for rule, message in (
        ("(-> x", "no rule"),
        (r"a -> \9", "gives no pair"),
        (r"fc -> \9", "no rule"),
        ("x -> y", "gives no pair"),
    ):
        with pytest.raises(ValueError, match=message):
            candidates_by_rule(rule, modules)


def test_kinds_by_name_and_wildcard(modules):
    assert kinds_of(["*=conv", "fc=linear"], modules) == {"a.conv1": "conv", "fc": "linear"}
    for setting, message in (
        ("fc", "NAME=KIND"),
        ("fc=rnn", "NAME=KIND"),
        ("nothing=conv", "is called 'nothing'"),
    ):
        with pytest.raises(ValueError, match=message):
            kinds_of([setting], modules)

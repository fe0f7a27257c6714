"""What must stay, never be folded wrongly, and say why."""

import numpy as np
import pytest

import bncore as bn
from bncore import folding
from bncore.layers import GELU, BatchNorm, Conv2d, Flatten, LeakyReLU, Linear, Pad, ReLU, Sequential
from tests.folding.checks import check, trained


@pytest.mark.parametrize("between", [ReLU(), LeakyReLU(), GELU()])
def test_an_activation_between_blocks_both_ways(rng, between):
    net = trained(
        Sequential(Linear(3, 4), between, BatchNorm(4), between.copy(), Linear(4, 2)), rng
    )
    _, report = check(net, rng.normal(size=(9, 3)).astype(np.float32), norms_left=1)
    name = between.brief()
    assert (
        report.kept[0].why
        == f"1 {name} is before it, which is not linear; 3 {name} is after it, which is not linear"
    )


def test_fused_relus_block_as_well(rng):
    net = Sequential(Linear(3, 4, activation="relu"), BatchNorm(4, activation="relu"), Linear(4, 2))
    _, report = check(trained(net, rng), rng.normal(size=(9, 3)).astype(np.float32), norms_left=1)
    assert (
        report.kept[0].why
        == "the ReLU of 0 Linear(3, 4) is before it; its ReLU is before whatever follows"
    )


def test_channels_are_matched_by_axis_never_by_size(rng):
    """Square sizes everywhere: only the axis tells that these norms do not belong to their
    neighbours.
    """
    x = rng.normal(size=(4, 4, 4, 4)).astype(np.float32)
    for layers in (
        [Conv2d(4, 4, 1), BatchNorm(4, axis=-1), GELU()],
        [GELU(), BatchNorm(4, axis=-1), Conv2d(4, 4, 1)],
        [Conv2d(4, 4, 1), BatchNorm(4, axis=2), GELU()],
        [GELU(), BatchNorm(4), Linear(4, 4)],
        [Conv2d(4, 4, 1), Linear(4, 4), BatchNorm(4), GELU()],
    ):
        _, report = check(trained(Sequential(*layers), rng), x, norms_left=1, input_ndim=4)
        assert "axis" in report.kept[0].why
    check(trained(Sequential(Conv2d(4, 4, 1), Linear(4, 4), BatchNorm(4, axis=3)), rng), x)


def test_a_linear_of_sequences_is_not_taken_for_one_of_rows(rng):
    net = trained(Sequential(Linear(5, 4), BatchNorm(4), GELU()), rng)
    x = rng.normal(size=(3, 4, 5)).astype(np.float32)
    _, report = folding.fold_net(net, input_ndim=3)
    assert "another axis" in report.kept[0].why
    assert not folding.fold_net(net)[1].kept  # (N, features) unless told otherwise
    last = trained(Sequential(Linear(5, 4), BatchNorm(4, axis=-1)), rng)
    check(last, x, input_ndim=3)


def test_a_norm_without_running_statistics_stays(rng):
    net = trained(Sequential(Linear(3, 4), BatchNorm(4, track_running_stats=False)), rng)
    _, report = check(net, rng.normal(size=(9, 3)).astype(np.float32), norms_left=1)
    assert report.kept == [
        ("1", "it has no running statistics and normalizes by those of the batch", "kept")
    ]


def test_statistics_that_are_not_numbers_stay(rng):
    for name, value in (("running_mean", np.nan), ("running_var", np.inf), ("running_var", -1.0)):
        net = trained(Sequential(Linear(3, 4), BatchNorm(4)), rng)
        getattr(net[1], name)[2] = value
        _, report = folding.fold_net(net)
        assert name in report.kept[0].why and "channel 2" in report.kept[0].why


def test_weights_that_would_overflow_or_vanish_stay(rng):
    net = trained(Sequential(Linear(3, 4), BatchNorm(4)), rng)
    net[0].weight[...] = 1e20
    net[1].weight[...] = 1e20
    x = 1e-20 * rng.normal(size=(9, 3)).astype(np.float32)
    _, report = check(net, x, norms_left=1)
    assert "the folded weight would not be finite in float32" in report.kept[0].why
    net[0].weight[...] = net[1].weight[...] = 1e-25
    assert "would be subnormal in float32" in folding.fold_net(net)[1].kept[0].why


@bn.layers.register
class _Twice(bn.layers.Layer):
    """A container that folding does not know: it runs its child two times."""

    def __init__(self, child):
        self.child = child

    def children(self):
        return [("child", self.child)]

    def forward(self, x):
        return self.child(self.child(x))


def test_containers_and_layers_of_unknown_kind_are_left_alone(rng):
    net = Sequential(
        Linear(3, 3), BatchNorm(3), _Twice(Sequential(Linear(3, 3), BatchNorm(3))), BatchNorm(3)
    )
    _, report = check(trained(net, rng), rng.normal(size=(9, 3)).astype(np.float32), norms_left=2)
    assert {entry.path: entry.why for entry in report.kept} == {
        "2.child.1": "it is inside a _Twice, of which folding knows nothing",
        "3": "2 _Twice() is before it, which is not linear; nothing linear is between it and the net's output",
    }


class _Shifted(BatchNorm):
    def forward(self, x, *others):
        return super().forward(x, *others) + 1


def test_a_subclass_of_a_norm_stays(rng):
    net = trained(Sequential(Linear(3, 4), _Shifted(4)), rng)
    _, report = check(net, rng.normal(size=(9, 3)).astype(np.float32), norms_left=1)
    assert report.kept[0].why == "a _Shifted may compute something else than BatchNorm"


def test_arrays_shared_by_two_layers_are_not_folded_twice(rng):
    net = trained(
        Sequential(Linear(4, 4), BatchNorm(4, activation="relu"), Linear(4, 4), BatchNorm(4)), rng
    )
    net[2].weight, net[2].bias = net[0].weight, net[0].bias
    check(net, rng.normal(size=(9, 4)).astype(np.float32))


def test_a_packed_net_folds_and_stays_packed(rng):
    net = trained(Sequential(Linear(4, 4), BatchNorm(4, activation="relu"), Linear(4, 2)), rng)
    flat = net.parameters_flat
    folded, _ = check(net, rng.normal(size=(9, 4)).astype(np.float32))
    assert net.parameters_flat is flat and np.shares_memory(net[0].weight, flat)
    assert not np.shares_memory(folded[0].weight, flat)


def test_a_pad_that_is_there_already_ends_the_rule(rng):
    net = trained(Sequential(BatchNorm(3), Pad(3, [(1, 1), (1, 1)], 2.0), Conv2d(3, 4, 3)), rng)
    _, report = check(net, rng.normal(size=(2, 3, 5, 5)).astype(np.float32), norms_left=1)
    assert "Pad(3) is after it" in report.kept[0].why


def test_a_training_net_folds_as_it_evaluates(rng):
    net = trained(Sequential(Linear(3, 4), BatchNorm(4)), rng).train()
    check(net, rng.normal(size=(9, 3)).astype(np.float32))
    assert net.training and net[1].training


def test_neighbours_of_other_sizes_are_refused_not_broadcast(rng):
    """Such nets cannot run; folding them is an entry in the report, not an exception."""
    for follower in (Linear(4, 2), Conv2d(4, 2, 1)):
        for norm in (BatchNorm(3), BatchNorm(1)):
            _, report = folding.fold_net(trained(Sequential(norm, follower), rng))
            assert f"it has {norm.num_features} channels where 1 " in report.kept[0].why
    _, report = folding.fold_net(trained(Sequential(BatchNorm(3), Flatten(), Conv2d(3, 2, 1)), rng))
    assert "a Flatten is between it and 2 Conv2d(3, 2, 1)" in report.kept[0].why


def test_a_border_is_not_shifted_a_second_time(rng):
    """Two norms that cannot become one, as their common scale is below float32's range."""
    net = trained(Sequential(BatchNorm(3), BatchNorm(3), Conv2d(3, 4, 3, padding=1)), rng)
    net[0].weight[...] = net[1].weight[...] = 1e-30
    x = rng.normal(size=(2, 3, 5, 5)).astype(np.float32)
    _, report = check(net, x, norms_left=1)
    assert "2 Conv2d(3, 4, 3) has a border of its own already" in report.kept[0].why

"""The algebra of folding against applying the map explicitly: every linear operation, side and
group count.
"""

import numpy as np
import pytest

from bncore import functional as F
from bncore.folding import algebra
from bncore.folding.algebra import Affine, FoldRefused

RESIDUAL = 1e-12  # float64, sums of a few dozen products of order 1


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def random_affine(rng, channels):
    """The map of a trained norm: scales of both signs, one of them 0."""
    scale = rng.uniform(0.2, 2.0, channels) * rng.choice([-1, 1], channels)
    scale[0] = 0.0 if channels > 2 else scale[0]
    return Affine(scale, rng.normal(size=channels), rng.normal(size=channels))


def test_norm_affine_is_the_norm_in_evaluation(rng):
    x = rng.normal(2, 3, (6, 5, 4))
    mean, var = rng.normal(size=5), rng.uniform(0.5, 2, 5)
    for weight in (None, rng.normal(size=5)):
        for bias in (None, rng.normal(size=5)):
            y, _ = F.batch_norm(x, weight, bias, mean, var, training=False, eps=1e-3)
            assert (
                np.abs(algebra.norm_affine(weight, bias, mean, var, 1e-3)(x) - y).max() < RESIDUAL
            )


def test_a_channel_without_variance_and_eps_becomes_its_bias():
    affine = algebra.norm_affine([2.0, 2.0], [0.5, 0.5], [7.0, 7.0], [0.0, 1.0], 0.0)
    assert affine.scale.tolist() == [0.0, 2.0]
    assert affine(np.array([[7.0, 8.0]])).tolist() == [[0.5, 2.5]]


@pytest.mark.parametrize(
    "name, values",
    [("weight", (np.nan, 0, 0, 1)), ("bias", (1, np.inf, 0, 1)), ("running_mean", (1, 0, np.nan, 1)),
     ("running_var", (1, 0, 0, np.inf)), ("negative", (1, 0, 0, -1)), ("overflows", (1e300, 0, 0, 1e-300))],
)  # fmt: skip
def test_parameters_that_are_not_numbers_are_refused_by_name(name, values):
    with pytest.raises(FoldRefused, match=f"{name}.*channel 1"):
        algebra.norm_affine(
            *([good, bad] for good, bad in zip((1, 0, 0, 1), values, strict=True)), 0.0
        )


def test_lengths_that_differ_are_an_error():
    with pytest.raises(ValueError, match="must have equal lengths, got 3, 2, 2, 2"):
        algebra.norm_affine(np.ones(3), None, np.zeros(2), np.ones(2), 1e-5)


def test_two_maps_compose(rng):
    first, second, x = random_affine(rng, 4), random_affine(rng, 4), rng.normal(size=(5, 4, 3))
    assert np.abs(first.then(second)(x) - second(first(x))).max() < RESIDUAL
    assert np.abs(Affine.identity(4).then(first)(x) - first(x)).max() < RESIDUAL
    weight, bias = algebra.into_output(first.scale, first.shift, second)
    assert np.abs(Affine(weight, first.center, bias)(x) - second(first(x))).max() < RESIDUAL


def test_maps_split_join_and_repeat(rng):
    affine, x = random_affine(rng, 6), rng.normal(size=(3, 6, 4))
    parts = affine.split([1, 2, 3])
    assert [part.channels for part in parts] == [1, 2, 3]
    assert (Affine.concatenate(parts)(x) == affine(x)).all()
    assert (affine.repeat(4)(x.reshape(3, 24)) == affine(x).reshape(3, 24)).all()
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    assert (affine.tile(4)(last.reshape(3, 24)) == affine(last, -1).reshape(3, 24)).all()
    with pytest.raises(ValueError, match="add up to 6"):
        affine.split([1, 2])


def test_a_zero_point_maps_to_zero(rng):
    affine = Affine(np.array([2.0, -0.5, 0.0]), rng.normal(size=3), np.array([1.0, 3.0, 0.0]))
    assert np.abs(affine(affine.zero_point[None])).max() < 1e-15
    with pytest.raises(FoldRefused, match="channel 1 has scale 0"):
        _ = Affine(np.array([1.0, 0.0]), np.zeros(2), np.ones(2)).zero_point


def test_into_linear(rng):
    x, weight = rng.normal(size=(7, 5)), rng.normal(size=(3, 5))
    for bias in (None, rng.normal(size=3)):
        after, before = random_affine(rng, 3), random_affine(rng, 5)
        plain = F.linear(x, weight, bias)[0]
        assert (
            np.abs(F.linear(x, *algebra.into_output(weight, bias, after))[0] - after(plain)).max()
            < RESIDUAL
        )
        expected = F.linear(before(x), weight, bias)[0]
        assert (
            np.abs(F.linear(x, *algebra.into_input(weight, bias, before))[0] - expected).max()
            < RESIDUAL
        )


CONVOLUTIONS = [
    pytest.param(
        op, rank, groups, per_in, per_out, id=f"{op.__name__}-groups{groups}-{per_in}to{per_out}"
    )
    for op, rank in ((F.conv1d, 1), (F.conv2d, 2))
    for groups, per_in, per_out in ((1, 4, 3), (2, 3, 2), (6, 1, 1), (3, 1, 4), (3, 4, 1))
]


@pytest.mark.parametrize("op, rank, groups, per_in, per_out", CONVOLUTIONS)
def test_into_convolution(rng, op, rank, groups, per_in, per_out):
    x = rng.normal(size=(2, groups * per_in, *(6, 5)[:rank]))
    weight = rng.normal(size=(groups * per_out, per_in, *(3, 2)[:rank]))
    after, before = random_affine(rng, groups * per_out), random_affine(rng, groups * per_in)
    for bias in (None, rng.normal(size=groups * per_out)):
        plain = op(x, weight, bias, groups=groups, padding=1, stride=2)[0]
        folded = op(
            x, *algebra.into_output(weight, bias, after), groups=groups, padding=1, stride=2
        )[0]
        assert np.abs(folded - after(plain)).max() < RESIDUAL
        expected = op(before(x), weight, bias, groups=groups, stride=2)[0]
        folded = op(
            x, *algebra.into_input(weight, bias, before, groups=groups), groups=groups, stride=2
        )[0]
        assert np.abs(folded - expected).max() < RESIDUAL


@pytest.mark.parametrize(
    "groups, per_in, per_out", [(1, 4, 3), (2, 3, 2), (6, 1, 1), (3, 1, 4), (3, 4, 1)]
)
def test_into_transposed_convolution(rng, groups, per_in, per_out):
    x = rng.normal(size=(2, groups * per_in, 4, 3))
    weight = rng.normal(size=(groups * per_in, per_out, 3, 2))
    after = random_affine(rng, groups * per_out)
    before = random_affine(rng, groups * per_in).without_offset()
    how = {"groups": groups, "stride": 2, "padding": 1, "output_padding": 1}
    for bias in (None, rng.normal(size=groups * per_out)):
        plain = F.conv_transpose2d(x, weight, bias, **how)[0]
        folded = F.conv_transpose2d(
            x, *algebra.into_transposed_output(weight, bias, after, groups=groups), **how
        )[0]
        assert np.abs(folded - after(plain)).max() < RESIDUAL
        expected = F.conv_transpose2d(before(x), weight, bias, **how)[0]
        folded = F.conv_transpose2d(
            x, *algebra.into_transposed_input(weight, bias, before, groups=groups), **how
        )[0]
        assert np.abs(folded - expected).max() < RESIDUAL


@pytest.mark.parametrize("groups", [1, 3])
def test_a_shift_passes_a_pointwise_transposed_convolution_only(rng, groups):
    before, x = random_affine(rng, 6), rng.normal(size=(2, 6, 4, 3))
    weight, bias = rng.normal(size=(6, 2, 1, 1)), rng.normal(size=2 * groups)
    w, b = algebra.into_transposed_input(weight, bias, before, groups=groups, pointwise=True)
    expected = F.conv_transpose2d(before(x), weight, bias, groups=groups)[0]
    assert np.abs(F.conv_transpose2d(x, w, b, groups=groups)[0] - expected).max() < RESIDUAL
    with pytest.raises(FoldRefused, match="shift"):
        algebra.into_transposed_input(weight, bias, before, groups=groups)


def test_zero_padding_lets_scales_through_and_refuses_shifts(rng):
    x, weight = rng.normal(size=(2, 3, 5, 5)), rng.normal(size=(4, 3, 3, 3))
    before = random_affine(rng, 3)
    with pytest.raises(FoldRefused, match="zero padding"):
        algebra.into_input(weight, None, before, zero_padded=True)
    w, b = algebra.into_input(weight, None, before.without_offset(), zero_padded=True)
    expected = F.conv2d(before.without_offset()(x), weight, padding=1)[0]
    assert np.abs(F.conv2d(x, w, b, padding=1)[0] - expected).max() < RESIDUAL


def test_bias_and_mean_that_cancel_keep_their_difference():
    affine = Affine(np.array([3.0]), np.array([1e8]), np.array([0.25]))
    _, bias = algebra.into_output(np.ones((1, 1)), np.array([1e8 + 1e-6]), affine)
    exact = 3.0 * ((1e8 + 1e-6) - 1e8) + 0.25
    assert bias[0] == exact  # scale·bias + offset would be off by 3e-8


@pytest.mark.parametrize("fold, weight", [
    (algebra.into_output, np.ones((3, 2))), (algebra.into_input, np.ones((2, 3))),
    (algebra.into_transposed_output, np.ones((2, 3, 1))), (algebra.into_transposed_input, np.ones((3, 2, 1))),
])  # fmt: skip
def test_a_wrong_channel_count_is_an_error_never_a_broadcast(fold, weight):
    with pytest.raises(ValueError, match="affine must have 3 channels"):
        fold(weight, None, Affine.identity(1))


def test_inputs_are_left_alone(rng):
    weight, bias, affine = rng.normal(size=(4, 4, 1, 1)), rng.normal(size=4), random_affine(rng, 4)
    before = weight.copy(), bias.copy()
    for fold in (algebra.into_output, algebra.into_input, algebra.into_transposed_output):
        w, b = fold(weight, bias, affine)
        assert not np.shares_memory(w, weight) and not np.shares_memory(b, bias)
    assert (weight == before[0]).all() and (bias == before[1]).all()


@pytest.mark.parametrize("groups", [1, 2])
def test_pytorch_fuses_alike(rng, groups):
    torch = pytest.importorskip("torch")
    from torch.nn.utils import fusion

    weight, bias = rng.normal(size=(6, 4 // groups, 3, 3)), rng.normal(size=6)
    norm = (rng.normal(size=6), rng.normal(size=6), rng.normal(size=6), rng.uniform(0.5, 2, 6))
    mine = algebra.into_output(weight, bias, algebra.norm_affine(*norm, 1e-5))
    gamma, beta, mean, var = (torch.from_numpy(a) for a in norm)
    theirs = fusion.fuse_conv_bn_weights(
        torch.from_numpy(weight), torch.from_numpy(bias), mean, var, 1e-5, gamma, beta
    )
    for ours, other in zip(mine, theirs, strict=True):
        assert np.abs(ours - other.detach().numpy()).max() < RESIDUAL


def test_rounding_happens_once(rng):
    values = rng.normal(size=1000)
    assert (algebra.rounded(values, np.float32, "weight") == values.astype(np.float32)).all()


def test_a_weight_that_would_overflow_is_refused():
    for dtype, value in ((np.float32, 1e39), (np.float64, np.inf), (np.float64, np.nan)):
        with pytest.raises(
            FoldRefused, match=f"folded weight would not be finite in {np.dtype(dtype)}"
        ):
            algebra.rounded(np.array([1.0, value]), dtype, "weight")


def test_weights_that_would_be_subnormal_in_large_part_are_refused():
    values = np.array([1e-39] * 2 + [1.0] * 8 + [0.0] * 90)
    with pytest.raises(
        FoldRefused, match="2 of 10 entries of the folded weight would be subnormal"
    ):
        algebra.rounded(values, np.float32, "weight")
    algebra.rounded(values, np.float64, "weight")
    algebra.rounded(values[1:10], np.float32, "weight", subnormal_share=0.2)
    algebra.rounded(np.array([1e-39] + [1.0] * 9), np.float32, "weight")


def test_a_distant_mean_may_not_be_subtracted_after_the_product():
    for distance, fine in ((100.0, True), (1e4, False)):
        affine = Affine(np.ones(2), np.array([0.0, distance]), np.zeros(2))
        algebra.check_forward(affine, np.float64)
        if fine:
            algebra.check_forward(affine, np.float32)
        else:
            with pytest.raises(FoldRefused, match="mean of channel 1 lies 1e\\+04"):
                algebra.check_forward(affine, np.float32)

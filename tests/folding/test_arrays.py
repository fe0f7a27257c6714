"""Folding of plain arrays against applying the norm explicitly: every operation, direction, layout, group count and type."""

import numpy as np
import pytest

from bncore import functional as F
from bncore.folding import FoldRefused, fold_conv, fold_conv_transpose, fold_linear
from bncore.support.floats import FLOATS, narrowed, widened

RESIDUAL = 1e-12  # float64, sums of a few dozen products of order 1
EPS = 1e-3


@pytest.fixture
def rng():
    return np.random.default_rng(30)


def statistics(rng, channels):
    """mean, var, gamma, beta as training leaves them."""
    return (
        rng.normal(size=channels),
        rng.uniform(0.3, 3, channels),
        rng.uniform(0.2, 2, channels) * rng.choice([-1, 1], channels),
        rng.normal(size=channels),
    )


def norm(x, mean, var, gamma=None, beta=None, axis=1):
    shape = [1] * x.ndim
    shape[axis] = -1
    gamma, beta = 1.0 if gamma is None else gamma, 0.0 if beta is None else beta
    scale = np.broadcast_to(gamma / np.sqrt(var + EPS), mean.shape).reshape(shape)
    return scale * (x - mean.reshape(shape)) + np.broadcast_to(beta, mean.shape).reshape(shape)


BIASES = pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])
AFFINES = pytest.mark.parametrize("affine", [True, False], ids=["gamma", "no gamma"])
GROUPS = pytest.mark.parametrize(
    "groups, per_in, per_out", [(1, 4, 3), (2, 3, 2), (6, 1, 1), (3, 1, 4), (3, 4, 1)]
)


@BIASES
@AFFINES
def test_a_linear_takes_the_norm_on_either_side(rng, biased, affine):
    weight, bias = rng.normal(size=(5, 7)), rng.normal(size=5) if biased else None
    x = rng.normal(size=(9, 7))
    after, before = (statistics(rng, c)[: 4 if affine else 2] for c in (5, 7))
    w, b = fold_linear(weight, bias, *after, eps=EPS)
    assert (
        np.abs(F.linear(x, w, b)[0] - norm(F.linear(x, weight, bias)[0], *after)).max() < RESIDUAL
    )
    w, b = fold_linear(weight, bias, *before, eps=EPS, direction="before")
    assert (
        np.abs(F.linear(x, w, b)[0] - F.linear(norm(x, *before), weight, bias)[0]).max() < RESIDUAL
    )


@GROUPS
@BIASES
def test_a_convolution_takes_the_norm_on_either_side(rng, groups, per_in, per_out, biased):
    weight = rng.normal(size=(groups * per_out, per_in, 3, 2))
    bias = rng.normal(size=groups * per_out) if biased else None
    x = rng.normal(size=(2, groups * per_in, 6, 5))
    after, before = statistics(rng, groups * per_out), statistics(rng, groups * per_in)
    w, b = fold_conv(weight, bias, *after, eps=EPS, groups=groups)
    expected = norm(F.conv2d(x, weight, bias, groups=groups, padding=1, stride=2)[0], *after)
    assert (
        np.abs(F.conv2d(x, w, b, groups=groups, padding=1, stride=2)[0] - expected).max() < RESIDUAL
    )
    w, b = fold_conv(
        weight, bias, *before, eps=EPS, groups=groups, direction="before", zero_padded=False
    )
    expected = F.conv2d(norm(x, *before), weight, bias, groups=groups)[0]
    assert np.abs(F.conv2d(x, w, b, groups=groups)[0] - expected).max() < RESIDUAL


@GROUPS
@BIASES
def test_a_transposed_convolution_takes_the_norm_on_either_side(
    rng, groups, per_in, per_out, biased
):
    weight = rng.normal(size=(groups * per_in, per_out, 3, 2))
    bias = rng.normal(size=groups * per_out) if biased else None
    x = rng.normal(size=(2, groups * per_in, 4, 3))
    after = statistics(rng, groups * per_out)
    how = {"groups": groups, "stride": 2, "padding": 1}
    w, b = fold_conv_transpose(weight, bias, *after, eps=EPS, groups=groups)
    expected = norm(F.conv_transpose2d(x, weight, bias, **how)[0], *after)
    assert np.abs(F.conv_transpose2d(x, w, b, **how)[0] - expected).max() < RESIDUAL
    before, pointwise = statistics(rng, groups * per_in), weight[..., :1, :1]
    w, b = fold_conv_transpose(
        pointwise, bias, *before, eps=EPS, groups=groups, direction="before", pointwise=True
    )
    expected = F.conv_transpose2d(norm(x, *before), pointwise, bias, groups=groups)[0]
    assert np.abs(F.conv_transpose2d(x, w, b, groups=groups)[0] - expected).max() < RESIDUAL


def test_a_shift_before_padding_or_overlapping_taps_is_refused(rng):
    weight, given = rng.normal(size=(4, 4, 3, 3)), statistics(rng, 4)
    with pytest.raises(FoldRefused, match="zero padding"):
        fold_conv(weight, None, *given, direction="before")
    with pytest.raises(FoldRefused, match="transposed convolution is not one bias"):
        fold_conv_transpose(weight, None, *given, direction="before")
    centred = (np.zeros(4), given[1], given[2], None)
    for fold in (fold_conv, fold_conv_transpose):
        assert not fold(weight, None, *centred, direction="before")[1].any()


KERAS = [
    pytest.param(fold_linear, (5, 7), (1, 0), id="dense"),
    pytest.param(fold_conv, (6, 3, 2, 5), (2, 3, 1, 0), id="conv"),
    pytest.param(fold_conv_transpose, (6, 3, 2, 5), (2, 3, 1, 0), id="transposed"),
]


@pytest.mark.parametrize("fold, shape, axes", KERAS)
@pytest.mark.parametrize("direction", ["after", "before"])
def test_keras_kernels_give_the_same_numbers_with_their_axes_where_they_were(
    rng, fold, shape, axes, direction
):
    weight = rng.normal(size=shape)
    after = shape[1] if fold is fold_conv_transpose else shape[0]
    before = shape[0] if fold is fold_conv_transpose else shape[1]
    given = statistics(rng, after if direction == "after" else before)
    if direction == "before" and fold is not fold_linear:
        given = (np.zeros_like(given[0]), given[1], given[2], None)
    w, b = fold(weight, None, *given, direction=direction)
    kernel = np.ascontiguousarray(weight.transpose(axes))
    k, c = fold(kernel, None, *given, direction=direction, layout="keras")
    assert (k == w.transpose(axes)).all() and (c == b).all() and k.flags.c_contiguous


def test_a_depthwise_kernel_of_keras_is_a_grouped_one(rng):
    """Output channel i·m + j is multiplier j of input i."""
    kernel, x = rng.normal(size=(3, 3, 4, 2)), rng.normal(size=(1, 6, 6, 4))
    given = statistics(rng, 8)
    k, b = fold_conv(kernel.reshape(3, 3, 1, 8), None, *given, eps=EPS, groups=4, layout="keras")
    patches = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))  # n, h, w, i, 3, 3

    def depthwise(kernel):
        y = np.einsum("nhwiab,abim->nhwim", patches, kernel.reshape(3, 3, 4, 2))
        return y.reshape(*y.shape[:3], 8)

    assert np.abs(depthwise(k) + b - norm(depthwise(kernel), *given, axis=-1)).max() < RESIDUAL


@pytest.mark.parametrize("name", sorted(FLOATS))
def test_arithmetic_is_in_float64_with_one_rounding(rng, name):
    weight, given = rng.normal(size=(64, 32)), statistics(rng, 64)
    if name == "bfloat16":
        dtype = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    else:
        dtype = np.dtype(name)
    stored = narrowed(weight, name).view(dtype)
    w, b = fold_linear(stored, None, *given)
    assert w.dtype == b.dtype == dtype
    exact_w, exact_b = fold_linear(stored.astype(np.float64), None, *given)
    for got, exact in ((w, exact_w), (b, exact_b)):
        assert (got == narrowed(exact, name).view(dtype)).all()


def test_bfloat16_rounds_to_nearest_even_once():
    ties = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-40, -(1 + 2.0**-8)])
    assert (
        widened(narrowed(ties, "bfloat16"), "bfloat16") == [1, 1 + 2.0**-6, 1 + 2.0**-7, -1]
    ).all()
    edges = np.array([3.4e38, 3.39e38, 2.0**-133, 2.0**-134, np.inf, np.nan])
    got = widened(narrowed(edges, "bfloat16"), "bfloat16")
    largest = FLOATS["bfloat16"].largest
    assert got[:2].tolist() == [np.inf, largest] and got[2:4].tolist() == [2.0**-133, 0.0]
    assert got[4] == np.inf and np.isnan(got[5])


def test_bfloat16_agrees_with_pytorch_on_what_float32_holds(rng):
    torch = pytest.importorskip("torch")
    values = (rng.normal(size=20000) * 10.0 ** rng.uniform(-44, 38, 20000)).astype(np.float32)
    theirs = torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()
    assert (narrowed(values.astype(np.float64), "bfloat16") == theirs).all()


def test_what_the_type_cannot_hold_is_refused(rng):
    weight = np.full((2, 2), 6e4, np.float16)
    with pytest.raises(FoldRefused, match="folded weight would not be finite in float16"):
        fold_linear(weight, None, np.zeros(2), np.full(2, 0.25))
    with pytest.raises(FoldRefused, match="would be subnormal in float16"):
        fold_linear(np.full((2, 2), 1e-4, np.float16), None, np.zeros(2), np.full(2, 1e4))
    with pytest.raises(FoldRefused, match="bias holds NaN"):
        fold_linear(np.ones((2, 2)), np.array([np.nan, 0]), np.zeros(2), np.ones(2))
    with pytest.raises(FoldRefused, match="running_var is negative"):
        fold_linear(np.ones((2, 2)), None, np.zeros(2), -np.ones(2))
    with pytest.raises(FoldRefused, match="mean of channel 0"):
        fold_linear(
            np.ones((2, 2), np.float32), None, np.full(2, 1e5), np.ones(2), direction="before"
        )


WRONG = [
    (fold_linear, {"weight": np.ones((2, 2, 1))}, "weight must have 2 axes"),
    (fold_conv, {"weight": np.ones((2, 2))}, "weight must have at least 3 axes"),
    (fold_linear, {"weight": np.ones((2, 2), int)}, "expected one of .*float32.* got int64"),
    (fold_linear, {"mean": np.ones(3), "var": np.ones(3)}, "2 channels .* got 3"),
    (fold_linear, {"var": np.ones(3)}, "equal lengths"),
    (fold_linear, {"bias": np.ones(3)}, r"bias must have shape \(2,\)"),
    (fold_linear, {"eps": -1}, "eps"),
    (fold_linear, {"direction": "sideways"}, "direction must be one of 'after', 'before'"),
    (fold_linear, {"layout": "onnx"}, "layout must be one of 'torch', 'keras'"),
    (fold_conv, {"weight": np.ones((2, 2, 1)), "groups": 3}, "groups must divide the 2 output"),
    (fold_conv_transpose, {"weight": np.ones((2, 2, 1)), "groups": 0}, "groups"),
]


@pytest.mark.parametrize("fold, changed, message", WRONG, ids=[message for *_, message in WRONG])
def test_wrong_arguments_are_named(fold, changed, message):
    arguments = {"weight": np.ones((2, 2)), "bias": None, "mean": np.zeros(2), "var": np.ones(2)}
    with pytest.raises((TypeError, ValueError), match=message):
        fold(**arguments | changed)


def test_inputs_are_never_written_to_and_results_never_alias_them(rng):
    for fold, shape in (
        (fold_linear, (4, 4)),
        (fold_conv, (4, 4, 1)),
        (fold_conv_transpose, (4, 4, 1)),
    ):
        arrays = [rng.normal(size=shape), rng.normal(size=4), *statistics(rng, 4)]
        for array in arrays:
            array.flags.writeable = False
        for array in fold(*arrays):
            assert not any(np.shares_memory(array, given) for given in arrays)
            array += 1  # an ordinary array, to be written to


def test_pytorch_modules_fold_alike(rng):
    torch = pytest.importorskip("torch")
    conv = torch.nn.ConvTranspose2d(8, 12, 3, stride=2, groups=4).double().eval()
    bn = torch.nn.BatchNorm2d(12).double().eval()
    with torch.no_grad():
        for array, value in zip(
            (bn.running_mean, bn.running_var, bn.weight, bn.bias), statistics(rng, 12)
        ):
            array.copy_(torch.from_numpy(value))
        x = torch.from_numpy(rng.normal(size=(2, 8, 5, 5)))
        expected = bn(conv(x))
        norm_parts = (bn.running_mean, bn.running_var, bn.weight, bn.bias)
        w, b = fold_conv_transpose(conv.weight, conv.bias, *norm_parts, eps=bn.eps, groups=4)
        conv.weight.copy_(torch.from_numpy(w))
        conv.bias.copy_(torch.from_numpy(b))
        assert (conv(x) - expected).abs().max() < RESIDUAL

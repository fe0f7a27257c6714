"""Half precision, bfloat16, double: arithmetic in float64, one rounding, refusals where the type ends."""

import numpy as np
import pytest

from tests.folding.onnx.checks import (
    NORM,
    Builder,
    TensorProto,
    check,
    fold,
    helper,
    kinds,
    numpy_helper,
    onnx,
)  # fmt: skip


def weights(model):
    return {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}


def conv_norm(b, gamma=None, *, var=2.0, scale=1.0):
    x = b.input(2, 3, 5, 5)
    y = b.node("Conv", x, b.const(scale * b.rng.normal(size=(4, 3, 1, 1))), b.normal(4))
    gamma = b.rng.uniform(0.5, 1.5, 4) if gamma is None else np.full(4, gamma)
    parts = [
        b.const(v) for v in (gamma, b.rng.normal(size=4), b.rng.normal(size=4), np.full(4, var))
    ]
    return b.output(b.node(NORM, y, *parts))


def test_half_precision_is_rounded_once():
    b = conv_norm(Builder(dtype=np.float16))
    folded, _ = check(b.model(), b.feeds, ops=["Conv"])
    before = [numpy_helper.to_array(w).astype(np.float64) for w in b.weights]
    s = before[2] / np.sqrt(before[5] + np.float64(np.float32(1e-5)))
    got = weights(folded)
    assert got["w0"].dtype == np.float16
    np.testing.assert_array_equal(
        got["w0"], (before[0] * s[:, None, None, None]).astype(np.float16)
    )
    np.testing.assert_array_equal(got["w1"], (s * (before[1] - before[4]) + before[3]).astype(np.float16))  # fmt: skip


def test_weights_that_would_become_infinite():
    """A variance of 1e-7 in a norm of eps 1e-5 makes a scale of 300; 300·300 is no half float."""
    b = conv_norm(Builder(dtype=np.float16), 300.0, var=0.0, scale=300.0)
    model = b.model()
    folded, result = fold(model)
    assert "not be finite" in result.kept[0].why
    assert all(np.isfinite(w.astype(np.float32)).all() for w in weights(folded).values())


def test_weights_that_would_be_subnormal():
    """The shift goes into the bias, the small scale stays as a Mul."""
    b = conv_norm(Builder(dtype=np.float16), 1e-4, scale=1e-2)
    check(b.model(), b.feeds, ops=["Conv", "Mul"])


@pytest.mark.parametrize("gamma, scale, last", [(2000.0, 200.0, 1e-5), (1e-3, 0.05, 1e3)])
def test_powers_of_two_that_do_not_fit_go_on_to_the_next_weights(gamma, scale, last):
    b = Builder(dtype=np.float16)
    x = b.input(2, 3, 5, 5)
    y = b.node("Conv", x, b.const(scale * b.rng.normal(size=(4, 3, 1, 1))))
    parts = [b.const(np.full(4, v)) for v in (gamma, gamma * scale * 0.1, 0.0, 1.0)]
    y = b.node("Relu", b.node(NORM, y, *parts))
    b.feeds[x] *= np.float16(0.02 if gamma > 1 else 1)
    b.output(b.node("Conv", y, b.const(b.rng.normal(size=(2, 4, 1, 1)) * last)))
    _, result = check(b.model(), b.feeds, ops=["Conv", "Relu", "Conv"])
    assert result.applied[0].rule.startswith("both ways")


def test_weights_that_are_subnormal_already_may_stay_so():
    b = conv_norm(Builder(dtype=np.float16), 1.5, scale=1e-5)
    check(b.model(), b.feeds, ops=["Conv"])


def test_float64():
    b = Builder(dtype=np.float64)
    y = b.node("Gemm", b.input(3, 4), b.normal(4, 5), b.normal(5))
    b.output(b.node("Gemm", b.node("Sigmoid", b.norm(y, 5)), b.normal(5, 2)))
    check(b.model(), b.feeds, ops=["Gemm", "Sigmoid", "Gemm"], relative=1e-13)


def test_bfloat16():
    """ONNX Runtime has no bfloat16 convolution on CPUs: the weights are compared with the formula."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    b = conv_norm(Builder(opset=22, ir_version=10))
    model = b.model()
    for w in model.graph.initializer:
        values = numpy_helper.to_array(w).astype(ml_dtypes.bfloat16)
        w.CopyFrom(TensorProto(name=w.name, data_type=TensorProto.BFLOAT16, dims=w.dims, raw_data=values.tobytes()))  # fmt: skip
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    before = [w.astype(np.float64) for w in weights(model).values()]
    folded, result = fold(model)
    onnx.checker.check_model(folded, full_check=True)
    assert kinds(folded) == ["Conv"], result
    s = before[2] / np.sqrt(before[5] + np.float64(np.float32(1e-5)))
    got = weights(folded)["w0"]
    assert folded.graph.initializer[0].data_type == TensorProto.BFLOAT16
    want = (before[0] * s[:, None, None, None]).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(got.astype(np.float32), want.astype(np.float32))


def test_half_precision_values_with_statistics_in_float():
    b = Builder(dtype=np.float16, opset=15)
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    numbers = [b.const(b.rng.uniform(0.5, 1.5, 4), dtype=np.float32) for _ in range(4)]
    b.output(b.node(NORM, y, *numbers))
    folded, result = fold(b.model())
    onnx.checker.check_model(folded, full_check=True)
    assert kinds(folded) == ["Conv"], result
    assert weights(folded)["w1"].dtype == np.float16


def test_half_precision_in_front_of_a_convolution():
    b = Builder(dtype=np.float16)
    y = b.norm(b.node("Sigmoid", b.input(2, 4, 5, 5)), 4)
    b.output(b.conv(y, 4, 3, 3, 3))
    check(b.model(), b.feeds, ops=["Sigmoid", "Conv"])


def test_half_precision_with_a_mean_far_away_keeps_the_norm():
    """Some ten standard deviations are what three digits can bear."""
    b = Builder(dtype=np.float16)
    y = b.node("Sigmoid", b.input(2, 4, 5, 5))
    parts = [b.const(np.full(4, v)) for v in (1.0, 0.0, 30.0, 1.0)]
    b.output(b.conv(b.node(NORM, y, *parts), 4, 3))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "precision" in result.kept[0].why


def test_integers_are_left_alone():
    b = Builder()
    b.inputs.append(helper.make_tensor_value_info("ids", TensorProto.INT64, (2, 3)))
    b.feeds["ids"] = np.arange(6).reshape(2, 3)
    y = b.node("MatMul", b.node("Mul", b.node("Add", "ids", b.ints(1)), b.ints(2)), b.const(np.ones((3, 2)), dtype=np.int64))  # fmt: skip
    b.outputs.append(helper.make_tensor_value_info(y, TensorProto.INT64, (2, 2)))
    model = b.model()
    _, result = check(model, b.feeds)
    assert not result.applied


# Where a quantized weight cannot be scaled the shift still goes into the bias and a Mul stays


def quantized(b, shape, *, axis=None, dtype=np.int8, zero=True, low=-127):
    """A weight behind a DequantizeLinear, per channel along an axis or per tensor."""
    q = b.const(b.rng.integers(low, 128, shape), dtype=dtype)
    size = () if axis is None else (shape[axis],)
    parts = [q, b.const(b.rng.uniform(0.01, 0.02, size))]
    if zero:
        parts.append(b.const(np.zeros(size), dtype=dtype))
    return b.node("DequantizeLinear", *parts, **({} if axis is None else {"axis": axis}))


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("zero", [True, False])
def test_quantized_weights_take_it_in_their_scales(axis, zero):
    b = Builder()
    x = b.input(2, 3, 5, 5)
    y = b.node("Conv", x, quantized(b, (4, 3, 3, 3), axis=axis, zero=zero), b.normal(4))
    b.output(b.norm(y, 4))
    folded, _ = check(b.model(), b.feeds, ops=["DequantizeLinear", "Conv"])
    q = weights(folded)["w0"]
    assert q.dtype == np.int8 and (weights(folded)[folded.graph.node[0].input[1]] > 0).all()


def test_quantized_weights_with_a_quantized_bias():
    b = Builder()
    x = b.input(2, 3, 5, 5)
    bias = b.node("DequantizeLinear", b.const([5, -7, 9, 100], dtype=np.int32), b.const(0.01))
    y = b.node("Conv", x, quantized(b, (4, 3, 3, 3), axis=0), bias)
    b.output(b.norm(y, 4))
    check(b.model(), b.feeds, ops=["DequantizeLinear", "Conv"])


def test_quantized_weights_whose_sign_cannot_turn():
    b = Builder()
    y = b.node("Conv", b.input(2, 3, 5, 5), quantized(b, (4, 3, 3, 3), axis=0))
    b.replace_integers(0, np.full((4, 3, 3, 3), -128, np.int8))
    b.output(b.norm(y, 4, sign=-1))
    check(b.model(), b.feeds, ops=["DequantizeLinear", "Conv", "Mul"])


def test_unsigned_quantized_weights():
    b = Builder()
    w = quantized(b, (4, 3, 3, 3), axis=0, dtype=np.uint8, low=100)
    b.replace_integers(2, np.full(4, 120, np.uint8))
    b.output(b.norm(b.node("Conv", b.input(2, 3, 5, 5), w), 4))
    check(b.model(), b.feeds, ops=["DequantizeLinear", "Conv"])


def test_quantized_weights_along_another_axis():
    b = Builder()
    y = b.node("Conv", b.input(2, 3, 5, 5), quantized(b, (4, 3, 3, 3), axis=1))
    b.output(b.norm(y, 4))
    check(b.model(), b.feeds, ops=["DequantizeLinear", "Conv", "Mul"])


def test_per_channel_scales_need_opset_13():
    b = Builder(opset=12)
    y = b.node("Conv", b.input(2, 3, 5, 5), quantized(b, (4, 3, 3, 3)))
    b.output(b.norm(y, 4))
    check(b.model(), b.feeds, ops=["DequantizeLinear", "Conv", "Mul"])


def test_quantized_weights_that_two_layers_read():
    b = Builder()
    x, w = b.input(2, 3, 5, 5), quantized(b, (4, 3, 3, 3), axis=0)
    b.output(b.norm(b.node("Conv", x, w), 4), b.node("Conv", x, w))
    check(b.model(), b.feeds, norms_left=0)


def test_quantized_weights_with_the_norm_in_front():
    b = Builder()
    y = b.norm(b.input(2, 3, 5, 5), 3)
    b.output(b.node("Conv", y, quantized(b, (4, 3, 3, 3)), b.normal(4)))
    check(b.model(), b.feeds, ops=["DequantizeLinear", "Conv"])

"""Norms behind linear operations: part 1 of the algebra."""

import numpy as np
import pytest

from tests.folding.onnx.checks import NORM, Builder, TensorProto, check, helper, numpy_helper


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", [(3,), (3, 2), (2, 3, 1)])
def test_conv_of_any_dimension_and_groups(kernel, bias, groups):
    b = Builder()
    x = b.input(2, 4, *[5] * len(kernel))
    y = b.conv(x, 4, 8, *kernel, groups=groups, bias=bias, pads=[1] * (2 * len(kernel)))
    b.output(b.norm(y, 8))
    check(b.model(), b.feeds, ops=["Conv"])


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", [(3,), (3, 2), (2, 3, 1)])
def test_transposed_conv_of_any_dimension_and_groups(kernel, bias, groups):
    b = Builder()
    x = b.input(2, 4, *[4] * len(kernel))
    parts = [b.normal(4, 3, *kernel)] + ([b.normal(3 * groups)] if bias else [])
    y = b.node("ConvTranspose", x, *parts, group=groups, strides=[2] * len(kernel))
    b.output(b.norm(y, 3 * groups))
    check(b.model(), b.feeds, ops=["ConvTranspose"])


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("alpha, beta", [(1.0, 1.0), (0.5, 3.0)])
@pytest.mark.parametrize("c", [None, (), (1,), (5,), (1, 5), (3, 1), (3, 5)])
def test_gemm_with_c_of_every_shape(c, alpha, beta, turned):
    b = Builder(dtype=np.float64)
    x = b.input(4, 3) if turned else b.input(3, 4)
    w = b.normal(5, 4) if turned else b.normal(4, 5)
    parts = [] if c is None else [b.normal(*c)]
    y = b.node("Gemm", x, w, *parts, alpha=alpha, beta=beta, transA=turned, transB=turned)
    b.output(b.norm(y, 5))
    check(b.model(), b.feeds, ops=["Gemm"])


def test_matmul_of_matrices_becomes_a_gemm():
    b = Builder(dtype=np.float64)
    b.output(b.norm(b.node("MatMul", b.input(3, 4), b.normal(4, 5)), 5))
    check(b.model(), b.feeds, ops=["Gemm"])


def test_matmul_with_add():
    b = Builder(dtype=np.float64)
    y = b.node("Add", b.node("MatMul", b.input(3, 4), b.normal(4, 5)), b.normal(5))
    b.output(b.norm(y, 5))
    check(b.model(), b.feeds, ops=["Gemm"])


def test_linear_of_sequences_with_the_norm_behind_a_transpose():
    b = Builder(dtype=np.float64)
    y = b.node("MatMul", b.input(2, 7, 4), b.normal(4, 5))
    y = b.node("Transpose", y, perm=[0, 2, 1])
    b.output(b.norm(y, 5))
    check(b.model(), b.feeds, ops=["MatMul", "Add", "Transpose"])


@pytest.mark.parametrize("batch", [2, "N"])
def test_linear_of_sequences_with_the_norm_behind_a_reshape(batch):
    """Rows of all samples through one norm, as LeViT does it."""
    b = Builder(dtype=np.float64)
    y = b.node("MatMul", b.input(2, 7, 4, declared=(batch, 7, 4)), b.normal(4, 5))
    y = b.node("Add", y, b.normal(5))
    y = b.norm(b.node("Reshape", y, b.ints(-1, 5)), 5)
    b.output(b.node("Reshape", y, b.ints(-1, 7, 5)))
    check(b.model(), b.feeds, ops=["MatMul", "Add", "Reshape", "Reshape"])


def test_sequences_as_long_as_they_have_features_are_not_mixed_up():
    """L = F: the norm is over L, which the MatMul does not own; matched by axis, never by size."""
    b = Builder(dtype=np.float64)
    y = b.node("MatMul", b.input(2, 5, 4), b.normal(4, 5))
    b.output(b.norm(y, 5))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "another axis" in result.kept[0].why


def test_constant_times_value():
    b = Builder(dtype=np.float64)
    y = b.node("MatMul", b.normal(5, 4), b.input(2, 4, 3))
    b.output(b.norm(y, 5))
    check(b.model(), b.feeds, ops=["MatMul", "Add"])


@pytest.mark.parametrize("equation, shape, weight", [
    ("nlf,fo->nol", (2, 3, 4), (4, 5)), ("nchw,oc->nohw", (2, 4, 3, 3), (5, 4)),
    ("nhf,hfo->no", (2, 3, 4), (3, 4, 5)),
])  # fmt: skip
def test_einsum(equation, shape, weight):
    b = Builder(dtype=np.float64)
    y = b.node("Einsum", b.input(*shape), b.normal(*weight), equation=equation)
    b.output(b.norm(y, 5))
    check(b.model(), b.feeds, ops=["Einsum", "Add"])


def test_einsum_whose_constant_has_no_such_axis():
    b = Builder(dtype=np.float64)
    y = b.node("Einsum", b.input(2, 3, 4), b.normal(4, 5), equation="nlf,fo->nlo")
    b.output(b.norm(y, 3))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "no axis of the constant" in result.kept[0].why


def embedding(b):
    """Indices as an input of their own."""
    b.inputs.append(helper.make_tensor_value_info("ids", TensorProto.INT64, (2, 3)))
    b.feeds["ids"] = np.array([[0, 5, 2], [1, 1, 6]])
    return "ids"


def test_embedding():
    b = Builder(dtype=np.float64)
    y = b.node("Gather", b.normal(7, 4), embedding(b))
    y = b.norm(b.node("Transpose", y, perm=[0, 2, 1]), 4)
    b.output(y)
    check(b.model(), b.feeds, ops=["Gather", "Transpose"])


def test_embedding_that_is_read_twice():
    b = Builder(dtype=np.float64)
    table = b.normal(7, 4)
    y = b.node("Gather", table, embedding(b))
    y = b.norm(b.node("Transpose", y, perm=[0, 2, 1]), 4)
    b.output(y, b.node("MatMul", b.input(2, 7), table))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "other readers" in result.kept[0].why


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("first", [True, False])
def test_arithmetic_with_constants_on_either_side(op, first):
    if op == "Div" and not first:
        pytest.skip("a constant divided by a value is no affine map")
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 4, 3, 3)
    c = b.const(b.rng.uniform(0.5, 2, (4, 1, 1)))
    b.output(b.norm(b.node(op, *((y, c) if first else (c, y))), 4))
    check(b.model(), b.feeds, ops=["Conv"])


def test_norms_and_constants_in_a_row_become_one():
    b = Builder()
    x = b.input(2, 4, 3, 3)
    y = b.norm(b.node("Mul", b.norm(b.node("Sigmoid", x), 4), b.const(2.0)), 4)
    b.output(b.node("Sigmoid", b.node("Add", y, b.normal(4, 1, 1))))
    check(b.model(), b.feeds, ops=["Sigmoid", NORM, "Sigmoid"])


def test_a_map_over_positions_stays_and_is_scaled():
    b = Builder()
    y = b.conv(b.input(2, 3, 4, 4), 3, 5)
    y = b.norm(b.node("Add", y, b.normal(1, 5, 4, 4)), 5)
    b.output(y)
    check(b.model(), b.feeds, ops=["Conv", "Add"])


def test_a_vector_along_the_width_is_not_taken_for_channels():
    """W = C = 4."""
    b = Builder()
    y = b.conv(b.input(2, 3, 4, 4), 3, 4)
    b.output(b.node("Mul", y, b.normal(4)))
    check(b.model(), b.feeds, ops=["Conv", "Mul"])


@pytest.mark.parametrize("op", ["Add", "Sub", "Sum"])
def test_sums_of_branches(op):
    b = Builder()
    x = b.input(2, 3, 5, 5)
    y = b.node(op, b.conv(x, 3, 4), b.conv(x, 3, 4, bias=False))
    b.output(b.norm(y, 4))
    check(b.model(), b.feeds, norms_left=0)


@pytest.mark.parametrize("op", ["Add", "Sub"])
@pytest.mark.parametrize("first", [True, False])
def test_shift_of_a_sum_goes_where_it_is_cheaper(op, first):
    """A MatMul of sequences would need an Add of its own for it; what is subtracted gets it with the other sign."""
    b = Builder(dtype=np.float64)
    y = b.node("MatMul", b.normal(5, 4), b.input(2, 4, 5))
    z = b.node("Reshape", b.node("Gemm", b.input(2, 3), b.normal(3, 25)), b.ints(2, 5, 5))
    b.output(b.norm(b.node(op, *((y, z) if first else (z, y))), 5))
    check(b.model(), b.feeds, ops=["MatMul", "Gemm", "Reshape", op])


def test_sum_with_a_branch_that_cannot_be_scaled():
    """The shift goes into the convolution, what is left is a Mul."""
    b = Builder()
    x = b.input(2, 4, 5, 5)
    b.output(b.norm(b.node("Add", b.conv(x, 4, 4), b.node("Sigmoid", x)), 4))
    check(b.model(), b.feeds, ops=["Conv", "Sigmoid", "Add", "Mul"])


def test_sum_of_branches_that_take_nothing():
    b = Builder()
    x = b.input(2, 4, 5, 5)
    b.output(b.norm(b.node("Add", b.node("Tanh", x), b.node("Sigmoid", x)), 4))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "summand" in result.kept[0].why


def test_product_with_a_gate_lets_the_scale_pass():
    b = Builder()
    x = b.input(2, 4, 5, 5)
    gate = b.node("Sigmoid", b.node("GlobalAveragePool", x))
    y = b.norm(b.node("Mul", b.conv(x, 4, 4), gate), 4, shift=False)
    b.output(y)
    check(b.model(), b.feeds, norms_left=0)


def test_recurrent_output_is_not_linear():
    b = Builder()
    y = b.node("GRU", b.input(3, 2, 4), b.normal(1, 15, 4), b.normal(1, 15, 5), hidden_size=5)
    y = b.node("Transpose", b.node("Squeeze", y, b.ints(1)), perm=[0, 2, 1])
    b.output(b.norm(y, 5))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "GRU" in result.kept[0].why


COMPUTED = {
    "Conv": ((4, 3, 1, 1), (2, 3, 5, 5)),
    "ConvTranspose": ((3, 4, 1, 1), (2, 3, 5, 5)),
    "Gemm": ((3, 4), (50, 3)),
}


@pytest.mark.parametrize("op", COMPUTED)
@pytest.mark.parametrize("bias", [True, False])
def test_computed_weight_that_is_smaller_than_the_data(op, bias):
    """It is multiplied by a Mul of its own."""
    weight, data = COMPUTED[op]
    b = Builder()
    w = b.node("Sigmoid", b.input(*weight))
    b.output(b.norm(b.node(op, b.input(*data), w, *([b.normal(4)] if bias else [])), 4))
    check(b.model(), b.feeds, ops=["Sigmoid", "Mul", op])


def test_computed_weight_that_is_larger_than_the_data():
    b = Builder()
    w = b.node("Sigmoid", b.input(4, 3, 3, 3))
    b.output(b.norm(b.node("Conv", b.input(1, 3, 3, 3), w), 4))
    check(b.model(), b.feeds, ops=["Sigmoid", "Conv", "Mul"])  # the shift goes into the bias


def test_computed_bias():
    b = Builder()
    y = b.node("Conv", b.input(2, 3, 5, 5), b.normal(4, 3, 1, 1), b.node("Sigmoid", b.input(4)))
    b.output(b.norm(y, 4))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "Sigmoid" in result.kept[0].why


def test_decomposed_norms_with_channels_last():
    """As converters from TensorFlow write them: Mul and Add on (N, H, W, C) between Transposes."""
    b = Builder()
    x = b.node("Transpose", b.input(2, 5, 5, 3), perm=[0, 3, 1, 2])
    y = b.node("Transpose", b.conv(x, 3, 4), perm=[0, 2, 3, 1])
    y = b.node("Relu", b.node("Add", b.node("Mul", y, b.normal(4)), b.normal(4)))
    y = b.node("Sub", b.node("Mul", y, b.normal(1, 1, 1, 4)), b.normal(4))
    b.output(b.conv(b.node("Transpose", y, perm=[0, 3, 1, 2]), 4, 2))
    check(b.model(), b.feeds, ops=["Transpose", "Conv", "Transpose", "Relu", "Transpose", "Conv"])


def test_output_that_is_read_elsewhere():
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    b.output(b.node("Add", b.node("Sigmoid", b.norm(y, 4)), y))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "other readers" in result.kept[0].why


def test_output_that_is_an_output_of_the_graph():
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    b.output(y, b.norm(y, 4))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "output of the graph" in result.kept[0].why


def test_mean_and_bias_that_cancel():
    """b - mean is formed first: 1e4 - 1e4 in float32 after scaling would lose five digits."""
    b = Builder()
    x = b.input(2, 3, 4, 4)
    y = b.node("Conv", x, b.normal(4, 3, 1, 1), b.const(np.full(4, 1e4) + b.rng.normal(size=4)))
    parts = [b.const(v) for v in (np.full(4, 3.3), np.zeros(4), np.full(4, 1e4), np.full(4, 2.0))]
    b.output(b.node(NORM, y, *parts))
    # the unfolded model rounds at 1e4: compared with that, not with the truth
    folded, _ = check(b.model(), b.feeds, ops=["Conv"], relative=3e-3)
    weights = {w.name: numpy_helper.to_array(w).astype(np.float64) for w in b.weights}
    bias = numpy_helper.to_array(next(w for w in folded.graph.initializer if w.name == "w1"))
    s = np.float64(np.float32(3.3)) / np.sqrt(2.0 + np.float32(1e-5))
    np.testing.assert_allclose(bias, s * (weights["w1"] - 1e4), rtol=1e-7)

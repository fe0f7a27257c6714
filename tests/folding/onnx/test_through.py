"""Operators that an affine map passes through: part 3 of the algebra, in both directions."""

import numpy as np
import pytest

from tests.folding.onnx.checks import NORM, Builder, TensorProto, check, helper, kinds


def pads(*numbers):
    return lambda b, x, **how: b.node("Pad", x, b.ints(*numbers), **how)


def resize(mode, **how):
    return lambda b, x: b.node(
        "Resize", x, "", b.const([1, 1, 2, 1.5], dtype=np.float32), mode=mode, **how
    )


def shuffle(b, x):
    """(N, 2·2, H, W) with the two groups' channels interleaved."""
    y = b.node("Reshape", x, b.ints(0, 2, 2, 4, 6))
    y = b.node("Transpose", y, perm=[0, 2, 1, 3, 4])
    return b.node("Reshape", y, b.ints(0, 4, 4, 6))


def slices(start, end, axis, step):
    return lambda b, x: b.node("Slice", x, *map(b.ints, (start, end, axis, step)))


def dropout(b, x):
    return b.node("Dropout", x, b.const(0.5, dtype=np.float32))


def reduce(op, keep, *axes):
    return lambda b, x: b.node(op, x, axes=axes, keepdims=keep)


# From (2, 4, 4, 6): operator, channels behind it; all let any map pass whose scales are positive
ANY = {
    "Identity": (lambda b, x: b.node("Identity", x), 4),
    "Dropout": (dropout, 4),
    "Transpose of space": (lambda b, x: b.node("Transpose", x, perm=[0, 1, 3, 2]), 4),
    "Reshape of space": (lambda b, x: b.node("Reshape", x, b.ints(0, 0, 8, -1)), 4),
    "Unsqueeze, Squeeze": (lambda b, x: b.node("Squeeze", b.node("Unsqueeze", x, b.ints(2, 5)), b.ints(-1, 2)), 4),
    "channel shuffle": (shuffle, 4),
    "Slice of channels": (slices(1, 4, 1, 1), 3),
    "Slice of channels, backwards": (slices(-1, -9, 1, -1), 4),
    "Slice of space": (slices(1, 3, 2, 1), 4),
    "Gather of channels": (lambda b, x: b.node("Gather", x, b.ints(2, 0, -1), axis=1), 3),
    "Gather of one row": (lambda b, x: b.node("Gather", x, b.ints(2), axis=2), 4),
    "DepthToSpace DCR": (lambda b, x: b.node("DepthToSpace", x, blocksize=2), 1),
    "DepthToSpace CRD": (lambda b, x: b.node("DepthToSpace", x, blocksize=2, mode="CRD"), 1),
    "Resize nearest": (resize("nearest"), 4),
    "Resize linear": (resize("linear"), 4),
    "Resize cubic": (resize("cubic", cubic_coeff_a=-0.5), 4),
    "Pad reflect": (lambda b, x: pads(0, 0, 1, 1, 0, 0, 1, 2)(b, x, mode="reflect"), 4),
    "Pad edge": (lambda b, x: pads(0, 0, 1, 1, 0, 0, 1, 2)(b, x, mode="edge"), 4),
    "AveragePool": (lambda b, x: b.node("AveragePool", x, kernel_shape=[2, 2]), 4),
    "AveragePool, padding left out": (lambda b, x: b.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4), 4),
    "GlobalAveragePool": (lambda b, x: b.node("GlobalAveragePool", x), 4),
    "ReduceMean": (reduce("ReduceMean", 1, 2, 3), 4),
    "ReduceMean of one axis, gone": (reduce("ReduceMean", 0, -1), 4),
    "MaxPool": (lambda b, x: b.node("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4), 4),
    "GlobalMaxPool": (lambda b, x: b.node("GlobalMaxPool", x), 4),
    "ReduceMax": (reduce("ReduceMax", 1, 2), 4),
}  # fmt: skip
# Only scales
SCALES = {
    "AveragePool, padding counted": (
        lambda b, x: b.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1), 4),
    "ReduceSum": (lambda b, x: b.node("ReduceSum", x, b.ints(2, 3)), 4),
    "Pad of space with zeros": (pads(0, 0, 1, 1, 0, 0, 1, 2), 4),
    "Pad of channels with zeros": (pads(0, 1, 0, 0, 0, 2, 0, 0), 7),
    "Relu": (lambda b, x: b.node("Relu", x), 4),
    "LeakyRelu": (lambda b, x: b.node("LeakyRelu", x, alpha=0.2), 4),
    "PRelu": (lambda b, x: b.node("PRelu", x, b.normal(4, 1, 1)), 4),
    "Resize that crops": (
        lambda b, x: b.node("Resize", x, b.const([0, 0, 0.2, 0.2, 1, 1, 1.3, 0.9]), "", b.ints(2, 4, 4, 6),
                            mode="linear", coordinate_transformation_mode="tf_crop_and_resize"), 4),
}  # fmt: skip


def conv_like(b, y, channels):
    """A convolution of single taps for what has (N, channels, ...)."""
    return b.node("Einsum", y, b.normal(channels, 3), equation="ab,bk->ak")


def behind(b, through):
    operator, channels = through
    y = b.conv(b.input(2, 3, 4, 6), 3, 4)
    return operator(b, y), channels


def in_front(b, through, **how):
    operator, channels = through
    y = operator(b, b.norm(b.input(2, 4, 4, 6), 4, sign=1, **how))
    rank = len(b.model_shape(y))
    return b.node("Conv", y, b.normal(3, channels, *[1] * (rank - 2)))


@pytest.mark.parametrize("name", ANY)
def test_a_norm_behind_goes_through(name):
    b = Builder()
    y, channels = behind(b, ANY[name])
    b.output(b.norm(y, channels, sign=1))
    folded, _ = check(b.model(), b.feeds, norms_left=0)
    assert not {"Add", "Mul"} & set(kinds(folded))


@pytest.mark.parametrize("name", ANY)
def test_a_norm_in_front_goes_through(name):
    b = Builder()
    if name.startswith("DepthToSpace"):  # its four channels become one
        x = b.norm(b.node("Concat", *[b.input(2, 1, 4, 6)] * 4, axis=1), 4, sign=1)
        b = Builder()
        parts = [b.const(np.full(4, v)) for v in (1.5, 0.5, 0.3, 2.0)]
        x = b.node(NORM, b.input(2, 4, 4, 6), *parts)
        b.output(b.conv(ANY[name][0](b, x), 1, 3))
    else:
        b.output(in_front(b, ANY[name]))
    folded, _ = check(b.model(), b.feeds, norms_left=0)
    assert not {"Add", "Mul"} & set(kinds(folded))


@pytest.mark.parametrize("name", SCALES)
def test_only_the_scale_of_a_norm_behind_goes_through(name):
    b = Builder()
    y, channels = behind(b, SCALES[name])
    b.output(b.norm(y, channels, sign=1))
    folded, _ = check(b.model(), b.feeds, norms_left=0)
    added = 0 if name == "Pad of space with zeros" else 1
    assert kinds(folded).count("Add") <= 1 >= added


@pytest.mark.parametrize("name", SCALES)
def test_only_the_scale_of_a_norm_in_front_goes_through(name):
    b = Builder()
    b.output(in_front(b, SCALES[name]))
    folded, _ = check(b.model(), b.feeds, norms_left=0)
    assert kinds(folded).count("Add") == 1 and kinds(folded)[0] == "Add"


@pytest.mark.parametrize("op", ["MaxPool", "GlobalMaxPool", "ReduceMax"])
def test_maxima_do_not_let_negative_scales_pass(op):
    b = Builder()
    y = b.conv(b.input(2, 3, 4, 6), 3, 4)
    how = {"MaxPool": {"kernel_shape": [2, 2]}, "ReduceMax": {"axes": [2]}}
    y = b.node(op, y, **how.get(op, {}))
    b.output(b.norm(y, 4, sign=-1))
    folded, _ = check(b.model(), b.feeds)  # the shift passes, a Mul stays
    assert kinds(folded) == ["Conv", op, "Mul"]


def test_places_of_maxima_that_are_read():
    b = Builder()
    y = b.conv(b.input(2, 3, 4, 6), 3, 4)
    y, places = b.node("MaxPool", y, kernel_shape=[2, 2], outputs=2)
    b.output(b.norm(y, 4, sign=1))
    b.outputs.append(helper.make_tensor_value_info(places, TensorProto.INT64, None))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "places of the maxima" in result.kept[0].why


def test_concatenation_takes_its_parts():
    b = Builder()
    x = b.input(2, 3, 5, 5)
    y = b.node("Concat", b.conv(x, 3, 2), b.conv(x, 3, 4, bias=False), axis=1)
    b.output(b.norm(y, 6))
    check(b.model(), b.feeds, ops=["Conv", "Conv", "Concat"])


def test_concatenation_along_space():
    b = Builder()
    x = b.input(2, 3, 5, 5)
    b.output(b.norm(b.node("Concat", b.conv(x, 3, 4), b.conv(x, 3, 4), axis=-1), 4))
    check(b.model(), b.feeds, ops=["Conv", "Conv", "Concat"])


def test_a_branch_that_cannot_take_its_part_keeps_a_smaller_norm():
    b = Builder()
    x = b.input(2, 3, 5, 5)
    y = b.node("Concat", b.conv(x, 3, 6), b.node("Sigmoid", x), axis=1)
    b.output(b.norm(y, 9))
    folded, _ = check(b.model(), b.feeds, ops=["Conv", "Sigmoid", NORM, "Concat"])
    assert next(w for w in folded.graph.initializer if w.name in folded.graph.node[2].input).dims == [3]  # fmt: skip


def test_concatenation_in_front_of_a_convolution():
    b = Builder()
    x, z = b.input(2, 3, 5, 5), b.input(2, 2, 5, 5)
    b.output(b.conv(b.node("Concat", z, b.norm(x, 3), axis=1), 5, 4))
    check(b.model(), b.feeds, ops=["Concat", "Conv"])


def test_norms_of_both_branches_of_a_concatenation():
    b = Builder()
    x, z = b.input(2, 3, 5, 5), b.input(2, 2, 5, 5)
    y = b.node("Concat", b.norm(z, 2), b.norm(x, 3), axis=1)
    b.output(b.conv(y, 5, 4, 3, 3), b.conv(y, 5, 2))
    check(b.model(), b.feeds, ops=["Concat", "Conv", "Conv"])


def test_split_behind_a_convolution():
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 6)
    one, two = b.node("Split", y, b.ints(2, 4), outputs=2, axis=1)
    b.output(b.norm(one, 2), b.norm(two, 4))
    check(b.model(), b.feeds, ops=["Conv", "Split"])


def test_one_part_of_a_split_alone():
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 6)
    one, two = b.node("Split", y, b.ints(2, 4), outputs=2, axis=1)
    b.output(one, b.norm(two, 4))
    check(b.model(), b.feeds, ops=["Conv", "Split"])


def test_split_along_space_does_not_give_one_part_a_map_of_its_own():
    b = Builder()
    y = b.conv(b.input(2, 3, 6, 5), 3, 4)
    one, two = b.node("Split", y, b.ints(2, 4), outputs=2, axis=2)
    b.output(one, b.norm(two, 4))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "another axis" in result.kept[0].why or "two maps" in result.kept[0].why


def test_split_in_front_of_convolutions():
    b = Builder()
    parts = b.node("Split", b.norm(b.input(2, 6, 5, 5), 6), b.ints(2, 4), outputs=2, axis=1)
    b.output(b.conv(parts[0], 2, 3), b.conv(parts[1], 4, 3, 3, 3))
    check(b.model(), b.feeds, ops=["Split", "Conv", "Conv"])


def test_split_of_old_opsets_with_sizes_as_an_attribute():
    b = Builder(opset=11)
    y = b.conv(b.input(2, 3, 5, 5), 3, 6)
    one, two = b.node("Split", y, outputs=2, axis=1, split=[2, 4])
    b.output(b.norm(one, 2), b.norm(two, 4))
    check(b.model(), b.feeds, ops=["Conv", "Split"])


@pytest.mark.parametrize("second", [slices(2, 9, 1, 1), slices(1, 9, 1, 1)])
def test_two_slices_of_one_convolution(second):
    """Each takes its own channels; where they overlap nobody can."""
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 6)
    one, two = slices(0, 2, 1, 1)(b, y), second(b, y)
    channels = b.model_shape(two)[1]
    b.output(b.norm(one, 2), b.node("Sigmoid", two), b.norm(two, channels))
    disjoint = channels == 4
    check(b.model(), b.feeds, norms_left=1 if disjoint else 2)


def test_slices_of_space_are_not_told_apart_by_channels():
    b = Builder()
    y = b.conv(b.input(2, 3, 6, 5), 3, 4)
    b.output(b.norm(slices(0, 2, 2, 1)(b, y), 4), b.node("Sigmoid", slices(2, 6, 2, 1)(b, y)))
    check(b.model(), b.feeds, norms_left=1)


def test_concatenation_with_a_constant():
    b = Builder()
    y = b.node("Concat", b.conv(b.input(2, 3, 5, 5), 3, 4), b.normal(2, 2, 5, 5), axis=1)
    b.output(b.norm(y, 6))
    check(b.model(), b.feeds, ops=["Conv", "Concat"])


def test_abs_takes_scales_of_any_sign_from_in_front():
    b = Builder()
    y = b.node("Abs", b.norm(b.input(2, 4, 5, 5), 4, shift=False))
    b.output(b.conv(y, 4, 3))
    check(b.model(), b.feeds, ops=["Abs", "Conv"])


@pytest.mark.parametrize("sign, left", [(1, ["Conv", "Abs"]), (-1, ["Conv", "Abs", "Mul"])])
def test_abs_takes_positive_scales_from_behind(sign, left):
    b = Builder()
    y = b.node("Abs", b.conv(b.input(2, 3, 5, 5), 3, 4))
    b.output(b.norm(y, 4, sign=sign, shift=False))
    check(b.model(), b.feeds, ops=left)


@pytest.mark.parametrize("opset", [12, 13])
def test_softmax_forgets_a_shift_along_its_axis(opset):
    b = Builder(opset=opset)
    y = b.node("Add", b.node("Sigmoid", b.input(2, 4, 6)), b.normal(1, 4, 1))
    b.output(b.node("Softmax", y, axis=-1))
    check(b.model(), b.feeds, ops=["Sigmoid", "Softmax"])


@pytest.mark.parametrize("opset, axis", [(12, 1), (13, 1)])
def test_softmax_sees_a_shift_of_channels(opset, axis):
    b = Builder(opset=opset)
    y = b.node("Add", b.node("Sigmoid", b.input(2, 4, 6)), b.normal(1, 4, 1))
    b.output(b.node("Softmax", y, axis=axis))
    check(b.model(), b.feeds, ops=["Sigmoid", "Add", "Softmax"])


def test_arithmetic_with_single_numbers_is_left_alone():
    """0.1·(10·n) is what sizes are computed from: its rounding decides."""
    b = Builder()
    x = b.input(7)
    y = b.node("Mul", b.node("Mul", x, b.const(10.0)), b.const(0.1))
    b.output(b.node("Floor", y))
    _, result = check(b.model(), b.feeds)
    assert not result.applied


def test_a_channel_that_is_gathered_twice():
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    b.output(b.norm(b.node("Gather", y, b.ints(1, 1, 2), axis=1), 3))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "twice" in result.kept[0].why


def test_flatten_of_pixels_with_a_norm_over_all_features():
    """H·W > 1: the convolution has one scale for all pixels of a channel."""
    b = Builder()
    y = b.conv(b.input(2, 3, 4, 4), 3, 2)
    b.output(b.norm(b.node("Flatten", y), 32))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "another axis" in result.kept[0].why


def test_flatten_of_single_pixels():
    b = Builder()
    y = b.node("GlobalAveragePool", b.conv(b.input(2, 3, 4, 4, declared=("N", 3, 4, 4)), 3, 5))
    b.output(b.norm(b.node("Flatten", y), 5))
    check(b.model(), b.feeds, ops=["Conv", "GlobalAveragePool", "Flatten"])


def test_flatten_of_pixels_that_are_mapped_alike():
    b = Builder()
    y = b.node("Flatten", b.conv(b.input(2, 3, 2, 2), 3, 2))
    parts = [b.const(np.repeat(b.rng.uniform(0.5, 1.5, 2), 4)) for _ in range(4)]
    b.output(b.node(NORM, y, *parts))
    check(b.model(), b.feeds, ops=["Conv", "Flatten"])


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_of_several_channels(mode):
    b = Builder()
    y = b.node("DepthToSpace", b.conv(b.input(2, 3, 3, 3), 3, 8), blocksize=2, mode=mode)
    b.output(b.norm(y, 2))
    check(b.model(), b.feeds, ops=["Conv", "DepthToSpace"])


@pytest.mark.parametrize("mode, numbers", [("DCR", np.tile), ("CRD", np.repeat)])
def test_depth_to_space_in_front_of_a_convolution(mode, numbers):
    b = Builder()
    parts = [b.const(numbers(b.rng.uniform(0.5, 1.5, 2), 4)) for _ in range(4)]
    y = b.node(NORM, b.input(2, 8, 3, 3), *parts)
    b.output(b.conv(b.node("DepthToSpace", y, blocksize=2, mode=mode), 2, 3))
    check(b.model(), b.feeds, ops=["DepthToSpace", "Conv"])


def test_depth_to_space_whose_blocks_are_mapped_differently():
    b = Builder()
    y = b.node("DepthToSpace", b.norm(b.input(2, 8, 3, 3), 8), blocksize=2)
    b.output(b.conv(y, 2, 3))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "neighbours" in result.kept[0].why


def test_space_to_depth():
    b = Builder()
    y = b.node("SpaceToDepth", b.norm(b.input(2, 2, 4, 6), 2), blocksize=2)
    b.output(b.conv(y, 8, 3))
    check(b.model(), b.feeds, ops=["SpaceToDepth", "Conv"])


def test_features_that_become_an_image():
    b = Builder()
    y = b.node("Gemm", b.input(2, 3), b.normal(3, 48), b.normal(48))
    b.output(b.norm(b.node("Reshape", y, b.ints(-1, 4, 3, 4)), 4))
    check(b.model(), b.feeds, ops=["Gemm", "Reshape"])


@pytest.mark.parametrize("opset", [11, 17])
def test_shapes_that_are_computed(opset):
    """View(batch, -1) of exporters: Shape, Gather, Unsqueeze, Concat."""
    b = Builder(opset=opset)
    x = b.input(2, 4, 3, 5, declared=("N", 4, 3, 5))
    y = b.norm(x, 4)
    size = b.node("Gather", b.node("Shape", y), b.const(0, dtype=np.int64))
    where = ((), {"axes": [0]}) if opset < 13 else ((b.ints(0),), {})
    size = b.node("Unsqueeze", size, *where[0], **where[1])
    shape = b.node("Concat", size, b.ints(-1), axis=0)
    y = b.node("Reshape", y, shape)
    b.output(b.node("Gemm", y, b.normal(60, 5), b.normal(5)), shape=("N", 5))
    check(b.model(), b.feeds, norms_left=0)


@pytest.mark.parametrize("counted", [0, 1])
def test_ceil_mode_and_counted_padding(counted):
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    y = b.node("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=counted)  # fmt: skip
    b.output(b.norm(y, 4))
    check(b.model(), b.feeds, norms_left=0)


@pytest.mark.parametrize("op, opset", [("Upsample", 9), ("Resize", 10)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resizing_in_old_opsets(op, opset, mode):
    b = Builder(opset=opset)
    y = b.conv(b.input(2, 3, 4, 4), 3, 4)
    y = b.node(op, y, b.const([1, 1, 2, 2], dtype=np.float32), mode=mode)
    b.output(b.norm(y, 4), shape=(2, 4, 8, 8))
    check(b.model(), b.feeds, ops=["Conv", op])


@pytest.mark.parametrize("opset", [7, 9])
def test_slices_and_dropouts_of_old_opsets(opset):
    b = Builder(opset=opset)
    y = b.node("Dropout", b.conv(b.input(2, 3, 4, 4), 3, 4), ratio=0.5)
    y = b.node("Slice", y, axes=[1], starts=[1], ends=[4])
    b.output(b.norm(y, 3))
    check(b.model(), b.feeds, ops=["Conv", "Dropout", "Slice"])


def test_clip_with_one_scale_for_all_channels():
    b = Builder()
    y = b.node("Clip", b.conv(b.input(2, 3, 5, 5), 3, 4), b.const(0.0), b.const(6.0))
    b.output(b.node("Add", b.node("Mul", y, b.const(0.25)), b.const(-0.5)))
    check(b.model(), b.feeds, ops=["Conv", "Clip"])


def test_clip_with_a_negative_scale():
    b = Builder()
    y = b.node("Clip", b.conv(b.input(2, 3, 5, 5), 3, 4), b.const(0.0), b.const(6.0))
    b.output(b.node("Mul", y, b.const(-0.25)))
    check(b.model(), b.feeds, ops=["Conv", "Clip", "Mul"])


def test_clip_with_scales_of_their_own():
    b = Builder()
    y = b.node("Clip", b.conv(b.input(2, 3, 5, 5), 3, 4), b.const(0.0), b.const(6.0))
    b.output(b.norm(y, 4, sign=1))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "one number for all" in result.kept[0].why


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "Softmax", "Elu", "HardSwish", "Erf"])
def test_what_is_not_linear_refuses(op):
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    b.output(b.node(op, b.norm(b.node(op, y), 4)))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert op in result.kept[0].why


def test_cast_to_a_wider_type():
    b = Builder(dtype=np.float16)
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    y = b.node("Cast", y, to=TensorProto.FLOAT)
    b.dtype = np.dtype(np.float32)
    b.output(b.norm(y, 4))
    check(b.model(), b.feeds, ops=["Conv", "Cast"], relative=3e-3)


def test_cast_to_a_narrower_type_refuses():
    b = Builder()
    y = b.conv(b.input(2, 3, 5, 5), 3, 4)
    y = b.node("Cast", y, to=TensorProto.FLOAT16)
    b.dtype = np.dtype(np.float16)
    b.output(b.norm(y, 4))
    _, result = check(b.model(), b.feeds, norms_left=1)
    assert "not wider" in result.kept[0].why

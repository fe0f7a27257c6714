"""The flat vectors: aligned, in order, and always the same memory as the layers' attributes."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import bncore as bn


def net(dtype=np.float32):
    return bn.Sequential(
        bn.Conv2d(1, 3, 3, bias=True, dtype=dtype, rng=0),
        bn.BatchNorm(3, dtype=dtype),
        bn.Residual(bn.Sequential(bn.Conv2d(3, 3, 1, bias=False, dtype=dtype, rng=1), bn.BatchNorm(3, dtype=dtype))),
        bn.GlobalAvgPool(),
        bn.Linear(3, 2, dtype=dtype, rng=2),
    )  # fmt: skip


def images(dtype=np.float32):
    return np.random.default_rng(0).standard_normal((4, 1, 6, 6)).astype(dtype)


def consistent(model):
    """Every parameter and gradient is a view of the vectors; what is between them is zero."""
    parameters, gradients = model.parameters_flat, model.gradients_flat
    covered = np.zeros(parameters.size, bool)
    for name, parameter in model.named_parameters():
        for flat, array in ((parameters, parameter.value), (gradients, parameter.gradient)):
            assert np.shares_memory(flat, array), name
            assert array.ctypes.data % 64 == 0, name
            assert array.flags.c_contiguous, name
        start = (parameter.value.ctypes.data - parameters.ctypes.data) // parameters.itemsize
        assert (
            start == (parameter.gradient.ctypes.data - gradients.ctypes.data) // parameters.itemsize
        )
        covered[start : start + parameter.value.size] = True
        assert (start < model.decayed) == (parameter.value.ndim > 1), name
    assert covered.sum() == model.num_parameters
    assert not parameters[~covered].any()
    assert not gradients[~covered].any()
    return parameters


def test_every_parameter_is_an_aligned_view_weights_first(dtype):
    model = net(dtype)
    expected = {name: p.value.copy() for name, p in model.named_parameters()}
    flat = consistent(model)
    assert flat.ndim == 1
    assert flat.dtype == dtype
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.value, expected[name])


def test_it_is_built_once():
    model = net()
    flat = model.parameters_flat
    model(images())
    model.backward(np.ones((4, 2), np.float32))
    assert model.parameters_flat is flat
    model.pack()
    assert model.parameters_flat is not flat


def test_gradients_computed_before_packing_are_taken_over():
    model = net()
    model.backward(np.ones_like(model(images())))
    before = {name: p.gradient.copy() for name, p in model.named_parameters()}
    model.pack()
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.gradient, before[name])


def test_backward_writes_into_the_vector():
    model = net()
    flat = model.gradients_flat
    model.backward(np.ones_like(model(images())))
    assert flat.any()
    consistent(model)
    assert model.gradients_flat is flat


def test_changing_the_vector_changes_the_net():
    model = net()
    model.parameters_flat[...] = 0
    assert not model.eval()(images()).any()


@pytest.mark.parametrize("action", ["load", "reset", "forward", "eval"])
def test_views_survive(action):
    model = net()
    flat = model.parameters_flat
    if action == "load":
        model.load_state_dict(net().state_dict())
    elif action == "reset":
        model[1].reset_running_stats()
    elif action == "forward":
        model(images())
    else:
        model.eval()
        model.train()
    assert model.parameters_flat is flat
    consistent(model)


def test_replacing_a_parameter_packs_again():
    model = net()
    flat = model.parameters_flat
    model[4].weight = np.full((2, 3), 5, np.float32)
    assert consistent(model) is not flat
    assert np.all(model[4].weight == 5)


def test_adding_a_bias_packs_again():
    model = net()
    size = model.parameters_flat.size
    model[2].main[0].bias = np.ones(3, np.float32)
    assert consistent(model).size == size + 16


def test_replacing_a_child_packs_again():
    model = net()
    model.pack()
    model[1] = bn.ReLU()
    assert model.num_parameters == sum(p.value.size for _, p in model.named_parameters())
    consistent(model)
    model[2].main = bn.Conv2d(3, 3, 1, rng=0)
    consistent(model)
    del model[3:]
    model.append(bn.BatchNorm(3))
    consistent(model)


def test_assigned_gradients_find_their_way_into_the_vector():
    model = net()
    model.pack()
    model[4].weight_grad = np.full((2, 3), 3.0)
    assert np.count_nonzero(model.gradients_flat == 3.0) == 6
    consistent(model)


@pytest.mark.parametrize("how", [lambda m: m.copy(), copy.deepcopy])
def test_a_copy_has_vectors_of_its_own(how):
    model = net()
    flat = model.parameters_flat
    model(images())
    twin = how(model)
    consistent(twin)
    consistent(model)
    assert model.parameters_flat is flat
    assert not np.shares_memory(twin.parameters_flat, flat)
    np.testing.assert_array_equal(twin.eval()(images()), model.eval()(images()))
    twin.parameters_flat[...] = 0
    twin[1].running_mean[...] = 9
    assert flat.any()
    assert not np.any(model[1].running_mean == 9)


def test_a_copy_of_a_dropout_draws_the_same_numbers():
    layer = bn.Dropout(0.5, rng=4)
    twin = layer.copy()
    x = np.ones((8, 8), np.float32)
    np.testing.assert_array_equal(layer(x), twin(x))
    np.testing.assert_array_equal(layer(x), twin(x))


def test_a_net_without_parameters_has_empty_vectors():
    model = bn.Sequential(bn.ReLU(), bn.Flatten())
    assert model.parameters_flat.shape == model.gradients_flat.shape == (0,)
    assert model.decayed == 0
    assert model.num_parameters == 0


def test_mixed_dtypes_are_refused_by_name():
    model = bn.Sequential(bn.Linear(2, 2), bn.BatchNorm(2, dtype=np.float64))
    with pytest.raises(
        TypeError, match=r"Linear\(2, 2\).weight float32.*BatchNorm\(2\).weight float64"
    ):
        model.pack()

"""Recurrent layers over padded batches: padding, lengths, states in and out; modes, flat vectors, threads, files."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bncore as bn
from tests.recurrent.cases import BATCH, INPUTS, LAYERS, LENGTHS, STEPS, draw, flat, make

layers = pytest.mark.parametrize("name", LAYERS)


@layers
@pytest.mark.parametrize("norm", [None, "batch"])
def test_padding_never_changes_a_bit(name, norm, backend, rng):
    """Neither what is in it, NaN say, nor how much of it there is."""
    results = []
    layer = make(name, num_layers=2, bidirectional=True, dropout=0.3, norm=norm)
    x, dy, _ = draw(layer, rng)
    for more, filling in ((0, 0.0), (0, np.nan), (4, 7.0)):
        padded = np.full((BATCH, STEPS + more, INPUTS), filling)
        dpadded = np.full((BATCH, STEPS + more, dy.shape[2]), filling)
        for i, length in enumerate(LENGTHS):
            padded[i, :length], dpadded[i, :length] = x[i, :length], dy[i, :length]
        twin = make(name, num_layers=2, bidirectional=True, dropout=0.3, norm=norm)
        twin.reseed(5)
        y, state = twin.run(padded, LENGTHS)
        dx = twin.backward(dpadded)
        for i, length in enumerate(LENGTHS):
            assert not y[i, length:].any() and not dx[i, length:].any()
        gradients = [p.gradient for _, p in twin.named_parameters()]
        results.append([y[:, :STEPS], dx[:, :STEPS], *flat((state,)), *gradients])
    for other in results[1:]:
        for ours, want in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(ours, want)


@layers
def test_last_output_is_the_final_state(name, backend, rng):
    sequence = make(name, num_layers=2, bidirectional=True)
    last = make(name, num_layers=2, bidirectional=True, output="last")
    x, _, _ = draw(sequence, rng)
    _, state = sequence.run(x, LENGTHS)
    h = state[0] if name == "lstm" else state
    np.testing.assert_array_equal(last(x, LENGTHS), np.hstack((h[2], h[3])))


@layers
def test_a_sequence_can_be_read_in_two_halves(name, backend, rng):
    layer = make(name, num_layers=2)
    x, _, _ = draw(layer, rng)
    whole, end = layer.run(x)
    first, state = layer.run(x[:, :2])
    second, again = layer.run(x[:, 2:], None, state)
    np.testing.assert_allclose(np.concatenate((first, second), axis=1), whole, rtol=1e-12)
    for ours, want in zip(flat((again,)), flat((end,)), strict=True):
        np.testing.assert_allclose(ours, want, rtol=1e-12)


@layers
def test_steps_first_is_the_same_layer(name, rng):
    first, steps = make(name, bidirectional=True), make(name, bidirectional=True, batch_first=False)
    x, dy, _ = draw(first, rng)
    y, dx = first(x, LENGTHS), first.backward(dy)
    turned = steps(x.swapaxes(0, 1), LENGTHS)
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned.swapaxes(0, 1), y)
    np.testing.assert_array_equal(steps.backward(dy.swapaxes(0, 1)).swapaxes(0, 1), dx)


@layers
@pytest.mark.parametrize("shape", [(0, 5, 4), (3, 0, 4), (0, 0, 4)], ids=str)
def test_nothing_in_nothing_out(name, shape, backend):
    layer = make(name, bidirectional=True, norm="batch")
    y, state = layer.run(np.ones(shape))
    assert y.shape == (*shape[:2], 6)
    assert not any(part.any() for part in flat((state,)))
    assert layer.backward(np.ones_like(y)).shape == shape


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_lengths_in_any_order_like_one_sequence_at_a_time(data):
    name = data.draw(st.sampled_from(sorted(LAYERS)))
    lengths = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=20))
    layer = make(
        name, num_layers=data.draw(st.integers(1, 2)), bidirectional=data.draw(st.booleans())
    )
    x = np.random.default_rng(data.draw(st.integers(0, 99))).standard_normal(
        (len(lengths), 6, INPUTS)
    )
    y, state = layer.run(x, lengths)
    for i, length in enumerate(lengths):
        alone, own = layer.run(x[i : i + 1, :length])
        np.testing.assert_allclose(y[i, :length], alone[0], rtol=1e-11, atol=1e-11)
        for part, one in zip(flat((state,)), flat((own,)), strict=True):
            np.testing.assert_allclose(part[:, i], one[:, 0], rtol=1e-11, atol=1e-11)


# ---- modes, flat vectors, threads


@layers
def test_evaluation_writes_nothing_and_is_shared_by_threads(name, rng):
    layer = make(name, num_layers=2, bidirectional=True, norm="batch", dropout=0.5).eval()
    xs = [draw(layer, rng)[0] for _ in range(8)]
    want = [layer(x) for x in xs]
    before = {path: dict(vars(child)) for path, child in layer.named_layers()}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(layer, xs * 10))
    for ours, exact in zip(found, itertools.cycle(want)):
        np.testing.assert_array_equal(ours, exact)
    for path, child in layer.named_layers():
        assert all(vars(child)[key] is value for key, value in before[path].items()), path


def test_dropout_is_between_the_layers_of_a_stack(rng):
    layer = make("lstm", num_layers=3, dropout=0.5)
    assert [name for name, _ in layer.children()] == ["dropout_l0", "dropout_l1"]
    x, dy, _ = draw(layer, rng)
    layer.reseed(1)
    first = layer(x)
    layer.reseed(1)
    np.testing.assert_array_equal(layer(x), first)
    assert not np.array_equal(layer(x), first)
    layer.backward(dy)
    assert not np.any(first == 0)  # nothing is dropped behind the last layer


def test_parameters_live_in_one_vector(rng):
    layer = make("lstm", num_layers=2, bidirectional=True, norm="batch")
    x, dy, _ = draw(layer, rng)
    layer.pack()
    layer(x)
    layer.backward(dy)
    for _, p in layer.named_parameters():
        assert np.shares_memory(p.value, layer.parameters_flat)
        assert np.shares_memory(p.gradient, layer.gradients_flat) and p.gradient.any()
        assert p.decayed == p.name.startswith("weight_")


def test_nobody_needs_the_gradient_of_the_input(rng):
    layer = make("gru", num_layers=2, bidirectional=True)
    x, dy, (state,) = draw(layer, rng)
    layer(x)
    layer.backward(dy)
    want = {name: value.copy() for name, value in layer.grad.items()}
    layer.require_input_gradient(False)
    layer(x)
    assert layer.backward(dy) is None
    for name, value in layer.grad.items():
        np.testing.assert_array_equal(value, want[name])
    layer(x, None, state)
    dx, dstate = layer.backward(dy)
    assert dx is None and dstate.shape == state.shape


def test_the_forget_gate_can_start_open():
    layer = bn.LSTM(3, 4, bidirectional=True, forget_bias=1.0, rng=0)
    total = layer.bias_ih_l0_reverse + layer.bias_hh_l0_reverse
    np.testing.assert_array_equal(total[4:8], 1)
    normed = bn.LSTM(3, 4, norm="batch", forget_bias=2.0, rng=0)
    np.testing.assert_array_equal(normed.bias_hh_l0[4:8], 2)


def test_a_norm_changed_later_is_saved_as_it_is(tmp_path, rng):
    layer = make("lstm", norm="batch")
    layer.norm_l0.momentum, layer.norm_l0.frozen = 0.5, True
    bn.save(layer, tmp_path / "net.npz")
    loaded = bn.load(tmp_path / "net.npz")
    assert loaded.norm_l0.momentum == 0.5 and loaded.norm_l0.frozen
    assert loaded.config() == layer.config()


def test_text_says_what_is_not_usual():
    layer = bn.RNN(3, 4, 2, nonlinearity="relu", bidirectional=True, norm="batch", bias=False)
    text = (
        "RNN(3, 4, num_layers=2, bidirectional=True, norm='batch', bias=False, nonlinearity='relu'"
    )
    assert repr(layer).startswith(text)
    assert repr(bn.LSTM(3, 4)).startswith("LSTM(3, 4)")
    assert repr(bn.LSTM(3, 4, forget_bias=1)).startswith("LSTM(3, 4, forget_bias=1)")

"""RNN, GRU and LSTM as layers: PyTorch's numbers, states in and out, padding, norms of the input products, modes."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bncore as bn
from tests.layers.layer_cases import differences
from tests.recurrent.cases import flat
from tests.reference import recurrent as reference

F64 = np.float64
LAYERS = {
    "rnn": (bn.RNN, {}),
    "rnn-relu": (bn.RNN, {"nonlinearity": "relu"}),
    "gru": (bn.GRU, {}),
    "lstm": (bn.LSTM, {}),
}
layers = pytest.mark.parametrize("name", LAYERS)
LENGTHS = [3, 5, 1, 0, 5, 4]
BATCH, STEPS, INPUTS, HIDDEN = len(LENGTHS), 5, 4, 3


def make(name, **options):
    cls, own = LAYERS[name]
    return cls(INPUTS, HIDDEN, **{"dtype": F64, "rng": 3, **own, **options})


def draw(layer, rng, count=1):
    """x, dy, and `count` states."""
    sides = 2 if layer.bidirectional else 1
    shape = (layer.num_layers * sides, BATCH, HIDDEN)

    def state():
        parts = [rng.standard_normal(shape) for _ in range(2 if layer.kind == "lstm" else 1)]
        return tuple(parts) if len(parts) == 2 else parts[0]

    x = rng.standard_normal((BATCH, STEPS, INPUTS))
    dy = rng.standard_normal((BATCH, STEPS, sides * HIDDEN))
    if layer.output == "last":
        dy = dy[:, 0].copy()
    elif not layer.batch_first:
        dy = np.ascontiguousarray(dy.swapaxes(0, 1))
    if not layer.batch_first:
        x = np.ascontiguousarray(x.swapaxes(0, 1))
    return x, dy, [state() for _ in range(count)]


# ---- PyTorch

STACKS = [
    {},
    {"bidirectional": True},
    {"num_layers": 3, "bias": False},
    {"num_layers": 2, "bidirectional": True, "batch_first": False},
]


@layers
@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("ragged", [False, True], ids=["whole", "ragged"])
def test_follows_pytorch(name, stack, ragged, backend, rng):
    """Outputs, final states, every gradient, initial states'; packed sequences for variable lengths."""
    torch = pytest.importorskip("torch")
    layer = make(name, **stack)
    cls = getattr(torch.nn, type(layer).__name__)
    options = {"batch_first": True, **stack, **LAYERS[name][1]}
    theirs = cls(INPUTS, HIDDEN, **options).double()
    layer.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    assert list(layer.state_dict()) == list(theirs.state_dict())
    x, dy, (state, dstate) = draw(layer, rng, 2)
    lengths = np.maximum(LENGTHS, 1) if ragged else None  # PyTorch knows no empty ones
    y, end = layer.run(x, lengths, state)
    dx, dbegin = layer.backward(dy, dstate)

    leaf = lambda a: torch.tensor(a, requires_grad=True)  # noqa: E731
    tx, begin = leaf(x), [leaf(s) for s in flat((state,))]
    fed = tx
    if ragged:
        fed = torch.nn.utils.rnn.pack_padded_sequence(
            tx, torch.tensor(lengths), batch_first=layer.batch_first, enforce_sorted=False
        )
    ty, tend = theirs(fed, tuple(begin) if layer.kind == "lstm" else begin[0])
    if ragged:
        ty, _ = torch.nn.utils.rnn.pad_packed_sequence(ty, layer.batch_first, total_length=STEPS)
    tend = flat_torch(tend)
    total = (ty * torch.tensor(dy)).sum()
    for part, seed in zip(tend, flat((dstate,)), strict=True):
        total = total + (part * torch.tensor(seed)).sum()
    total.backward()
    pairs = [(y, ty), *zip(flat((end,)), tend, strict=True), (dx, tx.grad)]
    pairs += [(ours, leaf.grad) for ours, leaf in zip(flat((dbegin,)), begin, strict=True)]
    pairs += [(layer.grad[key], value.grad) for key, value in theirs.named_parameters()]
    for ours, want in pairs:
        np.testing.assert_allclose(ours, want.detach().numpy(), rtol=1e-10, atol=1e-10)


def flat_torch(state):
    return list(state) if isinstance(state, tuple) else [state]


@layers
def test_starts_as_pytorch_does(name):
    layer = bn.LSTM(7, 100, rng=0) if name == "lstm" else LAYERS[name][0](7, 100, rng=0)
    for value in layer.state_dict().values():
        assert 0.05 < np.abs(value).max() <= 0.1


# ---- equations, norms

NORMS = {
    "batch": {},
    "renorm": {"schedule": "constant"},
    "layer": {},
    "rms": {"bias": True, "partial": 0.5},
}


@layers
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_the_layer_is_its_equations(name, norm, backend, rng):
    """With a batch norm: mean and variance over the products of all valid steps."""
    layer = make(name, num_layers=2, bidirectional=True, norm=norm)
    x, _, _ = draw(layer, rng)

    def normalize(rows, child):
        if norm is None:
            return rows
        over = {"axis": 0 if norm == "batch" else 1, "keepdims": True}
        scaled = (rows - rows.mean(**over)) / np.sqrt(rows.var(**over) + 1e-5)
        own = getattr(layer, child)
        return scaled * own.weight + own.bias

    for child in layer.children():
        child[1].weight[...] = rng.uniform(0.5, 2, child[1].weight.shape)
        child[1].bias[...] = rng.standard_normal(child[1].bias.shape)
    y, state = layer.run(x, LENGTHS)
    want, h, c = reference.layer(layer, x, LENGTHS, normalize)
    np.testing.assert_allclose(y, want, rtol=1e-9, atol=1e-9)
    for ours, exact in zip(flat((state,)), (h, c), strict=False):
        np.testing.assert_allclose(ours, exact, rtol=1e-9, atol=1e-9)


@layers
@pytest.mark.parametrize("norm", [None, *NORMS])
@pytest.mark.parametrize(
    "stack",
    [{}, {"num_layers": 2, "bidirectional": True}, {"bidirectional": True, "output": "last"}],
    ids=str,
)
def test_all_gradients_are_central_differences(name, norm, stack, backend, rng):
    """Of every parameter, the norms' too, the input and the initial state, through all steps and layers."""
    options = {"frozen": True} if norm == "renorm" else {}  # r and d are constants for the gradient
    layer = make(name, norm=norm, norm_options={**NORMS.get(norm, {}), **options}, **stack)
    for _, child in layer.children():
        child.weight[...] = rng.uniform(0.5, 2, child.weight.shape)
    x, dy, (state, dstate) = draw(layer, rng, 2)
    before = layer.state_dict()

    def outcome():
        layer.load_state_dict({**layer.state_dict(), **_buffers(before)})
        y, end = layer.run(x, LENGTHS, state)
        return np.concatenate([v.reshape(-1) for v in flat((y, end))])

    seeds = np.concatenate([v.reshape(-1) for v in flat((dy, dstate))])
    outcome()
    dx, dbegin = layer.backward(dy, dstate)
    gradients = [p.gradient.copy() for _, p in layer.named_parameters()]
    values = [p.value for _, p in layer.named_parameters()]
    for value, ours in [
        *zip(values, gradients, strict=True),
        (x, dx),
        *zip(flat((state,)), flat((dbegin,)), strict=True),
    ]:
        picked, slopes = differences(outcome, value, seeds)
        np.testing.assert_allclose(ours.reshape(-1)[picked], slopes, rtol=2e-6, atol=1e-7)


def _buffers(state):
    return {name: value for name, value in state.items() if "running" in name or "num_" in name}


def test_a_norm_takes_the_place_of_the_input_bias():
    layer = bn.GRU(3, 4, 2, bidirectional=True, norm="batch", norm_options={"eps": 1e-3})
    names = [name for name, _ in layer.children()]
    assert names == ["norm_l0", "norm_l0_reverse", "norm_l1", "norm_l1_reverse"]
    assert all(
        layer.norm_l1.num_features == 12 and norm.eps == 1e-3 for _, norm in layer.children()
    )
    assert not any("bias_ih" in name for name in layer.state_dict())
    assert "norm_l0_reverse.running_mean" in layer.state_dict()


def test_norms_see_valid_steps_only(rng):
    layer = make("lstm", norm="batch", norm_options={"momentum": 1.0, "unbiased": False})
    x, _, _ = draw(layer, rng)
    layer(x, LENGTHS)
    rows = (
        np.concatenate([x[i, :length] for i, length in enumerate(LENGTHS)]) @ layer.weight_ih_l0.T
    )
    np.testing.assert_allclose(layer.norm_l0.running_mean, rows.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.norm_l0.running_var, rows.var(0), rtol=1e-12)


def test_norms_can_be_asked_from_outside(rng):
    layer = make("gru", num_layers=2, bidirectional=True, norm="batch").eval()
    x, _, _ = draw(layer, rng)
    seen = []

    def call(name, child, rows):
        seen.append((name, rows.shape))
        return child(rows)

    np.testing.assert_array_equal(layer.forward_through(x, call), layer(x))
    m = BATCH * STEPS
    assert seen == [
        (n, (m, 9)) for n in ("norm_l0", "norm_l0_reverse", "norm_l1", "norm_l1_reverse")
    ]
    seen.clear()
    assert layer.forward_through(x, lambda name, child, rows: seen.append(name)) is None
    assert seen == ["norm_l0", "norm_l0_reverse"]


# ---- padding, states, outputs


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

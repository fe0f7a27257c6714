"""RNN, GRU and LSTM as layers: PyTorch's numbers, the equations, all gradients, norms of the input products."""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn
from tests.layers.layer_cases import differences
from tests.recurrent.cases import BATCH, HIDDEN, INPUTS, LAYERS, LENGTHS, STEPS, draw, flat, make
from tests.reference import recurrent as reference

layers = pytest.mark.parametrize("name", LAYERS)


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

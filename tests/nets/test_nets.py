"""The reference nets: shapes, both layouts, with and without norms, the same from the same seed, and PyTorch's twin."""

from __future__ import annotations

import numpy as np
import pytest

import bncore as bn

SMALL = {
    "cnn": (lambda **k: bn.nets.cnn(3, 5, (4, 6, 8), **k)),
    "resnet20": (lambda **k: bn.nets.resnet20(3, 5, width=4, blocks=1, **k)),
    "inception_small": (lambda **k: bn.nets.inception_small(3, 5, width=0.05, **k)),
    "separable": (lambda **k: bn.nets.separable(3, 5, (4, 6, 8), **k)),
}


def images(axis=1, n=4, size=12):
    x = np.random.default_rng(0).standard_normal((n, 3, size, size), dtype=np.float32)
    return x if axis == 1 else np.ascontiguousarray(np.moveaxis(x, 1, -1))


def norms(net):
    return [layer for _, layer in net.named_layers() if isinstance(layer, bn.BatchNorm)]


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("name", SMALL)
def test_image_nets_run_both_ways(name, axis, norm, dtype):
    net = SMALL[name](axis=axis, norm=norm, dtype=dtype, rng=0)
    x = images(axis).astype(dtype)
    y = net(x)
    assert y.shape == (4, 5)
    assert y.dtype == dtype
    assert net.backward(np.ones_like(y)).shape == x.shape
    assert bool(norms(net)) == (norm == "batch")
    assert all(np.any(p.gradient) for _, p in net.named_parameters())
    assert net.eval()(x[:1]).shape == (1, 5)


@pytest.mark.parametrize("name", SMALL)
def test_both_layouts_are_the_same_net(name):
    first, last = (
        SMALL[name](rng=3, dtype=np.float64),
        SMALL[name](rng=3, axis=-1, dtype=np.float64),
    )
    x = images().astype(np.float64)
    np.testing.assert_allclose(
        first(x), last(np.ascontiguousarray(np.moveaxis(x, 1, -1))), rtol=1e-9, atol=1e-10
    )


@pytest.mark.parametrize("name", SMALL)
def test_no_bias_before_a_norm(name):
    net = SMALL[name](rng=0)
    for _, layer in net.named_layers():
        if isinstance(layer, bn.Conv2d):
            assert layer.bias is None
            assert layer.activation is None
    plain = SMALL[name](rng=0, norm="none")
    assert all(
        layer.bias is not None for _, layer in plain.named_layers() if isinstance(layer, bn.Conv2d)
    )


def test_mlp_takes_samples_of_any_shape_and_standardizes_them():
    net = bn.nets.mlp(12, 3, (8,), rng=0)
    x = 1000 + 100 * np.random.default_rng(0).standard_normal((50, 3, 4)).astype(np.float32)
    assert net(x).shape == (50, 3)
    first = net[1]
    assert isinstance(first, bn.BatchNorm)
    assert first.weight is None
    assert first.bias is None
    np.testing.assert_allclose(first.running_mean, 0.1 * x.reshape(50, 12).mean(0), rtol=1e-5)
    assert len(norms(bn.nets.mlp(12, 3, (8,), norm="none"))) == 1
    assert not norms(bn.nets.mlp(12, 3, (8,), norm="none", standardize=False))
    assert bn.nets.mlp(12, 3, (), rng=0)(x).shape == (50, 3)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("placement", ["before", "after"])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_an_mlp_has_its_activation_where_it_was_asked_for(activation, placement, norm):
    """Against the formula written out, in evaluation mode with statistics that are not those of the start."""
    how = {"activation": activation, "placement": placement, "norm": norm}
    net = bn.nets.mlp(6, 3, (5, 4), standardize=False, dtype=np.float64, rng=0, **how)
    x = np.random.default_rng(1).standard_normal((20, 6))
    assert np.any(net(x))  # moves running statistics
    act = {"relu": lambda v: np.maximum(v, 0), "tanh": np.tanh, "sigmoid": lambda v: 1 / (1 + np.exp(-v))}[activation]  # fmt: skip
    linears = [layer for layer in net if isinstance(layer, bn.Linear)]
    others = [layer for layer in net if isinstance(layer, (bn.BatchNorm, bn.LayerNorm))]
    assert len(others) == (0 if norm == "none" else 2)
    want = x
    for i, linear in enumerate(linears[:-1]):
        assert (linear.bias is None) == (norm == "batch" and placement == "before")
        want = want @ linear.weight.T + (0 if linear.bias is None else linear.bias)
        if norm != "none" and placement == "before":
            want = _normalized(others[i], want)
        want = act(want)
        if norm != "none" and placement == "after":
            want = _normalized(others[i], want)
    want = want @ linears[-1].weight.T + linears[-1].bias
    np.testing.assert_allclose(net.eval()(x), want, rtol=1e-9, atol=1e-12)


def _normalized(norm, x):
    """What an untrained norm (weight 1, bias 0) gives in evaluation."""
    if isinstance(norm, bn.LayerNorm):
        return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + norm.eps)
    return (x - norm.running_mean) / np.sqrt(norm.running_var + norm.eps)


def test_a_norm_behind_the_activation_trains_and_folds_into_the_next_linear():
    net = bn.nets.mlp(6, 3, (5, 4), placement="after", rng=0)
    x = np.random.default_rng(1).standard_normal((20, 6), dtype=np.float32)
    net.backward(np.ones_like(net(x)))
    assert all(np.any(p.gradient) for _, p in net.named_parameters() if p.value.ndim == 2)
    folded, report = bn.folding.fold_net(net.eval())
    assert "3 of 3 norms folded" in str(report)
    np.testing.assert_allclose(folded(x), net(x), rtol=1e-4, atol=1e-5)


def test_one_seed_one_net():
    for make in (*SMALL.values(), lambda **k: bn.nets.mlp(4, 2, **k)):
        first, second, other = make(rng=1), make(rng=1), make(rng=2)
        for name, value in first.state_dict().items():
            np.testing.assert_array_equal(value, second.state_dict()[name], err_msg=name)
        assert not np.array_equal(first[-1].weight, other[-1].weight)
        convolutions = [p.value for name, p in first.named_parameters() if p.value.ndim > 1]
        assert len({a.reshape(-1)[0] for a in convolutions}) == len(convolutions)


def test_sizes_are_those_of_the_papers():
    # He et al.: 269,722 with parameter-free shortcuts; two 1x1 projections with their norms come on top
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert bn.nets.resnet20().num_parameters == 269_722 + projections
    # Zhang et al. give 1,649,402
    assert bn.nets.inception_small(width=1).num_parameters == pytest.approx(1_649_402, rel=2e-3)


def test_zero_gamma_starts_every_block_as_its_shortcut():
    net = bn.nets.resnet20(3, 5, width=4, blocks=2, zero_gamma=True, rng=0)
    blocks = [layer for layer in net if isinstance(layer, bn.Residual)]
    assert len(blocks) == 6
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 6), dtype=np.float32)
    np.testing.assert_array_equal(blocks[0](x), np.maximum(x, 0))


def test_dropout_stands_before_the_last_layer():
    for net in (
        bn.nets.cnn(3, 5, dropout=0.3),
        bn.nets.separable(3, 5, dropout=0.3),
        bn.nets.mlp(4, 2, dropout=0.3),
    ):
        assert isinstance(net[-2], bn.Dropout)
        assert net[-2].p == 0.3


@pytest.mark.parametrize("make", [bn.nets.cnn, bn.nets.separable])
def test_strides(make):
    x = images(size=8)
    for strides, size in ((None, 4), ((1, 2, 2), 2), ((1, 1, 1), 8)):
        net = make(3, 5, (4, 6, 8), strides=strides, rng=0)
        assert net[:-2](x).shape == (4, 8, size, size)


def test_separable_is_depthwise_and_pointwise_in_turns():
    net = bn.nets.separable(3, 5, (4, 6, 8), strides=(1, 2, 1), rng=0)
    convolutions = [layer for layer in net if isinstance(layer, bn.Conv2d)]
    sizes = [
        (c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0], c.groups)
        for c in convolutions
    ]
    assert sizes == [(3, 4, 3, 1, 1), (4, 4, 3, 2, 4), (4, 6, 1, 1, 1), (6, 6, 3, 1, 6), (6, 8, 1, 1, 1)]  # fmt: skip
    assert all(norm.activation == "relu" for norm in norms(net))
    assert len(norms(net)) == 5
    assert len(bn.nets.separable(3, 5, (4,))) == 4


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: bn.nets.mlp(4, 2, norm="weight"), ValueError, "norm must be one of 'batch', 'none', .*got 'weight'"),
        (lambda: bn.nets.cnn(3, 5, norm="Batch"), ValueError, "norm must be one of"),
        (lambda: bn.nets.resnet20(norm=3), TypeError, "norm must be one of"),
        (lambda: bn.nets.inception_small(width=0), ValueError, "width must .*> 0"),
        (lambda: bn.nets.cnn(3, 5, ()), ValueError, "widths must hold at least one"),
        (lambda: bn.nets.cnn(3, 5, (4, 4), strides=(1,)), ValueError, "strides must hold 2"),
        (lambda: bn.nets.separable(3, 5, ()), ValueError, "widths must hold at least one"),
        (lambda: bn.nets.separable(3, 5, (4, 4), strides=(1,)), ValueError, "strides must hold 2"),
        (lambda: bn.nets.separable(3, 5, (0,)), ValueError, "widths"),
        (lambda: bn.nets.mlp(0, 5), ValueError, "in_features"),
        (lambda: bn.nets.mlp(4, 2, activation="gelu"), ValueError, "activation must be one of 'relu', 'sigmoid', 'tanh'"),
        (lambda: bn.nets.mlp(4, 2, placement="between"), ValueError, "placement must be one of 'before', 'after'"),
        (lambda: bn.nets.mlp(4, 5, (3, 0)), ValueError, "hidden"),
        (lambda: bn.nets.resnet20(width=0), ValueError, "width"),
        (lambda: bn.nets.resnet20(norm="none", zero_gamma=True), ValueError, "zero_gamma"),
        (lambda: bn.nets.cnn(3, 5, axis=2), ValueError, "axis"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(build, error, match):
    with pytest.raises(error, match=match):
        build()


def test_the_resnet_follows_torch_step_by_step():
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, channels, width, stride):
            super().__init__()
            self.main = nn.Sequential(
                nn.Conv2d(channels, width, 3, stride, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.Conv2d(width, width, 3, 1, 1, bias=False),
                nn.BatchNorm2d(width),
            )
            if stride != 1:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
                )

        def forward(self, x):
            conv1, norm1, conv2, norm2 = self.main
            side = self.shortcut(x) if hasattr(self, "shortcut") else x
            return (norm2(conv2(norm1(conv1(x)).relu())) + side).relu()

    class Net(
        nn.Sequential
    ):  # our places: convolution 0, norm (with its ReLU) 1, blocks, average, linear
        def forward(self, x):
            x = self[1](self[0](x)).relu()
            for block in self[2:-2]:
                x = block(x)
            return self[-1](x.mean((2, 3)))

    blocks = [
        Block(4 * 2 ** max(0, s - (b == 0)), 4 * 2**s, 2 if s and not b else 1)
        for s in range(3)
        for b in range(2)
    ]
    theirs = Net(
        nn.Conv2d(3, 4, 3, 1, 1, bias=False),
        nn.BatchNorm2d(4),
        *blocks,
        nn.Identity(),
        nn.Linear(16, 5),
    ).double()
    net = bn.nets.resnet20(3, 5, width=4, blocks=2, rng=0, dtype=np.float64)
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in net.state_dict().items()})
    x = images().astype(np.float64)
    for step in range(5):
        y = net(x)
        yt = theirs(torch.from_numpy(x))
        np.testing.assert_allclose(
            y, yt.detach().numpy(), rtol=1e-9, atol=1e-10, err_msg=f"step {step}"
        )
        net.backward(np.cos(y))
        theirs.zero_grad()
        yt.backward(yt.detach().cos())
        net.parameters_flat[...] -= 0.01 * net.gradients_flat
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter -= 0.01 * parameter.grad
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(
            net.state_dict()[name], value.numpy(), rtol=1e-8, atol=1e-10, err_msg=name
        )

"""What tests of folding share: nets as after training, and the one check that every fold must pass."""

import numpy as np

from bncore import folding
from bncore.layers import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm

RELATIVE = {
    np.dtype(np.float32): 2e-6,
    np.dtype(np.float64): 1e-13,
}  # of the largest output; a few layers of roundings

NORMS = (BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm)


def trained(net, rng):
    """A net whose norms have something to fold: weights, biases and statistics as after training,
    signs mixed.
    """
    for _, layer in net.named_layers():
        if isinstance(layer, NORMS):
            if layer.weight is not None:
                c = layer.weight.shape
                layer.weight[...] = rng.uniform(0.5, 1.5, c) * rng.choice([-1, 1], c)
            if layer.bias is not None:
                layer.bias[...] = rng.normal(size=layer.bias.shape)
            if getattr(layer, "running_mean", None) is not None:
                c = layer.num_features
                mean, var = rng.normal(size=c), rng.uniform(0.5, 2.0, c)
                if isinstance(layer, BatchNorm):
                    layer.set_running(mean, var)
                else:
                    layer.running_mean[...], layer.running_var[...] = mean, var
    return net.eval()


def positive(net):
    for _, layer in net.named_layers():
        if isinstance(layer, BatchNorm):
            np.abs(layer.weight, out=layer.weight)
    return net


def kinds(net):
    return [type(layer).__name__ for _, layer in net.named_layers() if not list(layer.children())]


def check(net, x, *, norms_left=0, input_ndim=None):
    """Fold, compare, fold again; returns the folded net and the report."""
    before = net.state_dict()
    folded, report = folding.fold_net(net, input_ndim=input_ndim)
    after = net.state_dict()
    assert all((before[name] == after[name]).all() for name in before), "the net itself was changed"
    norms = sum(isinstance(layer, NORMS) for _, layer in net.named_layers())
    assert (len(report.folded), len(report.kept)) == (norms - norms_left, norms_left), report
    assert sum(isinstance(layer, NORMS) for _, layer in folded.named_layers()) == norms_left
    assert not any(layer.training or layer.keeps for _, layer in folded.named_layers())
    result = folding.verify(net, folded, x)
    assert result.max_rel_error <= RELATIVE[x.dtype], result
    again, second = folding.fold_net(folded, input_ndim=input_ndim)
    assert not second.folded and len(second.kept) == norms_left
    assert repr(again) == repr(folded)
    assert all(
        (value == again.state_dict()[name]).all() for name, value in folded.state_dict().items()
    )
    return folded, report

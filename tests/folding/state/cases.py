"""State dicts to fold, made of arrays with fixed seeds, and what they compute, literally in float64."""

from __future__ import annotations

import numpy as np

from bncore import functional as F
from bncore.folding.state import find_modules, find_pairs, fold_state
from bncore.support.floats import FLOATS, narrowed, widened
from bncore.support.tensors import StateDict

EPS = 1e-5


def norm(rng, path, channels, dtype="float32", affine=True):
    """Tensors of a norm as training leaves it."""
    values = {
        "running_mean": rng.normal(size=channels),
        "running_var": rng.uniform(0.3, 3, channels),
    }
    if affine:
        values["weight"] = rng.uniform(0.3, 2, channels) * rng.choice([-1, 1], channels)
        values["bias"] = rng.normal(size=channels)
    tensors = {f"{path}.{member}": array.astype(dtype) for member, array in values.items()}
    return tensors | {f"{path}.num_batches_tracked": np.array(100)}


def linear(rng, path, shape, dtype="float32", bias=0):
    """Tensors of a linear operation; `bias` is the size of its bias."""
    tensors = {f"{path}.weight": rng.normal(size=shape).astype(dtype)}
    return tensors | ({f"{path}.bias": rng.normal(size=bias).astype(dtype)} if bias else {})


def fold(arrays, *, pairs="auto", kinds=(), **options):
    """Fold arrays with pairs by name, or by the lines given."""
    state = StateDict.of(arrays) if isinstance(arrays, dict) else arrays
    modules = find_modules(state.tensors)
    return fold_state(state, *find_pairs(modules, pairs, kinds), **options)


def kept(arrays, **options):
    """Reasons by norm."""
    return {entry.path: entry.why for entry in fold(arrays, **options).report.kept}


def values(state):
    """All tensors, floating ones in float64."""
    arrays = {}
    for name, tensor in state.tensors.items():
        array = state.read(name)
        arrays[name] = widened(array, tensor.dtype) if tensor.dtype in FLOATS else array
    return arrays


def apply_norm(arrays, path, x):
    """A norm in evaluation; nothing where its tensors are gone."""
    if f"{path}.running_mean" not in arrays:
        return x
    shape = (1, -1) + (1,) * (x.ndim - 2)

    def read(member, default):
        array = arrays.get(f"{path}.{member}", np.full(1, default))
        return array.astype(np.float64).reshape(shape)

    std = np.sqrt(read("running_var", 1.0) + EPS)
    return (x - read("running_mean", 0.0)) / std * read("weight", 1.0) + read("bias", 0.0)


def apply_linear(arrays, path, x, op="linear", **how):
    """A linear operation in float64; op is the name of a function in bncore.functional."""
    weight, bias = arrays[f"{path}.weight"], arrays.get(f"{path}.bias")
    parts = (a if a is None else a.astype(np.float64) for a in (weight, bias))
    return getattr(F, op)(x, *parts, **how)[0]


def bfloat16_state(arrays):
    """The same state dict with bfloat16 in place of float32."""
    stored = {
        name: narrowed(a.astype(np.float64), "bfloat16") if a.dtype.kind == "f" else a
        for name, a in arrays.items()
    }
    plain = StateDict.of(stored)
    tensors = {
        name: t._replace(dtype="bfloat16") if t.dtype == "uint16" else t
        for name, t in plain.tensors.items()
    }
    return StateDict(tensors, {}, lambda name: stored[name])

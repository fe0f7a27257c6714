"""What tests of ONNX folding share: small graphs, and the one check that every fold must pass.

The oracle is ONNX Runtime with optimizations disabled.
"""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx.helper") and pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from bncore.folding.onnx import engine  # noqa: E402

# Of the largest output, by type: a few roundings in a row
RELATIVE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-5, np.dtype(np.float16): 2e-2}
NORM = "BatchNormalization"
TYPES = {np.dtype(np.float64): TensorProto.DOUBLE, np.dtype(np.float32): TensorProto.FLOAT,
         np.dtype(np.float16): TensorProto.FLOAT16}  # fmt: skip


class Builder:
    """Collects nodes and weights of one graph.

    Parameters
    ----------
    seed : int
    dtype : dtype
        Of all values: float32 where ONNX Runtime has no operator in double (Conv and most that are
        not matrix products), float64 else.
    """

    def __init__(self, seed=0, dtype=np.float32, opset=17, ir_version=8):
        self.rng = np.random.default_rng(seed)
        self.dtype, self.opset, self.ir_version = np.dtype(dtype), opset, ir_version
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []
        self.feeds = {}

    def input(self, *shape, name=None, declared=None):
        name = name or f"x{len(self.inputs)}"
        self.inputs.append(
            helper.make_tensor_value_info(name, TYPES[self.dtype], declared or shape)
        )
        self.feeds[name] = self.rng.normal(size=shape).astype(self.dtype)
        return name

    def const(self, values, name=None, dtype=None):
        name = name or f"w{len(self.weights)}"
        values = np.asarray(values, dtype or self.dtype)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def replace(self, number, values):
        """Give a weight other values."""
        self.replace_integers(number, np.asarray(values, self.dtype))

    def replace_integers(self, number, values):
        """The same in the values' own type."""
        tensor = self.weights[number]
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    def ints(self, *values):
        return self.const(values, dtype=np.int64)

    def normal(self, *shape):
        return self.const(self.rng.normal(size=shape))

    def node(self, op, *inputs, outputs=1, name=None, domain="", **attributes):
        number = len(self.nodes)
        names = [f"v{number}" if i == 0 else f"v{number}_{i}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(op, list(inputs), names, name=name or f"{op}_{number}", domain=domain,
                             **attributes)
        )  # fmt: skip
        return names[0] if outputs == 1 else names

    def norm(self, x, channels, *, sign=None, shift=True, **attributes):
        """A batch norm as after training; signs of gamma mixed unless given."""
        gamma = self.rng.uniform(0.5, 1.5, channels)
        gamma *= self.rng.choice([-1, 1], channels) if sign is None else sign
        beta = self.rng.normal(size=channels) if shift else np.zeros(channels)
        mean = self.rng.normal(size=channels) if shift else np.zeros(channels)
        var = self.rng.uniform(0.5, 2, channels)
        parts = [self.const(v) for v in (gamma, beta, mean, var)]
        return self.node(NORM, x, *parts, **attributes)

    def conv(self, x, inputs, outputs, *kernel, groups=1, bias=True, **attributes):
        kernel = kernel or (1, 1)
        parts = [self.normal(outputs, inputs // groups, *kernel)]
        if bias:
            parts.append(self.normal(outputs))
        return self.node("Conv", x, *parts, group=groups, **attributes)

    def output(self, *names, shape=None):
        self.outputs += [helper.make_tensor_value_info(n, TYPES[self.dtype], shape) for n in names]
        return self

    def model_shape(self, name):
        """Shape of a value of the graph so far."""
        self.outputs.append(helper.make_tensor_value_info(name, TYPES[self.dtype], None))
        inferred = onnx.shape_inference.infer_shapes(self.model(), data_prop=True)
        self.outputs.pop()
        return [dim.dim_value for dim in inferred.graph.output[-1].type.tensor_type.shape.dim]

    def model(self, functions=(), extra_opsets=()):
        inputs = list(self.inputs)
        if self.ir_version < 4:
            inputs += [
                helper.make_tensor_value_info(w.name, w.data_type, list(w.dims))
                for w in self.weights
            ]
        graph = helper.make_graph(self.nodes, "g", inputs, self.outputs, self.weights)
        opsets = [helper.make_opsetid("", self.opset), *extra_opsets]
        model = helper.make_model(graph, opset_imports=opsets, functions=functions)
        model.ir_version = self.ir_version
        # outputs' shapes as an exporter would declare them
        inferred = onnx.shape_inference.infer_shapes(model)
        for output, known in zip(model.graph.output, inferred.graph.output, strict=True):
            if known.type.tensor_type.HasField("shape"):
                output.CopyFrom(known)
        return model


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def kinds(model):
    return [node.op_type for node in model.graph.node if node.op_type != "Constant"]


def all_nodes(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from all_nodes(attribute.g)


def norms(model):
    return sum(node.op_type == NORM for node in all_nodes(model.graph))


def interface(model):
    # before IR 4 every weight had to be declared as an input, and no caller counts on that
    weights = {w.name for w in model.graph.initializer if model.ir_version < 4}
    inputs = [v for v in model.graph.input if v.name not in weights]
    return (
        [v.SerializeToString(deterministic=True) for v in (*inputs, *model.graph.output)],
        [(o.domain, o.version) for o in model.opset_import],
        model.ir_version,
        [(p.key, p.value) for p in model.metadata_props],
    )


def fold(model, **options):
    """A folded copy and the result."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    result = engine.fold_model(copy, **options)
    return copy, result


def check(model, feeds, *, norms_left=None, ops=None, relative=None, **options):
    """Fold, compare, judge, fold again; returns the folded model and the result."""
    before = model.SerializeToString(deterministic=True)
    expected = run(model, feeds)
    folded, result = fold(model, **options)
    assert model.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(folded, full_check=True)
    assert interface(folded) == interface(model)
    for got, want in zip(run(folded, feeds), expected, strict=True):
        assert got.shape == want.shape and got.dtype == want.dtype
        if want.dtype.kind != "f":
            assert (got == want).all()
            continue
        scale = np.abs(want.astype(np.float64)).max(initial=0.0)
        error = np.abs(got.astype(np.float64) - want.astype(np.float64)).max(initial=0.0)
        tolerance = RELATIVE[want.dtype] if relative is None else relative
        assert error <= tolerance * max(scale, 1e-3), (error, scale, result)
    if not result.applied:
        assert folded.SerializeToString(deterministic=True) == before
    again, second = fold(folded, **options)
    assert not second.applied, second.applied
    assert again.SerializeToString(deterministic=True) == folded.SerializeToString(
        deterministic=True
    )
    assert result.norms_after == norms(folded) == len(result.kept)
    assert not any("malformed" in kept.why for kept in result.kept), result.kept
    if norms_left is not None:
        assert norms(folded) == norms_left, result
    if ops is not None:
        assert kinds(folded) == list(ops), (kinds(folded), result)
    return folded, result


def conv_norm(b, *, channels=4, **how):
    y = b.conv(b.input(2, 3, 5, 5), 3, channels, 3, 3, **how)
    return b.output(b.norm(y, channels))

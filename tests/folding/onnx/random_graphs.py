"""Random graphs of the operators that folding knows, with random statistics: negative, zero and equal gammas too;
and the same graphs in disguise: shared tensors, Constant nodes, aliases.

Shapes are tracked here, so that every graph is valid by construction.
"""

import numpy as np

from tests.folding.onnx.checks import NORM, Builder, helper, numpy_helper


def disguise(model, seed):
    """Let nodes share tensors of equal shape, and put tensors where exporters put them. Changes what is computed."""
    rng = np.random.default_rng(seed)
    graph = model.graph
    _share(graph, rng)
    nodes = []
    for tensor in list(graph.initializer):
        kind = rng.choice(["initializer", "constant", "alias"], p=[0.5, 0.25, 0.25])
        if kind == "constant":
            nodes.append(helper.make_node("Constant", [], [tensor.name], value=tensor))
            graph.initializer.remove(tensor)
        elif kind == "alias":
            name = f"{tensor.name}_original"
            nodes.append(helper.make_node("Identity", [name], [tensor.name]))
            tensor.name = name
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    return model


def _share(graph, rng):
    """A third of the tensors gets the values, and the name, of another one of its shape."""
    positive = {node.input[4] for node in graph.node if node.op_type == NORM}
    positive |= {name for node in graph.node if node.op_type == "Div" for name in node.input}
    sizes = {name for node in graph.node if node.op_type == "Resize" for name in node.input}
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    floats = {n: v for n, v in values.items() if v.dtype.kind == "f" and n not in sizes}
    names = {}
    for name, own in floats.items():
        alike = [
            other
            for other, v in floats.items()
            if other not in names and other != name and v.shape == own.shape
            and (name not in positive or (v > 0.3).all())
        ]  # fmt: skip
        if alike and rng.random() < 0.3 and name not in names.values():
            names[name] = alike[rng.integers(len(alike))]
    for tensor in [t for t in graph.initializer if t.name in names]:
        graph.initializer.remove(tensor)
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)


class RandomGraph(Builder):
    """Grows a graph value by value."""

    def __init__(self, seed, **how):
        super().__init__(seed, **how)
        self.shapes = {}
        self.batch = 2

    def pick(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def add(self, shape, op, *inputs, **attributes):
        name = self.node(op, *inputs, **attributes)
        self.shapes[name] = tuple(shape)
        return name

    def build(self, steps):
        shape = self.pick((2, 4, 6, 5), (2, 4, 6, 5), (2, 4, 6), (2, 8), (2, 3, 6))
        declared = self.pick(shape, ("N", *shape[1:]))
        x = self.input(*shape, declared=declared)
        self.shapes[x] = shape
        # the graph's own input is never read twice before something linear
        alive = [x]
        for _ in range(steps):
            x = alive[-1] if self.rng.random() < 0.75 else self.pick(*alive)
            grow = {4: self.image, 3: self.sequence, 2: self.rows}.get(len(self.shapes[x]))
            if grow is None:
                continue
            made = grow(x)
            if made is not None and made not in alive:
                alive.append(made)
        read = {name for node in self.nodes for name in node.input}
        made = [name for name in alive[1:] if name not in read]
        extra = [name for name in alive[1:-1] if name in read and self.rng.random() < 0.1]
        if not made:
            made = [self.add(self.shapes[x], "Sigmoid", x)]
        self.output(*made, *extra)
        return self

    # -- maps

    def numbers(self, channels):
        """A vector of scales: of mixed signs, positive, with zeros, or equal."""
        kind = self.pick("mixed", "mixed", "positive", "positive", "zeros", "equal")
        values = self.rng.uniform(0.5, 1.5, channels)
        if kind == "mixed":
            values *= self.rng.choice([-1, 1], channels)
        if kind == "zeros":
            values *= self.rng.random(channels) < 0.7
        return np.full(channels, values[0]) if kind == "equal" else values

    def random_norm(self, x):
        shape = self.shapes[x]
        c = shape[1]
        shift = self.pick(0.0, 1.0, 1.0, 1.0)
        beta, mean = (shift * self.rng.normal(size=c) for _ in range(2))
        var = self.rng.uniform(0.5, 2, c)
        parts = [self.const(v) for v in (self.numbers(c), beta, mean, var)]
        return self.add(shape, NORM, x, *parts, epsilon=self.pick(1e-5, 1e-3))

    def other_norm(self, x):
        shape = self.shapes[x]
        images = len(shape) == 4
        parts = [self.normal(shape[1 if images else -1]) for _ in range(2 if images else self.pick(1, 2))]  # fmt: skip
        op = "InstanceNormalization" if images else "LayerNormalization"
        # a large epsilon: what is constant would show nothing but magnified roundings
        return self.add(shape, op, x, *parts, epsilon=0.1)

    def inner(self, x):
        """What a pre-activation block adds."""
        shape = self.shapes[x]
        y = self.add(shape, self.pick("Relu", "Relu", "Sigmoid"), self.random_norm(x))
        if len(shape) != 4:
            return self.arithmetic(y)
        return self.add(shape, "Conv", y, self.weight(shape[1], shape[1], 3, 3), pads=[1] * 4)

    def arithmetic(self, x):
        shape = self.shapes[x]
        op = self.pick("Add", "Sub", "Mul", "Div", "Neg")
        if op == "Neg":
            return self.add(shape, op, x)
        axis = self.pick(1, 1, len(shape) - 1)
        size = shape[axis]
        values = self.numbers(size)
        if op == "Div":
            values = np.where(values == 0, 1.0, values)
        box = [1] * len(shape)
        box[axis] = size
        start = self.pick(0, axis)
        constant = self.const(self.pick(values.reshape(box[start:]), values[0]))
        turn = op != "Div" and self.pick(True, False)
        return self.add(shape, op, *((constant, x) if turn else (x, constant)))

    def common(self, x):
        """What any rank has."""
        shape = self.shapes[x]
        kind = self.pick("norm", "norm", "norm", "norm", "norm", "arithmetic", "arithmetic", "act", "act", "pass",
                         "sum", "concat", "split", "product", "other norm", "residual")  # fmt: skip
        if kind == "norm":
            return self.random_norm(x)
        if kind == "other norm":
            return self.other_norm(x)
        if kind == "residual":
            return self.add(shape, "Add", *self.pick((x, self.inner(x)), (self.inner(x), x)))
        if kind == "arithmetic":
            return self.arithmetic(x)
        if kind == "act":
            op = self.pick(
                "Relu", "Relu", "Relu", "LeakyRelu", "PRelu", "Sigmoid", "Clip", "Abs", "Softmax"
            )
            if op == "PRelu":
                slope = self.rng.uniform(
                    self.pick(-0.5, 0.1), 0.5, (shape[1], *[1] * (len(shape) - 2))
                )
                return self.add(shape, op, x, self.const(slope))
            if op == "Clip":
                return self.add(shape, op, x, self.const(-0.5), self.const(1.0))
            return self.add(shape, op, x)
        if kind == "pass":
            op = self.pick("Identity", "Dropout", "slice", "gather", "pad")
            return getattr(self, op)(x) if op.islower() else self.add(shape, op, x)
        if kind == "split":
            return self.split(x)
        return self.join(x, kind)

    def join(self, x, kind):
        """Two branches of one value, or two values of equal shape."""
        shape = self.shapes[x]
        others = [v for v, s in self.shapes.items() if s == shape and v != x]
        other = self.pick(*others) if others and self.pick(True, False) else self.branch(x)
        x = self.pick(x, self.branch(x))
        if kind == "sum":
            return self.add(shape, self.pick("Add", "Sub", "Sum"), x, other)
        if kind == "product":
            return self.add(shape, "Mul", x, self.add(shape, "Sigmoid", other))
        axis = 1
        joined = list(shape)
        joined[axis] *= 2
        if joined[axis] > 16:
            return x
        return self.add(joined, "Concat", x, other, axis=axis)

    def branch(self, x):
        """Something of the same shape."""
        shape = self.shapes[x]
        for _ in range(self.pick(1, 2)):
            linear = len(shape) == 4 and self.pick(True, True, False)
            if linear:
                x = self.add(shape, "Conv", x, self.weight(shape[1], shape[1], 1, 1))
            else:
                x = self.pick(self.random_norm, self.arithmetic, lambda v: self.add(shape, "Relu", v))(x)  # fmt: skip
        return x

    def weight(self, *shape):
        fan = max(int(np.prod(shape[1:])), 1)
        return self.const(self.rng.normal(size=shape) / np.sqrt(fan))

    def split(self, x):
        shape = self.shapes[x]
        if shape[1] < 2:
            return x
        first = int(self.rng.integers(1, shape[1]))
        if self.pick(True, False):
            a, b = self.node("Split", x, self.ints(first, shape[1] - first), outputs=2, axis=1)
        else:
            ends = ((0, first), (first, shape[1]))
            a, b = (self.node("Slice", x, *map(self.ints, (i, j, 1))) for i, j in ends)
        self.shapes[a] = (shape[0], first, *shape[2:])
        self.shapes[b] = (shape[0], shape[1] - first, *shape[2:])
        a = self.pick(lambda v: v, self.random_norm, self.arithmetic)(a)
        b = self.pick(lambda v: v, self.random_norm, self.arithmetic)(b)
        return self.add(shape, "Concat", *self.pick((a, b), (b, a)), axis=1)

    def slice(self, x):
        shape = list(self.shapes[x])
        axis = self.pick(1, len(shape) - 1)
        if shape[axis] < 3:
            return x
        start, step = self.pick((1, 1), (0, 2), (-1, -1))
        end = np.iinfo(np.int64).max if step > 0 else np.iinfo(np.int64).min
        shape[axis] = len(range(shape[axis])[start::step])
        return self.add(shape, "Slice", x, *map(self.ints, (start, end, axis, step)))

    def gather(self, x):
        shape = list(self.shapes[x])
        chosen = self.rng.permutation(shape[1])
        if self.pick(True, False):
            chosen = self.rng.integers(-shape[1], shape[1], size=shape[1])
        return self.add(shape, "Gather", x, self.ints(*chosen), axis=1)

    def pad(self, x):
        shape = list(self.shapes[x])
        if len(shape) < 3 or shape[-1] < 3:
            return x
        pads = [0] * (2 * len(shape))
        pads[len(shape) - 1] = pads[-1] = 1
        shape[-1] += 2
        mode = self.pick("constant", "reflect", "edge")
        value = [self.const(self.pick(0.0, 0.5))] if mode == "constant" else []
        return self.add(shape, "Pad", x, self.ints(*pads), *value, mode=mode)

    # -- images

    def image(self, x):
        shape = self.shapes[x]
        kind = self.pick(
            "common", "common", "common", "conv", "conv", "conv", "pool", "layout", "other"
        )
        if kind == "common":
            return self.common(x)
        if kind == "conv":
            return self.pick(self.convolution, self.convolution, self.transposed)(x)
        if kind == "pool":
            return self.pool(x)
        if kind == "layout":
            return self.pick(self.flat, self.tokens, self.shuffled)(x)
        if self.pick(True, False) and shape[1] % 4 == 0:
            mode = self.pick("DCR", "CRD")
            small = (shape[0], shape[1] // 4, 2 * shape[2], 2 * shape[3])
            if small[2] > 20:
                return x
            return self.add(small, "DepthToSpace", x, blocksize=2, mode=mode)
        if shape[2] > 10:
            return x
        big = (*shape[:2], 2 * shape[2], 2 * shape[3])
        scales = self.const([1, 1, 2, 2], dtype=np.float32)
        return self.add(big, "Resize", x, "", scales, mode=self.pick("nearest", "linear", "cubic"))

    def convolution(self, x):
        n, c, h, w = self.shapes[x]
        k = self.pick(1, 3) if min(h, w) >= 3 else 1
        groups = self.pick(*[g for g in range(1, c + 1) if c % g == 0])
        out = groups * self.pick(1, 2) if groups > 1 else self.pick(2, 4, 6)
        pads = self.pick(0, k // 2)
        stride = self.pick(1, 1, 2)
        h, w = ((size + 2 * pads - k) // stride + 1 for size in (h, w))
        parts = [self.weight(out, c // groups, k, k)]
        if self.pick(True, False):
            parts.append(self.normal(out))
        return self.add((n, out, h, w), "Conv", x, *parts, group=groups, pads=[pads] * 4, strides=[stride] * 2)  # fmt: skip

    def transposed(self, x):
        n, c, h, w = self.shapes[x]
        if h > 8:
            return x
        k, stride = self.pick((1, 1), (2, 2), (3, 2), (3, 1))
        groups = self.pick(*[g for g in range(1, c + 1) if c % g == 0])
        out = groups * self.pick(1, 2) if groups > 1 else self.pick(2, 4)
        h, w = ((size - 1) * stride + k for size in (h, w))
        parts = [self.weight(c, out // groups, k, k)]
        if self.pick(True, False):
            parts.append(self.normal(out))
        return self.add((n, out, h, w), "ConvTranspose", x, *parts, group=groups, strides=[stride] * 2)  # fmt: skip

    def pool(self, x):
        n, c, h, w = self.shapes[x]
        op = self.pick("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax")  # fmt: skip
        if op.startswith("Global"):
            return self.add((n, c, 1, 1), op, x)
        if op.startswith("Reduce"):
            keep = self.pick(0, 1)
            return self.add((n, c, 1, 1) if keep else (n, c), op, x, axes=[2, 3], keepdims=keep)
        if min(h, w) < 3:
            return x
        counted = {"count_include_pad": self.pick(0, 1)} if op == "AveragePool" else {}
        return self.add((n, c, h, w), op, x, kernel_shape=[3, 3], pads=[1] * 4, **counted)

    def flat(self, x):
        n, c, h, w = self.shapes[x]
        if c * h * w > 400:
            return x
        if self.pick(True, False):
            return self.add((n, c * h * w), "Flatten", x)
        return self.add((n, c * h * w), "Reshape", x, self.ints(0, -1))

    def tokens(self, x):
        n, c, h, w = self.shapes[x]
        y = self.add((n, c, h * w), "Reshape", x, self.ints(0, 0, -1))
        return self.add((n, h * w, c), "Transpose", y, perm=[0, 2, 1])

    def shuffled(self, x):
        n, c, h, w = self.shapes[x]
        if c % 2:
            return x
        y = self.add((n, 2, c // 2, h, w), "Reshape", x, self.ints(0, 2, c // 2, h, w))
        y = self.add((n, c // 2, 2, h, w), "Transpose", y, perm=[0, 2, 1, 3, 4])
        return self.add((n, c, h, w), "Reshape", y, self.ints(0, c, h, w))

    # -- sequences and rows

    def sequence(self, x):
        n, length, features = self.shapes[x]
        kind = self.pick(
            "common", "common", "matmul", "matmul", "transpose", "rows", "einsum", "gru"
        )
        if kind == "common":
            return self.common(x)
        if kind == "matmul":
            return self.matmul(x)
        if kind == "transpose":
            return self.add((n, features, length), "Transpose", x, perm=[0, 2, 1])
        if kind == "einsum":
            out = self.pick(3, 4)
            return self.add((n, length, out), "Einsum", x, self.weight(features, out), equation="nlf,fo->nlo")  # fmt: skip
        if kind == "gru":
            h = 3
            w, r = self.weight(1, 3 * h, features), self.weight(1, 3 * h, h)
            y = self.node("GRU", x, w, r, self.pick("", self.normal(1, 6 * h)), hidden_size=h)
            self.shapes[y] = (n, 1, length, h)
            return self.add((n, length, h), "Squeeze", y, self.ints(1))
        # rows of all samples, through a norm, and back: what exporters make of a 3-D Linear with a norm
        y = self.add((n * length, features), "Reshape", x, self.ints(-1, features))
        y = self.pick(self.random_norm, self.arithmetic, lambda v: v)(y)
        return self.add((n, length, features), "Reshape", y, self.ints(-1, length, features))

    def rows(self, x):
        n, features = self.shapes[x]
        kind = self.pick("common", "common", "gemm", "gemm", "matmul", "image")
        if kind == "common":
            return self.common(x)
        if kind == "matmul":
            return self.matmul(x)
        if kind == "image" and features % 2 == 0 and features <= 32:
            return self.add((n, features // 2, 2, 1), "Reshape", x, self.ints(-1, features // 2, 2, 1))  # fmt: skip
        out, turned = self.pick(3, 4, 8), self.pick(0, 1)
        parts = [self.weight(*((out, features) if turned else (features, out)))]
        c = self.pick(None, (), (1,), (out,), (1, out), (n, 1), (n, out))
        if c is not None:
            parts.append(self.const(self.rng.normal(size=c)))
        return self.add((n, out), "Gemm", x, *parts, transB=turned, alpha=self.pick(1.0, 0.5), beta=self.pick(1.0, 2.0))  # fmt: skip

    def matmul(self, x):
        shape = self.shapes[x]
        out = self.pick(3, 4)
        if self.pick(True, True, False) or shape[-2] == self.batch:
            return self.add((*shape[:-1], out), "MatMul", x, self.weight(shape[-1], out))
        return self.add((*shape[:-2], out, shape[-1]), "MatMul", self.weight(out, shape[-2]), x)

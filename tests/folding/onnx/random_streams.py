"""Random graphs of streams: sums and concatenations of values that norms and convolutions read, meeting each other anywhere."""

import numpy as np

from tests.folding.onnx.random_graphs import RandomGraph


class RandomStreams(RandomGraph):
    """All values are images of one size."""

    def build(self, steps):
        shape = (2, 4, 4, 4)
        self.shapes[self.input(*shape)] = shape
        alive = [self.add(shape, "Conv", "x0", self.weight(4, 4, 1, 1))]
        for _ in range(steps):
            x = alive[-1] if self.rng.random() < 0.6 else self.pick(*alive)
            alive.append(self.image(x))
        read = {name for node in self.nodes for name in node.input}
        for name in [name for name in self.shapes if name not in read]:
            self.output(self.add(self.shapes[name], "Relu", name))
        return self

    def image(self, x):
        shape = self.shapes[x]
        kind = self.pick(
            *["norm"] * 4, "arithmetic", *["residual"] * 3, *["sum"] * 2, "concat", "relu", "conv"
        )
        if kind == "norm":
            return self.random_norm(x)
        if kind == "arithmetic":
            return self.arithmetic(x)
        if kind == "residual":
            return self.add(shape, "Add", *self.pick((x, self.inner(x)), (self.inner(x), x)))
        if kind == "sum":
            same = [name for name, s in self.shapes.items() if s == shape]
            op = self.pick("Add", "Add", "Sum", "Sub")
            return self.add(shape, op, self.pick(*same), self.pick(*same))
        small = [name for name, s in self.shapes.items() if s[1] < 12]
        if kind == "concat" and shape[1] < 24 and small:
            other = self.pick(*small)
            joined = (shape[0], shape[1] + self.shapes[other][1], *shape[2:])
            return self.add(joined, "Concat", *self.pick((x, other), (other, x)), axis=1)
        if kind == "conv":
            return self.add((shape[0], 4, *shape[2:]), "Conv", x, self.weight(4, shape[1], 1, 1))
        return self.add(shape, "Relu", x)

    def numbers(self, channels):
        signs = self.pick(np.ones(channels), self.rng.choice([-1, 1], channels))
        return self.rng.uniform(0.5, 1.5, channels) * signs

"""Oracle of pooling: every window spelled out in float64, channels first, (n, c, h, w)."""

import itertools

import numpy as np


def _windows(shape, kernel, stride, padding):
    """(output position, [input positions inside the image]) for one plane, in row order."""
    h, w = shape
    oh = (h + 2 * padding[0] - kernel[0]) // stride[0] + 1
    ow = (w + 2 * padding[1] - kernel[1]) // stride[1] + 1
    for i, j in itertools.product(range(oh), range(ow)):
        rows = [i * stride[0] - padding[0] + a for a in range(kernel[0])]
        columns = [j * stride[1] - padding[1] + b for b in range(kernel[1])]
        inside = [(r, q) for r in rows for q in columns if 0 <= r < h and 0 <= q < w]
        yield (i, j), inside


def pooled_shape(shape, kernel, stride, padding):
    sizes = [(s + 2 * p - k) // t + 1 for s, k, t, p in zip(shape, kernel, stride, padding)]
    return tuple(sizes)


def max_pool(x, kernel, stride, padding):
    """y, and for each output the (row, column) of the first maximum."""
    n, c = x.shape[:2]
    y = np.zeros((n, c, *pooled_shape(x.shape[2:], kernel, stride, padding)))
    winner = {}
    for b, ch in itertools.product(range(n), range(c)):
        for to, inside in _windows(x.shape[2:], kernel, stride, padding):
            best = inside[0]
            for at in inside[1:]:
                if x[b, ch][at] > x[b, ch][best]:
                    best = at
            y[b, ch][to] = x[b, ch][best]
            winner[(b, ch, *to)] = best
    return y, winner


def max_pool_backward(dy, winner, shape):
    dx = np.zeros(shape)
    for (b, ch, i, j), at in winner.items():
        dx[b, ch][at] += dy[b, ch, i, j]
    return dx


def avg_pool(x, kernel, stride, padding, count_include_pad):
    n, c = x.shape[:2]
    y = np.zeros((n, c, *pooled_shape(x.shape[2:], kernel, stride, padding)))
    for b, ch in itertools.product(range(n), range(c)):
        for to, inside in _windows(x.shape[2:], kernel, stride, padding):
            count = kernel[0] * kernel[1] if count_include_pad else len(inside)
            y[b, ch][to] = sum(float(x[b, ch][at]) for at in inside) / count
    return y


def avg_pool_backward(dy, shape, kernel, stride, padding, count_include_pad):
    n, c = shape[:2]
    dx = np.zeros(shape)
    for b, ch in itertools.product(range(n), range(c)):
        for to, inside in _windows(shape[2:], kernel, stride, padding):
            count = kernel[0] * kernel[1] if count_include_pad else len(inside)
            for at in inside:
                dx[b, ch][at] += float(dy[b, ch][to]) / count
    return dx

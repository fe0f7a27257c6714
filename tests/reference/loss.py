"""Oracle of the losses: the definitions over every entry, in Python floats (so only for logits of moderate size)."""

import math

import numpy as np


def _rows(logits):
    return [[float(v) for v in row] for row in logits]


def _target(label, k, smoothing):
    return [(1.0 - smoothing) * (j == label) + smoothing / k for j in range(k)]


def _softmax(row):
    top = max(row)
    e = [math.exp(v - top) for v in row]
    return [v / math.fsum(e) for v in e]


def cross_entropy(logits, target, smoothing):
    """(loss, gradient)"""
    n, k = logits.shape
    terms, gradient = [], []
    for row, label in zip(_rows(logits), target):
        p, q = _softmax(row), _target(int(label), k, smoothing)
        terms += [-b * math.log(a) for a, b in zip(p, q) if b]
        gradient.append([(a - b) / n for a, b in zip(p, q)])
    return math.fsum(terms) / n, np.array(gradient)


def mse(pred, target):
    d = pred.astype(np.float64) - target.astype(np.float64)
    return math.fsum(float(v) ** 2 for v in d.ravel()) / d.size, 2.0 * d / d.size


def bce_with_logits(logits, target):
    terms, gradient = [], []
    for z, t in zip(logits.ravel().tolist(), target.ravel().tolist()):
        s = 1.0 / (1.0 + math.exp(-z))
        terms.append(-t * math.log(s) - (1.0 - t) * math.log1p(-s))
        gradient.append((s - t) / logits.size)
    return math.fsum(terms) / logits.size, np.array(gradient).reshape(logits.shape)

"""Batch renormalization as the paper's formulas stand, in long double, one channel after the other."""

from __future__ import annotations

import numpy as np

from .norm import REAL, back, by_channel, vector


class State:
    """Running mean and standard deviation of one layer, and its steps."""

    def __init__(self, c, momentum, eps, r_max, d_max):
        self.mu, self.sigma = np.zeros(c, REAL), np.ones(c, REAL)
        self.momentum, self.eps, self.r_max, self.d_max = momentum, eps, r_max, d_max

    def step(self, x, weight, bias, dy, axis):
        """y, dx, dgamma, dbeta, r, d of one training step; r and d are constants for the gradient."""
        rows, g, c = by_channel(x, axis), by_channel(dy, axis), x.shape[axis]
        gamma, beta = vector(weight, c, 1), vector(bias, c, 0)
        y, dx = np.empty_like(rows), np.empty_like(rows)
        dgamma, dbeta, r, d = (np.empty(c, REAL) for _ in range(4))
        for j in range(c):
            mean = np.sum(rows[j]) / rows[j].size
            var = np.sum((rows[j] - mean) ** 2) / rows[j].size
            s = np.sqrt(var + REAL(self.eps))
            r[j] = min(max(s / self.sigma[j], 1 / REAL(self.r_max)), REAL(self.r_max))
            d[j] = min(
                max((mean - self.mu[j]) / self.sigma[j], -REAL(self.d_max)), REAL(self.d_max)
            )
            x0 = (rows[j] - mean) / s
            x_hat = x0 * r[j] + d[j]
            y[j] = gamma[j] * x_hat + beta[j]
            w = gamma[j] * r[j] * g[j]
            dx[j] = (w - np.mean(w) - x0 * np.mean(w * x0)) / s
            dgamma[j], dbeta[j] = np.sum(g[j] * x_hat), np.sum(g[j])
            self.mu[j] += self.momentum * (mean - self.mu[j])
            self.sigma[j] += self.momentum * (s - self.sigma[j])
        return back(y, x.shape, axis), back(dx, x.shape, axis), dgamma, dbeta, r, d

"""Oracle of the optimizer steps: the formulas, one element at a time, on lists of Python floats."""

import math


def sgd_step(param, grad, velocity, lr, momentum, nesterov, weight_decay, decayed):
    for i in range(len(param)):
        g = grad[i] + (weight_decay * param[i] if i < decayed else 0.0)
        if momentum:
            velocity[i] = momentum * velocity[i] + g
            g = g + momentum * velocity[i] if nesterov else velocity[i]
        param[i] -= lr * g


def adamw_step(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step, decayed):
    for i in range(len(param)):
        if i < decayed:
            param[i] -= lr * weight_decay * param[i]
        m[i] = beta1 * m[i] + (1 - beta1) * grad[i]
        v[i] = beta2 * v[i] + (1 - beta2) * grad[i] ** 2
        m_hat = m[i] / (1 - beta1**step)
        v_hat = v[i] / (1 - beta2**step)
        param[i] -= lr * m_hat / (math.sqrt(v_hat) + eps)

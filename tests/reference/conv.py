"""Convolutions by their formula, in float64: one loop per output pixel and kernel tap. Channels first only.

The oracle of the convolution and linear tests. Written to be compared with the formula by eye, so slow.
"""

from __future__ import annotations

import numpy as np


def taps(geometry, in_size):
    """Every (output pixel, kernel tap, input pixel) that meet inside the image."""
    (oh, ow), (kh, kw) = geometry["out_size"], geometry["kernel"]
    (sh, sw), (ph, pw), (dh, dw) = (
        geometry["stride"],
        geometry["padding"],
        geometry["dilation"],
    )
    for i in range(oh):
        for j in range(ow):
            for k in range(kh):
                for q in range(kw):
                    row, column = i * sh + k * dh - ph, j * sw + q * dw - pw
                    if 0 <= row < in_size[0] and 0 <= column < in_size[1]:
                        yield (i, j), (k, q), (row, column)


def channel_pairs(out_channels, in_channels, groups):
    """Every (output channel, input channel, its index inside the group) that see each other."""
    for o in range(out_channels):
        group = o // (out_channels // groups)
        for c in range(in_channels // groups):
            yield o, group * (in_channels // groups) + c, c


def conv(x, weight, bias, *, groups=1, **geometry):
    """y (n, out, oh, ow) from x (n, in, h, w), weight (out, in/groups, kh, kw), bias (out,) or None."""
    x, weight = np.float64(x), np.float64(weight)
    out_channels = weight.shape[0]
    y = np.zeros((x.shape[0], out_channels, *geometry["out_size"]))
    for (i, j), (k, q), (row, column) in taps(geometry, x.shape[2:]):
        for o, c, inner in channel_pairs(out_channels, x.shape[1], groups):
            y[:, o, i, j] += weight[o, inner, k, q] * x[:, c, row, column]
    return y if bias is None else y + np.float64(bias)[:, None, None]


def conv_input_gradient(dy, weight, x_shape, *, groups=1, **geometry):
    """dx; also the transposed convolution of dy."""
    dy, weight = np.float64(dy), np.float64(weight)
    dx = np.zeros(x_shape)
    for (i, j), (k, q), (row, column) in taps(geometry, x_shape[2:]):
        for o, c, inner in channel_pairs(dy.shape[1], x_shape[1], groups):
            dx[:, c, row, column] += weight[o, inner, k, q] * dy[:, o, i, j]
    return dx


def conv_weight_gradient(dy, x, weight_shape, *, groups=1, **geometry):
    """dweight."""
    dy, x = np.float64(dy), np.float64(x)
    dweight = np.zeros(weight_shape)
    for (i, j), (k, q), (row, column) in taps(geometry, x.shape[2:]):
        for o, c, inner in channel_pairs(dy.shape[1], x.shape[1], groups):
            dweight[o, inner, k, q] += np.dot(dy[:, o, i, j], x[:, c, row, column])
    return dweight

"""Convolution and transposed convolution in NumPy: patches of the image as rows of a matrix, then matrix products.

With X the matrix of patches, one row per output pixel, Y = X Wᵀ, dX = dY W (added back where each patch was read) and
dW = dYᵀ X, group by group. The transposed convolution is the same three products with the roles of input and output
exchanged. This is the readable twin: every patch is stored, so it needs kernel-size times the memory of the image.

Images may come with the height of a 1-D convolution left out: only their number of elements counts here.
"""

from __future__ import annotations

import numpy as np

from ..geometry import ConvGeometry


def conv(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    residual: np.ndarray | None,
    geometry: ConvGeometry,
    relu: bool,
    out: np.ndarray | None,
) -> np.ndarray:
    """Cross-correlation of x with weight (out, in/groups, kh, kw), plus bias and residual, then ReLU if asked for."""
    rows = _patches(x, geometry) @ _matrix(weight, geometry).transpose(0, 2, 1)
    image = _image(rows, geometry)
    return _epilogue(image, bias, residual, geometry.channels_last, relu, out)


def conv_backward(
    dy: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    y: np.ndarray | None,
    geometry: ConvGeometry,
    need_dx: bool,
    need_dbias: bool,
    dweight: np.ndarray | None,
    dbias: np.ndarray | None,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
    """(dx or None, dweight, dbias or None); `y` is given if a ReLU followed."""
    g = dy if y is None else np.where(y <= 0, 0, dy)
    rows = _rows(g, geometry)
    dx = None
    if need_dx:
        dx = np.ascontiguousarray(_spread(rows @ _matrix(weight, geometry), geometry, g.dtype))
        dx = dx.reshape(x.shape)
    dweight = _weight_gradient(rows, _patches(x, geometry), weight.shape, dweight)
    if need_dbias:
        dbias = _channel_sums(g.reshape(geometry.out_shape), geometry.channels_last, dbias)
    return dx, dweight, dbias


def conv_transpose(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    residual: np.ndarray | None,
    geometry: ConvGeometry,
    relu: bool,
    out: np.ndarray | None,
) -> np.ndarray:
    """Every input pixel adds its weight (in, out/groups, kh, kw) to the output: the gradient of `conv` to its input."""
    patches = _rows(x, geometry) @ _matrix(weight, geometry)
    image = _spread(patches, geometry, x.dtype)
    return _epilogue(image, bias, residual, geometry.channels_last, relu, out)


def conv_transpose_backward(
    dy: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    y: np.ndarray | None,
    geometry: ConvGeometry,
    need_dx: bool,
    need_dbias: bool,
    dweight: np.ndarray | None,
    dbias: np.ndarray | None,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray | None]:
    """(dx or None, dweight, dbias or None); `y` is given if a ReLU followed."""
    g = dy if y is None else np.where(y <= 0, 0, dy)
    patches = _patches(g, geometry)
    dx = None
    if need_dx:
        rows = patches @ _matrix(weight, geometry).transpose(0, 2, 1)
        dx = np.ascontiguousarray(_image(rows, geometry)).reshape(x.shape)
    dweight = _weight_gradient(_rows(x, geometry), patches, weight.shape, dweight)
    if need_dbias:
        dbias = _channel_sums(g.reshape(geometry.in_shape), geometry.channels_last, dbias)
    return dx, dweight, dbias


def _matrix(weight: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """weight as (groups, out/groups, in/groups·kh·kw)."""
    kh, kw = geometry.kernel
    taps = geometry.in_channels // geometry.groups * kh * kw
    return weight.reshape(geometry.groups, geometry.out_channels // geometry.groups, taps)


def _patches(x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """The patch under each output pixel: (groups, batch·oh·ow, in/groups·kh·kw)."""
    n, groups, c = geometry.batch, geometry.groups, geometry.in_channels // geometry.groups
    (oh, ow), (kh, kw) = geometry.out_size, geometry.kernel
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    (top, left), (height, width) = geometry.padding, geometry.in_size
    full_h, full_w = _padded_size(geometry)
    x = x.reshape(geometry.in_shape)
    x = np.moveaxis(x, -1, 1) if geometry.channels_last else x
    padded = np.zeros((n, geometry.in_channels, full_h, full_w), x.dtype)
    padded[:, :, top : top + height, left : left + width] = x
    window = ((kh - 1) * dh + 1, (kw - 1) * dw + 1)
    views = np.lib.stride_tricks.sliding_window_view(padded, window, axis=(2, 3))
    views = views[:, :, : oh * sh : sh, : ow * sw : sw, ::dh, ::dw]
    views = views.reshape(n, groups, c, oh, ow, kh, kw)
    return views.transpose(1, 0, 3, 4, 2, 5, 6).reshape(groups, n * oh * ow, c * kh * kw)


def _spread(patches: np.ndarray, geometry: ConvGeometry, dtype: np.dtype) -> np.ndarray:
    """The adjoint of `_patches`: an image to which every patch is added where it was read."""
    n, groups, c = geometry.batch, geometry.groups, geometry.in_channels // geometry.groups
    (oh, ow), (kh, kw) = geometry.out_size, geometry.kernel
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    (top, left), (height, width) = geometry.padding, geometry.in_size
    taps = patches.reshape(groups, n, oh, ow, c, kh, kw).transpose(5, 6, 1, 0, 4, 2, 3)
    padded = np.zeros((n, groups, c, *_padded_size(geometry)), dtype)
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dh, i * dh + (oh - 1) * sh + 1, sh)
            columns = slice(j * dw, j * dw + (ow - 1) * sw + 1, sw)
            padded[..., rows, columns] += taps[i, j]
    image = padded[..., top : top + height, left : left + width]
    image = image.reshape(n, geometry.in_channels, height, width)
    return np.moveaxis(image, 1, -1) if geometry.channels_last else image


def _padded_size(geometry: ConvGeometry) -> tuple[int, int]:
    """Size of the input with the padding before it and whatever the last output pixel still reads behind it."""
    height, width = (
        max(p + size, (o - 1) * s + (k - 1) * d + 1)
        for p, size, o, s, k, d in zip(
            geometry.padding,
            geometry.in_size,
            geometry.out_size,
            geometry.stride,
            geometry.kernel,
            geometry.dilation,
            strict=True,
        )
    )
    return height, width


def _rows(image: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """An output image as (groups, batch·oh·ow, out/groups)."""
    n, groups, c = geometry.batch, geometry.groups, geometry.out_channels // geometry.groups
    oh, ow = geometry.out_size
    if geometry.channels_last:
        pixels = image.reshape(n, oh, ow, groups, c).transpose(3, 0, 1, 2, 4)
    else:
        pixels = image.reshape(n, groups, c, oh, ow).transpose(1, 0, 3, 4, 2)
    return pixels.reshape(groups, n * oh * ow, c)


def _image(rows: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """The inverse of `_rows`: a view of the rows in the image's layout where one exists, else a copy."""
    n, groups, c = geometry.batch, geometry.groups, geometry.out_channels // geometry.groups
    pixels = rows.reshape(groups, n, *geometry.out_size, c)
    order = (1, 2, 3, 0, 4) if geometry.channels_last else (1, 0, 4, 2, 3)
    return pixels.transpose(order).reshape(geometry.out_shape)


def _weight_gradient(
    rows: np.ndarray, patches: np.ndarray, shape: tuple[int, ...], dweight: np.ndarray | None
) -> np.ndarray:
    product = (rows.transpose(0, 2, 1) @ patches).reshape(shape)
    if dweight is None:
        return product
    dweight[...] = product
    return dweight


def _channel_sums(g: np.ndarray, channels_last: bool, dbias: np.ndarray | None) -> np.ndarray:
    return np.sum(g, axis=(0, 1, 2) if channels_last else (0, 2, 3), out=dbias)


def _epilogue(
    image: np.ndarray,
    bias: np.ndarray | None,
    residual: np.ndarray | None,
    channels_last: bool,
    relu: bool,
    out: np.ndarray | None,
) -> np.ndarray:
    """The finished output in `out`, or in a new C-contiguous array."""
    y = np.empty(image.shape, image.dtype) if out is None else out
    pixels = y.reshape(image.shape)
    if bias is None:
        pixels[...] = image
    else:
        np.add(image, bias if channels_last else bias[:, None, None], out=pixels)
    if residual is not None:
        pixels += residual.reshape(image.shape)
    return np.maximum(y, 0, out=y) if relu else y

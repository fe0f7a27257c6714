# Linear layer: the convolution of 1x1 images with channels last.

def linear(x, weight, bias, bint relu, out):
    """y (..., out) = x (..., in) W^T + bias, then ReLU if asked for."""
    cdef bnc_conv g
    cdef int dtype = fill_linear(&g, x, weight)
    cdef cnp.npy_intp dims[32]
    cdef int i, ndim = cnp.PyArray_NDIM(<Array>x)
    for i in range(ndim - 1):
        dims[i] = cnp.PyArray_DIM(<Array>x, i)
    dims[ndim - 1] = g.co
    return product_forward(&g, dtype, x, weight, bias, relu, out, ndim, dims, False)


def linear_backward(dy, x, weight, y, bint need_dx, bint need_dbias, dweight, dbias):
    """(dx or None, dweight, dbias or None); y is given if a ReLU followed."""
    cdef bnc_conv g
    cdef int dtype = fill_linear(&g, x, weight)
    dx = new_like(x) if need_dx else None
    return product_backward(&g, dtype, dy, x, weight, y, dx, need_dbias, dweight, dbias, False)


cdef int fill_linear(bnc_conv* g, object x, object weight) except -1:
    """Sizes of the product; x's dtype."""
    cdef int dtype = real_type(x)
    cdef int ndim
    if dtype < 0 or real_type(weight) != dtype:
        raise Refused
    ndim = cnp.PyArray_NDIM(<Array>x)
    if ndim < 1 or ndim > 32 or cnp.PyArray_NDIM(<Array>weight) != 2:
        raise Refused
    g.co = cnp.PyArray_DIM(<Array>weight, 0)
    g.ci = cnp.PyArray_DIM(<Array>weight, 1)
    if g.co < 1 or g.ci < 1 or cnp.PyArray_DIM(<Array>x, ndim - 1) != g.ci:
        raise Refused
    g.n = cnp.PyArray_SIZE(<Array>x) // g.ci
    g.h = g.w = g.oh = g.ow = g.kh = g.kw = g.sh = g.sw = g.dh = g.dw = g.groups = 1
    g.ph = g.pw = 0
    g.channels_last = True
    return dtype

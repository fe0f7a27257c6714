# Linear layer: the convolution of 1x1 images with channels last.

def linear(x, weight, bias, bint relu, out):
    """y (..., out) = x (..., in) W^T + bias, then ReLU if asked for."""
    cdef bnc_conv g
    cdef int dtype = fill_linear(&g, x, weight)
    cdef cnp.npy_intp dims[64]
    cdef int ndim = output_dims(&g, x, dims)
    if out is not None and (real_type(out) != dtype or not has_shape(out, ndim, dims)):
        raise Refused
    return product_forward(&g, dtype, x, weight, bias, None, relu, out, ndim, dims, False)


def linear_backward(dy, x, weight, y, bint need_dx, bint need_dbias, dweight, dbias):
    """(dx or None, dweight, dbias or None); y is given if a ReLU followed."""
    cdef bnc_conv g
    cdef int dtype = fill_linear(&g, x, weight)
    cdef cnp.npy_intp dims[64]
    cdef int ndim = output_dims(&g, x, dims)
    if real_type(dy) != dtype or not has_shape(dy, ndim, dims):
        raise Refused
    if dweight is not None and (real_type(dweight) != dtype or not same_shape(dweight, weight)):
        raise Refused
    dx = new_like(x) if need_dx else None
    return product_backward(&g, dtype, dy, x, weight, y, dx, need_dbias, dweight, dbias, False)


cdef int fill_linear(bnc_conv* g, object x, object weight) except -1:
    """Sizes of the product; x's dtype."""
    cdef int dtype = real_type(x)
    cdef int ndim
    if dtype < 0 or real_type(weight) != dtype:
        raise Refused
    ndim = cnp.PyArray_NDIM(<Array>x)
    if ndim < 1 or ndim > 64 or cnp.PyArray_NDIM(<Array>weight) != 2:
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


cdef inline int output_dims(const bnc_conv* g, object x, cnp.npy_intp* dims) noexcept:
    """The output's dimensions: x's, with the last replaced; their number."""
    cdef int i, ndim = cnp.PyArray_NDIM(<Array>x)
    for i in range(ndim - 1):
        dims[i] = cnp.PyArray_DIM(<Array>x, i)
    dims[ndim - 1] = g.co
    return ndim


cdef inline bint has_shape(object o, int ndim, const cnp.npy_intp* dims) noexcept:
    cdef int i
    if cnp.PyArray_NDIM(<Array>o) != ndim:
        return False
    for i in range(ndim):
        if cnp.PyArray_DIM(<Array>o, i) != dims[i]:
            return False
    return True

# Convolution, transposed convolution, and what the linear layer shares with them.

# Below this many multiplications a product is over sooner than the GIL is handed on and back.
cdef int64_t KEEP_GIL_PRODUCT = 32768


def conv(x, weight, bias, residual, geometry, bint relu, out):
    """y = act(conv(x) + bias [+ residual])."""
    return conv_forward(x, weight, bias, residual, geometry, relu, out, False)


def conv_transpose(x, weight, bias, residual, geometry, bint relu, out):
    """y = act(gradient of conv to its input, at x, + bias [+ residual])."""
    return conv_forward(x, weight, bias, residual, geometry, relu, out, True)


def conv_backward(dy, x, weight, y, geometry, bint need_dx, bint need_dbias, dweight, dbias):
    """(dx or None, dweight, dbias or None); y is given if a ReLU followed."""
    cdef bnc_conv g
    cdef int dtype = fill_geometry(&g, x, geometry)
    dx = new_like(x) if need_dx else None
    return product_backward(&g, dtype, dy, x, weight, y, dx, need_dbias, dweight, dbias, False)


def conv_transpose_backward(
    dy, x, weight, y, geometry, bint need_dx, bint need_dbias, dweight, dbias
):
    """(dx or None, dweight, dbias or None); y is given if a ReLU followed."""
    cdef bnc_conv g
    cdef int dtype = fill_geometry(&g, x, geometry)
    dx = new_like(x) if need_dx else None
    return product_backward(&g, dtype, dy, x, weight, y, dx, need_dbias, dweight, dbias, True)


cdef object conv_forward(
    object x, object weight, object bias, object residual, object geometry, bint relu, object out,
    bint transposed
):
    cdef bnc_conv g
    cdef int dtype = fill_geometry(&g, x, geometry)
    cdef cnp.npy_intp dims[4]
    cdef int first = 1 if g.channels_last else 2
    dims[0] = g.n
    dims[3 if g.channels_last else 1] = g.ci if transposed else g.co
    dims[first] = g.h if transposed else g.oh
    dims[first + 1] = g.w if transposed else g.ow
    return product_forward(&g, dtype, x, weight, bias, residual, relu, out, 4, dims, transposed)


cdef int fill_geometry(bnc_conv* g, object x, object geometry) except -1:
    """A ConvGeometry in C; x's dtype."""
    cdef int dtype = real_type(x)
    if dtype < 0:
        raise Refused
    set_geometry(g, geometry)
    return dtype


cdef int set_geometry(bnc_conv* g, object geometry) except -1:
    """A ConvGeometry in C."""
    n, ci, size, co, out_size, kernel, stride, padding, dilation, groups, channels_last = geometry
    g.n, g.ci, g.co, g.groups, g.channels_last = n, ci, co, groups, channels_last
    g.h, g.w = size
    g.oh, g.ow = out_size
    g.kh, g.kw = kernel
    g.sh, g.sw = stride
    g.ph, g.pw = padding
    g.dh, g.dw = dilation
    return 0


cdef inline int64_t count_in(const bnc_conv* g) noexcept:
    return g.n * g.ci * g.h * g.w


cdef inline int64_t count_out(const bnc_conv* g) noexcept:
    return g.n * g.co * g.oh * g.ow


cdef inline int64_t count_weight(const bnc_conv* g) noexcept:
    return g.co * (g.ci // g.groups) * g.kh * g.kw


cdef inline void* elements(object o, int dtype, int64_t count) except NULL:
    """Pointer to an array of `dtype` with that many elements; functional has seen to its shape."""
    if real_type(o) != dtype or cnp.PyArray_SIZE(<Array>o) != count:
        raise Refused
    return data_of(o)


cdef inline void* elements_out(
    object o, int dtype, int64_t count, object a, object b, object c
) except NULL:
    """The same for writing, without overlap with a, b, c (contiguous arrays or None)."""
    cdef void* p = elements(o, dtype, count)
    if not is_writable(o) or overlap(o, a) or overlap(o, b) or overlap(o, c):
        raise Refused
    return p


cdef object product_forward(
    const bnc_conv* g, int dtype, object x, object weight, object bias, object residual, bint relu,
    object out, int ndim, cnp.npy_intp* dims, bint transposed
):
    """Either kind of convolution; y has shape `dims` if it is not given."""
    cdef const bnc_ops* ops = ops_for(dtype)
    cdef int64_t x_count = count_out(g) if transposed else count_in(g)
    cdef int64_t y_count = count_in(g) if transposed else count_out(g)
    cdef const void* px = elements(x, dtype, x_count)
    cdef const void* pw = elements(weight, dtype, count_weight(g))
    cdef const void* pb = vector(bias, dtype, g.ci if transposed else g.co)
    cdef const void* pr = NULL if residual is None else elements(residual, dtype, y_count)
    cdef int error
    y = new_array(ndim, dims, dtype) if out is None else out
    cdef void* py = elements_out(y, dtype, y_count, x, weight, bias)
    if overlap(y, residual):
        raise Refused
    if y_count * count_weight(g) > KEEP_GIL_PRODUCT * g.co:
        with nogil:
            error = (ops.conv_transpose if transposed else ops.conv)(g, px, pw, pb, pr, relu, py)
    else:
        error = (ops.conv_transpose if transposed else ops.conv)(g, px, pw, pb, pr, relu, py)
    raise_for(error)
    return y


cdef object product_backward(
    const bnc_conv* g, int dtype, object dy, object x, object weight, object y, object dx,
    bint need_dbias, object dweight, object dbias, bint transposed
):
    """Either kind of convolution; dx is the array to fill, or None."""
    cdef const bnc_ops* ops = ops_for(dtype)
    cdef int64_t y_count = count_in(g) if transposed else count_out(g)
    cdef int64_t y_channels = g.ci if transposed else g.co
    cdef int64_t y_pixels = g.h * g.w if transposed else g.oh * g.ow
    cdef const void* px = elements(x, dtype, count_out(g) if transposed else count_in(g))
    cdef const void* pw = elements(weight, dtype, count_weight(g))
    cdef const void* pdy = elements(dy, dtype, y_count)
    cdef const void* py = NULL
    cdef void* pg
    cdef void* pdx = data_of(dx) if dx is not None else NULL
    cdef void* pdbias = NULL
    cdef int error = BNC_OK
    if dweight is None:
        dweight = new_like(weight)
    cdef void* pdweight = elements_out(dweight, dtype, count_weight(g), dy, x, weight)
    if need_dbias:
        if dbias is None:
            dbias = new_vector(y_channels, dtype)
        pdbias = vector_out(dbias, dtype, y_channels)
        elements_out(dbias, dtype, y_channels, dy, x, weight)
        if overlap(dbias, dweight):
            raise Refused
    if y is not None:  # behind a ReLU: the gradient where y > 0, in an array of its own
        py = elements(y, dtype, y_count)
        if overlap(dweight, y) or need_dbias and overlap(dbias, y):
            raise Refused
        masked = new_like(dy)
        pg = data_of(masked)
    with nogil:
        if py != NULL:
            error = ops.activation_backward(pdy, py, pg, y_count, BNC_RELU, 0)
            pdy = pg
        if not error and pdx != NULL:
            error = (ops.conv if transposed else ops.conv_transpose)(g, pdy, pw, NULL, NULL, 0, pdx)
        if not error:
            error = ops.conv_weight_gradient(
                g, pdy if transposed else px, px if transposed else pdy, pdweight
            )
        if not error and pdbias != NULL:
            error = ops.conv_bias_gradient(
                g.n, y_channels, y_pixels, g.channels_last, pdy, pdbias
            )
    raise_for(error)
    return dx, dweight, dbias if need_dbias else None

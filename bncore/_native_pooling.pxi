# Pooling over windows and over all of space.

# The number of a window's winning tap is an int32.
cdef int64_t MOST_TAPS = 2147483647


cdef int fill_pooling(
    bnc_pooling* p, tuple shape, kernel, stride, padding, bint channels_last
) except -1:
    """Sizes of a pooling of images of `shape`; the arrays are left to the caller."""
    cdef int i
    p.n = shape[0]
    p.c = shape[3] if channels_last else shape[1]
    p.h = shape[1] if channels_last else shape[2]
    p.w = shape[2] if channels_last else shape[3]
    for i in range(2):
        p.kernel[i] = kernel[i]
        p.stride[i] = stride[i]
        p.padding[i] = padding[i]
        if p.kernel[i] < 1 or p.stride[i] < 1 or p.padding[i] < 0 or 2 * p.padding[i] > p.kernel[i]:
            raise Refused
    if p.h < 1 or p.h + 2 * p.padding[0] < p.kernel[0]:
        raise Refused
    if p.w < 1 or p.w + 2 * p.padding[1] < p.kernel[1]:
        raise Refused
    if p.kernel[0] > MOST_TAPS // p.kernel[1]:
        raise Refused
    p.h_out = (p.h + 2 * p.padding[0] - p.kernel[0]) // p.stride[0] + 1
    p.w_out = (p.w + 2 * p.padding[1] - p.kernel[1]) // p.stride[1] + 1
    p.channels_last = channels_last
    p.count_include_pad = True
    p.index = NULL
    p.wide = p.kernel[0] * p.kernel[1] > 256
    return 0


cdef inline void image_dims(const bnc_pooling* p, bint pooled, cnp.npy_intp* dims) noexcept:
    """Shape of the images, or of the results."""
    cdef int first = 1 if p.channels_last else 2
    dims[0] = p.n
    dims[3 if p.channels_last else 1] = p.c
    dims[first] = p.h_out if pooled else p.h
    dims[first + 1] = p.w_out if pooled else p.w


cdef object shaped_or_out(int ndim, cnp.npy_intp* dims, int dtype, object source, object out):
    """A new array of this shape, or `out` if it can be written and does not overlap `source`."""
    if out is None:
        return new_array(ndim, dims, dtype)
    if real_type(out) != dtype or not has_shape(out, ndim, dims):
        raise Refused
    if not is_writable(out) or overlap(out, source):
        raise Refused
    return out


cdef int prepare(bnc_pooling* p, object source, bint backward, object out, list result) except -1:
    """Checks the array read, appends the one written to `result`, and returns the dtype."""
    cdef cnp.npy_intp dims[4]
    cdef int dtype = real_type(source)
    image_dims(p, backward, dims)
    if dtype < 0 or not has_shape(source, 4, dims):
        raise Refused
    image_dims(p, not backward, dims)
    target = shaped_or_out(4, dims, dtype, source, out)
    p.from_ = data_of(source)
    p.to = data_of(target)
    result.append(target)
    return dtype


cdef void* saved_index(object index, object dy, int integer) except NULL:
    """Pointer to an array of dy's shape and this integer type."""
    if not bnc_is_array(<PyObject*>index) or not bnc_is_carray_ro(<PyObject*>index):
        raise Refused
    if bnc_type(<PyObject*>index) != integer or not same_shape(index, dy):
        raise Refused
    return data_of(index)


def max_pool(x, kernel, stride, padding, bint channels_last, out):
    """The largest value of each window, and its number in the window as a compact integer."""
    cdef bnc_pooling p
    cdef int error
    cdef cnp.npy_intp dims[4]
    cdef list result = []
    if real_type(x) < 0 or cnp.PyArray_NDIM(<Array>x) != 4:
        raise Refused
    fill_pooling(&p, x.shape, kernel, stride, padding, channels_last)
    cdef int dtype = prepare(&p, x, False, out, result)
    image_dims(&p, True, dims)
    index = new_array(4, dims, cnp.NPY_INT32 if p.wide else cnp.NPY_UINT8)
    p.index = data_of(index)
    with nogil:
        error = ops_for(dtype).max_pool(&p)
    raise_for(error)
    return result[0], index


def max_pool_backward(dy, index, shape, kernel, stride, padding, bint channels_last, out):
    """dx of `shape`: every dy added where its window's maximum was found."""
    cdef bnc_pooling p
    cdef int error
    cdef list result = []
    fill_pooling(&p, shape, kernel, stride, padding, channels_last)
    cdef int dtype = prepare(&p, dy, True, out, result)
    p.index = saved_index(index, dy, cnp.NPY_INT32 if p.wide else cnp.NPY_UINT8)
    with nogil:
        error = ops_for(dtype).max_pool_backward(&p)
    raise_for(error)
    return result[0]


def avg_pool(x, kernel, stride, padding, bint channels_last, bint count_include_pad, out):
    """The mean of each window; padding counts as zeros or, without count_include_pad, not."""
    cdef bnc_pooling p
    cdef int error
    cdef list result = []
    if real_type(x) < 0 or cnp.PyArray_NDIM(<Array>x) != 4:
        raise Refused
    fill_pooling(&p, x.shape, kernel, stride, padding, channels_last)
    p.count_include_pad = count_include_pad
    cdef int dtype = prepare(&p, x, False, out, result)
    with nogil:
        error = ops_for(dtype).avg_pool(&p)
    raise_for(error)
    return result[0]


def avg_pool_backward(
    dy, shape, kernel, stride, padding, bint channels_last, bint count_include_pad, out
):
    """dx of `shape`: every dy shared out evenly over the window it was the mean of."""
    cdef bnc_pooling p
    cdef int error
    cdef list result = []
    fill_pooling(&p, shape, kernel, stride, padding, channels_last)
    p.count_include_pad = count_include_pad
    cdef int dtype = prepare(&p, dy, True, out, result)
    with nogil:
        error = ops_for(dtype).avg_pool_backward(&p)
    raise_for(error)
    return result[0]


cdef int fill_global(bnc_global_pooling* p, object shape, bint channels_last) except -1:
    p.n = shape[0]
    p.c, p.s = (shape[2], shape[1]) if channels_last else (shape[1], shape[2])
    p.channels_last = channels_last
    p.index = NULL
    if p.s < 1:
        raise Refused
    return 0


cdef int prepare_global(
    bnc_global_pooling* p, object source, bint backward, object out, list result
) except -1:
    """As `prepare`: images (n, c, s) or (n, s, c), results (n, c)."""
    cdef cnp.npy_intp small[2]
    cdef cnp.npy_intp large[3]
    cdef int dtype = real_type(source)
    small[0] = large[0] = p.n
    small[1] = p.c
    large[1] = p.s if p.channels_last else p.c
    large[2] = p.c if p.channels_last else p.s
    if dtype < 0 or not (has_shape(source, 2, small) if backward else has_shape(source, 3, large)):
        raise Refused
    if backward:
        target = shaped_or_out(3, large, dtype, source, out)
    else:
        target = shaped_or_out(2, small, dtype, source, out)
    p.from_ = data_of(source)
    p.to = data_of(target)
    result.append(target)
    return dtype


def global_avg_pool(x, bint channels_last, out):
    """The mean over s."""
    cdef bnc_global_pooling p
    cdef list result = []
    if real_type(x) < 0 or cnp.PyArray_NDIM(<Array>x) != 3:
        raise Refused
    fill_global(&p, x.shape, channels_last)
    cdef int dtype = prepare_global(&p, x, False, out, result)
    with nogil:
        ops_for(dtype).global_avg_pool(&p)
    return result[0]


def global_avg_pool_backward(dy, shape, bint channels_last, out):
    """dx of `shape`: dy / s everywhere."""
    cdef bnc_global_pooling p
    cdef list result = []
    fill_global(&p, shape, channels_last)
    cdef int dtype = prepare_global(&p, dy, True, out, result)
    with nogil:
        ops_for(dtype).global_avg_pool_backward(&p)
    return result[0]


def global_max_pool(x, bint channels_last, out):
    """The largest value over s and its position."""
    cdef bnc_global_pooling p
    cdef cnp.npy_intp dims[2]
    cdef list result = []
    if real_type(x) < 0 or cnp.PyArray_NDIM(<Array>x) != 3:
        raise Refused
    fill_global(&p, x.shape, channels_last)
    cdef int dtype = prepare_global(&p, x, False, out, result)
    dims[0] = p.n
    dims[1] = p.c
    index = new_array(2, dims, cnp.NPY_INT64)
    p.index = <int64_t*>data_of(index)
    with nogil:
        ops_for(dtype).global_max_pool(&p)
    return result[0], index


def global_max_pool_backward(dy, index, shape, bint channels_last, out):
    """dx of `shape`: dy where the maximum was found, 0 elsewhere."""
    cdef bnc_global_pooling p
    cdef list result = []
    fill_global(&p, shape, channels_last)
    cdef int dtype = prepare_global(&p, dy, True, out, result)
    p.index = <int64_t*>saved_index(index, dy, cnp.NPY_INT64)
    with nogil:
        ops_for(dtype).global_max_pool_backward(&p)
    return result[0]

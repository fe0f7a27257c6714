# Norms over rows: layer norm and RMS norm, forward and backward.

@cython.final
@cython.freelist(32)
@cython.no_gc
cdef class RowsSaved:
    """What backward needs: references to the arguments; inv_std and mean in a block of the pool."""
    cdef readonly object x, weight, bias
    cdef readonly bint relu
    cdef readonly int axes
    cdef readonly int64_t squared
    cdef int dtype
    cdef int64_t rows, d
    cdef double* stats

    def __dealloc__(self):
        bnc_pool_put(self.stats)

    @property
    def mean(self):
        return None if self.squared else rows_of(self, self.stats + self.rows)

    @property
    def inv_std(self):
        return rows_of(self, self.stats)


cdef Array rows_of(RowsSaved saved, const double* from_):
    """A number per row, shaped as x without its normalized axes."""
    cdef object x = saved.x
    cdef int ndim = cnp.PyArray_NDIM(<Array>x) - saved.axes
    cdef Array a = new_array(ndim, cnp.PyArray_DIMS(<Array>x), cnp.NPY_FLOAT64)
    cdef double* to = <double*>data_of(a)
    cdef int64_t i
    for i in range(saved.rows):
        to[i] = from_[i]
    return a


cdef int trailing_axes(object axis, int ndim) except -1:
    """How many trailing axes `axis` names: the last one as an integer, or several in order."""
    cdef int i, count
    if type(axis) is int:
        if axis != -1 and axis != ndim - 1:
            raise Refused
        return 1
    if type(axis) is not tuple:
        raise Refused
    count = <int>len(<tuple>axis)
    if count < 1 or count > ndim:
        raise Refused
    for i in range(count):
        if axis[i] != i - count and axis[i] != ndim - count + i:
            raise Refused
    return count


cdef RowsSaved begin_rows(object x, object axis, bint centred):
    """A state with x's dtype and its shape as (rows, d) in front of and along the axes."""
    cdef int dtype = real_type(x)
    if dtype < 0:
        raise Refused
    cdef int i, ndim = cnp.PyArray_NDIM(<Array>x)
    if ndim < 1:
        raise Refused
    cdef int axes = trailing_axes(axis, ndim)
    cdef RowsSaved saved = RowsSaved.__new__(RowsSaved)
    cdef cnp.npy_intp* dims = cnp.PyArray_DIMS(<Array>x)
    saved.x = x
    saved.dtype = dtype
    saved.axes = axes
    saved.rows = saved.d = 1
    for i in range(ndim - axes):
        saved.rows *= dims[i]
    for i in range(ndim - axes, ndim):
        saved.d *= dims[i]
    saved.stats = statistics_block(saved.rows, 2 if centred else 1)
    return saved


cdef void* row_parameter(object o, RowsSaved saved) except? NULL:
    """Pointer to an array of the normalized axes' shape for reading; NULL for None."""
    cdef object x = saved.x
    cdef int i, first = cnp.PyArray_NDIM(<Array>x) - saved.axes
    if o is None:
        return NULL
    if real_type(o) != saved.dtype or cnp.PyArray_NDIM(<Array>o) != saved.axes:
        raise Refused
    for i in range(saved.axes):
        if cnp.PyArray_DIM(<Array>o, i) != cnp.PyArray_DIM(<Array>x, first + i):
            raise Refused
    return data_of(o)


cdef object normalize_rows(
    RowsSaved saved, object weight, object bias, double eps, bint relu, object out
):
    cdef bnc_rows a
    cdef int error
    cdef object x = saved.x, y
    if not (eps >= 0 and isfinite(eps)):
        raise Refused
    a.rows, a.d, a.squared = saved.rows, saved.d, saved.squared
    a.gamma = row_parameter(weight, saved)
    a.beta = row_parameter(bias, saved)
    if out is None:
        y = new_like(x)
    else:
        y = out
        if like(y, x, saved.dtype) == NULL or not is_writable(y) or overlap(y, x):
            raise Refused
        if overlap(y, weight) or overlap(y, bias):
            raise Refused
    a.x, a.y = data_of(x), data_of(y)
    a.eps, a.relu = eps, relu
    a.inv_std = saved.stats
    a.mean = NULL if saved.squared else saved.stats + saved.rows
    saved.weight = weight
    saved.bias = bias
    saved.relu = relu
    if a.rows * a.d > KEEP_GIL:
        with nogil:
            error = ops_for(saved.dtype).rows_norm(&a)
    else:
        error = ops_for(saved.dtype).rows_norm(&a)
    raise_for(error)
    return y, saved


def layer_norm(x, weight, bias, double eps, bint relu, axis, out):
    """y = act(gamma (x - mean) / sqrt(var + eps) + beta) with each row's own statistics."""
    return normalize_rows(begin_rows(x, axis, True), weight, bias, eps, relu, out)


def rms_norm(x, weight, bias, double eps, int64_t squared, bint relu, axis, out):
    """y = act(gamma x / sqrt(mean square + eps) + beta), of the first `squared` values (0: all)."""
    cdef RowsSaved saved = begin_rows(x, axis, False)
    if squared < 0 or squared > saved.d:
        raise Refused
    saved.squared = squared if squared else max(saved.d, 1)  # 0 would say layer norm
    return normalize_rows(saved, weight, bias, eps, relu, out)


cdef object row_gradient(object parameter, object given):
    """A parameter's gradient: None without the parameter, `given` if writable, or a new array."""
    if parameter is None:
        return None
    if given is None:
        return new_like(parameter)
    if like(given, parameter, bnc_type(<PyObject*>parameter)) == NULL or not is_writable(given):
        raise Refused
    return given


cdef int apart(object written, object dy, RowsSaved saved, object other, object another) except -1:
    """Refuses a gradient to write that shares memory with what is read, or written too."""
    if written is None:
        return 0
    if overlap(written, dy) or overlap(written, saved.x) or overlap(written, saved.weight):
        raise Refused
    if overlap(written, saved.bias) or overlap(written, other) or overlap(written, another):
        raise Refused
    return 0


def rows_norm_backward(dy, RowsSaved saved not None, dweight, dbias, out):
    """(dx, dweight, dbias); None for an absent parameter."""
    cdef bnc_rows_gradient a
    cdef int error
    a.dy = like(dy, saved.x, saved.dtype)
    if dy is None:
        raise Refused
    dx = row_gradient(saved.x, out)
    given_weight, given_bias = dweight, dbias
    dweight = row_gradient(saved.weight, dweight)
    dbias = row_gradient(saved.bias, dbias)
    if out is not None:
        apart(dx, dy, saved, None, None)
    if given_weight is not None:
        apart(dweight, dy, saved, dx, dbias)
    if given_bias is not None:
        apart(dbias, dy, saved, dx, dweight)
    a.rows, a.d, a.squared, a.relu = saved.rows, saved.d, saved.squared, saved.relu
    a.x, a.dx = data_of(saved.x), data_of(dx)
    a.gamma = data_of(saved.weight) if saved.weight is not None else NULL
    a.beta = data_of(saved.bias) if saved.bias is not None else NULL
    a.inv_std = saved.stats
    a.mean = NULL if saved.squared else saved.stats + saved.rows
    a.dgamma = data_of(dweight) if dweight is not None else NULL
    a.dbeta = data_of(dbias) if dbias is not None else NULL
    if a.rows * a.d > KEEP_GIL:
        with nogil:
            error = ops_for(saved.dtype).rows_norm_backward(&a)
    else:
        error = ops_for(saved.dtype).rows_norm_backward(&a)
    raise_for(error)
    return dx, dweight, dbias

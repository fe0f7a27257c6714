# Group norm, and instance norm, which is group norm with as many groups as channels.

@cython.final
@cython.freelist(16)
@cython.no_gc
cdef class GroupSaved:
    """What backward needs: references to the arguments; mean and inv_std in a block of the pool."""
    cdef readonly object x, weight, bias
    cdef readonly bint relu
    cdef readonly int axis
    cdef readonly int64_t num_groups
    cdef int dtype
    cdef int64_t n, a, c, s
    cdef double* stats

    def __dealloc__(self):
        bnc_pool_put(self.stats)

    @property
    def mean(self):
        return copy_doubles(self.stats, self.n * self.num_groups).reshape(self.n, self.num_groups)

    @property
    def inv_std(self):
        cdef int64_t size = self.n * self.num_groups
        return copy_doubles(self.stats + size, size).reshape(self.n, self.num_groups)


cdef GroupSaved begin_groups(object x, object channel_axis, int64_t num_groups):
    """A state with x's shape as (n, a, c, s), samples being axis 0; `num_groups` 0: one each."""
    cdef int dtype = real_type(x)
    if dtype < 0 or type(channel_axis) is not int:
        raise Refused
    cdef int i, axis = channel_axis, ndim = cnp.PyArray_NDIM(<Array>x)
    if axis < 0:
        axis += ndim
    if axis < 1 or axis >= ndim:
        raise Refused
    cdef GroupSaved saved = GroupSaved.__new__(GroupSaved)
    cdef cnp.npy_intp* dims = cnp.PyArray_DIMS(<Array>x)
    saved.x = x
    saved.dtype = dtype
    saved.axis = axis
    saved.n = dims[0]
    saved.a = saved.s = 1
    saved.c = dims[axis]
    for i in range(1, axis):
        saved.a *= dims[i]
    for i in range(axis + 1, ndim):
        saved.s *= dims[i]
    saved.num_groups = num_groups if num_groups else saved.c
    if saved.num_groups and saved.c % saved.num_groups:
        raise Refused
    saved.stats = statistics_block(saved.n * saved.num_groups, 2)
    return saved


cdef Array fill_groups(
    bnc_group_norm* a, GroupSaved saved, object weight, object bias, double eps, bint relu,
    object out
):
    """Completes `a`, but for running statistics, and `saved`; returns y."""
    cdef object x = saved.x, y
    cdef int dtype = saved.dtype
    if not (eps >= 0 and isfinite(eps)):
        raise Refused
    a.n, a.a, a.c, a.s, a.groups = saved.n, saved.a, saved.c, saved.s, saved.num_groups
    a.x = data_of(x)
    a.gamma = vector(weight, dtype, saved.c)
    a.beta = vector(bias, dtype, saved.c)
    if out is None:
        y = new_like(x)
    else:
        y = out
        if like(y, x, dtype) == NULL or not is_writable(y) or overlap(y, x):
            raise Refused
        if overlap(y, weight) or overlap(y, bias):
            raise Refused
    a.y = data_of(y)
    a.running_mean = a.running_var = NULL
    a.momentum = a.unbiased = 0
    a.eps = eps
    a.relu = saved.relu = relu
    a.mean = saved.stats
    a.inv_std = saved.stats + saved.n * saved.num_groups
    saved.weight = weight
    saved.bias = bias
    return y


cdef int run_groups(const bnc_group_norm* a, int dtype) except -1:
    cdef int error
    if a.n * a.a * a.c * a.s > KEEP_GIL:
        with nogil:
            error = ops_for(dtype).group_norm(a)
    else:
        error = ops_for(dtype).group_norm(a)
    return raise_for(error)


def group_norm(x, weight, bias, num_groups, double eps, bint relu, axis, out):
    """Normalizes every sample's groups of channels by statistics of their own."""
    cdef bnc_group_norm a
    if type(num_groups) is not int or num_groups < 1:  # C would take 2.5 for 2
        raise Refused
    cdef GroupSaved saved = begin_groups(x, axis, num_groups)
    y = fill_groups(&a, saved, weight, bias, eps, relu, out)
    run_groups(&a, saved.dtype)
    return y, saved


cdef inline bint in_group_arrays(
    const bnc_group_norm* a, const void* v, const void* other, int dtype
) noexcept:
    """Whether running statistics v (c,), which are written, share memory with another argument."""
    cdef size_t c = <size_t>a.c * item_size(dtype), whole = <size_t>(a.n * a.a * a.s) * c
    if meet(v, c, other, c) or meet(v, c, a.gamma, c) or meet(v, c, a.beta, c):
        return True
    return meet(v, c, a.x, whole) or meet(v, c, a.y, whole)


def instance_norm(
    x, weight, bias, running_mean, running_var, double momentum, double eps, bint unbiased,
    bint relu, axis, out
):
    """The same with a group a channel; running statistics move towards the samples' averages."""
    cdef bnc_group_norm a
    cdef GroupSaved saved = begin_groups(x, axis, 0)
    if not (0 <= momentum <= 1) or (saved.a * saved.s == 1 and saved.n * saved.c > 0):
        raise Refused
    y = fill_groups(&a, saved, weight, bias, eps, relu, out)
    a.running_mean = vector_out(running_mean, saved.dtype, saved.c)
    a.running_var = vector_out(running_var, saved.dtype, saved.c)
    if in_group_arrays(&a, a.running_mean, a.running_var, saved.dtype):
        raise Refused
    if in_group_arrays(&a, a.running_var, NULL, saved.dtype):
        raise Refused
    a.momentum, a.unbiased = momentum, unbiased
    run_groups(&a, saved.dtype)
    return y, saved


cdef Array group_gradient_target(object out, object dy, GroupSaved saved):
    """dx's array: `out` if it can be written, else a new one."""
    if out is None:
        return new_like(saved.x)
    if like(out, saved.x, saved.dtype) == NULL or not is_writable(out):
        raise Refused
    if overlap(out, dy) or overlap(out, saved.x):
        raise Refused
    if overlap(out, saved.weight) or overlap(out, saved.bias):
        raise Refused
    return <Array>out


cdef object channel_gradient(object parameter, object given, GroupSaved saved):
    """A parameter's gradient: None without the parameter, `given` if writable, or a new array."""
    if parameter is None:
        return None
    if given is None:
        return new_vector(saved.c, saved.dtype)
    vector_out(given, saved.dtype, saved.c)
    return given


cdef inline bint in_group_gradients(
    const bnc_group_norm_gradient* a, const void* v, const void* other, int dtype
) noexcept:
    """Whether a parameter's gradient v (c,) shares memory with another array."""
    cdef size_t c = <size_t>a.c * item_size(dtype), whole = <size_t>(a.n * a.a * a.s) * c
    if meet(v, c, other, c) or meet(v, c, a.gamma, c) or meet(v, c, a.beta, c):
        return True
    return meet(v, c, a.x, whole) or meet(v, c, a.dy, whole) or meet(v, c, a.dx, whole)


def group_norm_backward(dy, GroupSaved saved not None, dweight, dbias, out):
    """(dx, dweight, dbias) of both; None for an absent parameter."""
    cdef bnc_group_norm_gradient a
    cdef int error
    if dy is None:
        raise Refused
    a.dy = like(dy, saved.x, saved.dtype)
    dx = group_gradient_target(out, dy, saved)
    dweight = channel_gradient(saved.weight, dweight, saved)
    dbias = channel_gradient(saved.bias, dbias, saved)
    a.n, a.a, a.c, a.s, a.groups = saved.n, saved.a, saved.c, saved.s, saved.num_groups
    a.x = data_of(saved.x)
    a.gamma = data_of(saved.weight) if saved.weight is not None else NULL
    a.beta = data_of(saved.bias) if saved.bias is not None else NULL
    a.mean = saved.stats
    a.inv_std = saved.stats + saved.n * saved.num_groups
    a.relu = saved.relu
    a.dx = data_of(dx)
    a.dgamma = data_of(dweight) if dweight is not None else NULL
    a.dbeta = data_of(dbias) if dbias is not None else NULL
    if in_group_gradients(&a, a.dgamma, a.dbeta, saved.dtype):
        raise Refused
    if in_group_gradients(&a, a.dbeta, NULL, saved.dtype):
        raise Refused
    if a.n * a.a * a.c * a.s > KEEP_GIL:
        with nogil:
            error = ops_for(saved.dtype).group_norm_backward(&a)
    else:
        error = ops_for(saved.dtype).group_norm_backward(&a)
    raise_for(error)
    return dx, dweight, dbias

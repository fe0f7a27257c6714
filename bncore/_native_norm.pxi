# Batch norm and batch renormalization: the saved state, statistics, the forward passes.

@cython.final
@cython.freelist(32)
@cython.no_gc
cdef class NormSaved:
    """What backward needs: references to the arguments; mean, inv_std and, of renormalization, r
    and d in a block of the pool."""
    cdef readonly object x, weight, bias, y, runs
    cdef readonly bint relu, training, has_residual
    cdef readonly int axis
    cdef int dtype
    cdef bint renorm
    cdef bnc_shape shape
    cdef double* stats

    def __dealloc__(self):
        bnc_pool_put(self.stats)

    @property
    def mean(self):
        return copy_doubles(self.stats, self.shape.c)

    @property
    def inv_std(self):
        return copy_doubles(self.stats + self.shape.c, self.shape.c)

    @property
    def r(self):
        return copy_doubles(self.stats + 2 * self.shape.c, self.shape.c) if self.renorm else None

    @property
    def d(self):
        return copy_doubles(self.stats + 3 * self.shape.c, self.shape.c) if self.renorm else None


cdef Array copy_doubles(const double* from_, int64_t c):
    cdef Array a = new_vector(c, cnp.NPY_FLOAT64)
    cdef double* to = <double*>data_of(a)
    cdef int64_t i
    for i in range(c):
        to[i] = from_[i]
    return a


cdef inline double* doubles(object o, int64_t c) except NULL:
    return <double*>vector(o, cnp.NPY_FLOAT64, c) if o is not None else NULL


cdef inline int64_t valid_positions(const bnc_shape* shape) noexcept:
    """Values that count for one channel."""
    if shape.runs != NULL:
        return shape.runs[2 * shape.run_count + 1]
    return shape.n * shape.s


cdef int take_runs(NormSaved saved, object runs) except -1:
    """Valid positions as bnc_shape wants them: (runs + 1, 2) integers, in order and within x."""
    if not bnc_is_array(<PyObject*>runs) or not bnc_is_carray_ro(<PyObject*>runs):
        raise Refused
    if bnc_type(<PyObject*>runs) != cnp.NPY_INT64 or cnp.PyArray_NDIM(<Array>runs) != 2:
        raise Refused
    if cnp.PyArray_DIM(<Array>runs, 0) < 1 or cnp.PyArray_DIM(<Array>runs, 1) != 2:
        raise Refused
    cdef const int64_t* run = <const int64_t*>data_of(runs)
    cdef int64_t i, length, last = 0, count = cnp.PyArray_DIM(<Array>runs, 0) - 1
    cdef int64_t s = saved.shape.s
    # channels-first images of one position each are reduced as those of more are
    saved.shape.slabs = saved.axis == 1 and cnp.PyArray_NDIM(<Array>saved.x) > 2
    cdef int64_t item = s if s > 1 or saved.shape.slabs else saved.shape.n
    if run[1] != 0 or run[2 * count] != saved.shape.n * s:
        raise Refused
    for i in range(count):
        length = run[2 * i + 3] - run[2 * i + 1]
        if run[2 * i] < last or length < 1:
            raise Refused
        last = run[2 * i] + length
        if last > run[2 * count] or (last - 1) // item != run[2 * i] // item:
            raise Refused
    saved.runs = runs
    saved.shape.runs = run
    saved.shape.run_count = count
    return 0


cdef NormSaved begin(object x, object channel_axis, object runs, bint renorm):
    """A state with x's dtype and its shape as (n, c, s) around the axis."""
    cdef int dtype = real_type(x)
    if dtype < 0 or type(channel_axis) is not int:
        raise Refused
    cdef int i, axis = channel_axis, ndim = cnp.PyArray_NDIM(<Array>x)
    if axis < 0:
        axis += ndim
    if ndim < 2 or axis < 0 or axis >= ndim:
        raise Refused
    cdef NormSaved saved = NormSaved.__new__(NormSaved)
    cdef cnp.npy_intp* dims = cnp.PyArray_DIMS(<Array>x)
    saved.x = x
    saved.dtype = dtype
    saved.axis = axis
    saved.renorm = renorm
    saved.shape.n = saved.shape.s = 1
    saved.shape.c = dims[axis]
    for i in range(axis):
        saved.shape.n *= dims[i]
    for i in range(axis + 1, ndim):
        saved.shape.s *= dims[i]
    if runs is not None:
        take_runs(saved, runs)
    saved.stats = statistics_block(saved.shape.c, 4 if renorm else 2)
    return saved


cdef Array fill_forward(
    bnc_norm* a, NormSaved saved, object weight, object bias, object residual, bint relu, object out
):
    """Checks the arrays every forward takes, completes `a` and `saved`, and returns y."""
    cdef object x = saved.x, y
    cdef int dtype = saved.dtype
    a.shape = saved.shape
    a.x = data_of(x)
    a.gamma = vector(weight, dtype, saved.shape.c)
    a.beta = vector(bias, dtype, saved.shape.c)
    a.residual = like(residual, x, dtype)
    if out is None:
        y = new_like(x)
    else:
        y = out
        if like(y, x, dtype) == NULL or not is_writable(y) or overlap(y, x):
            raise Refused
        if overlap(y, residual) or overlap(y, weight) or overlap(y, bias):
            raise Refused
    a.y = data_of(y)
    a.relu = relu
    a.mean = saved.stats
    a.inv_std = saved.stats + saved.shape.c
    a.r = saved.stats + 2 * saved.shape.c if saved.renorm else NULL
    a.d = saved.stats + 3 * saved.shape.c if saved.renorm else NULL
    saved.weight = weight
    saved.bias = bias
    saved.relu = relu
    saved.has_residual = residual is not None
    saved.y = y if relu and saved.has_residual else None
    return y


cdef inline bint in_arrays(const bnc_norm* a, const void* v, const void* other, int dtype) noexcept:
    """Whether running statistics v (c,), which are written, share memory with another argument."""
    cdef size_t c = <size_t>a.shape.c * item_size(dtype)
    cdef size_t whole = <size_t>(a.shape.n * a.shape.s) * c
    if meet(v, c, other, c) or meet(v, c, a.gamma, c) or meet(v, c, a.beta, c):
        return True
    return meet(v, c, a.x, whole) or meet(v, c, a.y, whole) or meet(v, c, a.residual, whole)


cdef int fill_running(bnc_norm* a, NormSaved saved, object mean, object spread) except -1:
    """Running statistics to update: apart from each other and from all else."""
    a.running_mean = vector_out(mean, saved.dtype, saved.shape.c)
    a.running_var = vector_out(spread, saved.dtype, saved.shape.c)
    if in_arrays(a, a.running_mean, a.running_var, saved.dtype):
        raise Refused
    if in_arrays(a, a.running_var, NULL, saved.dtype):
        raise Refused
    return 0


cdef inline bint is_small(const bnc_shape* shape) noexcept:
    return shape.n * shape.c * shape.s <= KEEP_GIL


cdef inline bint good_rates(double momentum, double eps) noexcept:
    return 0 <= momentum <= 1 and eps >= 0 and isfinite(eps)


cdef object train(
    NormSaved saved, object weight, object bias, object residual, object running_mean,
    object running_var, double momentum, double eps, bint unbiased, bint relu, object out
):
    """y of what `begin` began; completes `saved`. The same of the next two."""
    cdef bnc_norm a
    cdef int error
    if not good_rates(momentum, eps):
        raise Refused
    if valid_positions(&saved.shape) == 1 and saved.shape.c > 0:
        raise Refused
    y = fill_forward(&a, saved, weight, bias, residual, relu, out)
    fill_running(&a, saved, running_mean, running_var)
    saved.training = True
    a.momentum, a.eps, a.unbiased = momentum, eps, unbiased
    if is_small(&a.shape):
        error = ops_for(saved.dtype).batch_norm_train(&a)
    else:
        with nogil:
            error = ops_for(saved.dtype).batch_norm_train(&a)
    raise_for(error)
    return y


cdef object train_renorm(
    NormSaved saved, object weight, object bias, object residual, object running_mean,
    object running_std, double momentum, double eps, double r_max, double d_max, bint relu,
    object out
):
    cdef bnc_norm a
    cdef int error
    if not good_rates(momentum, eps):
        raise Refused
    if not (r_max >= 1 and d_max >= 0) or running_mean is None or running_std is None:
        raise Refused
    y = fill_forward(&a, saved, weight, bias, residual, relu, out)
    fill_running(&a, saved, running_mean, running_std)
    saved.training = True
    a.momentum, a.eps, a.r_max, a.d_max = momentum, eps, r_max, d_max
    if is_small(&a.shape):
        error = ops_for(saved.dtype).batch_renorm_train(&a)
    else:
        with nogil:
            error = ops_for(saved.dtype).batch_renorm_train(&a)
    raise_for(error)
    return y


cdef object evaluate(
    NormSaved saved, object weight, object bias, object residual, object running_mean,
    object running_var, double eps, bint relu, object out
):
    cdef bnc_norm a
    cdef int error
    if not good_rates(0, eps) or running_mean is None or running_var is None:
        raise Refused
    a.running_mean = vector(running_mean, saved.dtype, saved.shape.c)
    a.running_var = vector(running_var, saved.dtype, saved.shape.c)
    y = fill_forward(&a, saved, weight, bias, residual, relu, out)
    saved.training = False
    a.eps = eps
    if is_small(&a.shape):
        error = ops_for(saved.dtype).batch_norm_eval(&a)
    else:
        with nogil:
            error = ops_for(saved.dtype).batch_norm_eval(&a)
    raise_for(error)
    return y


def batch_norm_train(
    x, weight, bias, residual, running_mean, running_var, double momentum, double eps,
    bint unbiased, bint relu, axis, out, runs=None
):
    """Normalizes by the statistics of x itself and moves the running statistics towards them."""
    cdef NormSaved saved = begin(x, axis, runs, False)
    return train(
        saved, weight, bias, residual, running_mean, running_var, momentum, eps, unbiased, relu, out
    ), saved


def batch_renorm_train(
    x, weight, bias, residual, running_mean, running_std, double momentum, double eps,
    double r_max, double d_max, bint relu, axis, out, runs=None
):
    """Normalizes by the statistics of x corrected by r and d, then moves the running ones."""
    cdef NormSaved saved = begin(x, axis, runs, True)
    return train_renorm(
        saved, weight, bias, residual, running_mean, running_std, momentum, eps, r_max, d_max, relu,
        out
    ), saved


def batch_norm_eval(
    x, weight, bias, residual, running_mean, running_var, double eps, bint relu, axis, out,
    runs=None
):
    """Normalizes by the running statistics, which are constants for the gradient."""
    cdef NormSaved saved = begin(x, axis, runs, False)
    return evaluate(
        saved, weight, bias, residual, running_mean, running_var, eps, relu, out
    ), saved


def normalize(
    x, mean, inv_std, weight, bias, residual, bint relu, axis, bint training, out, runs=None
):
    """y = act(gamma (x - mean) inv_std + beta [+ residual]) with the statistics given (float64)."""
    cdef NormSaved saved = begin(x, axis, runs, False)
    cdef bnc_norm a
    cdef int error
    cdef int64_t i, c = saved.shape.c
    cdef double* m = doubles(mean, c)
    cdef double* v = doubles(inv_std, c)
    y = fill_forward(&a, saved, weight, bias, residual, relu, out)
    saved.training = training
    for i in range(c):
        saved.stats[i] = m[i]
        saved.stats[c + i] = v[i]
    with nogil:
        error = ops_for(saved.dtype).normalize(&a)
    raise_for(error)
    return y, saved


def inverse_std(var, double eps):
    """1 / sqrt(var + eps) of float64 (c,), or 0 for 0: the bits that the forward passes make."""
    if real_type(var) != cnp.NPY_FLOAT64 or cnp.PyArray_NDIM(<Array>var) != 1:
        raise Refused
    cdef int64_t c = cnp.PyArray_DIM(<Array>var, 0)
    cdef Array inv_std = new_vector(c, cnp.NPY_FLOAT64)
    raise_for(ops_for(cnp.NPY_FLOAT64).inverse_std(
        c, eps, <double*>data_of(var), <double*>data_of(inv_std)
    ))
    return inv_std


def statistics(x, axis, runs=None):
    """Count, mean (c,) and M2 = sum of squared deviations (c,), in float64."""
    cdef NormSaved saved = begin(x, axis, runs, False)
    cdef Array mean = new_vector(saved.shape.c, cnp.NPY_FLOAT64)
    cdef Array m2 = new_vector(saved.shape.c, cnp.NPY_FLOAT64)
    cdef void* px = data_of(x)
    cdef double* pm = <double*>data_of(mean)
    cdef double* pv = <double*>data_of(m2)
    cdef int error
    with nogil:
        error = ops_for(saved.dtype).statistics(&saved.shape, px, pm, pv)
    raise_for(error)
    return valid_positions(&saved.shape), mean, m2

# Batch norm and batch renormalization backward: the fused call and its halves.

cdef enum:
    STACKED = 256  # channels whose sums live on the stack

cdef int fill_backward(bnc_norm_gradient* a, object dy, NormSaved saved) except -1:
    a.dy = like(dy, saved.x, saved.dtype)
    if dy is None:
        raise Refused
    a.shape = saved.shape
    a.x = data_of(saved.x)
    a.y = data_of(saved.y) if saved.y is not None else NULL
    a.gamma = data_of(saved.weight) if saved.weight is not None else NULL
    a.beta = data_of(saved.bias) if saved.bias is not None else NULL
    a.mean = saved.stats
    a.inv_std = saved.stats + saved.shape.c
    a.r = saved.stats + 2 * saved.shape.c if saved.renorm else NULL
    a.d = saved.stats + 3 * saved.shape.c if saved.renorm else NULL
    a.relu = saved.relu
    a.batch = saved.training
    a.count = <double>valid_positions(&saved.shape)
    a.dx = a.dresidual = a.dgamma = a.dbeta = NULL
    return 0


cdef Array gradient_target(object out, object dy, NormSaved saved):
    """dx's array: `out` if it can be written, else a new one."""
    if out is None:
        return new_like(saved.x)
    if like(out, saved.x, saved.dtype) == NULL or not is_writable(out):
        raise Refused
    if overlap(out, dy) or overlap(out, saved.x) or overlap(out, saved.y):
        raise Refused
    if overlap(out, saved.weight) or overlap(out, saved.bias):
        raise Refused
    return <Array>out


cdef object parameter_target(object parameter, object given, NormSaved saved):
    """A parameter's gradient: None without the parameter, `given` if writable, or a new array."""
    if parameter is None:
        return None
    if given is None:
        return new_vector(saved.shape.c, saved.dtype)
    vector_out(given, saved.dtype, saved.shape.c)
    return given


cdef inline bint in_gradient_arrays(
    const bnc_norm_gradient* a, const void* v, const void* other, int dtype
) noexcept:
    """If a parameter's gradient v (c,), written before dx, shares memory with other arrays."""
    cdef size_t c = <size_t>a.shape.c * item_size(dtype)
    cdef size_t whole = <size_t>(a.shape.n * a.shape.s) * c
    if meet(v, c, other, c) or meet(v, c, a.gamma, c) or meet(v, c, a.beta, c):
        return True
    if meet(v, c, a.x, whole) or meet(v, c, a.dy, whole):
        return True
    return meet(v, c, a.y, whole) or meet(v, c, a.dx, whole)


cdef int run_backward(bnc_norm_gradient* a, int dtype) except -1:
    """The op, with room for its sums."""
    cdef double near[2 * STACKED]
    cdef double* sums = &near[0]
    cdef int error
    if a.shape.c > STACKED:
        sums = statistics_block(a.shape.c, 2)
    a.sum_g = sums
    a.sum_gx = sums + a.shape.c
    if is_small(&a.shape):
        error = ops_for(dtype).batch_norm_backward(a)
    else:
        with nogil:
            error = ops_for(dtype).batch_norm_backward(a)
    if sums != &near[0]:
        bnc_pool_put(sums)
    return raise_for(error)


cdef tuple gradients(object dy, NormSaved saved, object dweight, object dbias, object out):
    cdef bnc_norm_gradient a
    fill_backward(&a, dy, saved)
    dx = gradient_target(out, dy, saved)
    dweight = parameter_target(saved.weight, dweight, saved)
    dbias = parameter_target(saved.bias, dbias, saved)
    dresidual = new_like(saved.x) if saved.has_residual else None
    a.dx = data_of(dx)
    a.dresidual = data_of(dresidual) if dresidual is not None else NULL
    a.dgamma = data_of(dweight) if dweight is not None else NULL
    a.dbeta = data_of(dbias) if dbias is not None else NULL
    if in_gradient_arrays(&a, a.dgamma, a.dbeta, saved.dtype):
        raise Refused
    if in_gradient_arrays(&a, a.dbeta, NULL, saved.dtype):
        raise Refused
    run_backward(&a, saved.dtype)
    return (dx, dweight, dbias, dresidual) if saved.has_residual else (dx, dweight, dbias)


def batch_norm_backward(dy, NormSaved saved not None, dweight, dbias, out):
    """(dx, dweight, dbias[, dresidual if there was a residual]); None for an absent parameter."""
    return gradients(dy, saved, dweight, dbias, out)


def gradient_sums(dy, NormSaved saved not None):
    """m, sum of dy and sum of dy x_hat per channel: gradients of bias and weight, in float64."""
    cdef bnc_norm_gradient a
    cdef int error
    fill_backward(&a, dy, saved)
    cdef Array sum_g = new_vector(saved.shape.c, cnp.NPY_FLOAT64)
    cdef Array sum_gx = new_vector(saved.shape.c, cnp.NPY_FLOAT64)
    a.sum_g = <double*>data_of(sum_g)
    a.sum_gx = <double*>data_of(sum_gx)
    with nogil:
        error = ops_for(saved.dtype).gradient_sums(&a)
    raise_for(error)
    return valid_positions(&saved.shape), sum_g, sum_gx


def input_gradient(dy, NormSaved saved not None, double count, sum_dy, sum_dy_x_hat, out):
    """dx, and the gradient of the residual where there was one (else None)."""
    cdef bnc_norm_gradient a
    cdef int error
    fill_backward(&a, dy, saved)
    dx = gradient_target(out, dy, saved)
    dresidual = new_like(saved.x) if saved.has_residual else None
    a.dx = data_of(dx)
    a.dresidual = data_of(dresidual) if dresidual is not None else NULL
    a.sum_g = doubles(sum_dy, saved.shape.c)
    a.sum_gx = doubles(sum_dy_x_hat, saved.shape.c)
    a.count = count
    if count <= 0:
        a.batch = False
    with nogil:
        error = ops_for(saved.dtype).input_gradient(&a)
    raise_for(error)
    return dx, dresidual

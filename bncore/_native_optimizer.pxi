# Optimizer steps over flat vectors, in place.

cdef int fill_step(
    bnc_optimizer* o, object param, object grad, double lr, double weight_decay, int64_t decayed
) except -1:
    cdef int dtype = real_type(param)
    if dtype < 0 or cnp.PyArray_NDIM(<Array>param) != 1 or not is_writable(param):
        raise Refused
    o.size = cnp.PyArray_DIM(<Array>param, 0)
    o.param = data_of(param)
    o.grad = vector(grad, dtype, o.size)
    if o.grad == NULL or overlap(grad, param) or decayed < 0 or decayed > o.size:
        raise Refused
    o.lr = lr
    o.weight_decay = weight_decay
    o.decayed = decayed
    o.velocity = o.m = o.v = NULL
    return dtype


def sgd_step(
    param, grad, velocity, double lr, double momentum, bint nesterov, double weight_decay,
    int64_t decayed
):
    """g = grad + decay param, v = momentum v + g, param -= lr v (Nesterov: lr (g + momentum v))."""
    cdef bnc_optimizer o
    cdef int dtype = fill_step(&o, param, grad, lr, weight_decay, decayed)
    if velocity is not None:
        o.velocity = vector_out(velocity, dtype, o.size)
        if overlap(velocity, param) or overlap(velocity, grad):
            raise Refused
    o.momentum = momentum
    o.nesterov = nesterov
    with nogil:
        ops_for(dtype).sgd_step(&o)


def adamw_step(
    param, grad, m, v, double lr, double beta1, double beta2, double eps, double weight_decay,
    int64_t step, int64_t decayed
):
    """One step of AdamW; `step` counts from 1."""
    cdef bnc_optimizer o
    cdef int dtype = fill_step(&o, param, grad, lr, weight_decay, decayed)
    o.m = vector_out(m, dtype, o.size)
    o.v = vector_out(v, dtype, o.size)
    if o.m == NULL or o.v == NULL or overlap(m, param) or overlap(m, grad):
        raise Refused
    if overlap(v, param) or overlap(v, grad) or overlap(v, m):
        raise Refused
    o.beta1, o.beta2, o.eps, o.step = beta1, beta2, eps, step
    with nogil:
        ops_for(dtype).adamw_step(&o)


def squared_norm(x):
    """Sum of x^2, accumulated in float64."""
    cdef int error, dtype = real_type(x)
    cdef double result = 0
    if dtype < 0:
        raise Refused
    cdef int64_t size = cnp.PyArray_SIZE(<Array>x)
    cdef void* p = data_of(x)
    with nogil:
        error = ops_for(dtype).squared_norm(p, size, &result)
    raise_for(error)
    return result


def scale_(x, double factor):
    """x *= factor."""
    cdef int dtype = real_type(x)
    if dtype < 0 or not is_writable(x):
        raise Refused
    cdef int64_t size = cnp.PyArray_SIZE(<Array>x)
    cdef void* p = data_of(x)
    with nogil:
        ops_for(dtype).scale(p, size, factor)

# Element-wise activations and the dropout mask.

cdef extern from "bncore.h" nogil:
    enum:
        BNC_RELU
        BNC_LEAKY_RELU
        BNC_GELU
        BNC_GELU_TANH
        BNC_SILU
        BNC_SIGMOID
        BNC_TANH

cdef dict _ACTIVATIONS = {
    "relu": BNC_RELU,
    "leaky_relu": BNC_LEAKY_RELU,
    "gelu": BNC_GELU,
    "gelu_tanh": BNC_GELU_TANH,
    "silu": BNC_SILU,
    "sigmoid": BNC_SIGMOID,
    "tanh": BNC_TANH,
}


cdef inline object same_or_out(object x, int dtype, object out):
    """A new array like x, or `out` if it can be written: x itself may be, no part of it."""
    if out is None:
        return new_like(x)
    like(out, x, dtype)
    if not is_writable(out) or (data_of(out) != data_of(x) and overlap(out, x)):
        raise Refused
    return out


def activation(x, kind, double slope, out):
    """y = f(x), f named by `kind`; `slope` is leaky_relu's. `out` may be x itself."""
    cdef int which = _ACTIVATIONS[kind]
    cdef int dtype = real_type(x)
    if dtype < 0:
        raise Refused
    cdef object y = same_or_out(x, dtype, out)
    cdef int64_t size = cnp.PyArray_SIZE(<Array>x)
    cdef void* px = data_of(x)
    cdef void* py = data_of(y)
    if size > KEEP_GIL:
        with nogil:
            ops_for(dtype).activation(px, py, size, which, slope)
    else:
        ops_for(dtype).activation(px, py, size, which, slope)
    return y


def activation_backward(dy, kept, kind, double slope, out):
    """dx = dy f'(x) from what the forward pass kept. `out` may be dy itself."""
    cdef int which = _ACTIVATIONS[kind]
    cdef int dtype = real_type(kept)
    if dtype < 0 or like(dy, kept, dtype) == NULL:
        raise Refused
    cdef object dx = same_or_out(dy, dtype, out)
    if overlap(dx, kept):
        raise Refused
    cdef int64_t size = cnp.PyArray_SIZE(<Array>kept)
    cdef void* pdy = data_of(dy)
    cdef void* pk = data_of(kept)
    cdef void* pdx = data_of(dx)
    if size > KEEP_GIL:
        with nogil:
            ops_for(dtype).activation_backward(pdy, pk, pdx, size, which, slope)
    else:
        ops_for(dtype).activation_backward(pdy, pk, pdx, size, which, slope)
    return dx


def mask_scale(x, keep, double scale, out):
    """x scale where `keep` (bool), x 0 elsewhere. `out` may be x itself."""
    cdef int dtype = real_type(x)
    if dtype < 0 or not bnc_is_array(<PyObject*>keep) or not bnc_is_carray_ro(<PyObject*>keep):
        raise Refused
    if bnc_type(<PyObject*>keep) != cnp.NPY_BOOL or not same_shape(keep, x):
        raise Refused
    cdef object y = same_or_out(x, dtype, out)
    cdef int64_t size = cnp.PyArray_SIZE(<Array>x)
    cdef void* px = data_of(x)
    cdef const uint8_t* pk = <const uint8_t*>data_of(keep)
    cdef void* py = data_of(y)
    with nogil:
        ops_for(dtype).mask_scale(px, pk, py, size, scale)
    return y

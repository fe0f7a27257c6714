# Losses (means, in float64) and their gradients.

cdef int fill_cross_entropy(
    bnc_cross_entropy* a, object logits, object target, double label_smoothing
) except -1:
    cdef int dtype = real_type(logits)
    if dtype < 0 or cnp.PyArray_NDIM(<Array>logits) != 2:
        raise Refused
    a.n = cnp.PyArray_DIM(<Array>logits, 0)
    a.k = cnp.PyArray_DIM(<Array>logits, 1)
    if not bnc_is_array(<PyObject*>target) or not bnc_is_carray_ro(<PyObject*>target):
        raise Refused
    if bnc_type(<PyObject*>target) != cnp.NPY_INT64 or cnp.PyArray_NDIM(<Array>target) != 1:
        raise Refused
    if a.n < 1 or a.k < 1 or cnp.PyArray_DIM(<Array>target, 0) != a.n:
        raise Refused
    a.logits = data_of(logits)
    a.target = <const int64_t*>data_of(target)
    a.smoothing = label_smoothing
    return dtype


def cross_entropy(logits, target, double label_smoothing):
    """The loss, and each row's maximum and sum of exp(z - maximum). Targets lie in 0..k-1."""
    cdef bnc_cross_entropy a
    cdef int error
    cdef int dtype = fill_cross_entropy(&a, logits, target, label_smoothing)
    cdef Array shift = new_vector(a.n, dtype)
    cdef Array total = new_vector(a.n, dtype)
    a.shift = data_of(shift)
    a.total = data_of(total)
    with nogil:
        error = ops_for(dtype).cross_entropy(&a)
    raise_for(error)
    return a.loss, shift, total


def cross_entropy_backward(logits, target, shift, total, double label_smoothing):
    """(softmax(logits) - q) / n."""
    cdef bnc_cross_entropy a
    cdef int dtype = fill_cross_entropy(&a, logits, target, label_smoothing)
    a.shift = vector(shift, dtype, a.n)
    a.total = vector(total, dtype, a.n)
    if a.shift == NULL or a.total == NULL:
        raise Refused
    cdef Array dlogits = new_like(logits)
    a.dlogits = data_of(dlogits)
    with nogil:
        ops_for(dtype).cross_entropy_backward(&a)
    return dlogits


cdef int fill_pair(bnc_pair_loss* a, object pred, object target) except -1:
    cdef int dtype = real_type(pred)
    if dtype < 0 or like(target, pred, dtype) == NULL:
        raise Refused
    a.size = cnp.PyArray_SIZE(<Array>pred)
    if a.size < 1:
        raise Refused
    a.pred = data_of(pred)
    a.target = data_of(target)
    return dtype


def mse(pred, target):
    """The mean of (pred - target)^2."""
    cdef bnc_pair_loss a
    cdef int error, dtype = fill_pair(&a, pred, target)
    with nogil:
        error = ops_for(dtype).mse(&a)
    raise_for(error)
    return a.loss


def mse_backward(pred, target):
    """2 (pred - target) / size."""
    cdef bnc_pair_loss a
    cdef int dtype = fill_pair(&a, pred, target)
    cdef Array dpred = new_like(pred)
    a.dpred = data_of(dpred)
    with nogil:
        ops_for(dtype).mse_backward(&a)
    return dpred


def bce_with_logits(logits, target):
    """The mean of max(z, 0) - z t + log(1 + exp(-|z|))."""
    cdef bnc_pair_loss a
    cdef int error, dtype = fill_pair(&a, logits, target)
    with nogil:
        error = ops_for(dtype).bce_with_logits(&a)
    raise_for(error)
    return a.loss


def bce_with_logits_backward(logits, target):
    """(sigmoid(z) - t) / size."""
    cdef bnc_pair_loss a
    cdef int dtype = fill_pair(&a, logits, target)
    cdef Array dlogits = new_like(logits)
    a.dpred = data_of(dlogits)
    with nogil:
        ops_for(dtype).bce_with_logits_backward(&a)
    return dlogits

# Statistics of samples that carry weights.

def weighted_statistics(x, weights, axis):
    """Sum of weights per channel, mean (c,) and M2 = sum of w (x - mean)^2 (c,), in float64.

    weights: (n,) float64, all positive, n being what is in front of the channel axis.
    """
    cdef NormSaved saved = begin(x, axis, None, False)
    cdef double* w = doubles(weights, saved.shape.n)
    cdef Array mean = new_vector(saved.shape.c, cnp.NPY_FLOAT64)
    cdef Array m2 = new_vector(saved.shape.c, cnp.NPY_FLOAT64)
    cdef void* px = data_of(x)
    cdef double* pm = <double*>data_of(mean)
    cdef double* pv = <double*>data_of(m2)
    cdef double count
    cdef int error
    if w == NULL or saved.shape.n * saved.shape.c * saved.shape.s == 0:
        raise Refused
    with nogil:
        error = ops_for(saved.dtype).weighted_statistics(
            saved.shape.n, saved.shape.c, saved.shape.s, px, w, &count, pm, pv
        )
    raise_for(error)
    return count, mean, m2

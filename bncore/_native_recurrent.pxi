# Recurrent layers in one direction, given their input products.

cdef extern from "bncore.h" nogil:
    enum:
        BNC_RNN_TANH
        BNC_RNN_RELU
        BNC_GRU
        BNC_LSTM

cdef extern from *:
    """
    #define bnc_is_behaved_ro(o) PyArray_ISBEHAVED_RO((PyArrayObject *)(o))
    """
    bint bnc_is_behaved_ro(PyObject*)

cdef dict _RECURRENT = {
    "rnn_tanh": BNC_RNN_TANH, "rnn_relu": BNC_RNN_RELU, "gru": BNC_GRU, "lstm": BNC_LSTM,
}


cdef inline int64_t gates_of(int kind) noexcept:
    """Blocks of `units` in a row of products."""
    return 4 if kind == BNC_LSTM else 3 if kind == BNC_GRU else 1


cdef inline void* matrix(object o, int dtype, int64_t m, int64_t n) except? NULL:
    """Pointer to an array (m, n) of `dtype` for reading; NULL for None."""
    if o is None:
        return NULL
    if real_type(o) != dtype or cnp.PyArray_NDIM(<Array>o) != 2:
        raise Refused
    if cnp.PyArray_DIM(<Array>o, 0) != m or cnp.PyArray_DIM(<Array>o, 1) != n:
        raise Refused
    return data_of(o)


cdef inline void* matrix_rows(
    object o, int dtype, int64_t m, int64_t n, int64_t* pitch
) except? NULL:
    """The same for rows that may lie apart, `pitch` elements from one to the next."""
    cdef int64_t size = item_size(dtype)
    if o is None:
        return NULL
    if not bnc_is_array(<PyObject*>o) or not bnc_is_behaved_ro(<PyObject*>o):
        raise Refused
    if bnc_type(<PyObject*>o) != dtype or cnp.PyArray_NDIM(<Array>o) != 2:
        raise Refused
    if cnp.PyArray_DIM(<Array>o, 0) != m or cnp.PyArray_DIM(<Array>o, 1) != n:
        raise Refused
    if m > 0 and n > 1 and cnp.PyArray_STRIDE(<Array>o, 1) != size:
        raise Refused
    pitch[0] = n
    if m > 1:
        pitch[0] = cnp.PyArray_STRIDE(<Array>o, 0) // size
        if pitch[0] < n or cnp.PyArray_STRIDE(<Array>o, 0) % size:
            raise Refused
    return data_of(o)


cdef inline size_t reach(int64_t m, int64_t n, int64_t pitch, int dtype) noexcept:
    """Bytes from the first to the last element of such rows."""
    return <size_t>((m - 1) * pitch + n) * item_size(dtype) if m > 0 and n > 0 else 0


cdef int64_t* lengths_of(object lengths, int64_t m) except NULL:
    """The lengths of sequences that have m rows together."""
    cdef int64_t i, total = 0
    cdef int64_t* p
    if not bnc_is_array(<PyObject*>lengths) or not bnc_is_carray_ro(<PyObject*>lengths):
        raise Refused
    if bnc_type(<PyObject*>lengths) != cnp.NPY_INT64 or cnp.PyArray_NDIM(<Array>lengths) != 1:
        raise Refused
    p = <int64_t*>data_of(lengths)
    for i in range(cnp.PyArray_DIM(<Array>lengths, 0)):
        if p[i] < 0 or p[i] > m - total:
            raise Refused
        total += p[i]
    if total != m:
        raise Refused
    return p


cdef inline Array new_matrix(int64_t m, int64_t n, int dtype):
    cdef cnp.npy_intp[2] dims
    dims[0], dims[1] = m, n
    return new_array(2, dims, dtype)


def recurrent(products, weight, bias, h0, c0, lengths, kind, bint reverse, bint keep, out):
    """(y, hn, cn or None, gates or None, cells or None) of packed rows; the last two if `keep`."""
    cdef bnc_recurrent a
    cdef int dtype = real_type(products), error
    cdef int64_t width
    a.kind = _RECURRENT[kind]
    a.reverse = reverse
    if dtype < 0 or cnp.PyArray_NDIM(<Array>products) != 2:
        raise Refused
    a.m, width = cnp.PyArray_DIM(<Array>products, 0), cnp.PyArray_DIM(<Array>products, 1)
    a.units = width // gates_of(a.kind)
    if a.units < 1 or a.units * gates_of(a.kind) != width:
        raise Refused
    a.lengths = lengths_of(lengths, a.m)
    a.n = cnp.PyArray_DIM(<Array>lengths, 0)
    a.products = data_of(products)
    a.weight = matrix(weight, dtype, width, a.units)
    a.bias = vector(bias, dtype, width)
    a.h0, a.c0 = matrix(h0, dtype, a.n, a.units), matrix(c0, dtype, a.n, a.units)
    if a.weight == NULL or (c0 is not None and a.kind != BNC_LSTM):
        raise Refused
    y = new_matrix(a.m, a.units, dtype) if out is None else out
    a.y = matrix_rows(y, dtype, a.m, a.units, &a.y_pitch)
    if out is not None:
        judge_rows(&a, dtype, out)
    hn = new_matrix(a.n, a.units, dtype)
    a.hn = data_of(hn)
    a.cn = a.gates = a.cells = NULL
    cn = gates = cells = None
    if a.kind == BNC_LSTM:
        cn = new_matrix(a.n, a.units, dtype)
        a.cn = data_of(cn)
    if keep and a.kind in (BNC_GRU, BNC_LSTM):
        gates = new_matrix(a.m, 4 * a.units, dtype)
        a.gates = data_of(gates)
    if keep and a.kind == BNC_LSTM:
        cells = new_matrix(a.m, a.units, dtype)
        a.cells = data_of(cells)
    with nogil:
        error = ops_for(dtype).recurrent(&a)
    raise_for(error)
    return y, hn, cn, gates, cells


cdef int judge_rows(const bnc_recurrent* a, int dtype, object out) except -1:
    """`out` is written to, so it must be writable and apart from what is read."""
    cdef int64_t width = a.units * gates_of(a.kind)
    cdef size_t y = reach(a.m, a.units, a.y_pitch, dtype)
    cdef size_t state = reach(a.n, a.units, a.units, dtype)
    if not cnp.PyArray_ISWRITEABLE(<Array>out):
        raise Refused
    if meet(a.y, y, a.products, reach(a.m, width, width, dtype)):
        raise Refused
    if meet(a.y, y, a.weight, reach(width, a.units, a.units, dtype)):
        raise Refused
    if meet(a.y, y, a.h0, state) or meet(a.y, y, a.c0, state):
        raise Refused
    if meet(a.y, y, a.bias, reach(1, width, width, dtype)):
        raise Refused
    return 0


def recurrent_backward(
    dy, dhn, dcn, weight, h0, c0, lengths, y, gates, cells, kind, bint reverse, bint need_dbias,
    dweight, dbias
):
    """(dproducts, dweight, dbias or None, dh0, dc0 or None); dy, dhn and dcn may be None: zeros."""
    cdef bnc_recurrent_gradient a
    cdef int dtype = real_type(weight), error
    cdef int64_t width
    a.kind = _RECURRENT[kind]
    a.reverse = reverse
    if dtype < 0:
        raise Refused
    width, a.units = cnp.PyArray_DIM(<Array>weight, 0), cnp.PyArray_DIM(<Array>weight, 1)
    a.m, a.n = cnp.PyArray_DIM(<Array>y, 0), cnp.PyArray_DIM(<Array>lengths, 0)
    a.lengths = lengths_of(lengths, a.m)
    a.weight = data_of(weight)
    a.h0, a.c0 = matrix(h0, dtype, a.n, a.units), matrix(c0, dtype, a.n, a.units)
    a.y = matrix_rows(y, dtype, a.m, a.units, &a.y_pitch)
    a.gates = matrix(gates, dtype, a.m, 4 * a.units)
    a.cells = matrix(cells, dtype, a.m, a.units)
    a.dy = matrix_rows(dy, dtype, a.m, a.units, &a.dy_pitch)
    a.dhn, a.dcn = matrix(dhn, dtype, a.n, a.units), matrix(dcn, dtype, a.n, a.units)
    if (a.gates == NULL and a.kind in (BNC_GRU, BNC_LSTM)) or dcn is not None and cells is None:
        raise Refused
    dproducts = new_matrix(a.m, width, dtype)
    a.dproducts = data_of(dproducts)
    dweight = gradient_out(dweight, &a, dtype, width, a.units)
    a.dweight = data_of(dweight)
    a.dbias = NULL
    if need_dbias:
        dbias = gradient_out(dbias, &a, dtype, width, 0)
        a.dbias = data_of(dbias)
        if overlap(dbias, dweight):
            raise Refused
    dh0, dc0 = new_matrix(a.n, a.units, dtype), None
    a.dh0 = data_of(dh0)
    a.dc0 = NULL
    if a.kind == BNC_LSTM:
        dc0 = new_matrix(a.n, a.units, dtype)
        a.dc0 = data_of(dc0)
    with nogil:
        error = ops_for(dtype).recurrent_backward(&a)
    raise_for(error)
    return dproducts, dweight, dbias if need_dbias else None, dh0, dc0


cdef object gradient_out(
    object o, const bnc_recurrent_gradient* a, int dtype, int64_t rows, int64_t columns
):
    """`o`, or a new array (rows, columns), (rows,) for 0 columns; apart from what is read."""
    cdef void* p
    cdef size_t size = reach(rows, columns if columns else 1, columns if columns else 1, dtype)
    cdef size_t state = reach(a.n, a.units, a.units, dtype)
    if o is None:
        return new_matrix(rows, columns, dtype) if columns else new_vector(rows, dtype)
    p = matrix(o, dtype, rows, columns) if columns else vector(o, dtype, rows)
    if not is_writable(o) or meet(p, size, a.y, reach(a.m, a.units, a.y_pitch, dtype)):
        raise Refused
    if meet(p, size, a.dy, reach(a.m, a.units, a.dy_pitch, dtype)):
        raise Refused
    if meet(p, size, a.gates, reach(a.m, 4 * a.units, 4 * a.units, dtype)):
        raise Refused
    if meet(p, size, a.cells, reach(a.m, a.units, a.units, dtype)):
        raise Refused
    if meet(p, size, a.weight, reach(a.units, rows, rows, dtype)):
        raise Refused
    if meet(p, size, a.h0, state) or meet(p, size, a.c0, state):
        raise Refused
    if meet(p, size, a.dhn, state) or meet(p, size, a.dcn, state):
        raise Refused
    return o

# From ndarray to pointer and back: one check per array, in C; new arrays from the pool.

cimport cython
cimport numpy as cnp
from cpython.ref cimport PyObject
from libc.math cimport isfinite
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from functools import update_wrapper as _update_wrapper

from bncore.support.errors import Refused

cnp.import_array()

cdef extern from "bncore.h" nogil:
    enum:
        BNC_OK
        BNC_NO_MEMORY
    void* bnc_pool_get(size_t) noexcept
    void bnc_pool_put(void*) noexcept

cdef extern from *:
    """
    #include "bncore.h"
    #include <string.h>

    /* The pool as an allocator of NumPy's (NEP 49): an array that owns a block frees it so. */
    static void *bnc_handler_malloc(void *context, size_t bytes)
    {
        return bnc_pool_get(bytes ? bytes : 1);
    }
    static void *bnc_handler_calloc(void *context, size_t count, size_t size)
    {
        if (size && count > SIZE_MAX / size) return NULL;
        const size_t bytes = count * size;
        void *p = bnc_pool_get(bytes ? bytes : 1);
        return p ? memset(p, 0, bytes) : NULL;
    }
    static void bnc_handler_free(void *context, void *p, size_t bytes) { bnc_pool_put(p); }
    static void *bnc_handler_realloc(void *context, void *p, size_t bytes)
    {
        void *q = bnc_pool_get(bytes ? bytes : 1);
        if (!q || !p) return q;
        const size_t had = bnc_pool_usable(p);
        memcpy(q, p, had < bytes ? had : bytes);
        bnc_pool_put(p);
        return q;
    }
    static PyDataMem_Handler bnc_handler = {"bncore_pool", 1,
        {NULL, bnc_handler_malloc, bnc_handler_calloc, bnc_handler_realloc, bnc_handler_free}};
    static PyObject *bnc_handler_capsule; /* kept for ever: arrays may outlive the module */

    static int bnc_make_handler(void)
    {
        bnc_handler_capsule = PyCapsule_New(&bnc_handler, "mem_handler", NULL);
        return bnc_handler_capsule ? 0 : -1;
    }
    /* A new array that owns a block of the pool, as np.empty's arrays own theirs; only the
     * allocator differs. */
    static PyObject *bnc_new_array(int ndim, npy_intp *dims, int type, size_t bytes)
    {
        void *block = bnc_pool_get(bytes ? bytes : 1);
        if (!block)
            return PyErr_Format(PyExc_MemoryError, "no memory for an array of %zu bytes", bytes);
        PyObject *a = PyArray_NewFromDescr(&PyArray_Type, PyArray_DescrFromType(type), ndim, dims,
                                           NULL, block, NPY_ARRAY_CARRAY, NULL);
        if (!a) { /* more than NumPy can address, say */
            bnc_pool_put(block);
            return NULL;
        }
        PyArrayObject_fields *fields = (PyArrayObject_fields *)a;
        Py_INCREF(bnc_handler_capsule);
        fields->mem_handler = bnc_handler_capsule;
        fields->flags |= NPY_ARRAY_OWNDATA;
        return a;
    }
    #define bnc_is_array(o) PyArray_CheckExact(o)
    #define bnc_type(o) PyArray_TYPE((PyArrayObject *)(o))
    #define bnc_is_carray(o) PyArray_ISCARRAY((PyArrayObject *)(o))
    #define bnc_is_carray_ro(o) PyArray_ISCARRAY_RO((PyArrayObject *)(o))
    """
    int bnc_make_handler() except -1
    object bnc_new_array(int, cnp.npy_intp*, int, size_t)
    bint bnc_is_array(PyObject*)
    int bnc_type(PyObject*)
    bint bnc_is_carray(PyObject*)
    bint bnc_is_carray_ro(PyObject*)

bnc_make_handler()

ctypedef cnp.ndarray Array

cdef inline int real_type(object o) noexcept:
    """NPY_FLOAT or NPY_DOUBLE of an array taken as it is (contiguous, aligned, native), else -1."""
    if not bnc_is_array(<PyObject*>o) or not bnc_is_carray_ro(<PyObject*>o):
        return -1
    cdef int t = bnc_type(<PyObject*>o)
    return t if t == cnp.NPY_FLOAT32 or t == cnp.NPY_FLOAT64 else -1


cdef inline bint is_writable(object o) noexcept:
    return bnc_is_carray(<PyObject*>o)


cdef inline void* data_of(object o) noexcept:
    return cnp.PyArray_DATA(<Array>o)


cdef inline bint same_shape(object a, object b) noexcept:
    cdef int i, ndim = cnp.PyArray_NDIM(<Array>a)
    if cnp.PyArray_NDIM(<Array>b) != ndim:
        return False
    for i in range(ndim):
        if cnp.PyArray_DIM(<Array>a, i) != cnp.PyArray_DIM(<Array>b, i):
            return False
    return True


cdef inline void* vector(object o, int dtype, int64_t c) except? NULL:
    """Pointer to a (c,) array of `dtype` for reading; NULL for None."""
    if o is None:
        return NULL
    if real_type(o) != dtype or cnp.PyArray_NDIM(<Array>o) != 1:
        raise Refused
    if cnp.PyArray_DIM(<Array>o, 0) != c:
        raise Refused
    return data_of(o)


cdef inline void* vector_out(object o, int dtype, int64_t c) except? NULL:
    """The same for writing."""
    cdef void* p = vector(o, dtype, c)
    if p != NULL and not is_writable(o):
        raise Refused
    return p


cdef inline void* like(object o, object x, int dtype) except? NULL:
    """Pointer to an array of x's shape and dtype for reading; NULL for None."""
    if o is None:
        return NULL
    if real_type(o) != dtype or not same_shape(o, x):
        raise Refused
    return data_of(o)


cdef inline bint overlap(object a, object b) noexcept:
    """Whether two contiguous arrays share memory."""
    if b is None:
        return False
    cdef char* p = <char*>data_of(a)
    cdef char* q = <char*>data_of(b)
    return p < q + cnp.PyArray_NBYTES(<Array>b) and q < p + cnp.PyArray_NBYTES(<Array>a)


cdef inline bint meet(const void* p, size_t p_bytes, const void* q, size_t q_bytes) noexcept:
    """Whether two pieces of memory share some; NULL shares nothing."""
    if p == NULL or q == NULL:
        return False
    return <const char*>p < <const char*>q + q_bytes and <const char*>q < <const char*>p + p_bytes


cdef inline size_t item_size(int dtype) noexcept:
    if dtype == cnp.NPY_FLOAT64 or dtype == cnp.NPY_INT64:
        return 8
    return 1 if dtype == cnp.NPY_UINT8 else 4


cdef inline Array new_array(int ndim, cnp.npy_intp* dims, int dtype):
    """An uninitialized array whose memory comes from, and returns to, the pool."""
    cdef size_t bytes = item_size(dtype)
    cdef int i
    for i in range(ndim):
        bytes *= <size_t>dims[i]
    return <Array>bnc_new_array(ndim, dims, dtype, bytes)


cdef inline Array new_like(object x):
    return new_array(cnp.PyArray_NDIM(<Array>x), cnp.PyArray_DIMS(<Array>x), bnc_type(<PyObject*>x))


cdef inline Array new_vector(int64_t c, int dtype):
    cdef cnp.npy_intp d = c
    return new_array(1, &d, dtype)


cdef inline double* statistics_block(int64_t count, int vectors) except NULL:
    """Memory for `vectors` times `count` doubles; the count of an array without values may be such
    that bytes wrap around."""
    cdef double* block = NULL
    if 0 <= count <= <int64_t>1 << 56:
        block = <double*>bnc_pool_get(<size_t>(8 * vectors * count))
    if block == NULL:
        raise MemoryError("no memory for the statistics")
    return block


cdef inline int raise_for(int error) except -1:
    if error == BNC_NO_MEMORY:
        raise MemoryError("no memory for the operation's scratch space")
    return 0

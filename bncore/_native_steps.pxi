# The steps of a plan: arguments in C that are filled once, and their run in one call.

cdef class StepArguments:
    """What one step, or several, are called with; the arrays they point to live as long."""
    cdef list arrays
    cdef void* block
    cdef int dtype

    def __cinit__(self):
        self.arrays = []
        self.block = NULL

    def __dealloc__(self):
        bnc_pool_put(self.block)

    cdef void* address(self) noexcept:
        return NULL

    cdef const void* read(self, object array, int64_t count) except? NULL:
        """Pointer to `count` elements of the plan's dtype; NULL for None."""
        if array is None:
            return NULL
        cdef void* p = elements(array, self.dtype, count)
        self.arrays.append(array)
        return p

    cdef void* write(self, object array, int64_t count) except? NULL:
        """The same for writing."""
        cdef void* p = <void*>self.read(array, count)
        if p != NULL and not is_writable(array):
            raise Refused
        return p


cdef inline int step_type(object dtype) except -1:
    """NPY_FLOAT or NPY_DOUBLE of a NumPy dtype."""
    cdef int t = (<cnp.dtype>dtype).type_num
    if t != cnp.NPY_FLOAT32 and t != cnp.NPY_FLOAT64:
        raise Refused
    return t


@cython.final
cdef class NormArguments(StepArguments):
    """One batch norm over (rows, channels), forward and backward; its statistics live here."""
    cdef bnc_norm forward
    cdef bnc_norm_gradient backward

    def __init__(self, dtype, int64_t rows, int64_t channels, weight, bias, running_mean,
                 running_var, double momentum, double eps, bint unbiased, bint relu, bint batch):
        cdef double* stats
        self.dtype = step_type(dtype)
        stats = statistics_block(channels, 4)
        self.block = stats
        memset(&self.forward, 0, sizeof(bnc_norm))
        memset(&self.backward, 0, sizeof(bnc_norm_gradient))
        self.forward.shape.n = self.backward.shape.n = rows
        self.forward.shape.c = self.backward.shape.c = channels
        self.forward.shape.s = self.backward.shape.s = 1
        self.forward.gamma = self.backward.gamma = self.read(weight, channels)
        self.forward.beta = self.backward.beta = self.read(bias, channels)
        self.forward.running_mean = self.write(running_mean, channels)
        self.forward.running_var = self.write(running_var, channels)
        self.forward.momentum = momentum
        self.forward.eps = eps
        self.forward.unbiased = unbiased
        self.forward.relu = self.backward.relu = relu
        self.forward.mean = stats
        self.forward.inv_std = stats + channels
        self.backward.mean = stats
        self.backward.inv_std = stats + channels
        self.backward.sum_g = stats + 2 * channels
        self.backward.sum_gx = stats + 3 * channels
        self.backward.batch = batch
        self.backward.count = <double>rows

    cdef int64_t size(self) noexcept:
        return self.forward.shape.n * self.forward.shape.c

    cdef void* address(self) noexcept:
        return &self.forward

    def place(self, x, y, residual):
        """Arrays of the forward pass; y is None where a convolution computes it as it reads."""
        self.forward.x = self.backward.x = self.read(x, self.size())
        self.forward.y = self.write(y, self.size())
        self.forward.residual = self.read(residual, self.size())
        if residual is not None and self.forward.relu:  # its mask cannot be had from x alone
            self.backward.y = self.forward.y

    def place_gradients(self, dy, dx, dresidual, dweight, dbias):
        """Arrays of the backward pass; dx is None where a convolution computes it as it reads."""
        self.backward.dy = self.read(dy, self.size())
        self.backward.dx = self.write(dx, self.size())
        self.backward.dresidual = self.write(dresidual, self.size())
        self.backward.dgamma = self.write(dweight, self.forward.shape.c)
        self.backward.dbeta = self.write(dbias, self.forward.shape.c)

    def use_running(self):
        """mean and inv_std from the running statistics as they are now."""
        ops_for(self.dtype).norm_constants(&self.forward)

    @property
    def momentum(self):
        return self.forward.momentum

    @momentum.setter
    def momentum(self, double value):
        self.forward.momentum = value


@cython.final
cdef class NormGradientArguments(StepArguments):
    """The backward pass of `norm`, as a step."""
    cdef NormArguments norm

    def __init__(self, NormArguments norm):
        self.norm = norm

    cdef void* address(self) noexcept:
        return &self.norm.backward


@cython.final
cdef class ConvArguments(StepArguments):
    """A convolution or product, forward, with the norms beside it."""
    cdef bnc_conv_chain a
    cdef void* weights

    def __cinit__(self):
        self.weights = NULL

    def __dealloc__(self):
        bnc_pool_put(self.weights)

    def __init__(self, dtype, geometry, x, weight, bias, residual, bint relu, y,
                 NormArguments norm_in, NormArguments norm_out, bint apply):
        self.dtype = step_type(dtype)
        memset(&self.a, 0, sizeof(bnc_conv_chain))
        set_geometry(&self.a.g, geometry)
        cdef bnc_conv* g = &self.a.g
        self.a.x = self.read(x, count_in(g))
        self.a.weight = self.read(weight, count_weight(g))
        self.a.bias = self.read(bias, g.co)
        self.a.residual = self.read(residual, count_out(g))
        self.a.relu = relu
        self.a.y = self.write(y, count_out(g))
        self.a.apply = apply
        if norm_in is not None:
            if norm_in.size() != count_in(g):
                raise Refused
            self.a.in_ = &norm_in.forward
        if norm_out is not None:
            if norm_out.size() != count_out(g):
                raise Refused
            self.a.out = &norm_out.forward
        self.arrays += [norm_in, norm_out]

    cdef void* address(self) noexcept:
        return &self.a

    def keep_weight(self, int64_t samples):
        """Bring the weight into the form in which it is read, once for all runs; its way is that of
        so many samples, however many are taken at a time."""
        cdef void* weights = NULL
        raise_for(ops_for(self.dtype).conv_keep(&self.a.g, False, samples, self.a.weight,
                                                &weights))
        bnc_pool_put(self.weights)
        self.weights = weights
        self.a.kept = weights

    def share_weight(self, ConvArguments other):
        """Read the weight that another one of the same geometry keeps."""
        self.arrays.append(other)
        self.a.kept = other.a.kept


@cython.final
cdef class ConvGradientArguments(StepArguments):
    """Backward of `ConvArguments`."""
    cdef bnc_conv_chain_gradient a

    def __init__(self, ConvArguments forward, dy, NormArguments norm_out, dx, more,
                 NormArguments front, dweight):
        self.dtype = forward.dtype
        memset(&self.a, 0, sizeof(bnc_conv_chain_gradient))
        self.a.g = forward.a.g
        cdef bnc_conv* g = &self.a.g
        self.a.x = forward.a.x
        self.a.in_ = forward.a.in_
        if self.a.in_ != NULL and self.a.in_.y != NULL:  # stored by then
            self.a.x = self.a.in_.y
            self.a.in_ = NULL
        self.a.weight = forward.a.weight
        self.a.dy = self.read(dy, count_out(g))
        self.a.dx = self.write(dx, count_in(g))
        self.a.more = self.read(more, count_in(g))
        self.a.dweight = self.write(dweight, count_weight(g))
        if norm_out is not None:
            if norm_out.size() != count_out(g):
                raise Refused
            self.a.out = &norm_out.backward
        if front is not None:
            if front.size() != count_in(g):
                raise Refused
            self.a.front = &front.backward
        self.arrays += [forward, norm_out, front]

    cdef void* address(self) noexcept:
        return &self.a


@cython.final
cdef class CopyArguments(StepArguments):
    """Rows of n values from one array to another; `from_at` and `to_at` are where they begin."""
    cdef bnc_copy a

    def __init__(self, dtype, from_, int64_t from_at, int64_t from_pitch, to, int64_t to_at,
                 int64_t to_pitch, int64_t rows, int64_t n):
        self.dtype = step_type(dtype)
        cdef size_t one = item_size(self.dtype)
        cdef int64_t from_size = cnp.PyArray_SIZE(<Array>from_)
        cdef int64_t to_size = cnp.PyArray_SIZE(<Array>to)
        if rows < 1 or n < 0 or from_at < 0 or to_at < 0:
            raise Refused
        if from_at + (rows - 1) * from_pitch + n > from_size:
            raise Refused
        if to_at + (rows - 1) * to_pitch + n > to_size:
            raise Refused
        self.a.from_ = <const char*>self.read(from_, from_size) + one * <size_t>from_at
        self.a.to = <char*>self.write(to, to_size) + one * <size_t>to_at
        self.a.rows, self.a.n = rows, n
        self.a.from_pitch, self.a.to_pitch = from_pitch, to_pitch

    cdef void* address(self) noexcept:
        return &self.a


@cython.final
cdef class TurnArguments(StepArguments):
    """(n, rows, columns) to (n, columns, rows)."""
    cdef bnc_transposition a

    def __init__(self, dtype, from_, to, int64_t n, int64_t rows, int64_t columns):
        self.dtype = step_type(dtype)
        self.a.from_ = self.read(from_, n * rows * columns)
        self.a.to = self.write(to, n * rows * columns)
        self.a.n, self.a.rows, self.a.columns = n, rows, columns

    cdef void* address(self) noexcept:
        return &self.a


@cython.final
cdef class SumArguments(StepArguments):
    """y = act(a + b)."""
    cdef bnc_sum s

    def __init__(self, dtype, a, b, y, bint relu):
        self.dtype = step_type(dtype)
        self.s.size = cnp.PyArray_SIZE(<Array>y)
        self.s.a, self.s.b = self.read(a, self.s.size), self.read(b, self.s.size)
        self.s.y = self.write(y, self.s.size)
        self.s.relu = relu

    cdef void* address(self) noexcept:
        return &self.s


@cython.final
cdef class ActivationArguments(StepArguments):
    """An activation, or with `kept` its backward pass."""
    cdef bnc_elementwise a

    def __init__(self, dtype, x, kept, y, str kind, double slope):
        self.dtype = step_type(dtype)
        self.a.size = cnp.PyArray_SIZE(<Array>y)
        self.a.x, self.a.kept = self.read(x, self.a.size), self.read(kept, self.a.size)
        self.a.y = self.write(y, self.a.size)
        self.a.kind = _ACTIVATIONS[kind]
        self.a.slope = slope

    cdef void* address(self) noexcept:
        return &self.a


@cython.final
cdef class BiasArguments(StepArguments):
    """dbias = sum of dy (rows, channels) over rows."""
    cdef bnc_bias_gradient a

    def __init__(self, dtype, dy, dbias, int64_t n, int64_t pixels, int64_t channels):
        self.dtype = step_type(dtype)
        self.a.n, self.a.pixels, self.a.c, self.a.channels_last = n, pixels, channels, True
        self.a.dy = self.read(dy, n * pixels * channels)
        self.a.dbias = self.write(dbias, channels)

    cdef void* address(self) noexcept:
        return &self.a


@cython.final
cdef class PoolArguments(StepArguments):
    """Windows over images with channels last, `forward` or backward; max pooling has an index."""
    cdef bnc_pooling a

    def __init__(self, dtype, from_, to, index, tuple shape, kernel, stride, padding,
                 bint count_include_pad, bint forward):
        self.dtype = step_type(dtype)
        fill_pooling(&self.a, shape, kernel, stride, padding, True)
        cdef int64_t large = self.a.n * self.a.c * self.a.h * self.a.w
        cdef int64_t small = self.a.n * self.a.c * self.a.h_out * self.a.w_out
        self.a.count_include_pad = count_include_pad
        self.a.from_ = self.read(from_, large if forward else small)
        self.a.to = self.write(to, small if forward else large)
        if index is not None:
            if cnp.PyArray_NBYTES(<Array>index) != small * (4 if self.a.wide else 1):
                raise Refused
            self.a.index = data_of(index)
            self.arrays.append(index)

    cdef void* address(self) noexcept:
        return &self.a


@cython.final
cdef class GlobalPoolArguments(StepArguments):
    """(n, s, c) to (n, c), `forward` or backward; index (n, c) is that of max pooling."""
    cdef bnc_global_pooling a

    def __init__(self, dtype, from_, to, index, int64_t n, int64_t s, int64_t c, bint forward):
        self.dtype = step_type(dtype)
        self.a.n, self.a.s, self.a.c, self.a.channels_last = n, s, c, True
        self.a.from_ = self.read(from_, n * s * c if forward else n * c)
        self.a.to = self.write(to, n * c if forward else n * s * c)
        if index is not None:
            if cnp.PyArray_NBYTES(<Array>index) != 8 * n * c:
                raise Refused
            self.a.index = <int64_t*>data_of(index)
            self.arrays.append(index)

    cdef void* address(self) noexcept:
        return &self.a


@cython.final
cdef class CrossEntropyArguments(StepArguments):
    """The loss of logits (n, k) and classes (n,), and its gradient."""
    cdef bnc_cross_entropy a

    def __init__(self, dtype, logits, target, shift, total, dlogits, double label_smoothing):
        cdef int64_t n, k
        self.dtype = fill_cross_entropy(&self.a, logits, target, label_smoothing)
        n, k = self.a.n, self.a.k
        if self.dtype != step_type(dtype):
            raise Refused
        self.arrays += [logits, target]
        self.a.shift, self.a.total = self.write(shift, n), self.write(total, n)
        self.a.dlogits = self.write(dlogits, n * k)

    cdef void* address(self) noexcept:
        return &self.a

    def take(self, target):
        """Copy int64 classes, if they are such; False for what has to be looked at more closely."""
        cdef int64_t i
        cdef int64_t wrong = 0
        cdef int64_t* to = <int64_t*>self.a.target
        if not bnc_is_array(<PyObject*>target) or not bnc_is_carray_ro(<PyObject*>target):
            return False
        if bnc_type(<PyObject*>target) != cnp.NPY_INT64 or cnp.PyArray_NDIM(<Array>target) != 1:
            return False
        if cnp.PyArray_DIM(<Array>target, 0) != self.a.n:
            return False
        cdef const int64_t* from_ = <const int64_t*>data_of(target)
        for i in range(self.a.n):
            wrong |= from_[i] < 0 or from_[i] >= self.a.k
            to[i] = from_[i]
        return wrong == 0

    @property
    def loss(self):
        return self.a.loss


@cython.final
cdef class Steps:
    """A list of steps of one dtype, run in one call."""
    cdef bnc_step* steps
    cdef int64_t* nanoseconds
    cdef int64_t count
    cdef int dtype
    cdef list arguments

    def __cinit__(self, dtype, list kinds, list arguments):
        cdef int64_t i
        cdef StepArguments one
        self.count = len(kinds)
        self.dtype = step_type(dtype)
        self.arguments = arguments
        self.nanoseconds = NULL
        self.steps = <bnc_step*>bnc_pool_get(sizeof(bnc_step) * <size_t>(self.count or 1))
        self.nanoseconds = <int64_t*>bnc_pool_get(8 * <size_t>(self.count or 1))
        if self.steps == NULL or self.nanoseconds == NULL:
            raise MemoryError("no memory for the steps of a plan")
        for i in range(self.count):
            one = arguments[i]
            self.steps[i].kind = _STEP_KINDS[kinds[i]]
            self.steps[i].arguments = one.address()

    def __dealloc__(self):
        bnc_pool_put(self.steps)
        bnc_pool_put(self.nanoseconds)

    def run(self, bint keep_gil=False):
        """All of them; with `keep_gil` (they are over sooner than it is handed on and back)."""
        cdef int error
        if keep_gil:
            error = bnc_run_steps(ops_for(self.dtype), self.steps, self.count, NULL)
        else:
            with nogil:
                error = bnc_run_steps(ops_for(self.dtype), self.steps, self.count, NULL)
        raise_for(error)

    def profile(self):
        """Run them; the seconds each took."""
        cdef int error
        cdef int64_t i
        with nogil:
            error = bnc_run_steps(ops_for(self.dtype), self.steps, self.count, self.nanoseconds)
        raise_for(error)
        return [self.nanoseconds[i] * 1e-9 for i in range(self.count)]


@cython.final
cdef class Pieces:
    """The same steps on pieces of a batch, each on one thread with memory of its own.

    `steps`, `x` and `y` have an entry for every thread: its steps, what they read, what they leave,
    each of `per` samples.
    """
    cdef bnc_pieces p
    cdef int dtype
    cdef bint keep_gil
    cdef list kept

    def __cinit__(self):
        self.p.places = NULL

    def __init__(self, list steps, list x, list y, int64_t samples, int64_t work, bint keep_gil):
        cdef int i
        cdef Steps one = steps[0]
        cdef Array first = x[0]
        self.dtype, self.keep_gil = one.dtype, keep_gil
        self.kept = [steps, x, y]
        self.p.samples, self.p.per, self.p.work = samples, cnp.PyArray_DIM(first, 0), work
        self.p.place_count = len(steps)
        if not 1 <= self.p.per <= samples:
            raise Refused
        self.p.x_bytes = <size_t>(cnp.PyArray_NBYTES(first) // self.p.per)
        self.p.y_bytes = <size_t>(cnp.PyArray_NBYTES(<Array>y[0]) // self.p.per)
        self.p.places = <bnc_piece_place*>bnc_pool_get(sizeof(bnc_piece_place) * len(steps))
        if self.p.places == NULL:
            raise MemoryError("no memory for the steps of a plan")
        memset(self.p.places, 0, sizeof(bnc_piece_place) * len(steps))
        for i in range(self.p.place_count):
            one = steps[i]
            self.p.places[i].steps, self.p.places[i].count = one.steps, one.count
            self.p.places[i].x, self.p.places[i].y = data_of(x[i]), data_of(y[i])

    def __dealloc__(self):
        bnc_pool_put(self.p.places)

    def run(self, x):
        """y, a new array; x has the plan's dtype and `samples` samples, C-contiguous."""
        cdef int error
        cdef Array like = self.kept[2][0]
        cdef cnp.npy_intp dims[32]
        memcpy(dims, cnp.PyArray_DIMS(like), sizeof(cnp.npy_intp) * cnp.PyArray_NDIM(like))
        dims[0] = self.p.samples
        y = new_array(cnp.PyArray_NDIM(like), dims, self.dtype)
        self.p.x = <const char*>elements(x, self.dtype, self.p.samples * self.p.x_bytes //
                                         item_size(self.dtype))
        self.p.y = <char*>data_of(y)
        if self.keep_gil:
            error = bnc_run_pieces(ops_for(self.dtype), &self.p)
        else:
            with nogil:
                error = bnc_run_pieces(ops_for(self.dtype), &self.p)
        raise_for(error)
        return y


def workspace(int64_t nbytes):
    """Bytes of the pool, not initialized; they begin on a cache line, many of them on a page."""
    return new_vector(nbytes, cnp.NPY_UINT8)


def unchanged(list guards):
    """Whether every (dict, name, value) still holds: the same object under that name."""
    cdef tuple guard
    for guard in guards:
        if (<dict>guard[0]).get(guard[1]) is not guard[2]:
            return False
    return True


_STEP_KINDS = {
    "batch_norm_train": BNC_STEP_batch_norm_train,
    "batch_norm_eval": BNC_STEP_batch_norm_eval,
    "normalize": BNC_STEP_normalize,
    "batch_norm_backward": BNC_STEP_batch_norm_backward,
    "norm_sums": BNC_STEP_norm_sums,
    "input_gradient": BNC_STEP_input_gradient,
    "conv": BNC_STEP_conv_chain,
    "conv_backward": BNC_STEP_conv_chain_backward,
    "copy": BNC_STEP_copy,
    "turn": BNC_STEP_turn,
    "sum": BNC_STEP_sum,
    "max_pool": BNC_STEP_max_pool,
    "max_pool_backward": BNC_STEP_max_pool_backward,
    "avg_pool": BNC_STEP_avg_pool,
    "avg_pool_backward": BNC_STEP_avg_pool_backward,
    "global_avg_pool": BNC_STEP_global_avg_pool,
    "global_avg_pool_backward": BNC_STEP_global_avg_pool_backward,
    "global_max_pool": BNC_STEP_global_max_pool,
    "global_max_pool_backward": BNC_STEP_global_max_pool_backward,
    "cross_entropy": BNC_STEP_cross_entropy,
    "cross_entropy_backward": BNC_STEP_cross_entropy_backward,
    "activation": BNC_STEP_activation,
    "activation_backward": BNC_STEP_activation_backward,
    "bias_gradient": BNC_STEP_conv_bias_gradient,
}

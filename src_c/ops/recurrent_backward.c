/* Gradients of recurrent layers: the chunks of recurrent.h go from their last step to the first and
 * write every row's gradients to its sums; those of weight and bias are then one product over all
 * rows, the same as a linear layer's. */
#include "recurrent.h"

#include <stdatomic.h>
#include <string.h>

#define OPS BNC_NAME4(bnc_ops, BNC_SUFFIX, , )

typedef struct {
    sequences s;
    const bnc_recurrent_gradient *a;
    bnc_real *before;  /* (m, units) the state before every row */
    bnc_real *dhidden; /* (m, width) gradients to the hidden products */
    atomic_int failed;
} call;

/* Scratch memory of a chunk. */
typedef struct {
    bnc_real *dh, *dc; /* (rows, units) gradients to the state behind the step at hand */
    bnc_real *d;       /* (rows, width) those to the hidden products of the step */
    bnc_real *zeros;   /* (units) */
} state;

/* The state before step `step` of sequence i: that of the row before, or the initial one. */
static const bnc_real *state_before(const sequences *s, const void *states, int64_t pitch,
                                    const void *initial, const bnc_real *zeros, int64_t i,
                                    int64_t step)
{
    if (step) return (const bnc_real *)states + row_of(s, i, step - 1) * pitch;
    return initial ? (const bnc_real *)initial + i * s->units : zeros;
}

/* One step of sequence r of the chunk, i of the batch. */
static void step_row(const call *f, const state *k, int64_t r, int64_t i, int64_t step)
{
    const bnc_recurrent_gradient *a = f->a;
    const int64_t units = a->units, width = f->s.width, row = row_of(&f->s, i, step);
    const bnc_real *gates = (const bnc_real *)a->gates + row * 4 * units;
    const bnc_real *h = state_before(&f->s, a->y, a->y_pitch, a->h0, k->zeros, i, step);
    bnc_real *dh = k->dh + r * units, *d = (bnc_real *)a->dproducts + row * width;
    bnc_real *dhidden = f->dhidden + row * width;
    if (a->dy) KERNELS->add((const bnc_real *)a->dy + row * a->dy_pitch, dh, units);
    if (a->kind == BNC_LSTM)
        KERNELS->lstm_gates_backward(
            gates, state_before(&f->s, a->cells, units, a->c0, k->zeros, i, step),
            (const bnc_real *)a->cells + row * units, dh, k->dc + r * units, d, units);
    else if (a->kind == BNC_GRU)
        KERNELS->gru_gates_backward(gates, h, dh, d, dhidden, units);
    else
        KERNELS->rnn_gates_backward((const bnc_real *)a->y + row * a->y_pitch, dh, d, units,
                                    a->kind == BNC_RNN_RELU);
    memcpy(k->d + r * width, dhidden, (size_t)width * sizeof *d);
    memcpy(f->before + row * units, h, (size_t)units * sizeof *h);
}

static void backward_chunk(int64_t number, void *arg)
{
    call *f = arg;
    const bnc_recurrent_gradient *a = f->a;
    const int64_t first = number * f->s.rows, count = bnc_min(f->s.rows, a->n - first);
    const int64_t *chunk = f->s.order + first, units = a->units, size = count * units;
    const int64_t width = f->s.width;
    bnc_real *memory = bnc_pool_get((size_t)(2 * size + count * width + units) * sizeof(bnc_real));
    if (!memory) {
        atomic_store(&f->failed, 1);
        return;
    }
    const state k = {memory, memory + size, memory + 2 * size, memory + 2 * size + count * width};
    memset(k.zeros, 0, (size_t)units * sizeof(bnc_real));
    collect(a->dhn, chunk, count, units, k.dh);
    if (a->kind == BNC_LSTM) collect(a->dcn, chunk, count, units, k.dc);
    for (int64_t step = f->s.lengths[chunk[0]] - 1; step >= 0; step--) {
        const int64_t active = running(&f->s, chunk, count, step);
        for (int64_t r = 0; r < active; r++) step_row(f, &k, r, chunk[r], step);
        KERNELS->gemm(0, k.d, width, a->weight, units, k.dh, units, active, units, width,
                      a->kind == BNC_GRU);
    }
    distribute(k.dh, chunk, count, units, a->dh0);
    if (a->kind == BNC_LSTM) distribute(k.dc, chunk, count, units, a->dc0);
    bnc_pool_put(memory);
}

/* dweight = dhidden^T before, dbias = sum of dhidden over all rows */
static int parameter_gradients(const call *f)
{
    const bnc_recurrent_gradient *a = f->a;
    const bnc_conv linear = {.n = a->m,
                             .ci = a->units,
                             .co = f->s.width,
                             .h = 1,
                             .w = 1,
                             .oh = 1,
                             .ow = 1,
                             .kh = 1,
                             .kw = 1,
                             .sh = 1,
                             .sw = 1,
                             .dh = 1,
                             .dw = 1,
                             .groups = 1,
                             .channels_last = 1};
    const int error = OPS.conv_weight_gradient(&linear, f->before, f->dhidden, a->dweight);
    if (error || !a->dbias) return error;
    return OPS.conv_bias_gradient(a->m, f->s.width, 1, 1, f->dhidden, a->dbias);
}

int BNC_OP(recurrent_backward)(const bnc_recurrent_gradient *a)
{
    call f = {.s = {.n = a->n,
                    .m = a->m,
                    .units = a->units,
                    .reverse = a->reverse,
                    .lengths = a->lengths},
              .a = a};
    if (sequences_of(&f.s, a->kind)) return BNC_NO_MEMORY;
    const int apart = a->kind == BNC_GRU; /* elsewhere both products have the same gradient */
    bnc_real *memory =
        bnc_pool_get((size_t)(a->m * (a->units + (apart ? f.s.width : 0)) + 1) * sizeof *memory);
    int error = !memory;
    if (memory) {
        f.before = memory;
        f.dhidden = apart ? memory + a->m * a->units : a->dproducts;
        bnc_run(backward_chunk, &f, f.s.chunks, f.s.threads);
        error = f.failed || parameter_gradients(&f);
    }
    bnc_pool_put(memory);
    bnc_pool_put(f.s.start);
    return error ? BNC_NO_MEMORY : BNC_OK;
}

/* The weight gradient of a convolution: which way it is summed, in parts, and how these become one. Design: conv_weight.h. */
#include "conv_weight.h"

#include <stdatomic.h>

/* Multiplications worth a part of their own; at most that many bytes of sums. */
enum { PART_WORK = 1 << 20, PARTS_BYTES = 64 << 20 };
/* Pixels of a part of a product, at least. */
enum { PIXELS = 32 };

int conv_weight_ready(conv_weight_call *a, const bnc_conv *g)
{
    *a = (conv_weight_call){.p = {.g = g}};
    if (g->channels_last && conv_is_product(g)) {
        a->way = CONV_PRODUCT;
        a->size = g->co * g->ci, a->units = g->h * g->w;
        return BNC_OK;
    }
    if (!conv_plan_make(&a->p, g, 0)) return BNC_NO_MEMORY;
    a->way = conv_winograd_choose(&a->p, g->n);
    (conv_tile(a->way) ? conv_weight_tiles_ready : conv_weight_rows_ready)(a);
    return BNC_OK;
}

void conv_weight_release(conv_weight_call *a) { conv_plan_free(&a->p); }

int64_t conv_weight_room(const conv_weight_call *a)
{ return PARTS_BYTES / (int64_t)sizeof(bnc_real) / a->size; }

int64_t conv_weight_parts(const conv_weight_call *a, int64_t units)
{
    const bnc_conv *g = a->p.g;
    const int64_t work = g->n * g->oh * g->ow * g->co * (g->ci / g->groups) * g->kh * g->kw;
    const int64_t most = bnc_min(BNC_WEIGHT_PARTS, conv_weight_room(a));
    return bnc_max(1, bnc_min(bnc_min(most, units), work / PART_WORK));
}

/* A 1x1 kernel with channels last: sums lie as the weight does, dY^T X of the pixels. */
static void multiply(const conv_weight_call *a, const bnc_real *x, const bnc_real *dy,
                     int64_t begin, int64_t end, int first, bnc_real *sums)
{
    const bnc_conv *g = a->p.g;
    KERNELS->gemm(1, dy + begin * g->co, g->co, x + begin * g->ci, g->ci, sums, g->ci, g->co, g->ci,
                  end - begin, !first);
}

int conv_weight_add(const conv_weight_call *a, const bnc_real *x, const bnc_real *dy, int64_t begin,
                    int64_t end, int first, bnc_real *sums, bnc_ahead *ahead)
{
    if (conv_tile(a->way)) return conv_weight_tiles_add(a, x, dy, begin, end, first, sums, ahead);
    if (a->way == CONV_DIRECT) {
        if (first) memset(sums, 0, (size_t)a->size * sizeof *sums);
        return conv_weight_rows_add(a, x, dy, begin, end, sums, ahead);
    }
    multiply(a, x, dy, begin, end, first, sums);
    return BNC_OK;
}

/* ---- parts become one ---- */

enum { MERGE_BLOCK = 4096 };

typedef struct {
    bnc_real *to;
    const bnc_real *others;
    int64_t count, size;
} merger;

static void merge_block(int64_t chunk, void *arg)
{
    const merger *m = arg;
    const int64_t at = chunk * MERGE_BLOCK, n = bnc_min(MERGE_BLOCK, m->size - at);
    for (int64_t other = 0; other < m->count; other++)
        KERNELS->add(m->others + other * m->size + at, m->to + at, n);
}

void conv_weight_finish(const conv_weight_call *a, bnc_real *sums, int64_t parts, bnc_real *dweight,
                        int threads)
{
    merger m = {sums, sums + a->size, parts - 1, a->size};
    if (parts > 1) bnc_run(merge_block, &m, bnc_ceil_div(a->size, MERGE_BLOCK), threads);
    if (conv_tile(a->way)) conv_weight_tiles_unpack(a, sums, dweight, threads);
    if (a->way == CONV_DIRECT) conv_weight_rows_unpack(a, sums, dweight);
    if (a->way == CONV_PRODUCT && sums != dweight)
        memcpy(dweight, sums, (size_t)a->size * sizeof *sums);
}

/* ---- the whole gradient ---- */

typedef struct {
    conv_weight_call call;
    const bnc_real *x, *dy;
    bnc_real *sums;
    int64_t parts, units;
    atomic_int failed;
} job;

static void sum_part(int64_t part, void *arg)
{
    job *j = arg;
    if (conv_weight_add(&j->call, j->x, j->dy, j->units * part / j->parts,
                        j->units * (part + 1) / j->parts, 1, j->sums + part * j->call.size, NULL))
        atomic_store(&j->failed, 1);
}

int BNC_OP(conv_weight_gradient)(const bnc_conv *g, const void *x, const void *dy, void *dweight)
{
    job j = {.x = x, .dy = dy};
    const int threads = conv_threads(g);
    if (conv_weight_ready(&j.call, g)) return BNC_NO_MEMORY;
    j.units = g->n * j.call.units;
    j.parts = conv_weight_parts(&j.call, j.call.way == CONV_PRODUCT ? bnc_ceil_div(j.units, PIXELS)
                                                                    : j.units);
    bnc_real *memory = NULL;
    const int in_place = j.call.way == CONV_PRODUCT && j.parts == 1; /* the sums are the gradient */
    if (!in_place) memory = bnc_pool_get((size_t)(j.parts * j.call.size) * sizeof(bnc_real));
    j.sums = in_place ? dweight : memory;
    if (j.sums) {
        bnc_run(sum_part, &j, j.parts, threads);
        conv_weight_finish(&j.call, j.sums, j.parts, dweight, threads);
    }
    bnc_pool_put(memory);
    conv_weight_release(&j.call);
    return !j.sums || j.failed ? BNC_NO_MEMORY : BNC_OK;
}

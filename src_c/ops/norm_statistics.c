/* Mean and M2 (sum of squared deviations) per channel: blocks in cache, merged in double in the order of the memory.
 * Kernels measure a block; this file walks blocks, merges them to one partial result a chunk, chunks to columns or
 * channels, and columns to channels (Chan, Golub & LeVeque 1979). Of masked arrays it sees the valid values only. */
#include "norm_reduce.h"
#include "norm_statistics.h"
#include "plan.h"

enum {
    SHIFT_ROWS = 16,    /* rows, ... */
    SHIFT_VALUES = 256, /* ... or values of a slab, that a first shift is taken from */
};

typedef struct {
    bnc_layout l;
    const bnc_shape *shape;
    const bnc_real *x;
    double *mean, *m2; /* (partials, width or c) */
    double *block;     /* (partials, 2 width or 2 c): statistics of the block at hand */
    int far;           /* bnc_far of x */
    int failed;        /* no memory for a chunk */
} task;

/* A small chunk takes two passes. Larger ones are cut into blocks that take one pass each: the first around a mean of few
 * rows, every other around the mean of the block before it, which data in some order (by class, by time) is nearer to than
 * to the mean of all so far. */
static void columns_chunk(int64_t k, void *arg)
{
    task *t = arg;
    const int64_t w = t->l.width;
    int64_t begin, end;
    bnc_real *scratch = bnc_gather_memory(t->shape, &t->l, 1, &t->failed);
    if (t->shape->runs && !scratch) return;
    bnc_chunk_rows(&t->l, k, &begin, &end);
    double *mean = t->mean + k * w, *m2 = t->m2 + k * w, *block = t->block + k * 2 * w;
    for (int64_t r = begin, rows; r < end; r += rows) {
        rows = bnc_min(BNC_NEAR_ROWS, end - r);
        const bnc_real *x = bnc_rows_at(t->shape, t->x, r * w, rows * w, scratch);
        if (end - begin <= BNC_BLOCK_ROWS) {
            KERNELS->columns_moments(x, w, rows, w, mean, m2);
        } else if (r == begin) {
            KERNELS->columns_shift(x, w, SHIFT_ROWS, w, mean);
            KERNELS->columns_moments_near(x, w, rows, w, mean, t->far, mean, m2);
        } else {
            const double *near = r == begin + BNC_NEAR_ROWS ? mean : block;
            KERNELS->columns_moments_near(x, w, rows, w, near, t->far, block, block + w);
            KERNELS->merge_moments(w, (double)(r - begin), mean, m2, (double)rows, block,
                                   block + w);
        }
    }
    bnc_pool_put(scratch);
}

/* `items` pieces, from sample n and element s on, of the box's channels; of masked arrays one by one. */
static void near_moments(const task *t, const bnc_box *b, int64_t n, int64_t items, int64_t s,
                         int64_t len, const double *near, double *mean, double *m2,
                         bnc_real *scratch)
{
    const int64_t c = t->l.c, stride = t->l.s, channels = b->c1 - b->c0;
    if (!t->shape->runs) {
        KERNELS->slabs_moments_near(t->x + (n * c + b->c0) * stride + s, items, c * stride,
                                    channels, stride, len, near, mean, m2);
        return;
    }
    for (int64_t i = 0; i < channels; i++)
        KERNELS->slabs_moments_near(bnc_piece_at(t->shape, t->x, n, b->c0 + i, s, len, scratch), 1,
                                    0, 1, 0, len, near + i, mean + i, m2 + i);
}

static void first_shift(const task *t, const bnc_box *b, double *near, bnc_real *scratch)
{
    const int64_t len = bnc_min(SHIFT_VALUES, b->s1 - b->s0), stride = t->l.s;
    if (!t->shape->runs) {
        KERNELS->slabs_shift(t->x + (b->n0 * t->l.c + b->c0) * stride + b->s0, b->c1 - b->c0,
                             stride, len, near);
        return;
    }
    for (int64_t c = b->c0; c < b->c1; c++)
        KERNELS->slabs_shift(bnc_piece_at(t->shape, t->x, b->n0, c, b->s0, len, scratch), 1, 0, len,
                             near + c - b->c0);
}

/* All blocks of a box: statistics of its channels from t->mean, t->m2 on, of its part. */
static void box_moments(const task *t, const bnc_box *b, bnc_real *scratch)
{
    const int64_t c = t->l.c, at = b->part * c + b->c0, group = bnc_group(b),
                  channels = b->c1 - b->c0;
    double *mean = t->mean + at, *m2 = t->m2 + at, *block = t->block + b->part * 2 * c + b->c0;
    double seen = 0;
    const double *near = mean;
    first_shift(t, b, mean, scratch);
    for (int64_t n = b->n0; n < b->n1; n += group)
        for (int64_t s = b->s0; s < b->s1; s += BNC_RUN) {
            const int64_t items = bnc_min(group, b->n1 - n), len = bnc_min(BNC_RUN, b->s1 - s);
            if (seen == 0) {
                near_moments(t, b, n, items, s, len, near, mean, m2, scratch);
            } else {
                near_moments(t, b, n, items, s, len, near, block, block + c, scratch);
                KERNELS->merge_moments(channels, seen, mean, m2, (double)(items * len), block,
                                       block + c);
                near = block;
            }
            seen += (double)(items * len);
        }
}

static void slabs_chunk(int64_t k, void *arg)
{
    task *t = arg;
    const bnc_box b = bnc_chunk_box(&t->l, k);
    bnc_real *scratch = bnc_gather_memory(t->shape, &t->l, 1, &t->failed);
    if (t->shape->runs && !scratch) return;
    box_moments(t, &b, scratch);
    bnc_pool_put(scratch);
}

/* Partial 0 becomes the statistics of all chunks and of the tail row. */
static void merge_columns(task *t)
{
    if (t->failed) return;
    const bnc_layout *l = &t->l;
    const int64_t w = l->width;
    for (int64_t k = 1; k < l->partials; k++) {
        int64_t begin, end;
        bnc_chunk_rows(l, k, &begin, &end);
        KERNELS->merge_moments(w, (double)begin, t->mean, t->m2, (double)(end - begin),
                               t->mean + k * w, t->m2 + k * w);
    }
    if (l->tail) {
        bnc_real *scratch = bnc_gather_memory(t->shape, l, 1, &t->failed);
        if (t->shape->runs && !scratch) return;
        KERNELS->columns_moments(bnc_rows_at(t->shape, t->x, l->rows * w, l->tail, scratch), w, 1,
                                 l->tail, t->block, t->block + w);
        bnc_pool_put(scratch);
        KERNELS->merge_moments(l->tail, (double)l->rows, t->mean, t->m2, 1, t->block, t->block + w);
    }
}

/* Columns of one channel become one: first the joined rows, then the s columns of a slab. */
static void fold_columns(task *t, double *mean, double *m2)
{
    const bnc_layout *l = &t->l;
    const int64_t row = l->c * l->s;
    double n = (double)(l->rows + (l->tail > 0));
    for (int64_t j = 1; j < l->joined; j++) {
        const double more = (double)(l->rows + (j * row < l->tail));
        KERNELS->merge_moments(row, n, t->mean, t->m2, more, t->mean + j * row, t->m2 + j * row);
        n += more;
    }
    if (l->s == 1) {
        memcpy(mean, t->mean, (size_t)l->c * sizeof *mean);
        memcpy(m2, t->m2, (size_t)l->c * sizeof *m2);
        return;
    }
    KERNELS->fold_moments(l->c, l->s, n, t->mean, t->m2, mean, m2);
}

static void merge_slabs(task *t, double *mean, double *m2)
{
    const bnc_layout *l = &t->l;
    double n = 0;
    for (int64_t part = 0; part < l->partials; part++) {
        const bnc_box b = bnc_chunk_box(l, part * l->c_blocks);
        const double more = (double)((b.n1 - b.n0) * (b.s1 - b.s0));
        if (part == 0) {
            memcpy(mean, t->mean, (size_t)l->c * sizeof *mean);
            memcpy(m2, t->m2, (size_t)l->c * sizeof *m2);
        } else {
            KERNELS->merge_moments(l->c, n, mean, m2, more, t->mean + part * l->c,
                                   t->m2 + part * l->c);
        }
        n += more;
    }
}

static int columns_statistics(task *t, double *mean, double *m2, int threads)
{
    const bnc_layout *l = &t->l;
    /* one partial of whole channels is the result itself */
    const int direct = l->partials == 1 && l->width == l->c && !l->tail;
    const size_t one = (size_t)(l->partials * l->width) * sizeof(double);
    const int blocks = l->rows > BNC_NEAR_ROWS || l->tail;
    bnc_scratch scratch;
    double *memory = bnc_scratch_get(&scratch, (direct ? 0 : 2 * one) + (blocks ? 2 * one : 0));
    if (!memory) return BNC_NO_MEMORY;
    t->mean = direct ? mean : memory;
    t->m2 = direct ? m2 : memory + l->partials * l->width;
    t->block = memory + (direct ? 0 : 2 * l->partials * l->width);
    bnc_run(columns_chunk, t, l->partials, threads);
    merge_columns(t);
    if (!direct) fold_columns(t, mean, m2);
    bnc_scratch_put(&scratch);
    return t->failed ? BNC_NO_MEMORY : BNC_OK;
}

static int slabs_statistics(task *t, double *mean, double *m2, int threads)
{
    const int64_t c = t->l.c, values = t->l.partials * c;
    const int direct = t->l.partials == 1;
    bnc_scratch scratch;
    double *memory =
        bnc_scratch_get(&scratch, (size_t)((direct ? 2 : 4) * values) * sizeof *memory);
    if (!memory) return BNC_NO_MEMORY;
    t->block = memory;
    t->mean = direct ? mean : memory + 2 * values;
    t->m2 = direct ? m2 : memory + 3 * values;
    bnc_run(slabs_chunk, t, bnc_reduction_chunks(&t->l), threads);
    if (!direct) merge_slabs(t, mean, m2);
    bnc_scratch_put(&scratch);
    return t->failed ? BNC_NO_MEMORY : BNC_OK;
}

void BNC_OP(box_statistics)(const bnc_layout *l, const bnc_shape *shape, const bnc_real *x,
                            const bnc_box *b, double *mean, double *m2, double *block)
{
    const task t = {.l = *l, .shape = shape, .x = x, .mean = mean, .m2 = m2, .block = block};
    box_moments(&t, b, 0);
}

int BNC_OP(statistics_of)(const bnc_shape *shape, const bnc_layout *l, const bnc_real *x,
                          double *mean, double *m2)
{
    task t = {.l = *l, .shape = shape, .x = x};
    t.far = bnc_far(bnc_reduction_bytes(shape, 1));
    const int threads = bnc_threads(bnc_values(shape), BNC_GRAIN);
    return l->columns ? columns_statistics(&t, mean, m2, threads)
                      : slabs_statistics(&t, mean, m2, threads);
}

/* var (c,) -> inv_std (c,) = 1/sqrt(var + eps), or 0 where that is infinite; the bits that batch norm itself makes */
int BNC_OP(inverse_std)(int64_t c, double eps, const double *var, double *inv_std)
{
    for (int64_t j = 0; j < c; j++) inv_std[j] = var[j] + eps;
    KERNELS->inverse_roots(c, inv_std);
    return BNC_OK;
}

/* x (n, c, s) -> mean (c,), m2 (c,); zeros when there are no values. */
int BNC_OP(statistics)(const bnc_shape *shape, const void *x, double *mean, double *m2)
{
    if (bnc_values(shape) == 0) {
        memset(mean, 0, (size_t)shape->c * sizeof *mean);
        memset(m2, 0, (size_t)shape->c * sizeof *m2);
        return BNC_OK;
    }
    const bnc_layout l = bnc_reduction_layout(shape);
    return BNC_OP(statistics_of)(shape, &l, x, mean, m2);
}

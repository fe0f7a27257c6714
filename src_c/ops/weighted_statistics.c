/* Mean and M2 per channel of samples that carry weights. Samples with few values per channel are walked as columns,
 * whose kernel weighs every row; long slabs have one weight each, which enters when they merge. Chunks of samples
 * follow from the shape alone and merge in order (Chan, Golub & LeVeque 1979, with sums of weights for counts). */
#include "norm_layout.h"

enum {
    ROWS = 256,     /* of a block: it stays in the second-level cache */
    SHORT_SLAB = 64 /* slabs up to this length are walked as columns */
};

typedef struct {
    int64_t n, c, s, width; /* width: numbers kept per partial result, c * s or c */
    int64_t per, partials;  /* samples of a chunk, chunks */
    const bnc_real *x;
    const double *w;
    double *mean, *m2, *block,
        *total; /* (partials, width), block (partials, 2 width), (partials,) */
} task;

static double sum_of(const double *w, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += w[i];
    return s;
}

static void columns_chunk(int64_t k, void *arg)
{
    const task *t = arg;
    const int64_t width = t->width, begin = k * t->per, end = bnc_min(begin + t->per, t->n);
    double *mean = t->mean + k * width, *m2 = t->m2 + k * width, *block = t->block + 2 * k * width;
    const double *near = 0;
    double seen = 0;
    for (int64_t r = begin; r < end; r += ROWS) {
        const int64_t rows = bnc_min(ROWS, end - r);
        const double more = sum_of(t->w + r, rows);
        const bnc_real *x = t->x + r * width;
        if (r == begin) {
            KERNELS->weighted_moments(x, width, rows, width, t->w + r, more, near, mean, m2);
            near = mean;
        } else {
            KERNELS->weighted_moments(x, width, rows, width, t->w + r, more, near, block,
                                      block + width);
            KERNELS->merge_moments(width, seen, mean, m2, more, block, block + width);
            near = block;
        }
        seen += more;
    }
    t->total[k] = seen;
}

static void slabs_chunk(int64_t k, void *arg)
{
    const task *t = arg;
    const int64_t begin = k * t->per, end = bnc_min(begin + t->per, t->n);
    for (int64_t c = 0; c < t->c; c++) {
        double *mean = t->mean + k * t->c + c, *m2 = t->m2 + k * t->c + c, seen = 0;
        for (int64_t i = begin; i < end; i++)
            for (int64_t o = 0; o < t->s; o += BNC_RUN) {
                const int64_t len = bnc_min(BNC_RUN, t->s - o);
                const double more = t->w[i] * (double)len;
                const bnc_real *x = t->x + (i * t->c + c) * t->s + o;
                double block_mean, block_m2;
                if (seen == 0) {
                    KERNELS->slabs_moments(x, 1, 0, len, mean, m2);
                    *m2 *= t->w[i];
                } else {
                    KERNELS->slabs_moments_near(x, 1, 0, 1, 0, len, mean, &block_mean, &block_m2);
                    block_m2 *= t->w[i];
                    KERNELS->merge_moments(1, seen, mean, m2, more, &block_mean, &block_m2);
                }
                seen += more;
            }
        t->total[k] = seen;
    }
}

/* All partial results become the first one; returns the sum of weights behind it. */
static double merge_partials(task *t)
{
    double seen = t->total[0];
    for (int64_t k = 1; k < t->partials; k++) {
        KERNELS->merge_moments(t->width, seen, t->mean, t->m2, t->total[k], t->mean + k * t->width,
                               t->m2 + k * t->width);
        seen += t->total[k];
    }
    return seen;
}

/* The s columns of every channel become one. */
static void fold_columns(const task *t, double total, double *mean, double *m2)
{
    for (int64_t c = 0; c < t->c; c++) {
        mean[c] = t->mean[c * t->s];
        m2[c] = t->m2[c * t->s];
        for (int64_t i = 1; i < t->s; i++)
            KERNELS->merge_moments(1, total * (double)i, mean + c, m2 + c, total,
                                   t->mean + c * t->s + i, t->m2 + c * t->s + i);
    }
}

/* x (n, c, s) with values, w (n,) all positive -> mean (c,), m2 (c,), *count = s times the sum of w. */
int BNC_OP(weighted_statistics)(int64_t n, int64_t c, int64_t s, const void *x, const double *w,
                                double *count, double *mean, double *m2)
{
    const int columns = s <= SHORT_SLAB;
    task t = {.n = n, .c = c, .s = s, .width = columns ? c * s : c, .x = x, .w = w};
    t.per = bnc_max(BNC_CHUNK / (c * s), bnc_ceil_div(n, BNC_MAX_PARTIALS));
    t.per = columns ? bnc_ceil_div(bnc_max(t.per, 1), ROWS) * ROWS : bnc_max(t.per, 1);
    t.partials = bnc_ceil_div(n, t.per);
    const int64_t all = t.partials * t.width;
    double *memory = bnc_pool_get((size_t)(4 * all + t.partials) * sizeof *memory);
    if (!memory) return BNC_NO_MEMORY;
    t.mean = memory;
    t.m2 = t.mean + all;
    t.block = t.m2 + all;
    t.total = t.block + 2 * all;
    bnc_run(columns ? columns_chunk : slabs_chunk, &t, t.partials,
            bnc_threads(n * c * s, BNC_GRAIN));
    const double total = merge_partials(&t);
    if (columns) {
        fold_columns(&t, total, mean, m2);
    } else {
        memcpy(mean, t.mean, (size_t)c * sizeof *mean);
        memcpy(m2, t.m2, (size_t)c * sizeof *m2);
    }
    *count = columns ? total * (double)s : total;
    bnc_pool_put(memory);
    return BNC_OK;
}

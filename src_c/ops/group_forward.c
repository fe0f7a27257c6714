/* Group norm forward, instance norm included: tile by tile, statistics of each group, then the element-wise pass. */
#include "group_tiles.h"

/* for samples too large for one thread, and for channels-last ones */
int BNC_OP(statistics)(const bnc_shape *, const void *x, double *mean, double *m2);
int BNC_OP(normalize)(const bnc_norm *);

enum {
    SHORT_GROUP = 32, /* values of a group below which many groups are measured as columns, ... */
    GROUPS_AT_ONCE = 128,        /* ... so many at a time, ... */
    PITCH = GROUPS_AT_ONCE + 16, /* ... in rows that do not fall on the same lines of the cache */
};

typedef struct {
    const bnc_group_norm *a;
    bnc_group_grid grid;
    double *m2; /* (n, groups) kept for running statistics, or NULL */
    atomic_int failed;
} job;

static const bnc_real *at(const void *p, int64_t offset)
{ return p ? (const bnc_real *)p + offset : 0; }

/* `count` runs of `len` values each, one after the other. */
static int runs_moments(const bnc_real *x, int64_t count, int64_t len, double *mean, double *m2)
{
    bnc_real turned[SHORT_GROUP * PITCH];
    if (len >= SHORT_GROUP)
        return BNC_OP(statistics)(&(bnc_shape){.n = 1, .c = count, .s = len}, x, mean, m2);
    for (int64_t i = 0; i < count; i += GROUPS_AT_ONCE) {
        const int64_t some = bnc_min(GROUPS_AT_ONCE, count - i);
        KERNELS->transpose(x + i * len, len, 1, turned, PITCH, some, len);
        KERNELS->columns_moments(turned, PITCH, len, some, mean + i, m2 + i);
    }
    return BNC_OK;
}

/* One sample (a, c, s) with a > 1: statistics of channels, merged to those of groups (Chan, Golub & LeVeque 1979, for sets
 * of one size). `scratch` (2 c). */
static int sample_moments(const bnc_group_grid *g, const bnc_real *x, double *mean, double *m2,
                          double *scratch)
{
    const bnc_shape shape = {.n = g->a, .c = g->c, .s = g->s};
    if (g->channels == 1) return BNC_OP(statistics)(&shape, x, mean, m2);
    const double *each = scratch, *each_m2 = scratch + g->c;
    const int error = BNC_OP(statistics)(&shape, x, scratch, scratch + g->c);
    const double n = (double)(g->a * g->s), over = 1 / (double)g->channels;
    for (int64_t j = 0; j < g->groups; j++, each += g->channels, each_m2 += g->channels) {
        double shift = 0, square = 0, within = 0;
        for (int64_t c = 1; c < g->channels; c++) shift += each[c] - each[0];
        mean[j] = each[0] + shift * over;
        for (int64_t c = 0; c < g->channels; c++) {
            const double d = each[c] - mean[j];
            square += d * d;
            within += each_m2[c];
        }
        m2[j] = within + n * square;
    }
    return error;
}

/* Statistics of the tile's groups, into their places in a->mean and a->inv_std. */
static int measure(job *j, const bnc_tile *t, double *scratch)
{
    const bnc_group_grid *g = &j->grid;
    const int64_t first = t->i0 * g->groups + t->g0, count = t->items * t->groups;
    const bnc_real *x = at(j->a->x, t->offset);
    double *mean = j->a->mean + first, *m2 = j->a->inv_std + first;
    int error = BNC_OK;
    if (g->a == 1)
        error = runs_moments(x, count, g->values, mean, m2);
    else
        for (int64_t i = 0; i < t->items && !error; i++)
            error = sample_moments(g, x + i * g->item, mean + i * g->groups, m2 + i * g->groups,
                                   scratch);
    if (error) return error;
    if (j->m2) memcpy(j->m2 + first, m2, (size_t)count * sizeof *m2);
    KERNELS->finish_statistics(count, (double)g->values, 0, j->a->eps, 0, mean, m2, 0, 0);
    return BNC_OK;
}

/* y of one sample's part of a tile. `scratch`: 2 c doubles, then `reals` (4 c). */
static int apply(const job *j, const bnc_tile *t, int64_t item, double *scratch, bnc_real *reals)
{
    const bnc_group_grid *g = &j->grid;
    const bnc_group_norm *a = j->a;
    const int64_t o = t->offset + item * g->item, stats = (t->i0 + item) * g->groups + t->g0;
    double *mean = scratch, *inv_std = scratch + g->c;
    bnc_group_to_channels(g, t, a->mean + stats, mean);
    bnc_group_to_channels(g, t, a->inv_std + stats, inv_std);
    const bnc_real *gamma = at(a->gamma, t->c0), *beta = at(a->beta, t->c0);
    if (!bnc_tile_direct(g, t))
        return BNC_OP(normalize)(&(bnc_norm){.shape = {.n = g->a, .c = t->channels, .s = g->s},
                                             .x = at(a->x, o),
                                             .y = (bnc_real *)a->y + o,
                                             .gamma = gamma,
                                             .beta = beta,
                                             .mean = mean,
                                             .inv_std = inv_std,
                                             .relu = a->relu});
    bnc_real *hi = reals, *lo = hi + g->c, *scale = lo + g->c, *shift = scale + g->c;
    const struct bnc_coefficients k = {.hi = hi, .lo = lo, .scale = scale, .shift = shift};
    KERNELS->forward_coefficients(t->channels, mean, inv_std, 0, 0, gamma, beta, hi, lo, scale,
                                  shift);
    if (g->s == 1)
        KERNELS->columns_normalize(at(a->x, o), 0, (bnc_real *)a->y + o, 1, t->channels, &k,
                                   a->relu);
    else
        KERNELS->slabs_normalize(at(a->x, o), 0, (bnc_real *)a->y + o, t->channels, g->s, &k,
                                 a->relu);
    return BNC_OK;
}

static void chunk(int64_t k, void *arg)
{
    job *j = arg;
    const bnc_group_grid *g = &j->grid;
    double *scratch = bnc_pool_get((size_t)g->c * (2 * sizeof(double) + 4 * sizeof(bnc_real)));
    int error = scratch ? BNC_OK : BNC_NO_MEMORY;
    const int64_t begin = k / g->group_blocks * g->chunk_items,
                  end = bnc_min(begin + g->chunk_items, g->n);
    for (int64_t i = begin; i < end && !error; i += g->tile_items) {
        const bnc_tile t = bnc_tile_at(g, k, i);
        error = measure(j, &t, scratch);
        for (int64_t item = 0; item < t.items && !error; item++)
            error = apply(j, &t, item, scratch, (bnc_real *)(scratch + 2 * g->c));
    }
    bnc_pool_put(scratch);
    if (error) atomic_store(&j->failed, error);
}

/* Running statistics move towards the samples' averages; m2 and the row behind it are used up. */
static void move_running(const bnc_group_norm *a, double m, double *m2)
{
    double *mean = m2 + a->n * a->c;
    memcpy(mean, a->mean, (size_t)a->c * sizeof *mean);
    for (int64_t i = 1; i < a->n; i++)
        for (int64_t c = 0; c < a->c; c++) {
            mean[c] += a->mean[i * a->c + c];
            m2[c] += m2[i * a->c + c];
        }
    for (int64_t c = 0; c < a->c; c++) {
        mean[c] /= (double)a->n;
        m2[c] /= (double)a->n;
    }
    KERNELS->finish_statistics(a->c, m, a->momentum, 0, a->unbiased, mean, m2, a->running_mean,
                               a->running_var);
}

int BNC_OP(group_norm)(const bnc_group_norm *a)
{
    if (a->n * a->a * a->c * a->s == 0) { /* nothing to learn from: running statistics stay */
        for (int64_t i = 0; i < a->n * a->groups; i++) a->mean[i] = 0, a->inv_std[i] = 1;
        return BNC_OK;
    }
    job j = {.a = a, .grid = bnc_group_grid_of(a->n, a->a, a->c, a->s, a->groups)};
    if (a->running_mean || a->running_var) {
        j.m2 = bnc_pool_get((size_t)((a->n + 1) * a->c) * sizeof *j.m2);
        if (!j.m2) return BNC_NO_MEMORY;
    }
    bnc_run(chunk, &j, bnc_group_chunks(&j.grid), bnc_group_threads(&j.grid));
    const int error = atomic_load(&j.failed);
    if (j.m2 && !error) move_running(a, (double)j.grid.values, j.m2);
    bnc_pool_put(j.m2);
    return error;
}

/* Group norm forward, instance norm included: tile by tile, statistics of each group, then the element-wise pass. */
#include "group_tiles.h"
#include "prototypes.h"

enum {
    GROUPS_AT_ONCE = 128,        /* short groups measured as columns, ... */
    PITCH = GROUPS_AT_ONCE + 16, /* ... in rows that do not fall on the same lines of the cache */
};

typedef struct {
    const bnc_group_norm *a;
    bnc_group_grid grid;
    double *m2;    /* (n, groups) kept for running statistics, or NULL */
    int streaming; /* bnc_group_streams */
    atomic_int failed;
} job;

static const bnc_real *at(const void *p, int64_t offset)
{ return p ? (const bnc_real *)p + offset : 0; }

/* `count` groups, one run of memory each, one after the other. */
static int runs_moments(const bnc_group_grid *g, const bnc_real *x, int64_t count, double *mean,
                        double *m2)
{
    const int64_t len = g->values;
    bnc_real turned[BNC_SHORT_GROUP * PITCH];
    if (!bnc_groups_turned(g))
        return BNC_OP(statistics)(&(bnc_shape){.n = 1, .c = count, .s = len}, x, mean, m2);
    for (int64_t i = 0; i < count; i += GROUPS_AT_ONCE) {
        const int64_t some = bnc_min(GROUPS_AT_ONCE, count - i);
        KERNELS->transpose(x + i * len, len, turned, PITCH, some, len);
        KERNELS->columns_moments(turned, PITCH, len, some, mean + i, m2 + i);
    }
    return BNC_OK;
}

/* One sample (a, c, s) with a > 1: statistics of channels, merged to those of groups (Chan, Golub & LeVeque 1979, for sets
 * of one size). each, each_m2: scratch (c,). */
static int sample_moments(const bnc_group_grid *g, const bnc_real *x, double *mean, double *m2,
                          double *each, double *each_m2)
{
    const bnc_shape shape = {.n = g->a, .c = g->c, .s = g->s};
    if (!bnc_groups_merged(g)) return BNC_OP(statistics)(&shape, x, mean, m2);
    const int error = BNC_OP(statistics)(&shape, x, each, each_m2);
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
static int measure(job *j, const bnc_tile *t, double *each, double *each_m2)
{
    const bnc_group_grid *g = &j->grid;
    const int64_t first = t->i0 * g->groups + t->g0, count = t->items * t->groups;
    const bnc_real *x = at(j->a->x, t->offset);
    double *mean = j->a->mean + first, *m2 = j->a->inv_std + first;
    int error = BNC_OK;
    if (g->a == 1)
        error = runs_moments(g, x, count, mean, m2);
    else
        for (int64_t i = 0; i < t->items && !error; i++)
            error = sample_moments(g, x + i * g->item, mean + i * g->groups, m2 + i * g->groups,
                                   each, each_m2);
    if (error) return error;
    if (j->m2) memcpy(j->m2 + first, m2, (size_t)count * sizeof *m2);
    KERNELS->finish_statistics(count, (double)g->values, 0, j->a->eps, 0, mean, m2, 0, 0);
    return BNC_OK;
}

/* The scratch memory of a chunk. */
typedef struct {
    double *mean, *inv_std; /* (c,) */
    bnc_real *v[3];         /* (width,) */
} scratch;

static void *take_scratch(const job *j, scratch *s)
{
    const size_t doubles = bnc_padded((size_t)j->grid.c * sizeof(double)),
                 reals = bnc_padded((size_t)bnc_group_width(&j->grid) * sizeof(bnc_real));
    void *memory = bnc_pool_get(2 * doubles + 3 * reals);
    bnc_arena arena = {memory};
    if (!memory) return 0;
    s->mean = bnc_take(&arena, doubles);
    s->inv_std = bnc_take(&arena, doubles);
    for (int i = 0; i < 3; i++) s->v[i] = bnc_take(&arena, reals);
    return memory;
}

/* y of sample i's part of a tile. */
static int apply(const job *j, const bnc_tile *t, int64_t i, const scratch *s)
{
    const bnc_group_grid *g = &j->grid;
    const bnc_group_norm *a = j->a;
    const int64_t o = i * g->item + t->c0 * g->s, stats = i * g->groups + t->g0;
    KERNELS->group_to_channels(t->groups, g->channels, a->mean + stats, a->inv_std + stats, s->mean,
                               s->inv_std);
    const bnc_real *x = at(a->x, o), *gamma = at(a->gamma, t->c0), *beta = at(a->beta, t->c0);
    bnc_real *y = (bnc_real *)a->y + o;
    if (!bnc_tile_direct(g, t))
        return BNC_OP(normalize)(&(bnc_norm){.shape = {.n = g->a, .c = t->channels, .s = g->s},
                                             .x = x,
                                             .y = y,
                                             .gamma = gamma,
                                             .beta = beta,
                                             .mean = s->mean,
                                             .inv_std = s->inv_std,
                                             .relu = a->relu});
    const struct bnc_coefficients k = {.hi = s->v[0], .scale = s->v[1], .shift = s->v[2]};
    const bnc_layout l = bnc_tile_layout(g, t->channels);
    KERNELS->forward_coefficients(t->channels, s->mean, s->inv_std, 0, 0, gamma, beta, s->v[0],
                                  s->v[1], s->v[2]);
    for (int q = 0; q < 3; q++) bnc_spread(&l, s->v[q]);
    if (l.columns)
        KERNELS->columns_normalize(x, 0, y, l.width, 0, l.width, &k, a->relu, j->streaming);
    else
        KERNELS->slabs_normalize(x, 0, y, t->channels * g->s, 0, g->s, 0, t->channels, &k, a->relu,
                                 j->streaming);
    return BNC_OK;
}

static void chunk(int64_t k, void *arg)
{
    job *j = arg;
    const bnc_group_grid *g = &j->grid;
    scratch s;
    void *memory = take_scratch(j, &s);
    int error = memory ? BNC_OK : BNC_NO_MEMORY;
    const int64_t begin = k / g->group_blocks * g->chunk_items,
                  end = bnc_min(begin + g->chunk_items, g->n);
    for (int64_t first = begin; first < end && !error; first += g->tile_items) {
        const bnc_tile t = bnc_tile_at(g, k, first);
        error = measure(j, &t, s.mean, s.inv_std);
        for (int64_t i = first; i < first + t.items && !error; i++) error = apply(j, &t, i, &s);
    }
    bnc_pool_put(memory);
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
    const int threads = bnc_group_threads(&j.grid);
    const bnc_tile first = bnc_tile_at(&j.grid, 0, 0);
    j.streaming = bnc_group_streams(&j.grid, &first, a->y, 2, threads);
    bnc_run(chunk, &j, bnc_group_chunks(&j.grid), threads);
    const int error = atomic_load(&j.failed);
    if (j.m2 && !error) move_running(a, (double)j.grid.values, j.m2);
    bnc_pool_put(j.m2);
    return error;
}

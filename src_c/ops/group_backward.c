/* Group norm backward: per sample the channels' sums of g and g x_hat, which give the groups' two means and, added up over
 * the samples in order, the gradients of beta and gamma; then one element-wise pass for dx. */
#include "group_tiles.h"
#include "prototypes.h"

typedef struct {
    const bnc_group_norm_gradient *a;
    bnc_group_grid grid;
    double *sum_g, *sum_gx; /* (blocks, c): sums over the samples of a chunk */
    int streaming;          /* bnc_group_streams */
    atomic_int failed;
} job;

enum { HI, SCALE, SHIFT, INV_STD, SLOPE, OFFSET, GAMMA, COEFFICIENTS };

/* One sample's part of a tile, in the scratch memory of its chunk. */
typedef struct {
    const job *j;
    bnc_tile t;
    bnc_layout l;
    int64_t offset, stats;                   /* of its elements; of its groups' statistics */
    double *mean, *inv_std, *sum_g, *sum_gx; /* (channels,); the sums have room for (width,) */
    bnc_real *v[COEFFICIENTS];               /* (width,) */
    struct bnc_coefficients k;               /* the same but gamma */
} part;

static const bnc_real *at(const void *p, int64_t offset)
{ return p ? (const bnc_real *)p + offset : 0; }

/* (width,) sums of one row of columns -> (channels,) */
static void fold(const bnc_layout *l, double *sums)
{
    for (int64_t c = 0; c < l->c && l->s > 1; c++) {
        double sum = 0;
        for (int64_t i = c * l->s; i < (c + 1) * l->s; i++) sum += sums[i];
        sums[c] = sum;
    }
}

static void direct_sums(const part *p)
{
    const bnc_group_norm_gradient *a = p->j->a;
    const int64_t count = bnc_sum_count(&p->l), slab = p->l.s;
    memset(p->sum_g, 0, (size_t)count * sizeof(double));
    memset(p->sum_gx, 0, (size_t)count * sizeof(double));
    if (p->l.columns) {
        KERNELS->columns_gradient_sums(at(a->x, p->offset), at(a->dy, p->offset), 0, 1, count,
                                       &p->k, a->relu, 0, p->sum_g, p->sum_gx);
        fold(&p->l, p->sum_g);
        fold(&p->l, p->sum_gx);
    } else {
        for (int64_t s = 0; s < slab; s += BNC_RUN)
            KERNELS->slabs_gradient_sums(at(a->x, p->offset + s), at(a->dy, p->offset + s), 0, 1, 0,
                                         count, slab, bnc_min(BNC_RUN, slab - s), &p->k, 0, a->relu,
                                         p->sum_g, p->sum_gx);
    }
    KERNELS->centre_sums(p->t.channels, p->mean, p->inv_std, p->sum_g, p->sum_gx);
}

static int sums(const part *p)
{
    const bnc_group_grid *g = &p->j->grid;
    const bnc_group_norm_gradient *a = p->j->a;
    if (bnc_tile_direct(g, &p->t)) {
        direct_sums(p);
        return BNC_OK;
    }
    return BNC_OP(gradient_sums)(
        &(bnc_norm_gradient){.shape = {.n = g->a, .c = p->t.channels, .s = g->s},
                             .x = at(a->x, p->offset),
                             .dy = at(a->dy, p->offset),
                             .gamma = at(a->gamma, p->t.c0),
                             .beta = at(a->beta, p->t.c0),
                             .mean = p->mean,
                             .inv_std = p->inv_std,
                             .relu = a->relu,
                             .sum_g = p->sum_g,
                             .sum_gx = p->sum_gx});
}

/* The groups' means of w = gamma g and of w x_hat, as coefficients. */
static void group_means(const part *p)
{
    const bnc_group_grid *g = &p->j->grid;
    KERNELS->group_means(p->t.groups, g->channels, 1 / (double)g->values, p->mean, p->inv_std,
                         at(p->j->a->gamma, p->t.c0), p->sum_g, p->sum_gx, p->v[SLOPE],
                         p->v[OFFSET]);
    bnc_spread(&p->l, p->v[SLOPE]);
    bnc_spread(&p->l, p->v[OFFSET]);
}

static void run(const bnc_pass *pass, int64_t o, int64_t n)
{
    const part *p = pass->arg;
    const bnc_group_norm_gradient *a = p->j->a;
    const bnc_place place = bnc_place_of(&p->l, o);
    const bnc_real *x = at(a->x, p->offset + o), *dy = at(a->dy, p->offset + o);
    bnc_real *dx = (bnc_real *)a->dx + p->offset + o;
    if (p->l.columns)
        KERNELS->columns_group_gradient(x, dy, dx, n, place.at, p->l.width, p->v[GAMMA], &p->k,
                                        a->relu, pass->streaming);
    else
        KERNELS->slabs_group_gradient(x, dy, dx, n, place.at, p->l.s, place.channel, p->l.c,
                                      p->v[GAMMA], &p->k, a->relu, pass->streaming);
}

static void coefficients(const part *p)
{
    const bnc_group_grid *g = &p->j->grid;
    const bnc_group_norm_gradient *a = p->j->a;
    const bnc_real *gamma = at(a->gamma, p->t.c0);
    const int64_t c = p->t.channels;
    KERNELS->group_to_channels(p->t.groups, g->channels, a->mean + p->stats, a->inv_std + p->stats,
                               p->mean, p->inv_std);
    KERNELS->forward_coefficients(c, p->mean, p->inv_std, 0, 0, gamma, at(a->beta, p->t.c0),
                                  p->v[HI], p->v[SCALE], p->v[SHIFT]);
    const double one = g->values > 1; /* a single value is its mean: dx is 0, not a rounding of w */
    for (int64_t i = 0; i < c; i++) p->v[INV_STD][i] = (bnc_real)(p->inv_std[i] * one);
    bnc_real *const all[] = {p->v[HI], p->v[INV_STD], p->v[SCALE], p->v[SHIFT]};
    const int needed = p->j->a->relu ? 4 : 2; /* the last two tell where the ReLU was open */
    for (int i = 0; i < needed; i++) bnc_spread(&p->l, all[i]);
}

/* Everything of one sample's part of a tile; its sums are added to those of the chunk. */
static int sample(part *p, double *restrict sum_g, double *restrict sum_gx)
{
    coefficients(p);
    const int error = sums(p);
    if (error) return error;
    group_means(p);
    for (int64_t i = 0; i < p->t.channels; i++) {
        sum_g[i] += p->sum_g[i];
        sum_gx[i] += p->sum_gx[i];
    }
    const bnc_shape shape = {.n = p->j->grid.a, .c = p->t.channels, .s = p->j->grid.s};
    bnc_pass pass = {.shape = &shape, .l = &p->l, .run = run, .arg = p, .arrays = 3};
    if (bnc_tile_direct(&p->j->grid, &p->t)) {
        pass.streaming = p->j->streaming;
        run(&pass, 0, p->l.n * p->l.c * p->l.s);
    } else {
        bnc_pass_run(&pass);
    }
    return BNC_OK;
}

static void *take_scratch(const job *j, part *p)
{
    const int64_t width = bnc_group_width(&j->grid);
    const size_t doubles = bnc_padded((size_t)width * sizeof(double)),
                 reals = bnc_padded((size_t)width * sizeof(bnc_real));
    void *memory = bnc_pool_get(4 * doubles + COEFFICIENTS * reals);
    if (!memory) return 0;
    bnc_arena arena = {memory};
    double **const d[] = {&p->mean, &p->inv_std, &p->sum_g, &p->sum_gx};
    for (int i = 0; i < 4; i++) *d[i] = bnc_take(&arena, doubles);
    for (int i = 0; i < COEFFICIENTS; i++) p->v[i] = bnc_take(&arena, reals);
    p->k = (struct bnc_coefficients){p->v[HI],      p->v[SCALE], p->v[SHIFT],
                                     p->v[INV_STD], p->v[SLOPE], p->v[OFFSET]};
    return memory;
}

static void chunk(int64_t k, void *arg)
{
    job *j = arg;
    const bnc_group_grid *g = &j->grid;
    const int64_t block = k / g->group_blocks, begin = block * g->chunk_items,
                  end = bnc_min(begin + g->chunk_items, g->n);
    part p = {.j = j, .t = bnc_tile_at(g, k, begin)};
    p.l = bnc_tile_layout(g, p.t.channels); /* that of all tiles of the chunk */
    void *memory = take_scratch(j, &p);
    int error = memory ? BNC_OK : BNC_NO_MEMORY;
    for (int64_t c = 0; memory && c < p.t.channels; c++)
        p.v[GAMMA][c] = j->a->gamma ? at(j->a->gamma, p.t.c0)[c] : 1;
    if (memory) bnc_spread(&p.l, p.v[GAMMA]);
    const int64_t sum = block * g->c + p.t.c0;
    for (int64_t i = begin; i < end && !error; i++) {
        p.offset = i * g->item + p.t.c0 * g->s;
        p.stats = i * g->groups + p.t.g0;
        error = sample(&p, j->sum_g + sum, j->sum_gx + sum);
    }
    bnc_pool_put(memory);
    if (error) atomic_store(&j->failed, error);
}

static void add_up(const job *j, const double *sums, bnc_real *result)
{
    const int64_t c = j->grid.c;
    for (int64_t i = 0; result && i < c; i++) {
        double sum = 0;
        for (int64_t block = 0; block < j->grid.blocks; block++) sum += sums[block * c + i];
        result[i] = (bnc_real)sum;
    }
}

int BNC_OP(group_norm_backward)(const bnc_group_norm_gradient *a)
{
    if (a->n * a->a * a->c * a->s == 0) {
        if (a->dgamma) memset(a->dgamma, 0, (size_t)a->c * sizeof(bnc_real));
        if (a->dbeta) memset(a->dbeta, 0, (size_t)a->c * sizeof(bnc_real));
        return BNC_OK;
    }
    job j = {.a = a, .grid = bnc_group_grid_of(a->n, a->a, a->c, a->s, a->groups)};
    const size_t values = (size_t)(j.grid.blocks * a->c);
    j.sum_g = bnc_pool_get(2 * values * sizeof *j.sum_g);
    if (!j.sum_g) return BNC_NO_MEMORY;
    j.sum_gx = j.sum_g + values;
    memset(j.sum_g, 0, 2 * values * sizeof *j.sum_g);
    const int threads = bnc_group_threads(&j.grid);
    const bnc_tile first = bnc_tile_at(&j.grid, 0, 0);
    j.streaming = bnc_group_streams(&j.grid, &first, a->dx, 3, threads);
    bnc_run(chunk, &j, bnc_group_chunks(&j.grid), threads);
    add_up(&j, j.sum_g, a->dbeta);
    add_up(&j, j.sum_gx, a->dgamma);
    bnc_pool_put(j.sum_g);
    return atomic_load(&j.failed);
}

/* Batch norm forward: statistics (of the batch, running, or given), then one element-wise pass; or, where a thread can hold
 * some channels of all samples, both for these channels at once. */
#include "norm_elementwise.h"
#include "norm_statistics.h"

typedef struct {
    const bnc_norm *a;
    const bnc_layout *l;
    struct bnc_coefficients k;
    int streaming;
} job;

/* y of n elements from `offset` on. */
static void normalize(const job *j, int64_t offset, int64_t n, int streaming)
{
    const bnc_norm *a = j->a;
    const bnc_layout *l = j->l;
    const bnc_place place = bnc_place_of(l, offset);
    if (l->columns)
        KERNELS->columns_normalize(bnc_at(a->x, offset), bnc_at(a->residual, offset),
                                   (bnc_real *)a->y + offset, n, place.at, l->width, &j->k, a->relu,
                                   streaming);
    else
        KERNELS->slabs_normalize(bnc_at(a->x, offset), bnc_at(a->residual, offset),
                                 (bnc_real *)a->y + offset, n, place.at, l->s, place.channel, l->c,
                                 &j->k, a->relu, streaming);
}

static void run(const bnc_pass *p, int64_t offset, int64_t n)
{ normalize(p->arg, offset, n, p->streaming); }

/* Three coefficient arrays in one piece of memory; 0 when there is none. */
static int take_coefficients(job *j, bnc_scratch *scratch)
{
    const size_t one = bnc_padded((size_t)bnc_coefficient_count(j->l) * sizeof(bnc_real));
    bnc_arena arena = {bnc_scratch_get(scratch, 3 * one)};
    if (!arena.next) return 0;
    j->k.hi = bnc_take(&arena, one);
    j->k.scale = bnc_take(&arena, one);
    j->k.shift = bnc_take(&arena, one);
    return 1;
}

/* y from a->mean, a->inv_std, a->r and a->d, in one pass. */
static int pass_over(const bnc_norm *a, const bnc_layout *l)
{
    job j = {.a = a, .l = l};
    bnc_scratch scratch;
    if (!take_coefficients(&j, &scratch)) return BNC_NO_MEMORY;
    BNC_FORWARD_COEFFICIENTS(a, &j.k, 0, a->shape.c);
    bnc_spread(l, (bnc_real *)j.k.hi);
    bnc_spread(l, (bnc_real *)j.k.scale);
    bnc_spread(l, (bnc_real *)j.k.shift);
    bnc_pass pass = {.shape = &a->shape,
                     .l = l,
                     .run = run,
                     .zeroed = {a->y, 0},
                     .arg = &j,
                     .arrays = bnc_forward_arrays(a)};
    bnc_pass_run(&pass);
    bnc_scratch_put(&scratch);
    return BNC_OK;
}

int BNC_OP(normalize)(const bnc_norm *a)
{
    if (a->shape.n * a->shape.c * a->shape.s == 0) return BNC_OK;
    const bnc_layout l = bnc_pass_layout(&a->shape);
    return pass_over(a, &l);
}

int BNC_OP(norm_constants)(const bnc_norm *a)
{
    KERNELS->inverse_std(a->shape.c, a->eps, a->running_mean, a->running_var, a->mean, a->inv_std);
    return BNC_OK;
}

int BNC_OP(batch_norm_eval)(const bnc_norm *a)
{
    BNC_OP(norm_constants)(a);
    return BNC_OP(normalize)(a);
}

/* From the mean and m2 of some channels in a->mean, a->inv_std to what normalize needs; running statistics move. */
typedef void (*finisher)(const bnc_norm *a, double count, int64_t channel, int64_t channels);

static void finish_norm(const bnc_norm *a, double count, int64_t channel, int64_t channels)
{
    KERNELS->finish_statistics(channels, count, a->momentum, a->eps, a->unbiased, a->mean + channel,
                               a->inv_std + channel, (bnc_real *)bnc_at(a->running_mean, channel),
                               (bnc_real *)bnc_at(a->running_var, channel));
}

static void finish_renorm(const bnc_norm *a, double count, int64_t channel, int64_t channels)
{
    KERNELS->renorm_statistics(channels, count, a->momentum, a->eps, a->r_max, a->d_max,
                               a->mean + channel, a->inv_std + channel, a->r + channel,
                               a->d + channel, (bnc_real *)bnc_at(a->running_mean, channel),
                               (bnc_real *)bnc_at(a->running_var, channel));
}

typedef struct {
    job j;
    finisher finish;
    double *block; /* (2, c) */
} channels_job;

/* Some channels of all samples: measured, then normalized, from the sample on that is most likely still in cache. */
static void channels_chunk(int64_t k, void *arg)
{
    const channels_job *t = arg;
    const bnc_norm *a = t->j.a;
    const bnc_layout *l = t->j.l;
    const bnc_box b = bnc_chunk_box(l, k);
    const int64_t channels = b.c1 - b.c0;
    bnc_box_statistics(l, &a->shape, a->x, &b, a->mean, a->inv_std, t->block);
    t->finish(a, (double)(l->n * l->s), b.c0, channels);
    BNC_FORWARD_COEFFICIENTS(a, &t->j.k, b.c0, channels);
    for (int64_t n = l->n; n-- > 0;)
        normalize(&t->j, (n * l->c + b.c0) * l->s, channels * l->s, t->j.streaming);
}

static int by_channels(const bnc_norm *a, const bnc_layout *l, finisher finish)
{
    const int threads = bnc_threads(l->n * l->c * l->s, BNC_GRAIN);
    channels_job t = {.j = {.a = a, .l = l}, .finish = finish};
    t.j.streaming = bnc_streams(bnc_pass_bytes(l, bnc_forward_arrays(a)), threads);
    bnc_scratch coefficients, blocks;
    const int taken = take_coefficients(&t.j, &coefficients);
    t.block = bnc_scratch_get(&blocks, (size_t)(2 * l->c) * sizeof *t.block);
    if (taken && t.block) bnc_run(channels_chunk, &t, l->c_blocks, threads);
    bnc_scratch_put(&blocks);
    bnc_scratch_put(&coefficients);
    return taken && t.block ? BNC_OK : BNC_NO_MEMORY;
}

static int train(const bnc_norm *a, finisher finish)
{
    if (bnc_values(&a->shape) ==
        0) { /* running statistics stay; masked positions are still to be zeroed */
        for (int64_t c = 0; c < a->shape.c; c++) a->mean[c] = 0, a->inv_std[c] = 1;
        for (int64_t c = 0; a->r && c < a->shape.c; c++) a->r[c] = 1, a->d[c] = 0;
        return BNC_OP(normalize)(a);
    }
    const bnc_layout l = bnc_reduction_layout(&a->shape);
    if (bnc_by_channels(&a->shape, &l)) return by_channels(a, &l, finish);
    const int error = bnc_statistics_of(&a->shape, &l, a->x, a->mean, a->inv_std);
    if (error) return error;
    finish(a, (double)bnc_per_channel(&a->shape), 0, a->shape.c);
    return a->shape.runs ? BNC_OP(normalize)(a)
                         : pass_over(a, &l); /* a pass sees masks otherwise */
}

int BNC_OP(batch_norm_train)(const bnc_norm *a) { return train(a, finish_norm); }
int BNC_OP(batch_renorm_train)(const bnc_norm *a) { return train(a, finish_renorm); }

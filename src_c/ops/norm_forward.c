/* Batch norm forward: statistics (of the batch, running, or given), then one element-wise pass. */
#include "norm_elementwise.h"
#include "norm_statistics.h"

typedef struct {
    const bnc_norm *a;
    struct bnc_coefficients k;
} job;

static const bnc_real *at(const void *p, int64_t offset)
{ return p ? (const bnc_real *)p + offset : 0; }

static void columns(const bnc_pass *p, int64_t offset, int64_t rows, int64_t width)
{
    const job *j = p->arg;
    KERNELS->columns_normalize(at(j->a->x, offset), at(j->a->residual, offset),
                               (bnc_real *)j->a->y + offset, rows, width, &j->k, j->a->relu);
}

static void slabs(const bnc_pass *p, int64_t offset, int64_t count, int64_t s, int64_t channel)
{
    const job *j = p->arg;
    const struct bnc_coefficients k = bnc_from_channel(&j->k, channel);
    KERNELS->slabs_normalize(at(j->a->x, offset), at(j->a->residual, offset),
                             (bnc_real *)j->a->y + offset, count, s, &k, j->a->relu);
}

/* y from a->mean and a->inv_std */
static int normalize(const bnc_norm *a, const bnc_layout *l)
{
    const size_t one = bnc_padded((size_t)bnc_coefficient_count(l) * sizeof(bnc_real));
    void *memory = bnc_pool_get(4 * one);
    if (!memory) return BNC_NO_MEMORY;
    bnc_arena arena = {memory};
    bnc_real *hi = bnc_take(&arena, one), *lo = bnc_take(&arena, one),
             *scale = bnc_take(&arena, one), *shift = bnc_take(&arena, one);
    KERNELS->forward_coefficients(a->c, a->mean, a->inv_std, a->gamma, a->beta, hi, lo, scale,
                                  shift);
    bnc_spread(l, hi), bnc_spread(l, lo), bnc_spread(l, scale), bnc_spread(l, shift);
    job j = {a, {.hi = hi, .lo = lo, .scale = scale, .shift = shift}};
    bnc_pass pass = {.l = l, .columns = columns, .slabs = slabs, .arg = &j};
    bnc_pass_run(&pass);
    bnc_pool_put(memory);
    return BNC_OK;
}

int BNC_OP(normalize)(const bnc_norm *a)
{
    if (a->n * a->c * a->s == 0) return BNC_OK;
    const bnc_layout l = bnc_layout_of(a->n, a->c, a->s);
    return normalize(a, &l);
}

int BNC_OP(batch_norm_eval)(const bnc_norm *a)
{
    KERNELS->inverse_std(a->c, a->eps, a->running_mean, a->running_var, a->mean, a->inv_std);
    return BNC_OP(normalize)(a);
}

int BNC_OP(batch_norm_train)(const bnc_norm *a)
{
    if (a->n * a->c * a->s == 0) { /* nothing to learn from: running statistics stay */
        for (int64_t c = 0; c < a->c; c++) a->mean[c] = 0, a->inv_std[c] = 1;
        return BNC_OK;
    }
    const bnc_layout l = bnc_layout_of(a->n, a->c, a->s);
    const int error = bnc_statistics_of(&l, a->x, a->mean, a->inv_std);
    if (error) return error;
    KERNELS->finish_statistics(a->c, (double)(a->n * a->s), a->momentum, a->eps, a->unbiased,
                               a->mean, a->inv_std, a->running_mean, a->running_var);
    return normalize(a, &l);
}

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

/* y from a->mean, a->inv_std, a->r and a->d */
int BNC_OP(normalize)(const bnc_norm *a)
{
    const int64_t c = a->shape.c;
    if (a->shape.n * c * a->shape.s == 0) return BNC_OK;
    const bnc_layout l = bnc_pass_layout(&a->shape);
    const size_t one = bnc_padded((size_t)bnc_coefficient_count(&l) * sizeof(bnc_real));
    void *memory = bnc_pool_get(4 * one);
    if (!memory) return BNC_NO_MEMORY;
    bnc_arena arena = {memory};
    bnc_real *hi = bnc_take(&arena, one), *lo = bnc_take(&arena, one),
             *scale = bnc_take(&arena, one), *shift = bnc_take(&arena, one);
    KERNELS->forward_coefficients(c, a->mean, a->inv_std, a->r, a->d, a->gamma, a->beta, hi, lo,
                                  scale, shift);
    bnc_spread(&l, hi), bnc_spread(&l, lo), bnc_spread(&l, scale), bnc_spread(&l, shift);
    job j = {a, {.hi = hi, .lo = lo, .scale = scale, .shift = shift}};
    bnc_pass pass = {.shape = &a->shape,
                     .l = &l,
                     .columns = columns,
                     .slabs = slabs,
                     .zeroed = {a->y, 0},
                     .arg = &j};
    bnc_pass_run(&pass);
    bnc_pool_put(memory);
    return BNC_OK;
}

int BNC_OP(batch_norm_eval)(const bnc_norm *a)
{
    KERNELS->inverse_std(a->shape.c, a->eps, a->running_mean, a->running_var, a->mean, a->inv_std);
    return BNC_OP(normalize)(a);
}

/* Mean and m2 into a->mean, a->inv_std. Returns 0 with *count 0 when there is nothing to learn from: running statistics
 * stay, and masked positions, if that is all, are still to be zeroed. */
static int measure(const bnc_norm *a, double *count)
{
    *count = (double)bnc_per_channel(&a->shape);
    if (bnc_values(&a->shape) == 0) {
        for (int64_t c = 0; c < a->shape.c; c++) a->mean[c] = 0, a->inv_std[c] = 1;
        return BNC_OK;
    }
    const bnc_layout l = bnc_reduction_layout(&a->shape);
    return bnc_statistics_of(&a->shape, &l, a->x, a->mean, a->inv_std);
}

int BNC_OP(batch_norm_train)(const bnc_norm *a)
{
    double count;
    const int error = measure(a, &count);
    if (error) return error;
    if (count > 0)
        KERNELS->finish_statistics(a->shape.c, count, a->momentum, a->eps, a->unbiased, a->mean,
                                   a->inv_std, a->running_mean, a->running_var);
    return BNC_OP(normalize)(a);
}

int BNC_OP(batch_renorm_train)(const bnc_norm *a)
{
    double count;
    const int error = measure(a, &count);
    if (error) return error;
    if (count > 0)
        KERNELS->renorm_statistics(a->shape.c, count, a->momentum, a->eps, a->r_max, a->d_max,
                                   a->mean, a->inv_std, a->r, a->d, a->running_mean,
                                   a->running_var);
    else
        for (int64_t c = 0; c < a->shape.c; c++) a->r[c] = 1, a->d[c] = 0;
    return BNC_OP(normalize)(a);
}

/* What moves arrays between the layouts of a chain's layers, and adds them up. */
#include "elementwise.h"

typedef struct {
    const bnc_copy *a;
    int64_t per;
} copy_job;

static void copy_some(int64_t k, void *arg)
{
    const copy_job *j = arg;
    const bnc_copy *a = j->a;
    const int64_t r = k * j->per;
    KERNELS->copy_rows((const bnc_real *)a->from + r * a->from_pitch, a->from_pitch, 1,
                       (bnc_real *)a->to + r * a->to_pitch, a->to_pitch,
                       bnc_min(j->per, a->rows - r), a->n);
}

int BNC_OP(copy)(const bnc_copy *a)
{
    copy_job j = {a, bnc_max(1, BNC_SPAN / bnc_max(1, a->n))};
    bnc_run(copy_some, &j, bnc_ceil_div(a->rows, j.per), bnc_threads(a->rows * a->n, BNC_GRAIN));
    return BNC_OK;
}

static void turn_one(int64_t k, void *arg)
{
    const bnc_transposition *a = arg;
    const int64_t at = k * a->rows * a->columns;
    KERNELS->transpose((const bnc_real *)a->from + at, a->columns, (bnc_real *)a->to + at, a->rows,
                       a->rows, a->columns);
}

int BNC_OP(turn)(const bnc_transposition *a)
{
    bnc_run(turn_one, (void *)a, a->n, bnc_threads(a->n * a->rows * a->columns, BNC_GRAIN));
    return BNC_OK;
}

static void sum_span(int64_t k, void *arg)
{
    const bnc_sum *a = arg;
    const int64_t at = k * BNC_SPAN, n = bnc_span_length(k, a->size);
    KERNELS->finish_rows((const bnc_real *)a->a + at, n, NULL, 0, 0, (const bnc_real *)a->b + at,
                         (bnc_real *)a->y + at, n, 1, n, a->relu);
}

int BNC_OP(sum)(const bnc_sum *a)
{
    bnc_run(sum_span, (void *)a, bnc_spans(a->size), bnc_threads(a->size, BNC_GRAIN));
    return BNC_OK;
}

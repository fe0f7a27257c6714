/* Losses: blocks of rows or spans of elements, their sums merged in order; every loss is a mean. */
#include "elementwise.h"

/* ---- cross-entropy ---- */

typedef struct {
    const bnc_cross_entropy *a;
    int64_t rows; /* of a chunk */
    double *partial;
} rows_job;

static int64_t chunk_rows(int64_t k) { return bnc_max(1, BNC_SPAN / 2 / k); }

static void forward_rows(int64_t chunk, void *arg)
{
    const rows_job *j = arg;
    const bnc_cross_entropy *a = j->a;
    const int64_t from = chunk * j->rows, count = bnc_min(j->rows, a->n - from);
    KERNELS->cross_entropy((const bnc_real *)a->logits + from * a->k, a->target + from, count, a->k,
                           a->smoothing, (bnc_real *)a->shift + from, (bnc_real *)a->total + from,
                           j->partial + chunk);
}

static void backward_rows(int64_t chunk, void *arg)
{
    const rows_job *j = arg;
    const bnc_cross_entropy *a = j->a;
    const int64_t from = chunk * j->rows, count = bnc_min(j->rows, a->n - from);
    KERNELS->cross_entropy_backward((const bnc_real *)a->logits + from * a->k, a->target + from,
                                    count, a->k, a->smoothing, (const bnc_real *)a->shift + from,
                                    (const bnc_real *)a->total + from, 1 / (double)a->n,
                                    (bnc_real *)a->dlogits + from * a->k);
}

int BNC_OP(cross_entropy)(bnc_cross_entropy *a)
{
    const int64_t rows = chunk_rows(a->k), chunks = bnc_ceil_div(a->n, rows);
    rows_job j = {a, rows, bnc_pool_get((size_t)chunks * sizeof(double))};
    if (!j.partial) return BNC_NO_MEMORY;
    bnc_run(forward_rows, &j, chunks, bnc_threads(a->n * a->k, BNC_GRAIN / 4));
    a->loss = bnc_merge_sum(j.partial, chunks) / (double)a->n;
    return BNC_OK;
}

int BNC_OP(cross_entropy_backward)(bnc_cross_entropy *a)
{
    rows_job j = {a, chunk_rows(a->k), 0};
    bnc_run(backward_rows, &j, bnc_ceil_div(a->n, j.rows), bnc_threads(a->n * a->k, BNC_GRAIN / 4));
    return BNC_OK;
}

/* ---- losses of two arrays of one shape ---- */

typedef void sum_kernel(const bnc_real *, const bnc_real *, int64_t, double *);
typedef void gradient_kernel(const bnc_real *, const bnc_real *, int64_t, double, bnc_real *);

typedef struct {
    const bnc_pair_loss *a;
    sum_kernel *sum;
    gradient_kernel *gradient;
    double *partial;
} pair_job;

static void sum_span(int64_t k, void *arg)
{
    const pair_job *j = arg;
    const int64_t at = k * BNC_SPAN;
    j->sum((const bnc_real *)j->a->pred + at, (const bnc_real *)j->a->target + at,
           bnc_span_length(k, j->a->size), j->partial + k);
}

static void gradient_span(int64_t k, void *arg)
{
    const pair_job *j = arg;
    const int64_t at = k * BNC_SPAN;
    j->gradient((const bnc_real *)j->a->pred + at, (const bnc_real *)j->a->target + at,
                bnc_span_length(k, j->a->size), 1 / (double)j->a->size,
                (bnc_real *)j->a->dpred + at);
}

static int mean_of(bnc_pair_loss *a, sum_kernel *sum, int64_t grain)
{
    const int64_t spans = bnc_spans(a->size);
    pair_job j = {.a = a, .sum = sum, .partial = bnc_pool_get((size_t)spans * sizeof(double))};
    if (!j.partial) return BNC_NO_MEMORY;
    bnc_run(sum_span, &j, spans, bnc_threads(a->size, grain));
    a->loss = bnc_merge_sum(j.partial, spans) / (double)a->size;
    return BNC_OK;
}

static int gradient_of(bnc_pair_loss *a, gradient_kernel *gradient, int64_t grain)
{
    pair_job j = {.a = a, .gradient = gradient};
    bnc_run(gradient_span, &j, bnc_spans(a->size), bnc_threads(a->size, grain));
    return BNC_OK;
}

int BNC_OP(mse)(bnc_pair_loss *a) { return mean_of(a, KERNELS->squared_error, BNC_GRAIN); }
int BNC_OP(mse_backward)(bnc_pair_loss *a)
{ return gradient_of(a, KERNELS->squared_error_backward, BNC_GRAIN); }
int BNC_OP(bce_with_logits)(bnc_pair_loss *a) { return mean_of(a, KERNELS->bce, BNC_GRAIN / 4); }
int BNC_OP(bce_with_logits_backward)(bnc_pair_loss *a)
{ return gradient_of(a, KERNELS->bce_backward, BNC_GRAIN / 4); }

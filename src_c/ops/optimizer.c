/* Optimizer steps, gradient norm and scaling over a flat vector, in spans. */
#include "elementwise.h"

#include <math.h>

/* Calls step(from, count, decays) for the elements of span k with weight decay and for those
 * without. */
typedef void step_fn(const bnc_optimizer *, int64_t from, int64_t count, int decays);

static inline void split_span(const bnc_optimizer *o, int64_t k, step_fn *step)
{
    const int64_t from = k * BNC_SPAN, end = from + bnc_span_length(k, o->size);
    const int64_t border = bnc_max(from, bnc_min(o->decayed, end));
    if (border > from) step(o, from, border - from, 1);
    if (end > border) step(o, border, end - border, 0);
}

static void sgd_part(const bnc_optimizer *o, int64_t from, int64_t count, int decays)
{
    bnc_real *velocity = o->velocity;
    KERNELS->sgd_step((bnc_real *)o->param + from, (const bnc_real *)o->grad + from,
                      velocity ? velocity + from : 0, count, (bnc_real)o->lr, (bnc_real)o->momentum,
                      o->nesterov, decays ? (bnc_real)o->weight_decay : 0);
}

static void adamw_part(const bnc_optimizer *o, int64_t from, int64_t count, int decays)
{
    const double size = o->lr / (1 - pow(o->beta1, (double)o->step)),
                 root = sqrt(1 - pow(o->beta2, (double)o->step));
    KERNELS->adamw_step((bnc_real *)o->param + from, (const bnc_real *)o->grad + from,
                        (bnc_real *)o->m + from, (bnc_real *)o->v + from, count,
                        decays ? (bnc_real)(1 - o->lr * o->weight_decay) : 1, o->beta1, o->beta2,
                        (bnc_real)size, (bnc_real)root, (bnc_real)o->eps);
}

static void sgd_span(int64_t k, void *arg) { split_span(arg, k, sgd_part); }
static void adamw_span(int64_t k, void *arg) { split_span(arg, k, adamw_part); }

int BNC_OP(sgd_step)(const bnc_optimizer *o)
{
    bnc_run(sgd_span, (void *)o, bnc_spans(o->size), bnc_threads(o->size, BNC_GRAIN));
    return BNC_OK;
}

int BNC_OP(adamw_step)(const bnc_optimizer *o)
{
    bnc_run(adamw_span, (void *)o, bnc_spans(o->size), bnc_threads(o->size, BNC_GRAIN / 2));
    return BNC_OK;
}

typedef struct {
    const bnc_real *x;
    int64_t size;
    double *partial;
} norm_job;

static void norm_span(int64_t k, void *arg)
{
    const norm_job *j = arg;
    KERNELS->squared_sum(j->x + k * BNC_SPAN, bnc_span_length(k, j->size), j->partial + k);
}

int BNC_OP(squared_norm)(const void *x, int64_t size, double *result)
{
    const int64_t spans = bnc_spans(size);
    norm_job j = {x, size, bnc_pool_get((size_t)bnc_max(1, spans) * sizeof(double))};
    if (!j.partial) return BNC_NO_MEMORY;
    bnc_run(norm_span, &j, spans, bnc_threads(size, BNC_GRAIN));
    *result = bnc_merge_sum(j.partial, spans);
    return BNC_OK;
}

typedef struct {
    bnc_real *x;
    int64_t size;
    bnc_real factor;
} scale_job;

static void scale_span(int64_t k, void *arg)
{
    const scale_job *j = arg;
    KERNELS->scale(j->x + k * BNC_SPAN, bnc_span_length(k, j->size), j->factor);
}

int BNC_OP(scale)(void *x, int64_t size, double factor)
{
    scale_job j = {x, size, (bnc_real)factor};
    bnc_run(scale_span, &j, bnc_spans(size), bnc_threads(size, BNC_GRAIN));
    return BNC_OK;
}

/* Activations and the dropout mask: the flat array in spans, one kernel call each. */
#include "elementwise.h"

typedef struct {
    const bnc_real *x, *kept;
    const uint8_t *keep;
    bnc_real *y;
    int64_t size;
    int kind;
    bnc_real factor;
} map_job;

/* A thread's worth of elements: an exponential costs several times what memory does. */
static int64_t grain(int kind)
{ return kind == BNC_RELU || kind == BNC_LEAKY_RELU ? BNC_GRAIN : BNC_GRAIN / 4; }

static void forward_span(int64_t k, void *arg)
{
    const map_job *j = arg;
    const int64_t at = k * BNC_SPAN;
    KERNELS->activation(j->x + at, j->y + at, bnc_span_length(k, j->size), j->kind, j->factor);
}

static void backward_span(int64_t k, void *arg)
{
    const map_job *j = arg;
    const int64_t at = k * BNC_SPAN;
    KERNELS->activation_backward(j->x + at, j->kept + at, j->y + at, bnc_span_length(k, j->size),
                                 j->kind, j->factor);
}

static void mask_span(int64_t k, void *arg)
{
    const map_job *j = arg;
    const int64_t at = k * BNC_SPAN;
    KERNELS->mask_scale(j->x + at, j->keep + at, j->y + at, bnc_span_length(k, j->size), j->factor);
}

int BNC_OP(activation)(const void *x, void *y, int64_t size, int kind, double slope)
{
    map_job j = {.x = x, .y = y, .size = size, .kind = kind, .factor = (bnc_real)slope};
    bnc_run(forward_span, &j, bnc_spans(size), bnc_threads(size, grain(kind)));
    return BNC_OK;
}

int BNC_OP(activation_backward)(const void *dy, const void *kept, void *dx, int64_t size, int kind,
                                double slope)
{
    map_job j = {
        .x = dy, .kept = kept, .y = dx, .size = size, .kind = kind, .factor = (bnc_real)slope};
    bnc_run(backward_span, &j, bnc_spans(size), bnc_threads(size, grain(kind)));
    return BNC_OK;
}

int BNC_OP(mask_scale)(const void *x, const uint8_t *keep, void *y, int64_t size, double scale)
{
    map_job j = {.x = x, .keep = keep, .y = y, .size = size, .factor = (bnc_real)scale};
    bnc_run(mask_span, &j, bnc_spans(size), bnc_threads(size, BNC_GRAIN));
    return BNC_OK;
}

/* One flat run cut into spans for the team, and sums over it that do not depend on the team. */
#ifndef BNC_ELEMENTWISE_H
#define BNC_ELEMENTWISE_H

#include "op.h"

/* Elements of a span: three float32 arrays of it stay in the second-level cache. */
enum { BNC_SPAN = 16384 };

static inline int64_t bnc_spans(int64_t size) { return bnc_ceil_div(size, BNC_SPAN); }
static inline int64_t bnc_span_length(int64_t k, int64_t size)
{ return bnc_min(BNC_SPAN, size - k * BNC_SPAN); }

/* Adds up partial[0..count) in order and gives the scratch memory back. */
static inline double bnc_merge_sum(double *partial, int64_t count)
{
    double sum = 0;
    for (int64_t k = 0; k < count; k++) sum += partial[k];
    bnc_pool_put(partial);
    return sum;
}

#endif

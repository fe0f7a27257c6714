/* y = act((x - hi) scale + shift [+ residual]): the element-wise half of the forward pass.
 * x - hi comes first: x scale + (shift - mean scale) would round the mean away. */
#include "flat.h"

enum { HI, SCALE, SHIFT, TERMS };

BNC_INLINE void normalize(struct bnc_arrays a, int64_t o, const vreal *k, int lanes, const int add,
                          const int relu, const int stream)
{
    vreal y = (bnc_in(a.x + o, lanes) - k[HI]) * k[SCALE] + k[SHIFT];
    if (add) y += bnc_in(a.extra + o, lanes);
    if (relu) y = vandnot((vint)(y < vzero()), y); /* NaN passes, as through any ReLU */
    bnc_out(a.out + o, y, lanes, stream);
}

#define STEP(name, add, relu, stream)                                               \
    BNC_INLINE void name(struct bnc_arrays a, int64_t o, const vreal *k, int lanes) \
    { normalize(a, o, k, lanes, add, relu, stream); }
STEP(plain, 0, 0, 0)
STEP(plain_relu, 0, 1, 0)
STEP(plain_add, 1, 0, 0)
STEP(plain_add_relu, 1, 1, 0)
STEP(stream, 0, 0, 1)
STEP(stream_relu, 0, 1, 1)
STEP(stream_add, 1, 0, 1)
STEP(stream_add_relu, 1, 1, 1)

/* The branches that are the same for every element become separate loops. */
#define VARIANTS(walk)                    \
    do {                                  \
        if (streaming) {                  \
            if (residual && relu)         \
                walk(1, stream_add_relu); \
            else if (residual)            \
                walk(1, stream_add);      \
            else if (relu)                \
                walk(1, stream_relu);     \
            else                          \
                walk(1, stream);          \
            bnc_fence();                  \
        } else if (residual && relu) {    \
            walk(0, plain_add_relu);      \
        } else if (residual) {            \
            walk(0, plain_add);           \
        } else if (relu) {                \
            walk(0, plain_relu);          \
        } else {                          \
            walk(0, plain);               \
        }                                 \
    } while (0)

/* x, residual (or NULL), y: n elements of rows of `width`, the first one element `at` of its row */
void BNC_KERNEL(columns_normalize)(const bnc_real *x, const bnc_real *residual, bnc_real *y,
                                   int64_t n, int64_t at, int64_t width,
                                   const struct bnc_coefficients *k, int relu, int streaming)
{
    const struct bnc_arrays a = {.x = x, .extra = residual, .out = y};
    const struct bnc_terms t = {{k->hi, k->scale, k->shift}};
#define WALK(past_caches, step) bnc_walk_columns(a, n, at, width, t, TERMS, past_caches, step)
    VARIANTS(WALK);
#undef WALK
}

/* x, residual (or NULL), y: n elements of slabs of s (at least a vector), the first one element `at` of a slab of channel
 * `first`; after the last of `channels` comes channel 0 */
void BNC_KERNEL(slabs_normalize)(const bnc_real *x, const bnc_real *residual, bnc_real *y,
                                 int64_t n, int64_t at, int64_t s, int64_t first, int64_t channels,
                                 const struct bnc_coefficients *k, int relu, int streaming)
{
    const struct bnc_arrays a = {.x = x, .extra = residual, .out = y};
    const struct bnc_terms t = {{k->hi, k->scale, k->shift}};
#define WALK(past_caches, step) \
    bnc_walk_slabs(a, n, at, s, first, channels, t, TERMS, past_caches, step)
    VARIANTS(WALK);
#undef WALK
}

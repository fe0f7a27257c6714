/* dx = (g gamma - offset - (x - hi) slope) inv_std, where slope = inv_std mean_wx and offset = mean_w - lo slope, of
 * w = g gamma: the element-wise half of group norm's backward pass. Unlike batch norm's, gamma differs within what is
 * normalized together, and so cannot be a factor of the whole. */
#include "flat.h"
#include "norm_gradient.h"

enum { HI, SCALE, SHIFT, SLOPE, OFFSET, GAMMA, INV_STD, TERMS };

BNC_INLINE void gradient(struct bnc_arrays a, int64_t o, const vreal *k, int lanes, const int gate,
                         const int stream)
{
    const vreal centred = bnc_in(a.x + o, lanes) - k[HI];
    const vreal g = bnc_gated(gate, bnc_in(a.dy + o, lanes), centred, vzero(), k[SCALE], k[SHIFT]);
    const vreal dx = ((g * k[GAMMA] - k[OFFSET]) - centred * k[SLOPE]) * k[INV_STD];
    bnc_out(a.out + o, dx, lanes, stream);
}

#define STEP(name, gate, stream)                                                    \
    BNC_INLINE void name(struct bnc_arrays a, int64_t o, const vreal *k, int lanes) \
    { gradient(a, o, k, lanes, gate, stream); }
STEP(open, BNC_OPEN, 0)
STEP(open_stream, BNC_OPEN, 1)
STEP(from_x, BNC_FROM_X, 0)
STEP(from_x_stream, BNC_FROM_X, 1)

#define VARIANTS(walk)              \
    do {                            \
        if (streaming && relu)      \
            walk(1, from_x_stream); \
        else if (streaming)         \
            walk(1, open_stream);   \
        else if (relu)              \
            walk(0, from_x);        \
        else                        \
            walk(0, open);          \
        if (streaming) bnc_fence(); \
    } while (0)

BNC_INLINE struct bnc_terms terms_of(const struct bnc_coefficients *k, const bnc_real *gamma)
{ return (struct bnc_terms){{k->hi, k->scale, k->shift, k->slope, k->offset, gamma, k->inv_std}}; }

/* n elements of rows of `width`, the first one element `at` of its row */
void BNC_KERNEL(columns_group_gradient)(const bnc_real *x, const bnc_real *dy, bnc_real *dx,
                                        int64_t n, int64_t at, int64_t width, const bnc_real *gamma,
                                        const struct bnc_coefficients *k, int relu, int streaming)
{
    const struct bnc_arrays a = {.x = x, .dy = dy, .out = dx};
    const struct bnc_terms t = terms_of(k, gamma);
#define WALK(past_caches, step) bnc_walk_columns(a, n, at, width, t, TERMS, past_caches, step)
    VARIANTS(WALK);
#undef WALK
}

/* n elements of slabs of s (at least a vector), the first one element `at` of a slab of channel `first` of `channels` */
void BNC_KERNEL(slabs_group_gradient)(const bnc_real *x, const bnc_real *dy, bnc_real *dx,
                                      int64_t n, int64_t at, int64_t s, int64_t first,
                                      int64_t channels, const bnc_real *gamma,
                                      const struct bnc_coefficients *k, int relu, int streaming)
{
    const struct bnc_arrays a = {.x = x, .dy = dy, .out = dx};
    const struct bnc_terms t = terms_of(k, gamma);
#define WALK(past_caches, step) \
    bnc_walk_slabs(a, n, at, s, first, channels, t, TERMS, past_caches, step)
    VARIANTS(WALK);
#undef WALK
}

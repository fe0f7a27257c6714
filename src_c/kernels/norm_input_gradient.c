/* dx = (g - offset - (x - hi) slope) scale, where slope = inv_std mean_gx and offset = mean_g - lo slope: the element-wise
 * half of the backward pass; with constant statistics (evaluation, frozen: slope NULL) dx = g scale. Also writes g itself,
 * the residual's gradient, where asked to. */
#include "flat.h"
#include "norm_gradient.h"

enum { HI, SCALE, SHIFT, SLOPE, OFFSET, TERMS };

BNC_INLINE void gradient(struct bnc_arrays a, int64_t o, const vreal *k, int lanes, const int gate,
                         const int batch, const int split, const int stream)
{
    const int needs_x = batch || gate == BNC_FROM_X;
    const vreal centred = needs_x ? bnc_in(a.x + o, lanes) - k[HI] : vzero();
    const vreal y = gate == BNC_FROM_Y ? bnc_in(a.extra + o, lanes) : vzero();
    const vreal g = bnc_gated(gate, bnc_in(a.dy + o, lanes), centred, y, k[SCALE], k[SHIFT]);
    if (split) bnc_out(a.split + o, g, lanes, 0);
    const vreal dx = batch ? ((g - k[OFFSET]) - centred * k[SLOPE]) * k[SCALE] : g * k[SCALE];
    bnc_out(a.out + o, dx, lanes, stream);
}

#define STEP(name, gate, batch, split, stream)                                      \
    BNC_INLINE void name(struct bnc_arrays a, int64_t o, const vreal *k, int lanes) \
    { gradient(a, o, k, lanes, gate, batch, split, stream); }
#define STEPS(name, gate, batch, split) \
    STEP(name, gate, batch, split, 0)   \
    STEP(name##_stream, gate, batch, split, 1)
STEPS(open_batch, BNC_OPEN, 1, 0)
STEPS(open_constant, BNC_OPEN, 0, 0)
STEPS(open_batch_split, BNC_OPEN, 1, 1)
STEPS(open_constant_split, BNC_OPEN, 0, 1)
STEPS(from_x_batch, BNC_FROM_X, 1, 0)
STEPS(from_x_constant, BNC_FROM_X, 0, 0)
STEPS(from_y_batch, BNC_FROM_Y, 1, 1)
STEPS(from_y_constant, BNC_FROM_Y, 0, 1)

#define EITHER(walk, step)          \
    do {                            \
        if (streaming)              \
            walk(1, step##_stream); \
        else                        \
            walk(0, step);          \
    } while (0)

/* The branches that are the same for every element become separate loops. y is given exactly for add + ReLU, and then
 * dresidual is too. */
#define VARIANTS(walk)                                             \
    do {                                                           \
        const int batch = k->slope != 0, gate = BNC_GATE(relu, y); \
        if (gate == BNC_OPEN && !dresidual && batch)               \
            EITHER(walk, open_batch);                              \
        else if (gate == BNC_OPEN && !dresidual)                   \
            EITHER(walk, open_constant);                           \
        else if (gate == BNC_OPEN && batch)                        \
            EITHER(walk, open_batch_split);                        \
        else if (gate == BNC_OPEN)                                 \
            EITHER(walk, open_constant_split);                     \
        else if (gate == BNC_FROM_X && batch)                      \
            EITHER(walk, from_x_batch);                            \
        else if (gate == BNC_FROM_X)                               \
            EITHER(walk, from_x_constant);                         \
        else if (batch)                                            \
            EITHER(walk, from_y_batch);                            \
        else                                                       \
            EITHER(walk, from_y_constant);                         \
        if (streaming) bnc_fence();                                \
    } while (0)

/* What a pass does not use is loaded from anywhere, or rather not at all. */
BNC_INLINE struct bnc_terms terms_of(const struct bnc_coefficients *k)
{
    return (struct bnc_terms){
        {k->hi, k->scale, k->shift, k->slope ? k->slope : k->hi, k->slope ? k->offset : k->hi}};
}

/* n elements of rows of `width`, the first one element `at` of its row */
void BNC_KERNEL(columns_input_gradient)(const bnc_real *x, const bnc_real *dy, const bnc_real *y,
                                        bnc_real *dx, bnc_real *dresidual, int64_t n, int64_t at,
                                        int64_t width, const struct bnc_coefficients *k, int relu,
                                        int streaming)
{
    const struct bnc_arrays a = {.x = x, .dy = dy, .extra = y, .out = dx, .split = dresidual};
    const struct bnc_terms t = terms_of(k);
#define WALK(past_caches, step) bnc_walk_columns(a, n, at, width, t, TERMS, past_caches, step)
    VARIANTS(WALK);
#undef WALK
}

/* n elements of slabs of s (at least a vector), the first one element `at` of a slab of channel `first`; after the last of
 * `channels` comes channel 0 */
void BNC_KERNEL(slabs_input_gradient)(const bnc_real *x, const bnc_real *dy, const bnc_real *y,
                                      bnc_real *dx, bnc_real *dresidual, int64_t n, int64_t at,
                                      int64_t s, int64_t first, int64_t channels,
                                      const struct bnc_coefficients *k, int relu, int streaming)
{
    const struct bnc_arrays a = {.x = x, .dy = dy, .extra = y, .out = dx, .split = dresidual};
    const struct bnc_terms t = terms_of(k);
#define WALK(past_caches, step) \
    bnc_walk_slabs(a, n, at, s, first, channels, t, TERMS, past_caches, step)
    VARIANTS(WALK);
#undef WALK
}

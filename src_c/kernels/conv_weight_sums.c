/* The weight gradient of a convolution: sums of x dy over rectangles of output pixels, for some taps that follow each other
 * in memory and one block of output channels (conv_row.c). SIDE taps by NV vectors of channels stay in registers, each
 * pixel gives one load of dy and a broadcast of x a tap. A rectangle's sums start from 0 and are added to the result at the
 * end, so that a long sum errs like a short one. */
#include "conv_tile.h"

BNC_INLINE void tile(const int taps, const struct bnc_conv_pixels *p, const bnc_real *x,
                     const bnc_real *dy, bnc_real *sums)
{
    vreal acc[SIDE][NV];
    clear_tile(acc, taps);
    for (int64_t i = 0; i < p->rows; i++) {
        const bnc_real *at = x + i * p->x_row, *g = dy + i * p->dy_row;
        for (int64_t j = p->pixels; j > 0; j--, at += p->x_step, g += p->dy_step) {
            vreal gradient[NV];
#pragma GCC unroll 8
            for (int v = 0; v < NV; v++) gradient[v] = vload(g + v * VL);
#pragma GCC unroll 8
            for (int t = 0; t < taps; t++)
#pragma GCC unroll 8
                for (int v = 0; v < NV; v++) acc[t][v] += gradient[v] * at[t];
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < taps; t++)
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) {
            bnc_real *to = sums + t * BLOCK + v * VL;
            vstore(to, vload(to) + acc[t][v]);
        }
}

typedef void tile_fn(const struct bnc_conv_pixels *p, const bnc_real *x, const bnc_real *dy,
                     bnc_real *sums);

#define TILE(n)                                                                                 \
    static __attribute__((noinline)) void tile_##n(                                             \
        const struct bnc_conv_pixels *p, const bnc_real *x, const bnc_real *dy, bnc_real *sums) \
    { tile(n, p, x, dy, sums); }
EACH_SIDE(TILE)
#define NAME(n) tile_##n,
static tile_fn *const tiles[SIDE] = {EACH_SIDE(NAME)};

/* sums (taps, BLOCK) += over the pixels, x[t] dy; x and dy: those of the first pixel. Taps are shared out evenly. */
void BNC_KERNEL(conv_weight_sums)(const struct bnc_conv_pixels *p, const bnc_real *x,
                                  const bnc_real *dy, int64_t taps, bnc_real *sums)
{
    const int64_t count = (taps + SIDE - 1) / SIDE, few = taps / count, more = taps % count;
    for (int64_t i = 0, t = 0, n; i < count; i++, t += n) {
        n = few + (i < more);
        tiles[n - 1](p, x + t, dy, sums + t * BLOCK);
    }
}

/* One row of a convolution's output pixels, for one block of output channels, straight from the image: no matrix of patches.
 *
 * With channels last, the taps of a kernel row are one contiguous run of inputs, whatever the channels and the kernel's
 * width; a row of pixels is the same run at a fixed pitch. So the kernel is "runs of values, a broadcast each, times packed
 * weights", SIDE pixels by NV vectors of channels in registers. What the first or last pixel would read outside of
 * the image is skipped, not multiplied by zero. A pixel's sum is added up in the order of the weights, one by one, however
 * the row is cut into tiles. */
#include "conv_tile.h"

/* Channels of a block: the weights of one input value follow each other. */
void BNC_KERNEL(conv_block)(int64_t *channels) { *channels = BLOCK; }

/* acc[p] += x[p step] * the next weights, for `n` values of a run and pixels [from, to), literals. */
#define ADD_RUN(n, from, to)                                                                      \
    for (int64_t i = (n); i > 0; i--, x++, w += BLOCK) {                                          \
        vreal weights[NV];                                                                        \
        _Pragma("GCC unroll 8") for (int v = 0; v < NV; v++) weights[v] = vload(w + v * VL);      \
        _Pragma("GCC unroll 8") for (int p = (from); p < (to); p++)                               \
        {                                                                                         \
            const bnc_real value = x[p * step];                                                   \
            _Pragma("GCC unroll 8") for (int v = 0; v < NV; v++) acc[p][v] += weights[v] * value; \
        }                                                                                         \
    }

/* The first `channels` of a block's sums of one pixel. */
static void store_some(const vreal *sums, int64_t channels, bnc_real *y)
{
    bnc_real lanes[BLOCK];
    for (int v = 0; v < NV; v++) vstore(lanes + v * VL, sums[v]);
    memcpy(y, lanes, (size_t)channels * sizeof *y);
}

/* Some pixels, a literal number: `left` and `right` values at the ends of every run are not the first and last one's. */
BNC_INLINE void tile(const int pixels, const struct bnc_conv_row *r, int64_t left, int64_t right,
                     const bnc_real *from, const bnc_real *w, bnc_real *y)
{
    vreal acc[SIDE][NV];
    const int64_t step = r->x_step, middle = r->length - left - right;
    clear_tile(acc, pixels);
    for (int64_t t = 0; t < r->runs; t++) {
        const bnc_real *x = from + r->at[t];
        ADD_RUN(left, 1, pixels)
        ADD_RUN(middle, 0, pixels)
        ADD_RUN(right, 0, pixels - 1)
    }
    if (r->channels < BLOCK) {
        for (int p = 0; p < pixels; p++) store_some(acc[p], r->channels, y + p * r->y_step);
        return;
    }
#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) vstore(y + p * r->y_step + v * VL, acc[p][v]);
}

typedef void tile_fn(const struct bnc_conv_row *r, int64_t left, int64_t right,
                     const bnc_real *from, const bnc_real *w, bnc_real *y);

#define TILE(n)                                                                                \
    static __attribute__((noinline)) void tile_##n(const struct bnc_conv_row *r, int64_t left, \
                                                   int64_t right, const bnc_real *from,        \
                                                   const bnc_real *w, bnc_real *y)             \
    { tile(n, r, left, right, from, w, y); }
EACH_SIDE(TILE)
#define NAME(n) tile_##n,
static tile_fn *const tiles[SIDE] = {EACH_SIDE(NAME)};

/* x: input column 0 of the row's first kernel row; w: packed weights (runs, length, BLOCK); y: the first pixel's channels.
 * A row is shared out evenly: 28 pixels are four tiles of 7, not three of 8 and one of 4. */
void BNC_KERNEL(conv_row)(const struct bnc_conv_row *r, const bnc_real *x, const bnc_real *w,
                          bnc_real *y)
{
    const int64_t count = (r->pixels + SIDE - 1) / SIDE, few = r->pixels / count,
                  more = r->pixels % count;
    for (int64_t i = 0, p = 0, n; i < count; i++, p += n) {
        n = few + (i < more);
        tiles[n - 1](r, i == 0 ? r->left : 0, i + 1 == count ? r->right : 0, x + p * r->x_step, w,
                     y + p * r->y_step);
    }
}

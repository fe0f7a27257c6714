/* Depthwise convolutions: every channel is a lane. A row of output pixels, and the sums that are the weights' gradients. */
#include "kernels.h"

enum { TOGETHER = 4 }; /* pixels, or taps, that share loads */

/* `nv` vectors of channels of `n` pixels, literals: the pixels share the loads of the weights. */
BNC_INLINE void pixels(const int n, const int nv, const struct bnc_conv_row *r, const bnc_real *x,
                       const bnc_real *w, bnc_real *y)
{
    vreal sum[TOGETHER][2];
#pragma GCC unroll 4
    for (int p = 0; p < n; p++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) sum[p][v] = vzero();
    for (int64_t t = 0; t < r->runs; t++) {
        const bnc_real *at = x + r->at[2 * t], *weight = w + r->at[2 * t + 1];
        vreal tap[2];
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) tap[v] = vload(weight + v * VL);
#pragma GCC unroll 4
        for (int p = 0; p < n; p++)
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++) sum[p][v] += tap[v] * vload(at + p * r->x_step + v * VL);
    }
#pragma GCC unroll 4
    for (int p = 0; p < n; p++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) vstore(y + p * r->y_step + v * VL, sum[p][v]);
}

/* All pixels of the row, shared out evenly: five are three and two. */
BNC_INLINE void row(const int nv, const struct bnc_conv_row *r, const bnc_real *x,
                    const bnc_real *w, bnc_real *y)
{
    for (int64_t p = 0, left = r->pixels, n; left > 0; p += n, left -= n) {
        const int64_t calls = (left + TOGETHER - 1) / TOGETHER;
        n = (left + calls - 1) / calls;
        const bnc_real *from = x + p * r->x_step;
        bnc_real *to = y + p * r->y_step;
        switch (n) {
        case 1: pixels(1, nv, r, from, w, to); break;
        case 2: pixels(2, nv, r, from, w, to); break;
        case 3: pixels(3, nv, r, from, w, to); break;
        default: pixels(TOGETHER, nv, r, from, w, to);
        }
    }
}

/* Channels that do not fill a vector. */
static void row_end(const struct bnc_conv_row *r, int lanes, const bnc_real *x, const bnc_real *w,
                    bnc_real *y)
{
    for (int64_t p = 0; p < r->pixels; p++, x += r->x_step, y += r->y_step) {
        vreal sum = vzero();
        for (int64_t t = 0; t < r->runs; t++)
            sum += vload_part(w + r->at[2 * t + 1], lanes) * vload_part(x + r->at[2 * t], lanes);
        vstore_part(y, sum, lanes);
    }
}

/* y[p y_step + c] = sum over t < runs of x[at[2 t] + p x_step + c] w[at[2 t + 1] + c] */
void BNC_KERNEL(depthwise_row)(const struct bnc_conv_row *r, const bnc_real *x, const bnc_real *w,
                               bnc_real *y)
{
    int64_t c = 0;
    for (; c + 2 * VL <= r->channels; c += 2 * VL) row(2, r, x + c, w + c, y + c);
    if (c + VL <= r->channels) row(1, r, x + c, w + c, y + c), c += VL;
    if (c < r->channels) row_end(r, (int)(r->channels - c), x + c, w + c, y + c);
}

/* One vector of channels of `n` taps, a literal, which share the loads of dy; each row's sums on their own, so that a long
 * sum errs like a short one. */
BNC_INLINE void taps_sums(const int n, const struct bnc_conv_pixels *p, const bnc_real *x,
                          int64_t x_tap, const bnc_real *dy, bnc_real *sums, int64_t channels)
{
    for (int64_t i = 0; i < p->rows; i++, x += p->x_row, dy += p->dy_row) {
        const bnc_real *a = x, *g = dy;
        vreal sum[TOGETHER];
#pragma GCC unroll 4
        for (int t = 0; t < n; t++) sum[t] = vzero();
        for (int64_t j = 0; j < p->pixels; j++, a += p->x_step, g += p->dy_step) {
            const vreal gradient = vheld(vload(g));
#pragma GCC unroll 4
            for (int t = 0; t < n; t++) sum[t] += vload(a + t * x_tap) * gradient;
        }
#pragma GCC unroll 4
        for (int t = 0; t < n; t++)
            vstore(sums + t * channels, vload(sums + t * channels) + sum[t]);
    }
}

static void end_sums(const struct bnc_conv_pixels *p, int lanes, const bnc_real *x,
                     const bnc_real *dy, bnc_real *sums)
{
    for (int64_t i = 0; i < p->rows; i++, x += p->x_row, dy += p->dy_row) {
        vreal sum = vzero();
        for (int64_t j = 0; j < p->pixels; j++)
            sum += vload_part(x + j * p->x_step, lanes) * vload_part(dy + j * p->dy_step, lanes);
        vstore_part(sums, vload_part(sums, lanes) + sum, lanes);
    }
}

/* sums (taps, channels) += x dy over the pixels; x of a tap is x_tap behind that of the tap before */
void BNC_KERNEL(depthwise_weight_sums)(const struct bnc_conv_pixels *p, const bnc_real *x,
                                       int64_t taps, int64_t x_tap, const bnc_real *dy,
                                       int64_t channels, bnc_real *sums)
{
    for (int64_t c = 0; c < channels; c += VL)
        for (int64_t t = 0, n; t < taps; t += n) {
            const bnc_real *from = x + t * x_tap + c;
            bnc_real *to = sums + t * channels + c;
            n = channels - c < VL ? 1 : taps - t < TOGETHER ? taps - t : TOGETHER;
            if (channels - c < VL)
                end_sums(p, (int)(channels - c), from, dy + c, to);
            else if (n == 1)
                taps_sums(1, p, from, x_tap, dy + c, to, channels);
            else if (n == 2)
                taps_sums(2, p, from, x_tap, dy + c, to, channels);
            else if (n == 3)
                taps_sums(3, p, from, x_tap, dy + c, to, channels);
            else
                taps_sums(TOGETHER, p, from, x_tap, dy + c, to, channels);
        }
}

/* Depthwise convolutions: every channel is a lane. A row of output pixels, and the sums that are the weights' gradients. */
#include "kernels.h"

/* One vector of channels of `n` pixels, a literal, which share the loads of the weights. */
BNC_INLINE void pixels(const int n, const struct bnc_conv_row *r, const bnc_real *x,
                       const bnc_real *w, bnc_real *y, const int lanes)
{
    vreal sum[4];
#pragma GCC unroll 4
    for (int p = 0; p < n; p++) sum[p] = vzero();
    for (int64_t t = 0; t < r->runs; t++) {
        const bnc_real *at = x + r->at[2 * t], *weight = w + r->at[2 * t + 1];
        const vreal tap = lanes == VL ? vload(weight) : vload_part(weight, lanes);
#pragma GCC unroll 4
        for (int p = 0; p < n; p++)
            sum[p] += tap * (lanes == VL ? vload(at + p * r->x_step)
                                         : vload_part(at + p * r->x_step, lanes));
    }
#pragma GCC unroll 4
    for (int p = 0; p < n; p++)
        if (lanes == VL)
            vstore(y + p * r->y_step, sum[p]);
        else
            vstore_part(y + p * r->y_step, sum[p], lanes);
}

BNC_INLINE void channels(const struct bnc_conv_row *r, const bnc_real *x, const bnc_real *w,
                         bnc_real *y, const int lanes)
{
    int64_t p = 0;
    for (; p + 4 <= r->pixels; p += 4) pixels(4, r, x + p * r->x_step, w, y + p * r->y_step, lanes);
    for (; p < r->pixels; p++) pixels(1, r, x + p * r->x_step, w, y + p * r->y_step, lanes);
}

/* y[p y_step + c] = sum over t < runs of x[at[2 t] + p x_step + c] w[at[2 t + 1] + c] */
void BNC_KERNEL(depthwise_row)(const struct bnc_conv_row *r, const bnc_real *x, const bnc_real *w,
                               bnc_real *y)
{
    int64_t c = 0;
    for (; c + VL <= r->channels; c += VL) channels(r, x + c, w + c, y + c, VL);
    if (c < r->channels) channels(r, x + c, w + c, y + c, (int)(r->channels - c));
}

/* sums (channels,) += x dy over the pixels: each row's sums on their own, so that a long sum errs like a short one */
void BNC_KERNEL(depthwise_weight_sums)(const struct bnc_conv_pixels *p, const bnc_real *x,
                                       const bnc_real *dy, int64_t channels, bnc_real *sums)
{
    for (int64_t i = 0; i < p->rows; i++, x += p->x_row, dy += p->dy_row)
        for (int64_t c = 0; c < channels; c += VL) {
            const int lanes = channels - c < VL ? (int)(channels - c) : VL;
            const bnc_real *a = x + c, *g = dy + c;
            vreal sum = vzero();
            for (int64_t j = 0; j < p->pixels; j++, a += p->x_step, g += p->dy_step)
                sum +=
                    lanes == VL ? vload(a) * vload(g) : vload_part(a, lanes) * vload_part(g, lanes);
            if (lanes == VL)
                vstore(sums + c, vload(sums + c) + sum);
            else
                vstore_part(sums + c, vload_part(sums + c, lanes) + sum, lanes);
        }
}

/* dx = (w - mean_w - x_hat mean_wx) inv_std, w = gamma g: the element-wise half of group norm's backward pass. Unlike batch
 * norm's, gamma differs within what is normalized together, and so cannot be a factor of the whole. */
#include "norm_gradient.h"

struct channel {
    bnc_real hi, lo, scale, shift, inv_std, mean_w, mean_wx, gamma;
};

BNC_INLINE struct channel channel_at(const struct bnc_coefficients *k, const bnc_real *gamma,
                                     int64_t j)
{
    return (struct channel){k->hi[j],      k->lo[j],     k->scale[j],   k->shift[j],
                            k->inv_std[j], k->mean_g[j], k->mean_gx[j], gamma[j]};
}

BNC_INLINE bnc_real element(bnc_real x, bnc_real dy, struct channel ch, const int gate)
{
    const bnc_real centred = (x - ch.hi) - ch.lo;
    const bnc_real w = BNC_G(gate, dy, centred, 0, ch.scale, ch.shift) * ch.gamma;
    return ((w - ch.mean_w) - (centred * ch.inv_std) * ch.mean_wx) * ch.inv_std;
}

/* `rows` (a literal) rows at once, so that a column's coefficients are loaded once for all of them. */
BNC_INLINE void some_rows(const bnc_real *restrict x, const bnc_real *restrict dy,
                          bnc_real *restrict dx, const int rows, int64_t c,
                          const bnc_real *restrict gamma, const struct bnc_coefficients *k,
                          const int gate)
{
#pragma omp simd
    for (int64_t j = 0; j < c; j++) {
        const struct channel ch = channel_at(k, gamma, j);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
            dx[r * c + j] = element(x[r * c + j], dy[r * c + j], ch, gate);
    }
}

BNC_INLINE void columns_body(const bnc_real *x, const bnc_real *dy, bnc_real *dx, int64_t rows,
                             int64_t c, const bnc_real *gamma, const struct bnc_coefficients *k,
                             const int gate)
{
    int64_t r = 0;
    for (; c < BNC_WIDE && r + 4 <= rows; r += 4)
        some_rows(x + r * c, dy + r * c, dx + r * c, 4, c, gamma, k, gate);
    for (; r < rows; r++) some_rows(x + r * c, dy + r * c, dx + r * c, 1, c, gamma, k, gate);
}

BNC_INLINE void slabs_body(const bnc_real *restrict x, const bnc_real *restrict dy,
                           bnc_real *restrict dx, int64_t count, int64_t s, const bnc_real *gamma,
                           const struct bnc_coefficients *k, const int gate)
{
    for (int64_t j = 0; j < count; j++) {
        const struct channel ch = channel_at(k, gamma, j);
#pragma omp simd
        for (int64_t i = 0; i < s; i++)
            dx[j * s + i] = element(x[j * s + i], dy[j * s + i], ch, gate);
    }
}

/* x, dy, dx: (rows, c) */
void BNC_KERNEL(columns_group_gradient)(const bnc_real *x, const bnc_real *dy, bnc_real *dx,
                                        int64_t rows, int64_t c, const bnc_real *gamma,
                                        const struct bnc_coefficients *k, int relu)
{
    if (relu)
        columns_body(x, dy, dx, rows, c, gamma, k, BNC_FROM_X);
    else
        columns_body(x, dy, dx, rows, c, gamma, k, BNC_OPEN);
}

/* x, dy, dx: (count, s), one channel a slab; gamma and k start at the first slab's channel */
void BNC_KERNEL(slabs_group_gradient)(const bnc_real *x, const bnc_real *dy, bnc_real *dx,
                                      int64_t count, int64_t s, const bnc_real *gamma,
                                      const struct bnc_coefficients *k, int relu)
{
    if (relu)
        slabs_body(x, dy, dx, count, s, gamma, k, BNC_FROM_X);
    else
        slabs_body(x, dy, dx, count, s, gamma, k, BNC_OPEN);
}

/* sum of g and of g x_hat per channel: the reduction half of the backward pass; also the gradients of beta and gamma.
 * x_hat = ((x - hi) - lo) inv_std is of the order of 1, so the products stay in range whatever the scale of x. */
#include "norm_gradient.h"

BNC_INLINE vreal gated(const int gate, vreal dy, vreal centred, const bnc_real *y, vreal scale,
                       vreal shift)
{
    if (gate == BNC_FROM_Y) return vandnot((vint)(vload(y) <= vzero()), dy);
    if (gate == BNC_FROM_X) return vandnot((vint)(centred * scale + shift <= vzero()), dy);
    return dy;
}

/* `rows` (a literal) rows of `w` columns (whole vectors) from column j0 on, added to float sums that
 * stay in cache. Row after row: memory is read as it lies. */
BNC_INLINE void some_rows(const bnc_real *restrict x, const bnc_real *restrict dy,
                          const bnc_real *restrict y, const int rows, int64_t ld, int64_t w,
                          int64_t j0, const struct bnc_coefficients *k, const int gate,
                          bnc_real *restrict sum, bnc_real *restrict sum_x)
{
    for (int64_t j = 0; j < w; j += VL) {
        const int64_t c = j0 + j;
        const vreal hi = vload(k->hi + c), lo = vload(k->lo + c), inv_std = vload(k->inv_std + c);
        const vreal scale = gate == BNC_FROM_X ? vload(k->scale + c) : vzero();
        const vreal shift = gate == BNC_FROM_X ? vload(k->shift + c) : vzero();
        vreal s = vload(sum + j), t = vload(sum_x + j);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            const int64_t o = r * ld + j;
            const vreal centred = (vload(x + o) - hi) - lo;
            const vreal g = gated(gate, vload(dy + o), centred, y + o, scale, shift);
            s += g;
            t += g * (centred * inv_std);
        }
        vstore(sum + j, s);
        vstore(sum_x + j, t);
    }
}

BNC_INLINE void one_column(const bnc_real *x, const bnc_real *dy, const bnc_real *y, int64_t rows,
                           int64_t ld, int64_t j, const struct bnc_coefficients *k, const int gate,
                           double *sum_g, double *sum_gx)
{
    double s = 0, t = 0;
    for (int64_t r = 0; r < rows; r++) {
        const int64_t o = r * ld + j;
        bnc_real centred = (x[o] - k->hi[j]) - k->lo[j];
        bnc_real g = BNC_G(gate, dy[o], centred, y[o], k->scale[j], k->shift[j]);
        s += (double)g;
        t += (double)(g * (centred * k->inv_std[j]));
    }
    sum_g[j] += s;
    sum_gx[j] += t;
}

enum { GROUP = 512 }; /* columns of a group: their sums stay in the first-level cache */

/* Columns [j0, j0 + w), whole vectors; those from `from` on are added to the results. */
BNC_INLINE void group(const bnc_real *x, const bnc_real *dy, const bnc_real *y, int64_t rows,
                      int64_t ld, int64_t j0, int64_t w, int64_t from,
                      const struct bnc_coefficients *k, const int gate, double *sum_g,
                      double *sum_gx)
{
    bnc_real s[GROUP], t[GROUP];
    for (int64_t j = 0; j < w; j++) s[j] = t[j] = 0;
    int64_t r = 0, o = j0;
    for (; ld < BNC_WIDE && r + 4 <= rows; r += 4, o += 4 * ld)
        some_rows(x + o, dy + o, y + o, 4, ld, w, j0, k, gate, s, t);
    for (; r < rows; r++, o += ld) some_rows(x + o, dy + o, y + o, 1, ld, w, j0, k, gate, s, t);
    for (int64_t j = from - j0; j < w; j++) {
        sum_g[j0 + j] += (double)s[j];
        sum_gx[j0 + j] += (double)t[j];
    }
}

BNC_INLINE void columns_body(const bnc_real *x, const bnc_real *dy, const bnc_real *y, int64_t rows,
                             int64_t c, const struct bnc_coefficients *k, const int gate,
                             double *sum_g, double *sum_gx)
{
    const int64_t whole = c / VL * VL;
    for (int64_t j = 0; j < whole; j += GROUP) {
        const int64_t w = whole - j < GROUP ? whole - j : GROUP;
        group(x, dy, y, rows, c, j, w, j, k, gate, sum_g, sum_gx);
    }
    if (whole &&
        whole < c) /* the last vector overlaps columns already added: only its end counts */
        group(x, dy, y, rows, c, c - VL, VL, whole, k, gate, sum_g, sum_gx);
    else
        for (int64_t j = whole; j < c; j++)
            one_column(x, dy, y, rows, c, j, k, gate, sum_g, sum_gx);
}

/* x, dy, y (or NULL): (rows, c); adds to sum_g (c,), sum_gx (c,). rows at most a few hundred. */
void BNC_KERNEL(columns_gradient_sums)(const bnc_real *restrict x, const bnc_real *restrict dy,
                                       const bnc_real *y, int64_t rows, int64_t c,
                                       const struct bnc_coefficients *k, int relu,
                                       double *restrict sum_g, double *restrict sum_gx)
{
    switch (BNC_GATE(relu, y)) {
    case BNC_OPEN: columns_body(x, dy, x, rows, c, k, BNC_OPEN, sum_g, sum_gx); break;
    case BNC_FROM_X: columns_body(x, dy, x, rows, c, k, BNC_FROM_X, sum_g, sum_gx); break;
    default: columns_body(x, dy, y, rows, c, k, BNC_FROM_Y, sum_g, sum_gx);
    }
}

struct channel {
    bnc_real hi, lo, inv_std, scale, shift;
};

BNC_INLINE void piece(const bnc_real *x, const bnc_real *dy, const bnc_real *y, int64_t len,
                      struct channel ch, const int gate, vreal s[2], vreal t[2], double tail[2])
{
    int64_t i = 0;
    const vreal hi = vset(ch.hi), lo = vset(ch.lo), inv = vset(ch.inv_std), scale = vset(ch.scale),
                shift = vset(ch.shift);
    for (; i + 2 * VL <= len; i += 2 * VL)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            vreal centred = (vload(x + i + v * VL) - hi) - lo;
            vreal g = gated(gate, vload(dy + i + v * VL), centred, y + i + v * VL, scale, shift);
            s[v] += g;
            t[v] += g * (centred * inv);
        }
    for (; i + VL <= len; i += VL) {
        vreal centred = (vload(x + i) - hi) - lo;
        vreal g = gated(gate, vload(dy + i), centred, y + i, scale, shift);
        s[0] += g;
        t[0] += g * (centred * inv);
    }
    for (; i < len; i++) {
        bnc_real centred = (x[i] - ch.hi) - ch.lo;
        bnc_real g = BNC_G(gate, dy[i], centred, y[i], ch.scale, ch.shift);
        tail[0] += (double)g;
        tail[1] += (double)(g * (centred * ch.inv_std));
    }
}

BNC_INLINE void slabs_body(const bnc_real *x, const bnc_real *dy, const bnc_real *y, int64_t count,
                           int64_t stride, int64_t len, struct channel ch, const int gate,
                           double *sum_g, double *sum_gx)
{
    vreal s[2] = {{0}}, t[2] = {{0}};
    double tail[2] = {0, 0};
    for (int64_t i = 0; i < count; i++)
        piece(x + i * stride, dy + i * stride, y + i * stride, len, ch, gate, s, t, tail);
    *sum_g += vsum(s[0] + s[1]) + tail[0];
    *sum_gx += vsum(t[0] + t[1]) + tail[1];
}

/* One channel: `count` pieces of `len` values, `stride` apart; adds to *sum_g, *sum_gx. count * len at most some 4096. */
void BNC_KERNEL(slabs_gradient_sums)(const bnc_real *restrict x, const bnc_real *restrict dy,
                                     const bnc_real *y, int64_t count, int64_t stride, int64_t len,
                                     const struct bnc_coefficients *k, int64_t channel, int relu,
                                     double *restrict sum_g, double *restrict sum_gx)
{
    const struct channel ch = {k->hi[channel], k->lo[channel], k->inv_std[channel],
                               k->scale[channel], k->shift[channel]};
    switch (BNC_GATE(relu, y)) {
    case BNC_OPEN: slabs_body(x, dy, x, count, stride, len, ch, BNC_OPEN, sum_g, sum_gx); break;
    case BNC_FROM_X: slabs_body(x, dy, x, count, stride, len, ch, BNC_FROM_X, sum_g, sum_gx); break;
    default: slabs_body(x, dy, y, count, stride, len, ch, BNC_FROM_Y, sum_g, sum_gx);
    }
}

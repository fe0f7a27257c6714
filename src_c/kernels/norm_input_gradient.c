/* dx = (g - mean_g - x_hat mean_gx) scale: the element-wise half of the backward pass; with constant statistics
 * (evaluation, frozen: mean_g NULL) dx = g scale. Also writes g itself, the residual's gradient, where asked to. */
#include "norm_gradient.h"

struct channel {
    bnc_real hi, lo, scale, shift, inv_std, mean_g, mean_gx;
};

BNC_INLINE struct channel channel_at(const struct bnc_coefficients *k, int64_t j, const int batch)
{
    return (struct channel){k->hi[j],
                            k->lo[j],
                            k->scale[j],
                            k->shift[j],
                            k->inv_std[j],
                            batch ? k->mean_g[j] : 0,
                            batch ? k->mean_gx[j] : 0};
}

#define ELEMENT(x, dy, y, dx, dres, ch)                                                         \
    do {                                                                                        \
        bnc_real centred = ((x) - (ch).hi) - (ch).lo;                                           \
        bnc_real g = BNC_G(gate, dy, centred, y, (ch).scale, (ch).shift);                       \
        if (split) dres = g;                                                                    \
        dx = batch ? ((g - (ch).mean_g) - (centred * (ch).inv_std) * (ch).mean_gx) * (ch).scale \
                   : g * (ch).scale;                                                            \
    } while (0)

/* `rows` (a literal) rows at once, so that a column's coefficients are loaded once for all of them. */
BNC_INLINE void some_rows(const bnc_real *restrict x, const bnc_real *restrict dy,
                          const bnc_real *restrict y, bnc_real *restrict dx,
                          bnc_real *restrict dres, const int rows, int64_t c,
                          const struct bnc_coefficients *k, const int gate, const int batch,
                          const int split)
{
#pragma omp simd
    for (int64_t j = 0; j < c; j++) {
        const struct channel ch = channel_at(k, j, batch);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            const int64_t o = r * c + j;
            ELEMENT(x[o], dy[o], y[o], dx[o], dres[o], ch);
        }
    }
}

BNC_INLINE void columns_body(const bnc_real *x, const bnc_real *dy, const bnc_real *y, bnc_real *dx,
                             bnc_real *dres, int64_t rows, int64_t c,
                             const struct bnc_coefficients *k, const int gate, const int batch,
                             const int split)
{
    int64_t r = 0;
    for (int64_t o = 0; c < BNC_WIDE && r + 4 <= rows; r += 4, o += 4 * c)
        some_rows(x + o, dy + o, y + o, dx + o, split ? dres + o : 0, 4, c, k, gate, batch, split);
    for (int64_t o = r * c; r < rows; r++, o += c)
        some_rows(x + o, dy + o, y + o, dx + o, split ? dres + o : 0, 1, c, k, gate, batch, split);
}

BNC_INLINE void slabs_body(const bnc_real *restrict x, const bnc_real *restrict dy,
                           const bnc_real *restrict y, bnc_real *restrict dx,
                           bnc_real *restrict dres, int64_t count, int64_t s,
                           const struct bnc_coefficients *k, const int gate, const int batch,
                           const int split)
{
    for (int64_t j = 0; j < count; j++) {
        const struct channel ch = channel_at(k, j, batch);
#pragma omp simd
        for (int64_t i = 0; i < s; i++) {
            const int64_t o = j * s + i;
            ELEMENT(x[o], dy[o], y[o], dx[o], dres[o], ch);
        }
    }
}

/* The branches that are the same for every element become separate loops. Where y is not used x stands in for it. */
#define VARIANTS(body, n1, n2)                                                              \
    do {                                                                                    \
        const int batch = k->mean_g != 0, gate = BNC_GATE(relu, y), split = dresidual != 0; \
        if (gate == BNC_OPEN && !split && batch)                                            \
            body(x, dy, x, dx, dresidual, n1, n2, k, BNC_OPEN, 1, 0);                       \
        else if (gate == BNC_OPEN && !split)                                                \
            body(x, dy, x, dx, dresidual, n1, n2, k, BNC_OPEN, 0, 0);                       \
        else if (gate == BNC_OPEN && batch)                                                 \
            body(x, dy, x, dx, dresidual, n1, n2, k, BNC_OPEN, 1, 1);                       \
        else if (gate == BNC_OPEN)                                                          \
            body(x, dy, x, dx, dresidual, n1, n2, k, BNC_OPEN, 0, 1);                       \
        else if (gate == BNC_FROM_X && batch)                                               \
            body(x, dy, x, dx, dresidual, n1, n2, k, BNC_FROM_X, 1, 0);                     \
        else if (gate == BNC_FROM_X)                                                        \
            body(x, dy, x, dx, dresidual, n1, n2, k, BNC_FROM_X, 0, 0);                     \
        else if (batch)                                                                     \
            body(x, dy, y, dx, dresidual, n1, n2, k, BNC_FROM_Y, 1, 1);                     \
        else                                                                                \
            body(x, dy, y, dx, dresidual, n1, n2, k, BNC_FROM_Y, 0, 1);                     \
    } while (0)

/* Everything (rows, c); y is given exactly for add + ReLU, and then dresidual is too. */
void BNC_KERNEL(columns_input_gradient)(const bnc_real *x, const bnc_real *dy, const bnc_real *y,
                                        bnc_real *dx, bnc_real *dresidual, int64_t rows, int64_t c,
                                        const struct bnc_coefficients *k, int relu)
{ VARIANTS(columns_body, rows, c); }

/* Everything (count, s), one channel a slab; k starts at the first slab's channel. */
void BNC_KERNEL(slabs_input_gradient)(const bnc_real *x, const bnc_real *dy, const bnc_real *y,
                                      bnc_real *dx, bnc_real *dresidual, int64_t count, int64_t s,
                                      const struct bnc_coefficients *k, int relu)
{ VARIANTS(slabs_body, count, s); }

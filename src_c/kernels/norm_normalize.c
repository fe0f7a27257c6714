/* y = act(((x - hi) - lo) scale + shift [+ residual]): the element-wise half of the forward pass.
 * x - mean comes first, at full precision: x scale + (shift - mean scale) would round the mean away. */
#include "kernels.h"

/* a < 0 ? 0 : a lets NaN through, as ReLU must */
#define ACT(a) (relu ? ((a) < 0 ? 0 : (a)) : (a))

/* `rows` (a literal) rows at once, so that a column's coefficients are loaded once for all of them. */
BNC_INLINE void some_rows(const bnc_real *restrict x, const bnc_real *restrict residual,
                          bnc_real *restrict y, const int rows, int64_t c,
                          const struct bnc_coefficients *k, const int add, const int relu)
{
    const bnc_real *restrict hi = k->hi, *restrict lo = k->lo, *restrict scale = k->scale,
                             *restrict shift = k->shift;
#pragma omp simd
    for (int64_t j = 0; j < c; j++)
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            bnc_real a = ((x[r * c + j] - hi[j]) - lo[j]) * scale[j] + shift[j];
            if (add) a += residual[r * c + j];
            y[r * c + j] = ACT(a);
        }
}

BNC_INLINE void columns_body(const bnc_real *x, const bnc_real *residual, bnc_real *y, int64_t rows,
                             int64_t c, const struct bnc_coefficients *k, const int add,
                             const int relu)
{
    int64_t r = 0;
    for (; c < BNC_WIDE && r + 4 <= rows; r += 4)
        some_rows(x + r * c, add ? residual + r * c : x, y + r * c, 4, c, k, add, relu);
    for (; r < rows; r++)
        some_rows(x + r * c, add ? residual + r * c : x, y + r * c, 1, c, k, add, relu);
}

BNC_INLINE void slab_body(const bnc_real *restrict x, const bnc_real *restrict residual,
                          bnc_real *restrict y, int64_t s, bnc_real hi, bnc_real lo, bnc_real scale,
                          bnc_real shift, const int add, const int relu)
{
#pragma omp simd
    for (int64_t i = 0; i < s; i++) {
        bnc_real a = ((x[i] - hi) - lo) * scale + shift;
        if (add) a += residual[i];
        y[i] = ACT(a);
    }
}

/* x, residual (or NULL), y: (rows, c) */
void BNC_KERNEL(columns_normalize)(const bnc_real *x, const bnc_real *residual, bnc_real *y,
                                   int64_t rows, int64_t c, const struct bnc_coefficients *k,
                                   int relu)
{
    if (residual && relu)
        columns_body(x, residual, y, rows, c, k, 1, 1);
    else if (residual)
        columns_body(x, residual, y, rows, c, k, 1, 0);
    else if (relu)
        columns_body(x, residual, y, rows, c, k, 0, 1);
    else
        columns_body(x, residual, y, rows, c, k, 0, 0);
}

BNC_INLINE void slabs_body(const bnc_real *x, const bnc_real *residual, bnc_real *y, int64_t count,
                           int64_t s, const struct bnc_coefficients *k, const int add,
                           const int relu)
{
    for (int64_t j = 0; j < count; j++) {
        const int64_t o = j * s;
        slab_body(x + o, add ? residual + o : x + o, y + o, s, k->hi[j], k->lo[j], k->scale[j],
                  k->shift[j], add, relu);
    }
}

/* x, residual (or NULL), y: (count, s), one channel a slab; k starts at the first slab's channel */
void BNC_KERNEL(slabs_normalize)(const bnc_real *x, const bnc_real *residual, bnc_real *y,
                                 int64_t count, int64_t s, const struct bnc_coefficients *k,
                                 int relu)
{
    if (residual && relu)
        slabs_body(x, residual, y, count, s, k, 1, 1);
    else if (residual)
        slabs_body(x, residual, y, count, s, k, 1, 0);
    else if (relu)
        slabs_body(x, residual, y, count, s, k, 0, 1);
    else
        slabs_body(x, residual, y, count, s, k, 0, 0);
}

/* The runs a convolution moves around its products: copied, added, transposed, finished with
 * bias and ReLU. */
#include "kernels.h"

#include <string.h>

/* Short copies stay loops: GCC would turn them into calls of memcpy, which cost more than they
 * do. */
#if defined(__GNUC__) && !defined(__clang__)
#define NO_MEMCPY __attribute__((optimize("no-tree-loop-distribute-patterns")))
#else
#define NO_MEMCPY
#endif

/* dst[r, i] = src[r, i src_step] */
NO_MEMCPY void BNC_KERNEL(copy_rows)(const bnc_real *restrict src, int64_t src_pitch,
                                     int64_t src_step, bnc_real *restrict dst, int64_t dst_pitch,
                                     int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++, src += src_pitch, dst += dst_pitch) {
        if (src_step != 1)
            for (int64_t i = 0; i < n; i++) dst[i] = src[i * src_step];
        else if (n >= 128)
            memcpy(dst, src, (size_t)n * sizeof(bnc_real));
        else
            for (int64_t i = 0; i < n; i++) dst[i] = src[i];
    }
}

/* dst[r, i dst_step] += src[r, i] */
void BNC_KERNEL(add_rows)(const bnc_real *restrict src, int64_t src_pitch, bnc_real *restrict dst,
                          int64_t dst_pitch, int64_t dst_step, int64_t rows, int64_t n)
{
    for (int64_t r = 0; r < rows; r++, src += src_pitch, dst += dst_pitch) {
        if (dst_step != 1)
            for (int64_t i = 0; i < n; i++) dst[i * dst_step] += src[i];
        else
            for (int64_t i = 0; i < n; i++) dst[i] += src[i];
    }
}

/* dst[j, i] = src[i, j src_step] for i < rows, j < columns, in squares whose lines stay in the
 * L1 cache. */
void BNC_KERNEL(transpose)(const bnc_real *restrict src, int64_t src_pitch, int64_t src_step,
                           bnc_real *restrict dst, int64_t dst_pitch, int64_t rows, int64_t columns)
{
    enum { SIDE = 8 };
    for (int64_t i = 0; i < rows; i += SIDE) {
        const int64_t h = rows - i < SIDE ? rows - i : SIDE;
        for (int64_t j = 0; j < columns; j += SIDE) {
            const int64_t w = columns - j < SIDE ? columns - j : SIDE;
            const bnc_real *from = src + i * src_pitch + j * src_step;
            bnc_real *to = dst + j * dst_pitch + i;
            if (h == SIDE) /* a loop of known length: unrolled, whole lines written */
                for (int64_t q = 0; q < w; q++)
                    for (int p = 0; p < SIDE; p++)
                        to[q * dst_pitch + p] = from[p * src_pitch + q * src_step];
            else
                for (int64_t q = 0; q < w; q++)
                    for (int64_t p = 0; p < h; p++)
                        to[q * dst_pitch + p] = from[p * src_pitch + q * src_step];
        }
    }
}

/* y[i] = y[i] + bias[i bias_step], then at least 0 if relu; bias may be NULL. NaN stays NaN. */
void BNC_KERNEL(bias_relu)(bnc_real *restrict y, const bnc_real *restrict bias, int64_t bias_step,
                           int64_t n, int relu)
{
    if (bias && bias_step)
        for (int64_t i = 0; i < n; i++) y[i] += bias[i];
    else if (bias)
        for (int64_t i = 0; i < n; i++) y[i] += bias[0];
    if (relu)
        for (int64_t i = 0; i < n; i++) y[i] = y[i] < 0 ? 0 : y[i];
}

/* c += a b, element by element: one tap of a depthwise convolution, or of a gradient of it. */
void BNC_KERNEL(multiply_add)(const bnc_real *restrict a, const bnc_real *restrict b,
                              bnc_real *restrict c, int64_t n)
{
    for (int64_t i = 0; i < n; i++) c[i] += a[i] * b[i];
}

/* The runs a convolution moves around its products: copied, added, transposed, finished with
 * bias, residual and ReLU. */
#include "kernels.h"

#include <string.h>

/* Rows of images are short: 7 values, 8, 16. Two vectors that overlap in the middle cover any row
 * of one to two vectors without a loop; what both cover is computed twice, from the same values. */
typedef bnc_real v16 __attribute__((vector_size(16), aligned(sizeof(bnc_real)), may_alias));
typedef bnc_real v32 __attribute__((vector_size(32), aligned(sizeof(bnc_real)), may_alias));
typedef bnc_real v64 __attribute__((vector_size(64), aligned(sizeof(bnc_real)), may_alias));

#define EACH_ROW for (int64_t r = 0; r < rows; r++, src += src_pitch, dst += dst_pitch)
#define COPY_PAIRS(type)                                                           \
    EACH_ROW                                                                       \
    {                                                                              \
        const int64_t second = n - (int64_t)(sizeof(type) / sizeof(bnc_real));     \
        const type low = *(const type *)src, high = *(const type *)(src + second); \
        *(type *)dst = low;                                                        \
        *(type *)(dst + second) = high;                                            \
    }

/* dst[r, i] = src[r, i src_step] */
void BNC_KERNEL(copy_rows)(const bnc_real *restrict src, int64_t src_pitch, int64_t src_step,
                           bnc_real *restrict dst, int64_t dst_pitch, int64_t rows, int64_t n)
{
    const int64_t bytes = n * (int64_t)sizeof(bnc_real);
    if (src_step != 1 || bytes < 16) {
        EACH_ROW for (int64_t i = 0; i < n; i++) dst[i] = src[i * src_step];
    } else if (bytes < 32) {
        COPY_PAIRS(v16)
    } else if (bytes < 64) {
        COPY_PAIRS(v32)
    } else if (bytes <= 128) {
        COPY_PAIRS(v64)
    } else {
        EACH_ROW memcpy(dst, src, (size_t)bytes);
    }
}

/* dst += src */
void BNC_KERNEL(add)(const bnc_real *restrict src, bnc_real *restrict dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++) dst[i] += src[i];
}

enum { SIDE = 8 };

#if BNC_F64
/* A square of doubles: a loop of known length is unrolled and writes whole lines. */
BNC_INLINE void transpose_square(const bnc_real *restrict src, int64_t src_pitch,
                                 bnc_real *restrict dst, int64_t dst_pitch)
{
    for (int q = 0; q < SIDE; q++)
        for (int p = 0; p < SIDE; p++) dst[q * dst_pitch + p] = src[p * src_pitch + q];
}
#else
/* A square of floats: pairs of rows are interleaved by one, two, then four numbers. */
BNC_INLINE void transpose_square(const bnc_real *restrict src, int64_t src_pitch,
                                 bnc_real *restrict dst, int64_t dst_pitch)
{
    typedef int32_t order __attribute__((vector_size(32)));
    const order by1_low = {0, 8, 1, 9, 4, 12, 5, 13}, by1_high = {2, 10, 3, 11, 6, 14, 7, 15},
                by2_low = {0, 1, 8, 9, 4, 5, 12, 13}, by2_high = {2, 3, 10, 11, 6, 7, 14, 15},
                by4_low = {0, 1, 2, 3, 8, 9, 10, 11}, by4_high = {4, 5, 6, 7, 12, 13, 14, 15};
    v32 a[SIDE], b[SIDE];
#pragma GCC unroll 8
    for (int p = 0; p < SIDE; p++) a[p] = *(const v32 *)(src + p * src_pitch);
#pragma GCC unroll 4
    for (int p = 0; p < SIDE; p += 2) {
        b[p] = __builtin_shuffle(a[p], a[p + 1], by1_low);
        b[p + 1] = __builtin_shuffle(a[p], a[p + 1], by1_high);
    }
#pragma GCC unroll 2
    for (int p = 0; p < SIDE;
         p += 4) /* columns p, p + 1, ... of rows p to p + 3, and four further on */
#pragma GCC unroll 2
        for (int q = 0; q < 2; q++) {
            a[p + 2 * q] = __builtin_shuffle(b[p + q], b[p + q + 2], by2_low);
            a[p + 2 * q + 1] = __builtin_shuffle(b[p + q], b[p + q + 2], by2_high);
        }
#pragma GCC unroll 4
    for (int q = 0; q < SIDE / 2; q++) {
        *(v32 *)(dst + q * dst_pitch) = __builtin_shuffle(a[q], a[q + 4], by4_low);
        *(v32 *)(dst + (q + 4) * dst_pitch) = __builtin_shuffle(a[q], a[q + 4], by4_high);
    }
}
#endif

/* dst[j, i] = src[i, j] for i < rows, j < columns, in squares whose lines stay in the
 * L1 cache. */
void BNC_KERNEL(transpose)(const bnc_real *restrict src, int64_t src_pitch, bnc_real *restrict dst,
                           int64_t dst_pitch, int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < rows; i += SIDE) {
        const int64_t h = rows - i < SIDE ? rows - i : SIDE;
        for (int64_t j = 0; j < columns; j += SIDE) {
            const int64_t w = columns - j < SIDE ? columns - j : SIDE;
            const bnc_real *from = src + i * src_pitch + j;
            bnc_real *to = dst + j * dst_pitch + i;
            if (h == SIDE && w == SIDE)
                transpose_square(from, src_pitch, to, dst_pitch);
            else
                for (int64_t q = 0; q < w; q++)
                    for (int64_t p = 0; p < h; p++) to[q * dst_pitch + p] = from[p * src_pitch + q];
        }
    }
}

/* a[j s + i] = a[j] for j < c, i < s, in place. Whole vectors are stored, what is too much of one is overwritten by the
 * next: some values at a time are set aside, from the end, and their runs written in the order of the memory. */
void BNC_KERNEL(spread)(bnc_real *a, int64_t c, int64_t s)
{
    enum { ASIDE = 64 };
    bnc_real values[ASIDE];
    const int64_t stored = (s + VL - 1) / VL * VL;
    for (int64_t end = c, n; end > 0; end -= n) {
        n = end < ASIDE ? end : ASIDE;
        memcpy(values, a + end - n, (size_t)n * sizeof *a);
        const bnc_real *last = a + end * s;
        bnc_real *to = a + (end - n) * s;
        for (int64_t j = 0; j < n; j++, to += s)
            if (to + stored <= last)
                for (int64_t i = 0; i < stored; i += VL) vstore(to + i, vset(values[j]));
            else
                for (int64_t i = 0; i < s; i++) to[i] = values[j];
    }
}

/* Variants of finish_rows: what is the same for every element becomes a literal. `src` may be `dst`
 * itself, element for element, hence no restrict. */
BNC_INLINE void finish(const bnc_real *src, int64_t src_pitch, const bnc_real *bias,
                       int64_t bias_row, const int step, const bnc_real *residual, const int add,
                       bnc_real *dst, int64_t dst_pitch, int64_t rows, int64_t n, const int relu)
{
    for (int64_t r = 0; r < rows; r++, src += src_pitch, dst += dst_pitch, bias += bias_row) {
        const bnc_real *more = add ? residual + r * dst_pitch : dst;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            bnc_real y = src[i] + bias[step * i];
            if (add) y += more[i];
            dst[i] = relu && y < 0 ? 0 : y;
        }
    }
}

/* dst[r, i] = act(src[r, i] + bias[r bias_row + i bias_step] [+ residual[r, i]]): a row's bias (1, 0)
 * or a column's (0, 1); NULL for none. The residual lies as dst does. act is ReLU if asked for; NaN
 * stays NaN. src may be dst. */
void BNC_KERNEL(finish_rows)(const bnc_real *src, int64_t src_pitch, const bnc_real *bias,
                             int64_t bias_row, int64_t bias_step, const bnc_real *residual,
                             bnc_real *dst, int64_t dst_pitch, int64_t rows, int64_t n, int relu)
{
    static const bnc_real none = 0;
    if (!bias) bias = &none, bias_row = bias_step = 0;
#define FINISH(step, add, relu) \
    finish(src, src_pitch, bias, bias_row, step, residual, add, dst, dst_pitch, rows, n, relu)
    if (bias_step && residual && relu)
        FINISH(1, 1, 1);
    else if (bias_step && residual)
        FINISH(1, 1, 0);
    else if (bias_step && relu)
        FINISH(1, 0, 1);
    else if (bias_step)
        FINISH(1, 0, 0);
    else if (residual && relu)
        FINISH(0, 1, 1);
    else if (residual)
        FINISH(0, 1, 0);
    else if (relu)
        FINISH(0, 0, 1);
    else
        FINISH(0, 0, 0);
#undef FINISH
}

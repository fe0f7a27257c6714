/* What the kernels of norms over rows share: rows' numbers in the precision of the data, and the sums of many vectors at
 * once. Static, for kernel files only. */
#ifndef BNC_ROWS_H
#define BNC_ROWS_H

#include "kernels.h"

enum {
    BNC_ROW_BLOCK = 4096,    /* columns that float lanes add up before they leave as double */
    BNC_ROWS_AT_ONCE = 64,   /* rows whose numbers are prepared together */
    BNC_ROW_WIDE = 256,      /* columns from which several rows together defeat the prefetchers */
    BNC_SHORT_ROW = 16 * VL, /* columns of a row whose sums are folded together with other rows' */
};

/* Rows that share the loads of the columns' numbers, as far as registers for the rows' own go. */
#if defined(__AVX512F__) || defined(__aarch64__)
enum { BNC_ROWS_TOGETHER = 4 };
#else
enum { BNC_ROWS_TOGETHER = 2 };
#endif

/* x_hat = (x - hi) inv_std + rest: x - mean comes first, at full precision; what hi, the rounded mean, leaves of it is in
 * `rest`. RMS norm subtracts nothing. */
struct row_numbers {
    bnc_real hi[BNC_ROWS_AT_ONCE], inv_std[BNC_ROWS_AT_ONCE], rest[BNC_ROWS_AT_ONCE];
};

#define X_HAT(centred, x, hi, inv_std, rest) \
    ((centred) ? ((x) - (hi)) * (inv_std) + (rest) : (x) * (inv_std))

/* The numbers of rows [first, first + rows) */
BNC_INLINE void row_numbers(const struct bnc_row_terms *k, int64_t first, int64_t rows,
                            struct row_numbers *out)
{
    const double *restrict mean = k->mean + first, *restrict inv_std = k->inv_std + first;
    if (k->mean)
#pragma omp simd
        for (int64_t r = 0; r < rows; r++) {
            out->hi[r] = (bnc_real)mean[r];
            out->inv_std[r] = (bnc_real)inv_std[r];
            out->rest[r] = (bnc_real)(((double)out->hi[r] - mean[r]) * inv_std[r]);
        }
    else
#pragma omp simd
        for (int64_t r = 0; r < rows; r++) out->inv_std[r] = (bnc_real)inv_std[r];
}

/* dx = (w - mean_w - x_hat mean_wx) inv_std as w inv_std + (x_hat slope + constant) */
struct row_slopes {
    bnc_real x_hat[BNC_ROWS_AT_ONCE], constant[BNC_ROWS_AT_ONCE];
};

#define ROW_DX(centred, w, x_hat, inv_std, slope, constant) \
    ((w) * (inv_std) + ((centred) ? (x_hat) * (slope) + (constant) : (x_hat) * (slope)))

/* RMS norm has no mean_w: its constants are 0. */
BNC_INLINE void row_slopes(const struct bnc_row_terms *k, int64_t first, int64_t rows,
                           struct row_slopes *out)
{
    const double *restrict inv_std = k->inv_std + first, *restrict mean_wx = k->mean_wx + first;
#pragma omp simd
    for (int64_t r = 0; r < rows; r++) out->x_hat[r] = (bnc_real)(-mean_wx[r] * inv_std[r]);
    if (!k->mean) return;
    const double *restrict mean_w = k->mean_w + first;
#pragma omp simd
    for (int64_t r = 0; r < rows; r++) out->constant[r] = (bnc_real)(-mean_w[r] * inv_std[r]);
}

/* g where the ReLU was open; a NaN in front of it lets the gradient pass. */
BNC_INLINE vreal gated(const int relu, vreal g, vreal x_hat, vreal scale, vreal shift)
{ return relu ? vandnot((vint)(x_hat * scale + shift <= vzero()), g) : g; }

BNC_INLINE vint lane_numbers(void)
{
    vint number;
#pragma GCC unroll 64
    for (int i = 0; i < VL; i++) number[i] = i;
    return number;
}
BNC_INLINE vint first_lanes(int64_t count) { return lane_numbers() < (bnc_int)count; }
BNC_INLINE vint last_lanes(int64_t count) { return lane_numbers() >= (bnc_int)(VL - count); }

/* Columns in front of the first that a streaming store may begin with. */
BNC_INLINE int64_t unaligned_front(const bnc_real *p)
{
    const int64_t off = (int64_t)((uintptr_t)p / sizeof *p % VL);
    return off ? VL - off : 0;
}

/* One step of `fold`: lanes of a, then those of b, each `half` of theirs added to the next `half`, in blocks of 2 half. */
BNC_INLINE vreal fold_pair(vreal a, vreal b, const int half)
{
    vint low;
#pragma GCC unroll 64
    for (int i = 0; i < VL; i++) {
        const int block = i / (2 * half) * (2 * half), in = i % (2 * half);
        low[i] = block + in % half + (in >= half) * VL;
    }
#ifdef __clang__
    vreal first, second;
    for (int i = 0; i < VL; i++) {
        const bnc_int from = low[i] % VL;
        first[i] = low[i] < VL ? a[from] : b[from];
        second[i] = low[i] < VL ? a[from + half] : b[from + half];
    }
    return first + second;
#else
    return __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, low + half);
#endif
}

/* Lane i: the sum of v[i]'s lanes. A row's sum does not depend on its neighbours'. v is used up. */
BNC_INLINE vreal fold(vreal v[VL])
{
#define STEP(half)   \
    if ((half) < VL) \
        for (int i = 0; i < (half); i++) v[i] = fold_pair(v[i], v[i + (half)], half)
    STEP(8);
    STEP(4);
    STEP(2);
    STEP(1);
#undef STEP
    return v[0];
}

/* The sums of a's and of b's lanes. */
BNC_INLINE void fold_two(vreal a, vreal b, double *sum_a, double *sum_b)
{
    vreal v = fold_pair(a, b, VL / 2);
    if (VL > 8) v = fold_pair(v, v, 4);
    if (VL > 4) v = fold_pair(v, v, 2);
    if (VL > 2) v = fold_pair(v, v, 1);
    *sum_a = (double)v[0], *sum_b = (double)v[VL / 2];
}

#endif

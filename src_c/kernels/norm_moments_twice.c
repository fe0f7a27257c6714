/* Mean and M2 of columns in two passes over a block that stays in cache: for small arrays, and for what one pass around a
 * shift does not measure well enough (norm_moments.c, where the design stands). */
#include "norm_moments.h"

/* One strided column in double: the careful way, also for tails. */
static void column_in_double(const bnc_real *x, int64_t ld, int64_t rows, double *mean, double *m2)
{
    double first = (double)x[0], s = 0, q = 0, t = 0;
    for (int64_t r = 0; r < rows; r++) s += (double)x[r * ld] - first;
    double k = first + s / (double)rows;
    for (int64_t r = 0; r < rows; r++) {
        double d = (double)x[r * ld] - k;
        t += d;
        q += d * d;
    }
    settle(k, t, q, (double)rows, mean, m2);
}

BNC_INLINE int column_is_constant(const bnc_real *x, int64_t ld, int64_t rows)
{
    for (int64_t r = 1; r < rows; r++)
        if (x[r * ld] != x[0]) return 0;
    return x[0] == x[0];
}

/* a - b on the pipes that multiply, where additions are the bottleneck: a * one is exact, and `one` is what the compiler
 * cannot know to be 1. */
BNC_INLINE vreal minus(vreal a, vreal b, vreal one)
{
#ifdef __FMA__
    return a * one - b;
#else
    (void)one;
    return a - b;
#endif
}

BNC_INLINE vreal unknown_one(void)
{
    bnc_real one = 1;
    __asm__("" : "+m"(one));
    return vset(one);
}

/* Sum of x - first of eight rows. */
BNC_INLINE vreal sum_eight(const bnc_real *x, int64_t ld, vreal first, vreal one)
{
    vreal pair[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        pair[i] = minus(vload(x + 2 * i * ld), first, one) +
                  minus(vload(x + (2 * i + 1) * ld), first, one);
    return (pair[0] + pair[1]) + (pair[2] + pair[3]);
}

BNC_INLINE vreal sum_few(const bnc_real *x, int64_t ld, int64_t rows, vreal first)
{
    vreal sum = vzero();
    for (int64_t r = 0; r < rows; r++) sum += vload(x + r * ld) - first;
    return sum;
}

/* Sums of x - x[0] of `nv` vectors of columns, a literal: they stay in registers. */
BNC_INLINE void sum_narrow(const bnc_real *x, int64_t ld, int64_t rows, const int nv,
                           bnc_real *sums)
{
    const vreal one = unknown_one();
    const int64_t few = rows % 8;
    vreal sum[4], first[4];
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) {
        first[v] = vload(x + v * VL);
        sum[v] = sum_few(x + v * VL, ld, few, first[v]);
    }
    x += few * ld;
    for (int64_t r = few; r < rows; r += 8, x += 8 * ld)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) sum[v] += sum_eight(vopaque(x + v * VL), ld, first[v], one);
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) vstore(sums + v * VL, sum[v]);
}

/* The same for `w` columns (whole vectors), row after row: memory is read as it lies, which also
 * brings the block into cache for the second pass. */
static void sum_columns(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t w,
                        bnc_real *restrict sums)
{
    switch (w / VL) {
    case 1: sum_narrow(x, ld, rows, 1, sums); return;
    case 2: sum_narrow(x, ld, rows, 2, sums); return;
    case 4: sum_narrow(x, ld, rows, 4, sums); return;
    default: break;
    }
    const vreal one = unknown_one();
    int64_t r = rows % 8;
    for (int64_t j = 0; j < w; j += VL) vstore(sums + j, sum_few(x + j, ld, r, vload(x + j)));
    for (; r < rows; r += 8)
        for (int64_t j = 0; j < w; j += VL)
            vstore(sums + j, vload(sums + j) + sum_eight(x + r * ld + j, ld, vload(x + j), one));
}

/* Four rows of `nv` vectors of columns: sums of d = x - k and of d*d. */
BNC_INLINE void four_rows(const bnc_real *x, int64_t ld, const int nv, const vreal k[4], vreal one,
                          vreal s[4], vreal q[4])
{
    vreal four[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            vreal d = minus(vload(x + i * ld + v * VL), k[v], one);
            s[v] += d;
            four[v] = i ? four[v] + d * d : d * d;
        }
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) q[v] += four[v];
}

/* The second pass over `nv` vectors of columns; accumulators live in registers: nv is a literal. */
BNC_INLINE void square_columns(const bnc_real *x, int64_t ld, int64_t rows, const bnc_real *sums,
                               const int nv, double *mean, double *m2)
{
    const vreal one = unknown_one();
    vreal s[4], q[4], k[4];
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) {
        k[v] = vload(x + v * VL) + vload(sums + v * VL) * vset((bnc_real)1 / (bnc_real)rows);
        s[v] = q[v] = vzero();
    }
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) four_rows(x + r * ld, ld, nv, k, one, s, q);
    for (; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            vreal d = vload(x + r * ld + v * VL) - k[v];
            s[v] += d;
            q[v] += d * d;
        }
    bnc_real ks[4 * VL], ss[4 * VL], qs[4 * VL];
    for (int v = 0; v < nv; v++)
        vstore(ks + v * VL, k[v]), vstore(ss + v * VL, s[v]), vstore(qs + v * VL, q[v]);
    const double over = 1 / (double)rows;
    int doubtful = 0;
#pragma omp simd reduction(| : doubtful)
    for (int j = 0; j < nv * VL; j++) {
        double sj = ss[j], left = (double)qs[j] - sj * sj * over;
        mean[j] = (double)ks[j] + sj * over;
        m2[j] = left < 0 ? 0 : left;
        doubtful |= suspicious((double)qs[j]);
    }
    if (doubtful)
        for (int j = 0; j < nv * VL; j++)
            if (suspicious((double)qs[j]) && !column_is_constant(x + j, ld, rows))
                column_in_double(x + j, ld, rows, mean + j, m2 + j);
}

enum { GROUP = 2048 }; /* columns of a group */

static void two_passes(const bnc_real *x, int64_t ld, int64_t rows, int64_t w, double *mean,
                       double *m2)
{
    bnc_real sums[GROUP];
    sum_columns(x, ld, rows, w, sums);
    int64_t j = 0;
    for (; j + 4 * VL <= w; j += 4 * VL)
        square_columns(x + j, ld, rows, sums + j, 4, mean + j, m2 + j);
    for (; j < w; j += VL) square_columns(x + j, ld, rows, sums + j, 1, mean + j, m2 + j);
}

/* x: (rows, c) with row pitch ld -> mean (c,), m2 (c,). rows >= 1; at most a few hundred, the float
 * lanes add them up. */
void BNC_KERNEL(columns_moments)(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t c,
                                 double *restrict mean, double *restrict m2)
{
    const int64_t whole = c / VL * VL, last = c - VL;
    for (int64_t g = 0; g < whole; g += GROUP)
        two_passes(x + g, ld, rows, whole - g < GROUP ? whole - g : GROUP, mean + g, m2 + g);
    if (whole && whole < c) { /* the last vector overlaps columns done: the same numbers come out */
        two_passes(x + last, ld, rows, VL, mean + last, m2 + last);
        return;
    }
    for (int64_t j = whole; j < c; j++) column_in_double(x + j, ld, rows, mean + j, m2 + j);
}

/* A value near the mean of each of c columns, and the column's own if it is constant: the mean of few rows. */
void BNC_KERNEL(columns_shift)(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t c,
                               double *restrict near)
{
    bnc_real sums[GROUP];
    const int64_t whole = c / VL * VL;
    const bnc_real over = (bnc_real)1 / (bnc_real)rows;
    for (int64_t g = 0; g < whole; g += GROUP) {
        const int64_t w = whole - g < GROUP ? whole - g : GROUP;
        sum_columns(x + g, ld, rows, w, sums);
        for (int64_t j = 0; j < w; j++) near[g + j] = (double)(x[g + j] + sums[j] * over);
    }
    for (int64_t j = whole; j < c; j++) {
        bnc_real sum = 0;
        for (int64_t r = 0; r < rows; r++) sum += x[r * ld + j] - x[j];
        near[j] = (double)(x[j] + sum * over);
    }
}

/* Mean and sum of squared deviations (M2) of one block that stays in cache.
 *
 * Design: two passes over the block. The first sums x - first, giving a shift k = first + mean(x - first) within a
 * rounding of the mean; the second sums d = x - k and d*d. Then mean = k + S/n, M2 = Q - S*S/n, where S is a rounding
 * residue, so nothing cancels whatever the data. Subtracting `first` makes a constant channel exact: d is 0.
 * float32 lanes add up few enough terms (the caller keeps blocks small) and leave as double. Squares are added by fours
 * first: values far from 0 lie on a coarse lattice, squares of its steps are 0 or 1 modulo 4, and a lane that takes
 * them one by one rounds nearly all of them down.
 * float32 squares of data around 1e+-30 leave the range of float: such columns are summed again in double. */
#include "kernels.h"
#include "squares.h"

BNC_INLINE void settle(double k, double s, double q, double n, double *mean, double *m2)
{
    double left = q - s * s / n;
    *mean = k + s / n;
    *m2 = left < 0 ? 0 : left; /* NaN stays */
}

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

/* Sums of x - x[0] of `w` columns (whole vectors), row after row: memory is read as it lies, which also
 * brings the block into cache for the second pass. */
static void sum_columns(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t w,
                        bnc_real *restrict sums)
{
    int64_t r = 0;
    for (int64_t j = 0; j < w; j++) sums[j] = 0;
    for (; r + 8 <= rows; r += 8)
        for (int64_t j = 0; j < w; j += VL) {
            const bnc_real *p = x + r * ld + j;
            const vreal first = vload(x + j);
            vreal pair[4];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
                pair[i] = (vload(p + 2 * i * ld) - first) + (vload(p + (2 * i + 1) * ld) - first);
            vstore(sums + j, vload(sums + j) + ((pair[0] + pair[1]) + (pair[2] + pair[3])));
        }
    for (; r < rows; r++)
        for (int64_t j = 0; j < w; j += VL)
            vstore(sums + j, vload(sums + j) + (vload(x + r * ld + j) - vload(x + j)));
}

/* Four rows of `nv` vectors of columns: sums of d = x - k and of d*d. */
BNC_INLINE void four_rows(const bnc_real *x, int64_t ld, const int nv, const vreal k[4], vreal s[4],
                          vreal q[4])
{
    vreal four[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            vreal d = vload(x + i * ld + v * VL) - k[v];
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
    vreal s[4], q[4], k[4];
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) {
        k[v] = vload(x + v * VL) + vload(sums + v * VL) * vset((bnc_real)1 / (bnc_real)rows);
        s[v] = q[v] = vzero();
    }
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) four_rows(x + r * ld, ld, nv, k, s, q);
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
    const double n = (double)rows, over = 1 / n;
    int doubtful = 0;
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

enum { GROUP = 512 }; /* columns of a group: their sums stay in the first-level cache */

static void whole_vectors(const bnc_real *x, int64_t ld, int64_t rows, int64_t c, double *mean,
                          double *m2)
{
    bnc_real sums[GROUP];
    for (int64_t g = 0; g < c; g += GROUP) {
        const int64_t w = c - g < GROUP ? c - g : GROUP;
        sum_columns(x + g, ld, rows, w, sums);
        int64_t j = 0;
        for (; j + 4 * VL <= w; j += 4 * VL)
            square_columns(x + g + j, ld, rows, sums + j, 4, mean + g + j, m2 + g + j);
        for (; j < w; j += VL)
            square_columns(x + g + j, ld, rows, sums + j, 1, mean + g + j, m2 + g + j);
    }
}

/* x: (rows, c) with row pitch ld -> mean (c,), m2 (c,). rows >= 1; at most a few hundred, the float
 * lanes add them up. */
void BNC_KERNEL(columns_moments)(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t c,
                                 double *restrict mean, double *restrict m2)
{
    const int64_t whole = c / VL * VL;
    whole_vectors(x, ld, rows, whole, mean, m2);
    if (whole && whole < c) { /* the last vector overlaps columns done: the same numbers come out */
        whole_vectors(x + c - VL, ld, rows, VL, mean + c - VL, m2 + c - VL);
        return;
    }
    for (int64_t j = whole; j < c; j++) column_in_double(x + j, ld, rows, mean + j, m2 + j);
}

/* Sum of x - k (and of squares) over one contiguous piece, four accumulators a quantity, then a tail of single values. */
BNC_INLINE void piece_sum(const bnc_real *x, int64_t len, bnc_real k, vreal s[4], double *tail)
{
    const vreal kv = vset(k);
    int64_t i = 0;
    for (; i + 4 * VL <= len; i += 4 * VL)
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) s[v] += vload(x + i + v * VL) - kv;
    for (; i + VL <= len; i += VL) s[0] += vload(x + i) - kv;
    for (; i < len; i++) *tail += (double)(x[i] - k);
}

BNC_INLINE void piece_squares(const bnc_real *x, int64_t len, bnc_real k, vreal s[4], vreal q[2],
                              double tail[2])
{
    const vreal kv = vset(k);
    int64_t i = 0;
    for (; i + 4 * VL <= len; i += 4 * VL) {
        vreal four = vzero();
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            vreal d = vload(x + i + v * VL) - kv;
            s[v] += d;
            four += d * d;
        }
        q[0] += four;
    }
    for (; i + VL <= len; i += VL) {
        vreal d = vload(x + i) - kv;
        s[0] += d;
        q[1] += d * d;
    }
    for (; i < len; i++) {
        double d = (double)(x[i] - k);
        tail[0] += d;
        tail[1] += d * d;
    }
}

static void slabs_in_double(const bnc_real *x, int64_t count, int64_t stride, int64_t len,
                            double *mean, double *m2)
{
    double first = (double)x[0], s = 0, t = 0, q = 0, n = (double)count * (double)len;
    for (int64_t i = 0; i < count; i++)
#pragma omp simd reduction(+ : s)
        for (int64_t j = 0; j < len; j++) s += (double)x[i * stride + j] - first;
    double k = first + s / n;
    for (int64_t i = 0; i < count; i++)
#pragma omp simd reduction(+ : t, q)
        for (int64_t j = 0; j < len; j++) {
            double d = (double)x[i * stride + j] - k;
            t += d;
            q += d * d;
        }
    settle(k, t, q, n, mean, m2);
}

/* One channel: `count` pieces of `len` contiguous values, `stride` apart -> mean, m2. count * len at most some 4096. */
void BNC_KERNEL(slabs_moments)(const bnc_real *restrict x, int64_t count, int64_t stride,
                               int64_t len, double *restrict mean, double *restrict m2)
{
    const double n = (double)count * (double)len;
    vreal s[4] = {{0}}, q[2] = {{0}};
    double tail[2] = {0, 0};
    for (int64_t i = 0; i < count; i++) piece_sum(x + i * stride, len, x[0], s, tail);
    bnc_real k = x[0] + (bnc_real)((vsum((s[0] + s[1]) + (s[2] + s[3])) + tail[0]) / n);
    for (int v = 0; v < 4; v++) s[v] = vzero();
    tail[0] = 0;
    for (int64_t i = 0; i < count; i++) piece_squares(x + i * stride, len, k, s, q, tail);
    double sum = vsum((s[0] + s[1]) + (s[2] + s[3])) + tail[0];
    double squares = vsum(q[0] + q[1]) + tail[1];
    settle(k, sum, squares, n, mean, m2);
    if (suspicious(squares)) slabs_in_double(x, count, stride, len, mean, m2);
}

/* Chan, Golub & LeVeque 1979, per channel: (n1, mean1, m2_1) becomes the statistics of both sets. n1 may be 0. */
void BNC_KERNEL(merge_moments)(int64_t c, double n1, double *restrict mean1, double *restrict m2_1,
                               double n2, const double *restrict mean2, const double *restrict m2_2)
{
    const double share = n2 / (n1 + n2), weight = n1 * share;
#pragma omp simd
    for (int64_t j = 0; j < c; j++) {
        double d = mean2[j] - mean1[j];
        mean1[j] += d * share;
        m2_1[j] += m2_2[j] + d * d * weight;
    }
}

/* Mean and sum of squared deviations (M2) of one block that stays in cache.
 *
 * Design: sums S of d = x - k and Q of d*d around a shift k; then mean = k + S/n, M2 = Q - S*S/n. The shift is the mean
 * of data nearby where the caller has one (`near`): one pass, at the speed of memory. That is only as good as two passes while
 * S*S/n is small beside Q, so a channel where it is not (more than half: the mean has moved by 0.7 deviations) is done
 * again from the cache, in two passes: the first sums x - first, giving k = first + mean(x - first) within a rounding of
 * the block's own mean, so that S is a rounding residue and nothing cancels whatever the data. Subtracting `first`, or
 * the mean of what is constant so far, makes a constant channel exact: d is 0.
 * float32 lanes add up few enough terms (the caller keeps blocks small) and leave as double. Squares are added by fours
 * first: values far from 0 lie on a coarse lattice, squares of its steps are 0 or 1 modulo 4, and a lane that takes
 * them one by one rounds nearly all of them down.
 * float32 squares of data around 1e+-30 leave the range of float: such columns are summed again in double. */
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

/* Sums of x - x[0] of `w` columns (whole vectors), row after row: memory is read as it lies, which also
 * brings the block into cache for the second pass. */
static void sum_columns(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t w,
                        bnc_real *restrict sums)
{
    const vreal one = unknown_one();
    int64_t r = rows % 8;
    for (int64_t j = 0; j < w; j += VL) {
        vreal sum = vzero();
        for (int64_t i = 1; i < r; i++) sum += vload(x + i * ld + j) - vload(x + j);
        vstore(sums + j, sum);
    }
    for (; r < rows; r += 8)
        for (int64_t j = 0; j < w; j += VL) {
            const bnc_real *p = x + r * ld + j;
            const vreal first = vload(x + j);
            vreal pair[4];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
                pair[i] = minus(vload(p + 2 * i * ld), first, one) +
                          minus(vload(p + (2 * i + 1) * ld), first, one);
            vstore(sums + j, vload(sums + j) + ((pair[0] + pair[1]) + (pair[2] + pair[3])));
        }
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

/* Sums around a shift k of a vector of columns: of d = x - k and of d*d. */
struct around {
    vreal k, s, q, all;
};

enum {
    CAREFUL_ROWS = 64
}; /* few squares a lane: beside a far value each addition rounds the same way */

/* Up to eight vectors of columns, in registers; rows are a multiple of 4, nv is a literal. */
BNC_INLINE void narrow_sums(const bnc_real *x, int64_t ld, int64_t rows, const int nv,
                            struct around *a)
{
    vreal s[8], q[8], four[8];
#pragma GCC unroll 8
    for (int v = 0; v < nv; v++) s[v] = q[v] = vzero();
    for (int64_t r = 0; r < rows; r += 4) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++, x = vopaque(x + ld))
#pragma GCC unroll 8
            for (int v = 0; v < nv; v++) {
                const vreal d = vload(x + v * VL) - a[v].k;
                s[v] += d;
                four[v] = i ? four[v] + d * d : d * d;
            }
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) q[v] += four[v];
    }
#pragma GCC unroll 8
    for (int v = 0; v < nv; v++) a[v].s += s[v], a[v].q += q[v];
}

enum { TOGETHER = 8, AHEAD = 2 * TOGETHER }; /* rows of a panel; how far on rows are fetched */

/* Rows of a panel of `nv` vectors, a literal; meanwhile as many values from `fetch` on are brought nearer. */
BNC_INLINE void panel_sums(const bnc_real *x, int64_t ld, const int nv, const int far,
                           int64_t fetch, struct around *a)
{
    vreal s[4], q[4];
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) s[v] = q[v] = vzero();
    const bnc_real *fetch_from = vopaque(x + fetch);
#pragma GCC unroll 8
    for (int r = 0; r < TOGETHER; r++, x = vopaque(x + ld))
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            const vreal d = vload(x + v * VL) - a[v].k;
            if (far) vfetch(fetch_from, r * nv + v, 2);
            s[v] += d;
            q[v] += d * d;
        }
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) a[v].s += s[v], a[v].q += q[v];
}

/* The panel at v fetches TOGETHER times its values from the start of the rows AHEAD on. */
BNC_INLINE void eight_rows(const bnc_real *x, int64_t ld, int64_t nv, const int far,
                           struct around *a)
{
    int64_t v = 0;
    for (; v + 4 <= nv; v += 4)
        panel_sums(x + v * VL, ld, 4, far, AHEAD * ld + (TOGETHER - 1) * v * VL, a + v);
    for (; v < nv; v++)
        panel_sums(x + v * VL, ld, 1, far, AHEAD * ld + (TOGETHER - 1) * v * VL, a + v);
}

/* Any number of vectors: eight rows together in panels whose sums stay in registers. Of arrays from behind the caches the
 * eight after the next are fetched in the order of the memory, which panels alone would hide from the prefetchers. */
static void wide_sums(const bnc_real *x, int64_t ld, int64_t rows, int64_t nv, int far,
                      struct around *a)
{
    int64_t r = 0;
    if (far)
        for (; r < rows; r += TOGETHER) eight_rows(x + r * ld, ld, nv, 1, a);
    for (; r < rows; r += TOGETHER) eight_rows(x + r * ld, ld, nv, 0, a);
}

/* Few rows, as they lie in memory: any other order is several times slower. Adds to the sums. */
static void add_rows(const bnc_real *x, int64_t ld, int64_t rows, int64_t nv, int far,
                     struct around *a)
{
    const int64_t unit = nv <= 8 ? 4 : TOGETHER, whole = rows / unit * unit;
    switch (nv) {
    case 1: narrow_sums(x, ld, whole, 1, a); break;
    case 2: narrow_sums(x, ld, whole, 2, a); break;
    case 3: narrow_sums(x, ld, whole, 3, a); break;
    case 4: narrow_sums(x, ld, whole, 4, a); break;
    case 5: narrow_sums(x, ld, whole, 5, a); break;
    case 6: narrow_sums(x, ld, whole, 6, a); break;
    case 7: narrow_sums(x, ld, whole, 7, a); break;
    case 8: narrow_sums(x, ld, whole, 8, a); break;
    default: wide_sums(x, ld, whole, nv, far, a);
    }
    for (int64_t r = whole; r < rows; r++)
        for (int64_t v = 0; v < nv; v++) {
            const vreal d = vload(x + r * ld + v * VL) - a[v].k;
            a[v].s += d;
            a[v].q += d * d;
        }
}

/* Sums of CAREFUL_ROWS each are added up apart, so that every addition has operands of similar size. */
static void sums_around(const bnc_real *x, int64_t ld, int64_t rows, int64_t nv, int far,
                        struct around *a)
{
    for (int64_t v = 0; v < nv; v++) a[v].s = a[v].q = a[v].all = vzero();
    for (int64_t r = 0; r < rows; r += CAREFUL_ROWS) {
        add_rows(x + r * ld, ld, rows - r < CAREFUL_ROWS ? rows - r : CAREFUL_ROWS, nv, far, a);
        for (int64_t v = 0; v < nv; v++) a[v].all += a[v].q, a[v].q = vzero();
    }
    for (int64_t v = 0; v < nv; v++) a[v].q = a[v].all;
}

/* One vector of columns, carefully. */
static void measure_again(const bnc_real *x, int64_t ld, int64_t rows, double *mean, double *m2)
{
    double block_mean[VL], block_m2[VL];
    for (int64_t r = 0; r < rows; r += CAREFUL_ROWS) {
        const int64_t some = rows - r < CAREFUL_ROWS ? rows - r : CAREFUL_ROWS;
        if (r == 0) {
            two_passes(x, ld, some, VL, mean, m2);
            continue;
        }
        two_passes(x + r * ld, ld, some, VL, block_mean, block_m2);
        BNC_KERNEL(merge_moments)(VL, (double)r, mean, m2, (double)some, block_mean, block_m2);
    }
}

static void one_pass(const bnc_real *x, int64_t ld, int64_t rows, int64_t w, const double *near,
                     int far, double *mean, double *m2)
{
    struct around sums[GROUP / VL];
    const double over = 1 / (double)rows;
    int doubtful = 0;
    for (int64_t v = 0; v < w / VL; v++) sums[v].k = vnarrow(near + v * VL);
    sums_around(x, ld, rows, w / VL, far, sums);
    for (int64_t v = 0; v < w / VL; v++) {
        const struct around *a = sums + v;
        double *vmean = mean + v * VL, *vm2 = m2 + v * VL;
#pragma omp simd reduction(| : doubtful)
        for (int i = 0; i < VL; i++) {
            const double s = a->s[i], q = a->q[i], left = q - s * s * over;
            vmean[i] = (double)a->k[i] + s * over;
            vm2[i] = left;
            doubtful |= far_off(q, left);
        }
    }
    for (int64_t v = 0; doubtful && v < w / VL; v++) {
        double again_mean[VL], again_m2[VL];
        int here = 0;
        for (int i = 0; i < VL; i++) here |= far_off((double)sums[v].q[i], m2[v * VL + i]);
        if (!here) continue;
        measure_again(x + v * VL, ld, rows, again_mean, again_m2);
        for (int i = 0; i < VL; i++)
            if (far_off((double)sums[v].q[i], m2[v * VL + i]))
                mean[v * VL + i] = again_mean[i], m2[v * VL + i] = again_m2[i];
    }
}

static void whole_vectors(const bnc_real *x, int64_t ld, int64_t rows, int64_t c,
                          const double *near, int far, double *mean, double *m2)
{
    for (int64_t g = 0; g < c; g += GROUP) {
        const int64_t w = c - g < GROUP ? c - g : GROUP;
        if (near)
            one_pass(x + g, ld, rows, w, near + g, far, mean + g, m2 + g);
        else
            two_passes(x + g, ld, rows, w, mean + g, m2 + g);
    }
}

BNC_INLINE void any_columns(const bnc_real *x, int64_t ld, int64_t rows, int64_t c,
                            const double *near, int far, double *mean, double *m2)
{
    const int64_t whole = c / VL * VL, last = c - VL;
    whole_vectors(x, ld, rows, whole, near, far, mean, m2);
    if (whole && whole < c) { /* the last vector overlaps columns done: the same numbers come out */
        whole_vectors(x + last, ld, rows, VL, near ? near + last : 0, far, mean + last, m2 + last);
        return;
    }
    for (int64_t j = whole; j < c; j++) column_in_double(x + j, ld, rows, mean + j, m2 + j);
}

/* x: (rows, c) with row pitch ld -> mean (c,), m2 (c,). rows >= 1; at most a few hundred, the float
 * lanes add them up. */
void BNC_KERNEL(columns_moments)(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t c,
                                 double *restrict mean, double *restrict m2)
{ any_columns(x, ld, rows, c, 0, 0, mean, m2); }

/* The same, given means (c,) of similar data; `near` may be `mean`. `far`: x comes from behind the caches. */
void BNC_KERNEL(columns_moments_near)(const bnc_real *restrict x, int64_t ld, int64_t rows,
                                      int64_t c, const double *near, int far, double *mean,
                                      double *m2)
{ any_columns(x, ld, rows, c, near, far, mean, m2); }

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

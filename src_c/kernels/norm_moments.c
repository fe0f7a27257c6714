/* Mean and sum of squared deviations (M2) of one block that stays in cache.
 *
 * Design: sums S of d = x - k and Q of d*d around a shift k; then mean = k + S/n, M2 = Q - S*S/n. The shift is the mean
 * of data nearby where the caller has one (`near`): one pass, at the speed of memory. That is only as good as two passes while
 * S*S/n is small beside Q, so a channel where it is not (more than half: the mean has moved by 0.7 deviations) is done
 * again from the cache, in two passes (norm_moments_twice.c): the first sums x - first, giving k = first + mean(x - first) within a rounding of
 * the block's own mean, so that S is a rounding residue and nothing cancels whatever the data. Subtracting `first`, or
 * the mean of what is constant so far, makes a constant channel exact: d is 0.
 * float32 lanes add up few enough terms (the caller keeps blocks small) and leave as double. Squares are added by fours
 * first: values far from 0 lie on a coarse lattice, squares of its steps are 0 or 1 modulo 4, and a lane that takes
 * them one by one rounds nearly all of them down.
 * float32 squares of data around 1e+-30 leave the range of float: such columns are summed again in double. */
#include "norm_moments.h"

enum { GROUP = 2048 }; /* columns of a group */

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
            BNC_KERNEL(columns_moments)(x, ld, some, VL, mean, m2);
            continue;
        }
        BNC_KERNEL(columns_moments)(x + r * ld, ld, some, VL, block_mean, block_m2);
        BNC_KERNEL(merge_moments)(VL, (double)r, mean, m2, (double)some, block_mean, block_m2);
    }
}

/* Of a vector of columns, those that are not k throughout: a constant's M2 of 0 is right, and it is what dead channels are. */
static vint moved(const bnc_real *x, int64_t ld, int64_t rows, vreal k)
{
    vint found = {0};
    for (int64_t r = 0; r < rows; r++) found |= (vint)(vload(x + r * ld) != k);
    return found;
}

/* What one pass did not measure well enough, of one vector of columns. */
static void mend(const bnc_real *x, int64_t ld, int64_t rows, const struct around *a, double *mean,
                 double *m2)
{
    double again_mean[VL], again_m2[VL];
    vint again = {0};
    int any = 0;
    for (int i = 0; i < VL; i++) again[i] = far_off((double)a->q[i], m2[i]) ? -1 : 0;
    for (int i = 0; i < VL; i++) any |= again[i] != 0;
    if (!any) return;
    again &= moved(x, ld, rows, a->k);
    any = 0;
    for (int i = 0; i < VL; i++) any |= again[i] != 0;
    if (!any) return;
    measure_again(x, ld, rows, again_mean, again_m2);
    for (int i = 0; i < VL; i++)
        if (again[i]) mean[i] = again_mean[i], m2[i] = again_m2[i];
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
    for (int64_t v = 0; doubtful && v < w / VL; v++)
        mend(x + v * VL, ld, rows, sums + v, mean + v * VL, m2 + v * VL);
}

/* x: (rows, c) with row pitch ld -> mean (c,), m2 (c,), given means (c,) of similar data; `near` may be `mean`. rows at
 * least 1 and at most a few hundred, the float lanes add them up. `far`: x comes from behind the caches. */
void BNC_KERNEL(columns_moments_near)(const bnc_real *restrict x, int64_t ld, int64_t rows,
                                      int64_t c, const double *near, int far, double *mean,
                                      double *m2)
{
    const int64_t whole = c / VL * VL, last = c - VL;
    for (int64_t g = 0; g < whole; g += GROUP) {
        const int64_t w = whole - g < GROUP ? whole - g : GROUP;
        one_pass(x + g, ld, rows, w, near + g, far, mean + g, m2 + g);
    }
    if (whole == 0)
        BNC_KERNEL(columns_moments)(x, ld, rows, c, mean, m2);
    else if (whole < c) /* the last vector overlaps columns done: the same numbers come out */
        one_pass(x + last, ld, rows, VL, near + last, far, mean + last, m2 + last);
}

/* s sets of n values a channel, side by side, become one: the mean of their means, and what they are apart counts n times. */
void BNC_KERNEL(fold_moments)(int64_t c, int64_t s, double n, const double *restrict means,
                              const double *restrict m2s, double *restrict mean,
                              double *restrict m2)
{
    const double over = 1 / (double)s;
    for (int64_t j = 0; j < c; j++, means += s, m2s += s) {
        double apart = 0, inside = 0, between = 0;
        for (int64_t i = 0; i < s; i++) apart += means[i] - means[0], inside += m2s[i];
        const double middle = means[0] + apart * over;
        for (int64_t i = 0; i < s; i++) between += (means[i] - middle) * (means[i] - middle);
        mean[j] = middle;
        m2[j] = inside + n * between;
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

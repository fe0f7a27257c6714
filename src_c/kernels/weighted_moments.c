/* Mean and M2 of columns whose rows carry weights: W = sum of w, mean = sum of w x / W, M2 = sum of w (x - mean)^2.
 *
 * Design: that of norm_moments.c, in double throughout, because weights have no scale: sums S of w d and Q of w d*d for
 * d = x - k, around the mean `near` of similar data (or the first row). Then mean = k + S/W, M2 = Q - S*S/W; a column in
 * which most of Q cancels is done again in two passes, the second one around its own mean. */
#include "kernels.h"

enum { GROUP = 512 }; /* columns whose sums stay in the first-level cache */

/* Around k, then around the mean that gives. */
static void two_passes(const bnc_real *x, int64_t ld, int64_t rows, const double *w, double total,
                       double *mean, double *m2)
{
    double k = (double)x[0], s = 0, q = 0;
    for (int64_t r = 0; r < rows; r++) s += w[r] * ((double)x[r * ld] - k);
    k += s / total;
    s = 0;
    for (int64_t r = 0; r < rows; r++) {
        const double d = (double)x[r * ld] - k;
        s += w[r] * d;
        q += w[r] * d * d;
    }
    q -= s * (s / total); /* s * s may leave the range of double */
    *mean = k + s / total;
    *m2 = q < 0 ? 0 : q; /* NaN stays */
}

static void group_moments(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t c,
                          const double *restrict w, double total, const double *near, double *mean,
                          double *m2)
{
    double k[GROUP], s[GROUP], q[GROUP];
    for (int64_t j = 0; j < c; j++) {
        k[j] = near ? near[j] : (double)x[j];
        s[j] = q[j] = 0;
    }
    for (int64_t r = 0; r < rows; r++) {
        const bnc_real *row = x + r * ld;
        const double weight = w[r];
#pragma omp simd
        for (int64_t j = 0; j < c; j++) {
            const double d = (double)row[j] - k[j], wd = weight * d;
            s[j] += wd;
            q[j] += wd * d;
        }
    }
    const double over = 1 / total;
    for (int64_t j = 0; j < c; j++) {
        mean[j] = k[j] + s[j] * over;
        m2[j] = q[j] - s[j] * (s[j] * over);
        /* Q loses at most six of its bits */
        if (!(m2[j] >= q[j] / 64)) two_passes(x + j, ld, rows, w, total, mean + j, m2 + j);
    }
}

/* x: (rows, c) with row pitch ld, w: (rows,) of sum `total` > 0 -> mean (c,), m2 (c,). near: (c,) means of similar data,
 * may be `mean`, or NULL. */
void BNC_KERNEL(weighted_moments)(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t c,
                                  const double *restrict w, double total, const double *near,
                                  double *mean, double *m2)
{
    for (int64_t g = 0; g < c; g += GROUP)
        group_moments(x + g, ld, rows, c - g < GROUP ? c - g : GROUP, w, total, near ? near + g : 0,
                      mean + g, m2 + g);
}

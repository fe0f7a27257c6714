/* From statistics to the per-channel numbers of the element-wise passes. Arithmetic in double, one rounding. */
#include "kernels.h"

/* 0 where 1/sqrt would be infinite: a constant channel with eps = 0 then gives beta, not NaN. */
BNC_INLINE double reciprocal_root(double var_eps) { return var_eps == 0 ? 0 : 1 / sqrt(var_eps); }

#ifdef __AVX512F__
/* Of up to eight numbers in place, to the last digit but one: an estimate y of 14 bits has the error e = 1 - a y y, and
 * 1/sqrt(1 - e) as a series leaves less than e^5 of it. Half as long as a root and a division. Each number's result is its
 * own, wherever it stands: those whose squares and roots may leave the range of double are done one by one. */
BNC_INLINE void eight_roots(double *a, int lanes)
{
    const __mmask8 some = (__mmask8)((1u << lanes) - 1);
    const __m512d one = _mm512_set1_pd(1), x = _mm512_mask_loadu_pd(one, some, a);
    const __mmask8 small = _mm512_cmp_pd_mask(x, _mm512_set1_pd(1e-280), _CMP_NGE_UQ),
                   large = _mm512_cmp_pd_mask(x, _mm512_set1_pd(1e280), _CMP_NLE_UQ);
    for (int i = 0; (small | large) && i < lanes; i++)
        if ((small | large) >> i & 1) a[i] = reciprocal_root(a[i]);
    const __m512d y = _mm512_rsqrt14_pd(x), e = _mm512_fnmadd_pd(_mm512_mul_pd(x, y), y, one);
    __m512d series = _mm512_fmadd_pd(e, _mm512_set1_pd(35.0 / 128), _mm512_set1_pd(5.0 / 16));
    series = _mm512_fmadd_pd(e, series, _mm512_set1_pd(3.0 / 8));
    series = _mm512_fmadd_pd(e, series, _mm512_set1_pd(1.0 / 2));
    _mm512_mask_storeu_pd(a, some & (__mmask8) ~(small | large),
                          _mm512_fmadd_pd(_mm512_mul_pd(y, e), series, y));
}
#endif

/* a -> 1/sqrt(a), or 0 for 0, in place */
void BNC_KERNEL(inverse_roots)(int64_t c, double *a)
{
#ifdef __AVX512F__
    for (int64_t j = 0; j < c; j += 8) eight_roots(a + j, c - j < 8 ? (int)(c - j) : 8);
#else
#pragma omp simd
    for (int64_t j = 0; j < c; j++) a[j] = reciprocal_root(a[j]);
#endif
}

/* a / b, `over` being 1 / b rounded: what the product lacks is added (Markstein 1990), which takes a third of the time. */
BNC_INLINE double quotient(double a, double b, double over)
{
#ifdef __FMA__
    const double q = a * over, lack = fma(-q, b, a);
    return lack == lack ? fma(lack, over, q) : q; /* infinity stays infinity */
#else
    (void)over;
    return a / b;
#endif
}

/* m2 -> 1/sqrt(m2/m + eps) in place; running statistics, where given, move by `momentum` towards the batch's. */
void BNC_KERNEL(finish_statistics)(int64_t c, double m, double momentum, double eps, int unbiased,
                                   const double *restrict mean, double *restrict m2_to_inv_std,
                                   bnc_real *restrict running_mean, bnc_real *restrict running_var)
{
    const double keep = 1 - momentum, each = 1 / m, over = 1 / (unbiased && m > 1 ? m - 1 : m);
    if (running_mean)
#pragma omp simd
        for (int64_t j = 0; j < c; j++)
            running_mean[j] = (bnc_real)(keep * (double)running_mean[j] + momentum * mean[j]);
    if (running_var)
#pragma omp simd
        for (int64_t j = 0; j < c; j++)
            running_var[j] =
                (bnc_real)(keep * (double)running_var[j] + momentum * (m2_to_inv_std[j] * over));
#pragma omp simd
    for (int64_t j = 0; j < c; j++) m2_to_inv_std[j] = quotient(m2_to_inv_std[j], m, each) + eps;
    BNC_KERNEL(inverse_roots)(c, m2_to_inv_std);
}

/* Running statistics -> mean and 1/sqrt(var + eps) in double. */
void BNC_KERNEL(inverse_std)(int64_t c, double eps, const bnc_real *restrict mean,
                             const bnc_real *restrict var, double *restrict mean64,
                             double *restrict inv_std)
{
#pragma omp simd
    for (int64_t j = 0; j < c; j++) {
        mean64[j] = (double)mean[j];
        inv_std[j] = (double)var[j] + eps;
    }
    BNC_KERNEL(inverse_roots)(c, inv_std);
}

BNC_INLINE double clip(double a, double low, double high)
{ return a < low ? low : a > high ? high : a; /* NaN stays */ }

/* Batch renormalization (Ioffe 2017): m2 -> 1/s, s = sqrt(m2/m + eps); r = clip(s/sigma), d = clip((mean - mu)/sigma);
 * then mu and sigma, the running mean and standard deviation, move by `momentum` towards mean and s. */
void BNC_KERNEL(renorm_statistics)(int64_t c, double m, double momentum, double eps, double r_max,
                                   double d_max, const double *restrict mean,
                                   double *restrict m2_to_inv_std, double *restrict r,
                                   double *restrict d, bnc_real *restrict running_mean,
                                   bnc_real *restrict running_std)
{
    const double keep = 1 - momentum, each = 1 / m;
    for (int64_t j = 0; j < c; j++) {
        const double mu = (double)running_mean[j], sigma = (double)running_std[j];
        const double inverse = sigma == 0 ? 0 : 1 / sigma;
        const double var_eps = quotient(m2_to_inv_std[j], m, each) + eps, s = sqrt(var_eps);
        m2_to_inv_std[j] = var_eps;
        r[j] = clip(s * inverse, 1 / r_max, r_max);
        d[j] = clip((mean[j] - mu) * inverse, -d_max, d_max);
        running_mean[j] = (bnc_real)(keep * mu + momentum * mean[j]);
        running_std[j] = (bnc_real)(keep * sigma + momentum * s);
    }
    BNC_KERNEL(inverse_roots)(c, m2_to_inv_std);
}

/* hi + lo = mean to twice the precision of bnc_real; scale = gamma inv_std r; shift = beta + gamma d - lo scale. gamma, beta
 * may be NULL, r and d both. */
void BNC_KERNEL(forward_coefficients)(int64_t c, const double *restrict mean,
                                      const double *restrict inv_std, const double *restrict r,
                                      const double *restrict d, const bnc_real *restrict gamma,
                                      const bnc_real *restrict beta, bnc_real *restrict hi,
                                      bnc_real *restrict scale, bnc_real *restrict shift)
{
#pragma omp simd
    for (int64_t j = 0; j < c; j++) {
        const double weight = gamma ? (double)gamma[j] : 1.0;
        const double exact = weight * (r ? r[j] : 1.0) * inv_std[j];
        const double from = (beta ? (double)beta[j] : 0.0) + (d ? weight * d[j] : 0.0);
        hi[j] = (bnc_real)mean[j];
        scale[j] = (bnc_real)exact;
        shift[j] = (bnc_real)(from - (mean[j] - (double)hi[j]) * exact);
    }
}

/* slope = inv_std mean_gx, offset = mean_g - lo slope, from the sums over 1 / `over` values. */
void BNC_KERNEL(gradient_coefficients)(int64_t c, double over, const double *restrict mean,
                                       const double *restrict inv_std, const double *restrict sum_g,
                                       const double *restrict sum_gx, bnc_real *restrict slope,
                                       bnc_real *restrict offset)
{
#pragma omp simd
    for (int64_t j = 0; j < c; j++) {
        const double exact = inv_std[j] * (sum_gx[j] * over);
        const double lo = mean[j] - (double)(bnc_real)mean[j];
        slope[j] = (bnc_real)exact;
        offset[j] = (bnc_real)(sum_g[j] * over - lo * exact);
    }
}

void BNC_KERNEL(to_real)(int64_t n, const double *restrict from, bnc_real *restrict to)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++) to[j] = (bnc_real)from[j];
}

/* Sums of g (x - hi) inv_std, hi and inv_std being bnc_real, become those of g (x - mean) inv_std. */
void BNC_KERNEL(centre_sums)(int64_t c, const double *restrict mean, const double *restrict inv_std,
                             const double *restrict sum_g, double *restrict sum_gx)
{
#pragma omp simd
    for (int64_t j = 0; j < c; j++) {
        const double lo = mean[j] - (double)(bnc_real)mean[j];
        sum_gx[j] -= lo * (double)(bnc_real)inv_std[j] * sum_g[j];
    }
}

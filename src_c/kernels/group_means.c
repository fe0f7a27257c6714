/* Between groups and their channels: statistics outwards, gradient sums inwards. `channels` are those of one group, arrays
 * of channels hold them group after group. */
#include "kernels.h"

/* (groups,) -> (groups, channels) */
void BNC_KERNEL(group_to_channels)(int64_t groups, int64_t channels, const double *restrict mean,
                                   const double *restrict inv_std, double *restrict channel_mean,
                                   double *restrict channel_inv_std)
{
    for (int64_t j = 0; j < groups; j++, channel_mean += channels, channel_inv_std += channels) {
        const double m = mean[j], v = inv_std[j];
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            channel_mean[c] = m;
            channel_inv_std[c] = v;
        }
    }
}

/* Groups of fewer channels than this are summed one by one: vectors would take longer to set up and fold. */
enum { FEW_CHANNELS = 24 };

BNC_INLINE void weighted(const bnc_real *gamma, const double *sum_g, const double *sum_gx,
                         int64_t from, int64_t to, double *w, double *wx)
{
    double a = 0, b = 0;
    if (to - from < FEW_CHANNELS) {
        for (int64_t c = from; c < to; c++) {
            const double scale = gamma ? (double)gamma[c] : 1.0;
            a += scale * sum_g[c];
            b += scale * sum_gx[c];
        }
    } else {
#pragma omp simd reduction(+ : a, b)
        for (int64_t c = from; c < to; c++) {
            const double scale = gamma ? (double)gamma[c] : 1.0;
            a += scale * sum_g[c];
            b += scale * sum_gx[c];
        }
    }
    *w = a, *wx = b;
}

/* The groups' means of w = gamma g and of w x_hat (`over` is 1 / values of a group) as coefficients of each channel of
 * theirs: slope = inv_std mean_wx, offset = mean_w - lo slope. mean, inv_std: (groups, channels); gamma may be NULL. */
void BNC_KERNEL(group_means)(int64_t groups, int64_t channels, double over,
                             const double *restrict mean, const double *restrict inv_std,
                             const bnc_real *restrict gamma, const double *restrict sum_g,
                             const double *restrict sum_gx, bnc_real *restrict slope,
                             bnc_real *restrict offset)
{
    for (int64_t from = 0; from < groups * channels; from += channels) {
        double w, wx;
        weighted(gamma, sum_g, sum_gx, from, from + channels, &w, &wx);
        const double lo = mean[from] - (double)(bnc_real)mean[from];
        const bnc_real each_slope = (bnc_real)(inv_std[from] * wx * over);
        const bnc_real each_offset = (bnc_real)(w * over - lo * inv_std[from] * wx * over);
        for (int64_t c = from; c < from + channels; c++)
            slope[c] = each_slope, offset[c] = each_offset;
    }
}

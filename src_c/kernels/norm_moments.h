/* What the moments of columns and of slabs share: the step from sums to moments, and whether it may be taken. See
 * norm_moments.c for the design. */
#ifndef BNC_NORM_MOMENTS_H
#define BNC_NORM_MOMENTS_H

#include "kernels.h"
#include "squares.h"

BNC_INLINE void settle(double k, double s, double q, double n, double *mean, double *m2)
{
    double left = q - s * s / n;
    *mean = k + s / n;
    *m2 = left < 0 ? 0 : left; /* NaN stays */
}

/* Whether M2 from sums around a shift is not good enough: half of Q cancelled, or squares left float's range. */
static inline int far_off(double q, double m2)
{
    const int cancelled = !(m2 >= 0.5 * q), small = !(q >= SMALLEST), large = !(q <= LARGEST);
    return cancelled | (small & !BNC_F64) | (large & !BNC_F64);
}

#endif

/* When a sum of squares made in float must be made again in double. Static, for kernel files only. */
#ifndef BNC_SQUARES_H
#define BNC_SQUARES_H

#include "vec.h"

/* Sums of squares outside these bounds may have lost terms to underflow or overflow. */
#define SMALLEST ((double)BNC_REAL_MIN * 16777216.0 * 65536.0)
#define LARGEST ((double)BNC_REAL_MAX)

/* Without branches, for loops over lanes. */
static inline int suspicious(double m2)
{
    const int small = !(m2 >= SMALLEST), large = !(m2 <= LARGEST);
    return !BNC_F64 && (small | large);
}

#endif

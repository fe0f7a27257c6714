/* What the kernels of norms over rows share: a row's numbers in the precision of the data. Static, for kernel files only. */
#ifndef BNC_ROWS_H
#define BNC_ROWS_H

#include "kernels.h"

enum { BNC_ROW_BLOCK = 4096 }; /* columns that float lanes add up before they leave as double */

struct row {
    bnc_real hi, lo, inv_std; /* hi + lo = mean to twice the precision of bnc_real */
};

BNC_INLINE struct row row_at(const struct bnc_row_terms *k, int64_t r)
{
    const double mean = k->mean ? k->mean[r] : 0;
    const bnc_real hi = (bnc_real)mean;
    return (struct row){hi, (bnc_real)(mean - (double)hi), (bnc_real)k->inv_std[r]};
}

/* x_hat of one element or vector; x - mean comes first, at full precision. RMS norm (`centred` 0) subtracts nothing. */
#define X_HAT(centred, x, hi, lo, inv_std) \
    ((centred) ? (((x) - (hi)) - (lo)) * (inv_std) : (x) * (inv_std))

#endif

/* Statistics of an array whose layout is known: shared by the forward ops. */
#ifndef BNC_NORM_STATISTICS_H
#define BNC_NORM_STATISTICS_H

#include "norm_mask.h"

#define bnc_statistics_of BNC_OP(statistics_of)
int bnc_statistics_of(const bnc_shape *shape, const bnc_layout *l, const bnc_real *x, double *mean,
                      double *m2);

#endif

/* Statistics of an array whose layout is known: shared by the forward ops. */
#ifndef BNC_NORM_STATISTICS_H
#define BNC_NORM_STATISTICS_H

#include "norm_mask.h"
#include "norm_reduce.h"

#define bnc_statistics_of BNC_OP(statistics_of)
int bnc_statistics_of(const bnc_shape *shape, const bnc_layout *l, const bnc_real *x, double *mean,
                      double *m2);

/* Of the channels of a box that holds all their values, into mean (c,) and m2 (c,); block (2, c) is scratch. No mask. */
#define bnc_box_statistics BNC_OP(box_statistics)
void bnc_box_statistics(const bnc_layout *l, const bnc_shape *shape, const bnc_real *x,
                        const bnc_box *b, double *mean, double *m2, double *block);

#endif

/* What follows the sums of a norm's backward pass, for ops that take them themselves. */
#ifndef BNC_NORM_HALVES_H
#define BNC_NORM_HALVES_H

#include "op.h"

/* Gradients of gamma and beta of some channels from the sums. */
#define bnc_parameter_gradients BNC_OP(parameter_gradients)
void bnc_parameter_gradients(const bnc_norm_gradient *a, int64_t channel, int64_t channels);

#endif

/* What follows a convolution in the same pass: bias, residual, ReLU. */
#ifndef BNC_CONV_FINISH_H
#define BNC_CONV_FINISH_H

#include "op.h"

typedef struct {
    bnc_real *to; /* the output images; the residual is laid out as they are */
    const bnc_real *bias, *residual;
    int relu, channels_last;
} conv_finish;

/* Channels [first, first + channels) of `count` pixels, at y within the output; rows, `pitch` apart, are pixels with
 * channels last, channels with channels first. */
static inline void conv_finish_rows(const conv_finish *f, bnc_real *y, int64_t pitch, int64_t first,
                                    int64_t channels, int64_t count)
{
    if (!f->bias && !f->relu && !f->residual) return;
    const int last = f->channels_last;
    KERNELS->finish_rows(y, pitch, f->bias ? f->bias + first : NULL, !last, last,
                         f->residual ? f->residual + (y - f->to) : NULL, y, pitch,
                         last ? count : channels, last ? channels : count, f->relu);
}

#endif

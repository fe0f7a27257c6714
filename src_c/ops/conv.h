/* What the files of the convolution share: sizes, patches, packed weights. Not seen by Cython.
 *
 * Design: the batch is one long row of output pixels, q = image * oh * ow + pixel, cut into
 * bands of a fixed length that may cross images. The patches under a band are one matrix in
 * scratch memory that stays in the L2 cache:
 *     channels first   (taps x pixels), a tap is (channel, k, l) as the weight has it     Y = W X
 *     channels last    (pixels x taps), a tap is (k, l, channel): long runs of memory     Y = X W^T
 * gather fills it from the image, scatter adds it back; forward, input gradient and weight
 * gradient are a product with the same matrix. A 1x1 kernel in channels last (so a linear layer
 * too) needs no matrix: the image is one already. */
#ifndef BNC_OPS_CONV_H
#define BNC_OPS_CONV_H

#include "op.h"

/* What follows from a geometry. */
typedef struct {
    const bnc_conv *g;
    int64_t pixels; /* of one output image */
    int64_t total;  /* of all */
    int64_t cin;    /* input channels of one group */
    int64_t cout;   /* output channels of one group */
    int64_t kernel; /* kh kw */
    int64_t taps;   /* cin kernel */
    int64_t band;   /* pixels worked on at a time */
    int64_t bands;  /* in total */
    int depthwise;  /* channels last, one channel per group: no products, but all groups at once */
    int direct;     /* the image itself is the matrix of patches */
    int64_t steps;  /* groups to go through one by one */
} conv_sizes;

#define conv_sizes_of BNC_OP(conv_sizes_of)
#define conv_threads BNC_OP(conv_threads)
#define conv_gather BNC_OP(conv_gather)
#define conv_scatter BNC_OP(conv_scatter)
#define conv_depthwise BNC_OP(conv_depthwise)

conv_sizes conv_sizes_of(const bnc_conv *g);

/* Threads worth starting for one of the three products. */
int conv_threads(const conv_sizes *s);

/* cols = the patches of pixels [first, last) of one group, read from x; row pitch last - first
 * or taps. */
void conv_gather(const conv_sizes *s, const bnc_real *x, int64_t group, int64_t first, int64_t last,
                 bnc_real *cols);

/* x += the patches, each where it was read. */
void conv_scatter(const conv_sizes *s, bnc_real *x, int64_t group, int64_t first, int64_t last,
                  const bnc_real *cols);

/* Depthwise: adds to one of x (images), y (the band's output pixels), weight (taps, channels) the
 * products of the two others, which are only read. */
typedef enum { CONV_SUM_Y, CONV_SUM_X, CONV_SUM_WEIGHT } conv_sum;
void conv_depthwise(const conv_sizes *s, conv_sum sum, bnc_real *x, bnc_real *y, bnc_real *weight,
                    int64_t first, int64_t last);

/* For functions that write to their argument in some directions, called in one where they do
 * not. */
static inline bnc_real *conv_readable(const bnc_real *p) { return (bnc_real *)(uintptr_t)p; }

#endif

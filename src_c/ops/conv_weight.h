/* Gradients of a convolution's weight: sums over all output pixels of all images, of products. Design: conv.h.
 *
 * Pixels are taken in units: output rows, rows of Winograd's tiles, or, where the kernel is 1x1, pixels themselves. They are
 * cut into a number of parts that depends on sizes alone; each part is summed in an array of its own, and these are added
 * in order: the same bits for any number of threads. */
#ifndef BNC_CONV_WEIGHT_H
#define BNC_CONV_WEIGHT_H

#include "conv_winograd.h"

enum { BNC_WEIGHT_PARTS = 16 }; /* at most */

typedef struct {
    conv_plan p;
    conv_way way;
    int64_t size;  /* elements of one part's sums */
    int64_t units; /* of an image */
    conv_tiles t;  /* Winograd */
    /* rows: */
    int64_t wide; /* channels of a group of dy, whole blocks */
    int together; /* the taps of a kernel row are */
    int turns;    /* dy is copied: it has channels first, or parts of blocks */
} conv_weight_call;

#define conv_weight_ready BNC_OP(conv_weight_ready)
#define conv_weight_release BNC_OP(conv_weight_release)
#define conv_weight_room BNC_OP(conv_weight_room)
#define conv_weight_parts BNC_OP(conv_weight_parts)
#define conv_weight_add BNC_OP(conv_weight_add)
#define conv_weight_finish BNC_OP(conv_weight_finish)
#define conv_weight_rows_ready BNC_OP(conv_weight_rows_ready)
#define conv_weight_rows_add BNC_OP(conv_weight_rows_add)
#define conv_weight_rows_unpack BNC_OP(conv_weight_rows_unpack)
#define conv_weight_tiles_ready BNC_OP(conv_weight_tiles_ready)
#define conv_weight_tiles_add BNC_OP(conv_weight_tiles_add)
#define conv_weight_tiles_unpack BNC_OP(conv_weight_tiles_unpack)

/* The geometry must outlive the call. Error codes. */
int conv_weight_ready(conv_weight_call *a, const bnc_conv *g);
void conv_weight_release(conv_weight_call *a);
/* Parts that there is memory for. */
int64_t conv_weight_room(const conv_weight_call *a);
/* In how many parts to sum so many units of work: as many as there are units and memory for, and work. */
int64_t conv_weight_parts(const conv_weight_call *a, int64_t units);
/* Adds units [begin, end), counted from the first image of x and dy, to a part's sums, which are 0 before `first`. */
int conv_weight_add(const conv_weight_call *a, const bnc_real *x, const bnc_real *dy, int64_t begin,
                    int64_t end, int first, bnc_real *sums, bnc_ahead *ahead);
/* dweight from (parts, size) sums, which are used up. */
void conv_weight_finish(const conv_weight_call *a, bnc_real *sums, int64_t parts, bnc_real *dweight,
                        int threads);

/* The two ways that are not products; sums are 0 before rows are first added. */
void conv_weight_rows_ready(conv_weight_call *a);
int conv_weight_rows_add(const conv_weight_call *a, const bnc_real *x, const bnc_real *dy,
                         int64_t begin, int64_t end, bnc_real *sums, bnc_ahead *ahead);
void conv_weight_rows_unpack(const conv_weight_call *a, const bnc_real *sums, bnc_real *dweight);
void conv_weight_tiles_ready(conv_weight_call *a);
int conv_weight_tiles_add(const conv_weight_call *a, const bnc_real *x, const bnc_real *dy,
                          int64_t begin, int64_t end, int first, bnc_real *sums, bnc_ahead *ahead);
void conv_weight_tiles_unpack(const conv_weight_call *a, const bnc_real *sums, bnc_real *dweight,
                              int threads);

#endif

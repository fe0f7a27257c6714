/* Names and table of the kernels for one (instruction set, dtype). BNC_ISA names this compile's instruction set; ops are
 * compiled without it and reach every kernel through the table `bnc_kernels` chosen at import. */
#ifndef BNC_KERNELS_H
#define BNC_KERNELS_H

#include "vec.h"

#define BNC_PASTE4(a, b, c, d) a##b##c##d
#define BNC_NAME4(a, b, c, d) BNC_PASTE4(a, b, c, d)
#if BNC_F64
#define BNC_SUFFIX _f64
#else
#define BNC_SUFFIX _f32
#endif
#define BNC_OP(name) BNC_NAME4(bnc_, name, BNC_SUFFIX, )

enum { BNC_LANES = 16 }; /* values of the widest vector of any instruction set and dtype */

/* Per-channel numbers of a norm's element-wise passes. The mean is hi + lo: what float32 cannot hold is folded into shift
 * and offset. Members a pass does not need may be NULL. */
struct bnc_coefficients {
    const bnc_real *hi;            /* (c,) mean */
    const bnc_real *scale, *shift; /* (c,) gamma inv_std, beta - lo scale */
    const bnc_real *inv_std;       /* (c,) */
    const bnc_real *slope,
        *offset; /* (c,) inv_std mean_gx, mean_g - lo slope, of the means of g and g x_hat;
                                       both NULL when the statistics are constants */
};

/* A norm over rows: x_hat = (x - mean[r]) inv_std[r], or x inv_std[r] without `mean` (RMS norm). The members start at the
 * first row and column of what a kernel is given. */
struct bnc_row_terms {
    const bnc_real *gamma, *beta;   /* per column; beta may be NULL */
    const double *mean, *inv_std;   /* per row */
    const double *mean_w, *mean_wx; /* per row: means of w = g gamma and of w x_hat */
};

/* The windows of a run of outputs in pooling that have the same taps inside the input, a0..a1 by b0..b1. Tap (a, b) of
 * output i is x[at[i] + a row + b column], or x[origin + i + a row + b column] without `at`; it has the number
 * a width + b in its window. The output is y[to[i]], or y[i] without `to`; `at` and `to` come together. */
struct bnc_taps {
    int64_t origin, row, column, a0, a1, b0, b1, width;
    const int64_t *at, *to;
};

/* A row of a convolution's output pixels: where its runs of inputs begin, their common length, and how many values at their
 * ends lie outside of the image for the first pixel (left) and the last (right). Steps lead from a pixel to the next.
 * `channels`: those of a block that exist. */
struct bnc_conv_row {
    const int64_t *at;
    int64_t runs, length, left, right, x_step, y_step, pixels, channels;
};

/* A rectangle of output pixels, in x and in dy. */
struct bnc_conv_pixels {
    int64_t rows, pixels, x_row, x_step, dy_row, dy_step;
};

typedef struct {
#define K(name, args) void(*name) args;
#include "list.h"
#undef K
} BNC_NAME4(bnc_kernels, BNC_SUFFIX, , );

#define bnc_kernel_table BNC_NAME4(bnc_kernels, BNC_SUFFIX, , )
/* The table in force for this dtype; set once at import by runtime/dispatch.c. */
extern const bnc_kernel_table *BNC_NAME4(bnc_active, BNC_SUFFIX, , );
#define KERNELS BNC_NAME4(bnc_active, BNC_SUFFIX, , )

#ifdef BNC_ISA
#define BNC_NAME6(a, b, c, d, e, f) a##b##c##d##e##f
#define BNC_KERNEL_NAME(name, suffix, isa) BNC_NAME6(bnc_k_, name, suffix, _, isa, )
#define BNC_KERNEL_2(name, suffix, isa) BNC_KERNEL_NAME(name, suffix, isa)
#define BNC_KERNEL(name) BNC_KERNEL_2(name, BNC_SUFFIX, BNC_ISA)
#define K(name, args) void BNC_KERNEL(name) args;
#include "list.h"
#undef K
#endif

#endif

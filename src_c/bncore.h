/* The whole C interface of bncore: the only header that Cython sees.
 *
 * Every op exists for float and double and is reached through a table: bnc_ops_for(is_f64)->batch_norm_train(&args).
 * Data pointers are void: the table says what they point to. Arrays are C-contiguous and seen as (n, c, s) around the
 * channel axis. Sizes are 64-bit. Ops return 0, or BNC_NO_MEMORY; they trust their arguments (functional judges them).
 * Inputs are never written to; outputs must not overlap inputs. */
#ifndef BNCORE_H
#define BNCORE_H

#include <stddef.h>
#include <stdint.h>

enum { BNC_OK = 0, BNC_NO_MEMORY = 1 };

/* Caches in bytes: of one processor, the last level with the number of processors that share it, and one's share. */
typedef struct {
    int64_t l1, l2, llc, llc_each;
    int llc_cpus;
} bnc_machine;
void bnc_read_machine(void); /* called by bnc_runtime_start */
const bnc_machine *bnc_this_machine(void);

/* An array (n, c, s) around its channel axis. With `runs` only some of the n * s positions, vectors of c values, count:
 * runs are pairs (first position, valid positions before it) in increasing order, followed by the pair (n * s, all valid
 * positions). With s > 1, or `slabs`, no run crosses from one item of n to the next. */
typedef struct {
    int64_t n, c, s;
    const int64_t *runs; /* (run_count + 1, 2), or NULL: all positions count */
    int64_t run_count;
    int slabs; /* reduce like s > 1: of padded channels-first arrays one may happen to have s = 1 */
} bnc_shape;

/* Forward: y = act(x_hat gamma + beta [+ residual]), x_hat = (x - mean) inv_std, in batch renormalization
 * (x - mean) inv_std r + d. Positions that do not count give 0. */
typedef struct {
    bnc_shape shape;
    const void *x, *residual; /* (n, c, s); residual may be NULL */
    void *y;                  /* (n, c, s) */
    const void *gamma, *beta; /* (c,) or NULL */
    void *running_mean;       /* (c,) or NULL; written in training, read in evaluation */
    void *running_var;        /* the standard deviation in batch_renorm_train */
    double momentum, eps;
    int unbiased, relu;
    double *mean, *inv_std; /* (c,) statistics used: written by batch_norm_*, read by normalize */
    double *r, *d;          /* (c,) written by batch_renorm_train; NULL elsewhere */
    double r_max, d_max;
} bnc_norm;

/* Backward of the above. */
typedef struct {
    bnc_shape shape;
    const void *x, *dy;           /* (n, c, s) */
    const void *y;                /* (n, c, s) after add + ReLU, else NULL */
    const void *gamma, *beta;     /* (c,) or NULL */
    const double *mean, *inv_std; /* (c,) */
    const double *r, *d;          /* (c,) of batch renormalization, or NULL */
    int relu, batch;              /* batch: the statistics depend on x (training) */
    void *dx, *dresidual;         /* (n, c, s); dresidual may be NULL */
    void *dgamma, *dbeta;         /* (c,) or NULL */
    double *sum_g,
        *sum_gx; /* (c,) sums of g and of g (x - mean) inv_std: written by gradient_sums and backward, read by
                               input_gradient */
    double count; /* values per channel behind the sums, for input_gradient */
} bnc_norm_gradient;

/* Thresholds of ops/norm_layout.h and op.h: in elements, or counted, or (whole_below, whole_from) in bytes. */
typedef struct {
    int64_t lanes, full_width, whole, whole_below, whole_from, few_channels, most_partials, chunk,
        grain;
} bnc_norm_thresholds;

/* How batch norm runs on an array of some shape: what was chosen, and the numbers that decided.
 * The walk is along `columns` (rows of `width` values, `joined` rows of the array each), or along slabs of s values. An op
 * that `reduces` first sums `chunks` chunks of n_per samples (columns: rows), c_per channels and s_per values of a slab
 * each, to `partials` results per channel (column); by_channels: each chunk's channels are used at once. */
typedef struct {
    int64_t n, c, s; /* as walked: all values of a single channel are one slab */
    int columns, reduces, by_channels;
    int64_t joined, width, n_per, c_per, s_per, chunks, partials;
    int64_t reduced_bytes; /* read by the reduction, ... */
    int64_t near_bytes;    /* ... which comes from caches up to here; beyond ... */
    int far;               /* ... it fetches ahead (columns only) */
    int64_t pass_chunks;   /* of the element-wise pass */
    int threads, limit;    /* most; allowed for any work */
    int little;            /* 1 thread, unless workers are awake or such calls come in a row */
    int64_t array_bytes;   /* of x alone */
    int64_t bytes;         /* read and written by the element-wise pass */
    int64_t cache_share;   /* what the threads have of the last-level cache */
    int streaming;         /* stores go past the caches */
    bnc_norm_thresholds at;
} bnc_norm_plan;

/* Group norm: x (n, a, c, s), each sample's groups of c / groups channels over their channels, a and s: channels-first has
 * a = 1, channels-last s = 1. Instance norm is groups = c. y = act((x - mean) inv_std gamma + beta). */
typedef struct {
    int64_t n, a, c, s, groups;
    const void *x;
    void *y;
    const void *gamma, *beta; /* (c,) or NULL */
    void *running_mean,       /* (c,) or NULL, only with groups = c: moved towards the average */
        *running_var;         /* of the samples' statistics */
    double momentum, eps;
    int unbiased, relu;
    double *mean, *inv_std; /* (n, groups): written */
} bnc_group_norm;

/* Backward of the above. */
typedef struct {
    int64_t n, a, c, s, groups;
    const void *x, *dy;           /* (n, a, c, s) */
    const void *gamma, *beta;     /* (c,) or NULL */
    const double *mean, *inv_std; /* (n, groups) */
    int relu;
    void *dx;             /* (n, a, c, s) */
    void *dgamma, *dbeta; /* (c,) or NULL */
} bnc_group_norm_gradient;
/* A norm over rows of d values: y = act(x_hat gamma + beta). Layer norm: x_hat = (x - mean) inv_std, of the whole row;
 * RMS norm: x_hat = x inv_std, of the mean square of the row's first `squared` values. */
typedef struct {
    int64_t rows, d;
    int64_t squared;          /* 0 for layer norm */
    const void *x;            /* (rows, d) */
    void *y;                  /* (rows, d) */
    const void *gamma, *beta; /* (d,) or NULL */
    double eps;
    int relu;
    double *mean, *inv_std; /* (rows,), written; mean is NULL for RMS norm */
} bnc_rows;

/* Backward of the above. */
typedef struct {
    int64_t rows, d, squared;
    const void *x, *dy;           /* (rows, d) */
    const void *gamma, *beta;     /* (d,) or NULL */
    const double *mean, *inv_std; /* (rows,); mean is NULL for RMS norm */
    int relu;
    void *dx;             /* (rows, d) */
    void *dgamma, *dbeta; /* (d,) or NULL */
} bnc_rows_gradient;

/* A 2-D cross-correlation of x (n, ci, h, w) with weight (co, ci / groups, kh, kw) to y (n, co, oh, ow); channels_last says
 * that the images, not the weight, are (n, height, width, channels). Output pixel (i, j) reads input pixels
 * (i sh + k dh - ph, j sw + l dw - pw), 0 outside. A linear layer is the case of 1x1 images with channels last. */
typedef struct {
    int64_t n, ci, h, w, co, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw, groups;
    int channels_last;
} bnc_conv;

/* A convolution of images with channels last in a chain of layers, some images at a time while they are in cache: the norm
 * in front is applied to what is read, the statistics that the norm behind needs are taken of what was written. Without
 * either it is a convolution like any other. */
typedef struct {
    bnc_conv g;
    const void *x;
    const bnc_norm *
        in; /* or NULL: x is the input of this norm, whose output is read (and stored, if it has a y) */
    const void *weight, *bias, *residual;
    const void *kept; /* of conv_keep, or NULL */
    int relu;
    void *y;
    const bnc_norm *out; /* or NULL: a batch norm in training, whose statistics are set */
    int apply; /* instead, `out` is applied, with the mean and inv_std it has: y is its output */
} bnc_conv_chain;

/* Backward of the above. */
typedef struct {
    bnc_conv g;
    const void *x;
    const bnc_norm *in;
    const void *weight, *dy;
    const bnc_norm_gradient
        *out;         /* or NULL: dy is that of this norm's output, its sums are there */
    void *dx;         /* or NULL */
    const void *more; /* added to dx, or NULL */
    const bnc_norm_gradient
        *front; /* or NULL: dx is that of this norm's output, its sums are set */
    void *dweight;
} bnc_conv_chain_gradient;

/* to[r, i] = from[r, i]: rows of n values */
typedef struct {
    const void *from;
    void *to;
    int64_t rows, n, from_pitch, to_pitch;
} bnc_copy;

/* (n, rows, columns) to (n, columns, rows) */
typedef struct {
    const void *from;
    void *to;
    int64_t n, rows, columns;
} bnc_transposition;

/* y = act(a + b); y may be a */
typedef struct {
    const void *a, *b;
    void *y;
    int64_t size;
    int relu;
} bnc_sum;

enum { BNC_RELU, BNC_LEAKY_RELU, BNC_GELU, BNC_GELU_TANH, BNC_SILU, BNC_SIGMOID, BNC_TANH };

/* Windows over images (n, c, h, w), or (n, h, w, c), with results of h_out x w_out. Forward: from x to y; backward:
 * from dy to dx. Taps are numbered row by row; every window has at least one inside the image. */
typedef struct {
    int64_t n, c, h, w, h_out, w_out;
    int64_t kernel[2], stride[2], padding[2];
    int channels_last, count_include_pad;
    const void *from;
    void *to;
    void *
        index; /* max: the winning taps, int32 if `wide`, else bytes; written forward, read backward */
    int wide;
} bnc_pooling;

/* Images (n, c, s), or (n, s, c), to or from one value per channel. */
typedef struct {
    int64_t n, c, s;
    int channels_last;
    const void *from;
    void *to;
    int64_t *index; /* max: positions in s, (n, c) */
} bnc_global_pooling;

/* Softmax cross-entropy; shift and total are written forward, read backward. */
typedef struct {
    int64_t n, k;
    const void *logits;    /* (n, k) */
    const int64_t *target; /* (n,), each in 0..k-1 */
    double smoothing;
    void *shift, *total; /* (n,) */
    double loss;         /* result of the forward pass: the mean */
    void *dlogits;       /* (n, k), backward */
} bnc_cross_entropy;

/* A loss of two arrays of one shape, and its gradient. */
typedef struct {
    int64_t size;
    const void *pred, *target;
    double loss; /* result of the forward pass: the mean */
    void *dpred; /* backward */
} bnc_pair_loss;

enum { BNC_RNN_TANH, BNC_RNN_RELU, BNC_GRU, BNC_LSTM };

/* A recurrent layer in one direction, given its input products. Sequence i has lengths[i] >= 0 time steps, which are rows
 * one after the other; the sequences follow each other in m = sum of lengths rows. A row holds g = 1 (RNN), 3 (GRU) or 4
 * (LSTM) blocks of `units`. Rows of y lie y_pitch elements apart. */
typedef struct {
    int64_t n, m, units;
    int kind, reverse;      /* reverse: from every sequence's last step to its first */
    const int64_t *lengths; /* (n,) */
    const void *products;   /* (m, g units) */
    const void *weight;     /* (g units, units) */
    const void *bias;       /* (g units,) or NULL */
    const void *h0, *c0;    /* (n, units) or NULL for zeros; c0: LSTM */
    void *y;                /* (m, units) */
    int64_t y_pitch;
    void *gates;   /* (m, 4 units) of GRU and LSTM, or NULL: not kept */
    void *cells;   /* (m, units) of LSTM, or NULL: not kept */
    void *hn, *cn; /* (n, units) state after the last step; cn: LSTM */
} bnc_recurrent;

/* Backward of the above. */
typedef struct {
    int64_t n, m, units;
    int kind, reverse;
    const int64_t *lengths;
    const void *weight, *h0, *c0, *y, *gates, *cells;
    int64_t y_pitch;
    const void *dy; /* (m, units) or NULL for zeros */
    int64_t dy_pitch;
    const void *dhn, *dcn; /* (n, units) or NULL for zeros */
    void *dproducts;       /* (m, g units) */
    void *dweight, *dbias; /* dbias may be NULL */
    void *dh0, *dc0;       /* (n, units); dc0: LSTM */
} bnc_recurrent_gradient;

/* One step of an optimizer over vectors of `size`, the first `decayed` with weight decay; what an optimizer does not use
 * stays 0. */
typedef struct {
    int64_t size, decayed;
    void *param;
    const void *grad;
    void *velocity; /* SGD: NULL without momentum */
    void *m, *v;    /* AdamW */
    double lr, weight_decay;
    double momentum; /* SGD */
    int nesterov;
    double beta1, beta2, eps; /* AdamW */
    int64_t step;             /* AdamW: from 1 */
} bnc_optimizer;

/* Thresholds of ops/rows_layout.h and op.h, in elements; lines: of 64 bytes. */
typedef struct {
    int64_t long_row, few_rows, piece, chunk, group, lines, grain;
} bnc_rows_thresholds;

/* How layer or RMS norm runs on rows of d values: `chunks` chunks of rows_per rows, `group` of them measured and written
 * at a time; or, where they are `cut`, row by row, in `pieces` pieces each. */
typedef struct {
    int64_t rows, d;
    int cut;
    int64_t pieces, rows_per, chunks, group;
    int threads, limit, little; /* as in bnc_norm_plan */
    int64_t bytes;              /* of the arrays, each once */
    int64_t cache_share;        /* what the threads have of the last-level cache */
    int streaming;              /* stores go past the caches, where outputs begin on a line */
    bnc_rows_thresholds at;
} bnc_rows_plan;

/* Thresholds of ops/group_tiles.h, norm_layout.h and op.h: in elements, or counted. */
typedef struct {
    int64_t chunk, most_partials, few_chunks, short_group, one_thread, grain;
} bnc_group_thresholds;

/* How group or instance norm runs on x (n, a, c, s): tiles of tile_groups groups of tile_items samples are measured, then
 * written; backward takes one sample at a time. Chunks of chunk_items samples, `blocks` x `group_blocks` of them, are
 * shared out among threads, or, where these are `inside`, each tile in turn. A sample's part of a tile has `part` values. */
typedef struct {
    int64_t n, a, c, s, groups;
    int backward;
    int64_t tile_items, tile_groups, chunk_items, blocks, group_blocks, chunks;
    int turned;               /* forward: short groups are measured as columns */
    int merged;               /* forward: statistics of channels are merged to those of groups */
    int64_t reduction_chunks; /* of the statistics or sums of a tile */
    int direct;  /* y, or backward's sums, by kernels directly; else by batch norm's ops */
    int columns; /* the output's walk: rows of `width` values, or slabs of `slab` */
    int64_t width, slab, part, pass_chunks; /* chunks of the output, unless y is made directly */
    int inside, threads, limit, little;     /* as in bnc_norm_plan */
    int pass_threads; /* whose stores these are: those of the call if direct, else of one part's pass */
    int64_t bytes;       /* read and written by the call if direct, else by one part's pass */
    int64_t cache_share; /* what these threads have of the last-level cache */
    int streaming;       /* stores go past the caches */
    bnc_group_thresholds at;
} bnc_group_plan;

/* O(name, arguments): every op once; makes the table, its initializer and the prototypes. */
#define BNC_OPS(O)                                                                             \
    O(batch_norm_train, (const bnc_norm *))                                                    \
    O(batch_renorm_train, (const bnc_norm *))                                                  \
    O(batch_norm_eval, (const bnc_norm *))                                                     \
    O(norm_constants, (const bnc_norm *)) /* mean and inv_std from the running statistics */   \
    O(normalize, (const bnc_norm *))                                                           \
    O(statistics, (const bnc_shape *, const void *x, double *mean, double *m2))                \
    O(inverse_std, (int64_t c, double eps, const double *var, double *inv_std))                \
    O(weighted_statistics, (int64_t n, int64_t c, int64_t s, const void *x, const double *w,   \
                            double *count, double *mean, double *m2))                          \
    O(batch_norm_backward, (const bnc_norm_gradient *))                                        \
    O(norm_sums, (const bnc_norm_gradient *)) /* gradient_sums, and gradients of parameters */ \
    O(gradient_sums, (const bnc_norm_gradient *))                                              \
    O(input_gradient, (const bnc_norm_gradient *))                                             \
    /* choices for a shape without runs; of arrays only which are there is asked */            \
    O(norm_plan, (const bnc_norm *, int training, bnc_norm_plan *))                            \
    O(norm_backward_plan, (const bnc_norm_gradient *, bnc_norm_plan *))                        \
    O(rows_plan, (int64_t rows, int64_t d, int backward, bnc_rows_plan *))                     \
    O(group_plan, (int64_t n, int64_t a, int64_t c, int64_t s, int64_t groups, int backward,   \
                   bnc_group_plan *))                                                          \
    O(group_norm, (const bnc_group_norm *))                                                    \
    O(group_norm_backward, (const bnc_group_norm_gradient *))                                  \
    O(rows_norm, (const bnc_rows *))                                                           \
    O(rows_norm_backward, (const bnc_rows_gradient *))                                         \
    /* y = act(conv(x) + bias [+ residual]) */                                                 \
    O(conv, (const bnc_conv *, const void *x, const void *weight, const void *bias,            \
             const void *residual, int relu, void *y))                                         \
    /* dx from dy, the transposed convolution of dy: act(... + bias (ci,) [+ residual]) */     \
    O(conv_transpose, (const bnc_conv *, const void *dy, const void *weight, const void *bias, \
                       const void *residual, int relu, void *dx))                              \
    O(conv_weight_gradient, (const bnc_conv *, const void *x, const void *dy, void *dweight))  \
    /* the weight as conv (or conv_transpose) reads it, in a block of the pool */              \
    O(conv_keep,                                                                               \
      (const bnc_conv *, int transposed, int64_t images, const void *weight, void **kept))     \
    /* dbias (c,) = sum of dy over images and pixels */                                        \
    O(conv_bias_gradient,                                                                      \
      (int64_t n, int64_t c, int64_t pixels, int channels_last, const void *dy, void *dbias))  \
    O(conv_chain, (const bnc_conv_chain *))                                                    \
    O(conv_chain_backward, (const bnc_conv_chain_gradient *))                                  \
    O(copy, (const bnc_copy *))                                                                \
    O(turn, (const bnc_transposition *))                                                       \
    O(sum, (const bnc_sum *))                                                                  \
    O(activation, (const void *x, void *y, int64_t size, int kind, double slope))              \
    O(activation_backward,                                                                     \
      (const void *dy, const void *kept, void *dx, int64_t size, int kind, double slope))      \
    O(mask_scale, (const void *x, const uint8_t *keep, void *y, int64_t size, double scale))   \
    O(max_pool, (const bnc_pooling *))                                                         \
    O(max_pool_backward, (const bnc_pooling *))                                                \
    O(avg_pool, (const bnc_pooling *))                                                         \
    O(avg_pool_backward, (const bnc_pooling *))                                                \
    O(global_avg_pool, (const bnc_global_pooling *))                                           \
    O(global_avg_pool_backward, (const bnc_global_pooling *))                                  \
    O(global_max_pool, (const bnc_global_pooling *))                                           \
    O(global_max_pool_backward, (const bnc_global_pooling *))                                  \
    O(cross_entropy, (bnc_cross_entropy *))                                                    \
    O(cross_entropy_backward, (bnc_cross_entropy *))                                           \
    O(mse, (bnc_pair_loss *))                                                                  \
    O(mse_backward, (bnc_pair_loss *))                                                         \
    O(bce_with_logits, (bnc_pair_loss *))                                                      \
    O(bce_with_logits_backward, (bnc_pair_loss *))                                             \
    O(recurrent, (const bnc_recurrent *))                                                      \
    O(recurrent_backward, (const bnc_recurrent_gradient *))                                    \
    O(sgd_step, (const bnc_optimizer *))                                                       \
    O(adamw_step, (const bnc_optimizer *))                                                     \
    O(squared_norm, (const void *x, int64_t size, double *result))                             \
    O(scale, (void *x, int64_t size, double factor))

typedef struct {
#define BNC_OP_MEMBER(name, args) int(*name) args;
    BNC_OPS(BNC_OP_MEMBER)
#undef BNC_OP_MEMBER
} bnc_ops;

extern const bnc_ops bnc_ops_f32, bnc_ops_f64;

#include "steps.h"

/* ---- runtime ---- */

/* Calls fn(chunk, arg) for every chunk in [0, chunks), on at most `threads` threads; all are done on return. */
typedef void (*bnc_chunk_fn)(int64_t chunk, void *arg);
void bnc_run(bnc_chunk_fn fn, void *arg, int64_t chunks, int threads);
/* Threads worth using for `work` units when one thread should get at least `grain` of them. */
int bnc_threads(int64_t work, int64_t grain);
int bnc_threads_at_most(int64_t work, int64_t grain); /* the same, whatever is going on now */
/* Whether the work wakes nobody: it gets more than one thread while workers are awake, or when such calls come in a row. */
int bnc_is_little(int64_t work, int64_t grain);
int bnc_thread_limit(void);       /* what OpenMP, affinity and the quota below allow now */
void bnc_set_cpu_quota(int cpus); /* control-group limit, 0 for none */
void bnc_force_threads(
    int threads); /* for tests: that many for all work, more than processors too; 0 ends it */
/* For a chunk whose own calls are to stay on its thread, asking nobody: on before, off after. */
void bnc_stay_alone(int on);
int bnc_has_openmp(void);
const char *bnc_team_name(void); /* whose threads: "own", "OpenMP", "none" */
/* Calls on several threads; that wanted to be, but somebody was busy; that waited. */
typedef struct {
    uint64_t together, alone, stalled;
} bnc_thread_statistics;
bnc_thread_statistics bnc_threads_read(void);

/* Pool of 64-byte aligned blocks that outputs and scratch memory live in: contents are arbitrary. NULL when the system has no more. */
void *bnc_pool_get(size_t bytes);
void bnc_pool_put(void *block);
size_t bnc_pool_usable(const void *block); /* bytes it really has */
size_t bnc_pool_trim(void);                /* returns idle memory to the system; how many bytes */
void bnc_pool_set_bound(size_t bytes);     /* idle bytes kept at most */
typedef struct {
    size_t idle_bytes, live_bytes, bound_bytes;
    uint64_t hits, misses, evicted;
} bnc_pool_statistics;
bnc_pool_statistics bnc_pool_read(void);

/* Instruction sets: names in increasing order; availability is the build's and the machine's. */
int bnc_isa_count(void);
const char *bnc_isa_name(int isa);
int bnc_isa_available(int isa);
int bnc_isa_select(int isa); /* 0, or 1 if not available; not to be called while ops run */

/* The largest tiles, 2 or 4 outputs wide, in which convolutions may take Winograd's way, which rounds differently and makes
 * NaN of infinities; 0: it is forbidden. */
void bnc_set_winograd(int tile);
int bnc_winograd(void);

int bnc_runtime_start(void); /* once, at import: fork handlers */

#endif

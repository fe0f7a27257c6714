/* What the files of the convolution share. Not seen by Cython.
 *
 * Design: a convolution and its gradient to the input are the same thing, one or several "views": dense correlations in
 * which every output pixel sums, over taps, an input pixel times a matrix (in x out channels). Forward is one view. The
 * gradient to the input of a convolution with strides is sh sw views, one for each phase of the input's pixels, with the
 * kernel's taps that reach that phase. Views are computed row by row from images with channels last (kernels/conv_row.c);
 * where the image is not so (channels first, groups) or its border is too wide to be skipped, the rows a band of output
 * needs are copied first, into scratch memory that stays in the second-level cache. */
#ifndef BNC_OPS_CONV_H
#define BNC_OPS_CONV_H

#include "ahead.h"
#include "conv_finish.h"

/* Output pixel (i, j) of rows x columns is pixel (first_row + i out_row, first_column + j out_column) of the output image,
 * and sums over input pixels (i in_row + row_at[k], j in_column + column_at[l]), 0 outside of the image, times the weights
 * of kernel taps (row_tap[k], column_tap[l]). Positions ascend. */
typedef struct {
    int64_t first_row, first_column, out_row, out_column, rows, columns;
    int64_t in_row, in_column, row_taps, column_taps;
    int64_t *row_at, *column_at, *row_tap, *column_tap;
    int64_t weights;     /* where its packed weights begin */
    int64_t left, right; /* values at a run's ends that the first and last pixel skip */
    int joined;          /* the taps of a kernel row are one run */
} conv_view;

typedef struct {
    int64_t channels, h, w; /* all groups' channels */
    int64_t group; /* channels of one group; of a depthwise convolution all, which go together */
} conv_image;

/* A convolution (backward: its gradient to the input) as views, and how it is cut. */
typedef struct {
    const bnc_conv *g;
    int backward, depthwise;
    int64_t groups;
    conv_image in, out;
    int64_t views;
    conv_view *view;
    int64_t block, blocks; /* output channels of a block, blocks of a group */
    int64_t packed;        /* packed weights of a group */
    int64_t left, right;   /* columns of zeros that copies have at the sides */
    int copies;            /* rows are copied before they are read */
    int64_t band, bands;   /* output rows of a chunk; chunks of an image */
} conv_plan;

/* How a call is computed, and the form in which that way reads the weight: as it is (a product that has a use for it), turned
 * to (in, out), packed for views, or transformed. */
typedef enum {
    CONV_PRODUCT,
    CONV_TURNED_PRODUCT,
    CONV_DIRECT,
    CONV_WINOGRAD2, /* tiles of two by two outputs, */
    CONV_WINOGRAD4, /* of four by four */
} conv_way;

/* The side of Winograd's tiles; 0 of the other ways. */
static inline int conv_tile(conv_way way)
{ return way == CONV_WINOGRAD4 ? 4 : way == CONV_WINOGRAD2 ? 2 : 0; }

/* One call, in either direction: x to y, or dy to dx. */
typedef struct {
    conv_plan p; /* of products g and backward only */
    conv_way way;
    conv_finish finish;
    const bnc_real *from, *weight; /* weight: in its way's form */
    void *own;                     /* its memory, if it is the call's */
    bnc_ahead *ahead;              /* on one thread: what to fetch meanwhile, or NULL */
} conv_call;

/* Output rows of one image and group while they are computed: in the output itself with channels last, else in scratch
 * memory. From a pixel, and from a row, to the next. */
typedef struct {
    bnc_real *at;
    int64_t pitch, row;
} conv_rows;

#define conv_plan_make BNC_OP(conv_plan_make)
#define conv_plan_free BNC_OP(conv_plan_free)
#define conv_plan_rows BNC_OP(conv_plan_rows)
#define conv_pack BNC_OP(conv_pack)
#define conv_copy_rows BNC_OP(conv_copy_rows)
#define conv_threads BNC_OP(conv_threads)
#define conv_depthwise_row BNC_OP(conv_depthwise_row)
#define conv_rows_of BNC_OP(conv_rows_of)
#define conv_rows_done BNC_OP(conv_rows_done)
#define conv_direct BNC_OP(conv_direct)
#define conv_winograd BNC_OP(conv_winograd)
#define conv_winograd_choose BNC_OP(conv_winograd_choose)
#define conv_winograd_transform BNC_OP(conv_winograd_transform)
#define conv_winograd_weight_values BNC_OP(conv_winograd_weight_values)
#define conv_product BNC_OP(conv_product)
#define conv_turn_weight BNC_OP(conv_turn_weight)
#define conv_ready BNC_OP(conv_ready)
#define conv_run BNC_OP(conv_run)
#define conv_run_images BNC_OP(conv_run_images)
#define conv_release BNC_OP(conv_release)

/* 0 when there is no memory. */
int conv_plan_make(conv_plan *p, const bnc_conv *g, int backward);
void conv_plan_free(conv_plan *p);

/* The input rows [low, high) that output rows [from, to) read, within the image. */
void conv_plan_rows(const conv_plan *p, int64_t from, int64_t to, int64_t *low, int64_t *high);

/* The weight (co, ci / groups, kh, kw) in the order in which views read it, groups * packed values. */
void conv_pack(const conv_plan *p, const bnc_real *weight, int threads, bnc_real *to);

/* Rows [low, high) of one group's channels of an image, to (rows, left + w + right, pitch), with zeros at the sides, in
 * channels that do not exist, and in rows outside of the image. */
void conv_copy_rows(const conv_image *image, int channels_last, const bnc_real *x, int64_t group,
                    int64_t low, int64_t high, int64_t left, int64_t right, int64_t pitch,
                    bnc_real *to);

/* Threads worth starting for one of the three products. */
int conv_threads(const bnc_conv *g);

/* What a chunk computes for one group: input with channels last from row `low` on, output rows [from, to). */
typedef struct {
    const bnc_real *in, *weight;
    bnc_real *out;
    int64_t low, from, to;
    int64_t in_pitch, in_row, out_pitch, out_row; /* from a pixel, from a row to the next */
    int64_t *at;                                  /* memory for two numbers a tap */
} conv_work;

/* Kernel rows [first, end) of a view that lie in the image, for its row i. */
static inline void conv_row_taps(const conv_plan *p, const conv_view *v, int64_t i, int64_t *first,
                                 int64_t *end)
{
    const int64_t top = i * v->in_row;
    *first = 0, *end = v->row_taps;
    while (*first < *end && top + v->row_at[*first] < 0) ++*first;
    while (*end > *first && top + v->row_at[*end - 1] >= p->in.h) --*end;
}

/* Row i of a view of a depthwise convolution. */
void conv_depthwise_row(const conv_plan *p, const conv_view *v, const conv_work *w, int64_t i);

/* Where output rows from `from` on go, and what becomes of rows [from, to) when all are there: bias, residual, ReLU. */
conv_rows conv_rows_of(const conv_call *a, int64_t image, int64_t group, int64_t from,
                       bnc_real *scratch);
void conv_rows_done(const conv_call *a, int64_t image, int64_t group, int64_t from, int64_t to,
                    const bnc_real *scratch);

/* Chooses a way and brings the weight into its form, unless `kept` (of the op conv_keep) is there: an error code. The geometry
 * must outlive the call; where arrays lie is said by finish and from. */
int conv_ready(conv_call *a, const bnc_conv *g, int backward, const bnc_real *weight,
               const void *kept, int threads);
void conv_release(conv_call *a);
int conv_run(const conv_call *a, int threads);
/* The same for some images, which lie at `from`, `to` and `residual` (or NULL); `ahead`: as in conv_call. */
int conv_run_images(const conv_call *a, int64_t images, const bnc_real *from, bnc_real *to,
                    const bnc_real *residual, int threads, bnc_ahead *ahead);

/* The ways: Winograd's is for 3x3 kernels without strides; 1x1 kernels are products. Error codes. */
int conv_direct(const conv_call *a, int threads);
/* For so many images; or else CONV_DIRECT. */
conv_way conv_winograd_choose(const conv_plan *p, int64_t images);
int conv_winograd(const conv_call *a, int threads);
void conv_product(const conv_call *a, int threads);

/* Forms of the weight: transformed (so many values) from packed; turned. */
int64_t conv_winograd_weight_values(const conv_plan *p, int tile);
void conv_winograd_transform(const conv_plan *p, int tile, const bnc_real *packed, int threads,
                             bnc_real *to);
void conv_turn_weight(const bnc_conv *g, const bnc_real *weight, int threads, bnc_real *to);

/* One channel a group, in and out. */
static inline int conv_is_depthwise(const bnc_conv *g)
{ return g->groups > 1 && g->groups == g->ci && g->groups == g->co; }

/* A 1x1 kernel that sees every pixel: the images are the matrices of a product. */
static inline int conv_is_product(const bnc_conv *g)
{
    return g->groups == 1 && g->kh * g->kw == 1 && g->sh == 1 && g->sw == 1 && g->ph == 0 &&
           g->pw == 0 && g->oh == g->h && g->ow == g->w;
}

#endif

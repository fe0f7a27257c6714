/* Convolution forward, and its gradient to the input, which is also the transposed convolution forward. Layers of either
 * kind finish with bias, residual and ReLU here. Design: conv.h; the weight gradient is in conv_weight.c. */
#include "conv.h"
#include "conv_finish.h"

#include <stdatomic.h>

/* One call, in either direction: x to y, or dy to dx. */
typedef struct {
    conv_plan p;
    conv_finish finish;
    const bnc_real *weight; /* packed */
    const bnc_real *from;
    atomic_int failed;
} call;

/* Scratch memory of a chunk: copied rows, output rows of one group with channels last, where runs begin. */
typedef struct {
    bnc_real *rows, *out;
    int64_t *at;
} scratch;

static void *take_scratch(const call *a, int64_t in_rows, int64_t out_rows, scratch *s)
{
    const conv_plan *p = &a->p;
    const size_t row = (size_t)((p->left + p->in.w + p->right) * p->in.group);
    const size_t rows = bnc_padded(p->copies ? (size_t)in_rows * row * sizeof(bnc_real) : 0),
                 out =
                     bnc_padded(p->g->channels_last ? 0
                                                    : (size_t)(out_rows * p->out.w * p->out.group) *
                                                          sizeof(bnc_real)),
                 at = (size_t)(2 * p->g->kh * p->g->kw) * sizeof(int64_t);
    void *memory = bnc_pool_get(rows + out + at);
    bnc_arena arena = {memory};
    if (!memory) return 0;
    s->rows = bnc_take(&arena, rows);
    s->out = bnc_take(&arena, out);
    s->at = bnc_take(&arena, at);
    return memory;
}

/* Row i of a view, block by block. */
static void view_row(const conv_plan *p, const conv_view *v, const conv_work *w, int64_t i)
{
    const int64_t top = i * v->in_row;
    int64_t k0, k1, runs = 0;
    conv_row_taps(p, v, i, &k0, &k1);
    const int64_t pieces = v->joined ? bnc_min(1, v->column_taps) : v->column_taps;
    for (int64_t k = k0; k < k1; k++)
        for (int64_t l = 0; l < pieces; l++)
            w->at[runs++] =
                (top + v->row_at[k] - w->low) * w->in_row + v->column_at[l] * w->in_pitch;
    struct bnc_conv_row r = {.at = w->at,
                             .runs = runs,
                             .length = (v->joined ? v->column_taps : 1) * p->in.group,
                             .left = v->left,
                             .right = v->right,
                             .x_step = v->in_column * w->in_pitch,
                             .y_step = v->out_column * w->out_pitch,
                             .pixels = v->columns};
    const int64_t tap_row = v->column_taps * p->in.group * p->block,
                  u = v->first_row + i * v->out_row;
    const bnc_real *weight = w->weight + v->weights + k0 * tap_row;
    bnc_real *y = w->out + (u - w->from) * w->out_row + v->first_column * w->out_pitch;
    for (int64_t b = 0; b < p->blocks; b++, weight += v->row_taps * tap_row, y += p->block) {
        r.channels = bnc_min(p->block, p->out.group - b * p->block);
        KERNELS->conv_row(&r, w->in, weight, y);
    }
}

static void views(const conv_plan *p, const conv_work *w)
{
    for (int64_t q = 0; q < p->views; q++) {
        const conv_view *v = p->view + q;
        int64_t i = bnc_max(0, bnc_ceil_div(w->from - v->first_row, v->out_row));
        for (; i < v->rows && v->first_row + i * v->out_row < w->to; i++)
            (p->depthwise ? conv_depthwise_row : view_row)(p, v, w, i);
    }
}

/* Output rows [from, to) of an image. */
static void band(const call *a, int64_t image, int64_t from, int64_t to, int64_t low, int64_t high,
                 const scratch *s)
{
    const conv_plan *p = &a->p;
    const int last = p->g->channels_last;
    const int64_t cin = p->in.group, cout = p->out.group, plane = p->out.h * p->out.w;
    const bnc_real *x = a->from + image * p->in.channels * p->in.h * p->in.w;
    for (int64_t group = 0; group < p->groups; group++) {
        bnc_real *y = a->finish.to + image * p->out.channels * plane;
        conv_work w = {
            .weight = a->weight + group * p->packed, .from = from, .to = to, .at = s->at};
        w.in_pitch = cin, w.in_row = p->in.w * cin, w.in = x;
        if (p->copies) {
            conv_copy_rows(&p->in, last, x, group, low, high, p->left, p->right, s->rows);
            w.low = low, w.in_row = (p->left + p->in.w + p->right) * cin;
            w.in = s->rows + p->left * cin;
        }
        w.out_pitch = last ? p->out.channels : cout;
        w.out_row = p->out.w * w.out_pitch;
        w.out = last ? y + from * w.out_row + group * cout : s->out;
        views(p, &w);
        const int64_t first = group * cout, count = (to - from) * p->out.w;
        y += last ? from * w.out_row + first : first * plane + from * p->out.w;
        if (!last) KERNELS->transpose(s->out, cout, 1, y, plane, count, cout);
        conv_finish_rows(&a->finish, y, last ? w.out_pitch : plane, first, cout, count);
    }
}

static void chunk(int64_t k, void *arg)
{
    call *a = arg;
    const conv_plan *p = &a->p;
    const int64_t from = k % p->bands * p->band, to = bnc_min(from + p->band, p->out.h);
    int64_t low, high;
    scratch s;
    conv_plan_rows(p, from, to, &low, &high);
    void *memory = take_scratch(a, high - low, to - from, &s);
    if (memory)
        band(a, k / p->bands, from, to, low, high, &s);
    else
        atomic_store(&a->failed, 1);
    bnc_pool_put(memory);
}

static int run_views(call *a, const bnc_real *weight, int backward, const bnc_conv *g)
{
    const int threads = conv_threads(g);
    if (!conv_plan_make(&a->p, g, backward)) return BNC_NO_MEMORY;
    bnc_real *packed = conv_pack(&a->p, weight, threads);
    a->weight = packed;
    if (packed) bnc_run(chunk, a, g->n * a->p.bands, threads);
    bnc_pool_put(packed);
    conv_plan_free(&a->p);
    return packed && !a->failed ? BNC_OK : BNC_NO_MEMORY;
}

/* ---- 1x1 kernels: a product of the images with the weight ---- */

enum {
    FEW_PIXELS = 32,
    MANY_PIXELS = 256,
    PRODUCT_CHUNKS = 16
}; /* of a chunk; as many chunks as that leaves */

typedef struct {
    const bnc_conv *g;
    conv_finish finish;
    const bnc_real *weight,
        *from; /* weight: (in, out) with channels last, as it is with channels first */
    int backward;
    int64_t in, out, pixels, per, per_image; /* per: pixels of a chunk */
} product;

static void product_chunk(int64_t k, void *arg)
{
    const product *a = arg;
    const int64_t image = k / a->per_image, first = k % a->per_image * a->per,
                  count = bnc_min(a->per, a->pixels - first);
    const bnc_real *x = a->from + image * a->in * a->pixels;
    bnc_real *y = a->finish.to + image * a->out * a->pixels;
    if (a->g->channels_last) {
        y += first * a->out;
        KERNELS->gemm(0, x + first * a->in, a->in, a->weight, a->out, y, a->out, count, a->out,
                      a->in, 0);
        conv_finish_rows(&a->finish, y, a->out, 0, a->out, count);
        return;
    }
    y += first;
    KERNELS->gemm(a->backward, a->weight, a->g->ci, x + first, a->pixels, y, a->pixels, a->out,
                  count, a->in, 0);
    conv_finish_rows(&a->finish, y, a->pixels, 0, a->out, count);
}

static int run_product(product *a, const bnc_real *weight, int backward, const bnc_conv *g)
{
    /* with channels last all images are one matrix */
    const int64_t images = g->channels_last ? 1 : g->n;
    a->g = g, a->backward = backward, a->weight = weight;
    a->in = backward ? g->co : g->ci, a->out = backward ? g->ci : g->co;
    a->pixels = g->h * g->w * (g->n / images);
    const int64_t fair = bnc_ceil_div(a->pixels * images, PRODUCT_CHUNKS * FEW_PIXELS) * FEW_PIXELS;
    a->per = bnc_max(FEW_PIXELS, bnc_min(fair, MANY_PIXELS));
    a->per_image = bnc_ceil_div(a->pixels, a->per);
    bnc_real *turned = NULL;
    if (g->channels_last && !backward) {
        if (!(turned = bnc_pool_get((size_t)(g->ci * g->co) * sizeof(bnc_real))))
            return BNC_NO_MEMORY;
        KERNELS->transpose(weight, g->ci, 1, turned, g->co, g->co, g->ci);
        a->weight = turned;
    }
    bnc_run(product_chunk, a, images * a->per_image, conv_threads(g));
    bnc_pool_put(turned);
    return BNC_OK;
}

static int convolve(const bnc_conv *g, int backward, const void *from, const void *weight,
                    conv_finish finish)
{
    if (conv_is_product(g)) {
        product a = {.finish = finish, .from = from};
        return run_product(&a, weight, backward, g);
    }
    call a = {.finish = finish, .from = from};
    return run_views(&a, weight, backward, g);
}

int BNC_OP(conv)(const bnc_conv *g, const void *x, const void *weight, const void *bias,
                 const void *residual, int relu, void *y)
{ return convolve(g, 0, x, weight, (conv_finish){y, bias, residual, relu, g->channels_last}); }

int BNC_OP(conv_transpose)(const bnc_conv *g, const void *dy, const void *weight, const void *bias,
                           const void *residual, int relu, void *dx)
{ return convolve(g, 1, dy, weight, (conv_finish){dx, bias, residual, relu, g->channels_last}); }

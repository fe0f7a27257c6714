/* Convolution forward, and its gradient to the input, which is also the transposed convolution forward: which way it is
 * computed, and how output rows end. Layers of either kind finish with bias, residual and ReLU here. Design: conv.h. */
#include "conv.h"

conv_rows conv_rows_of(const conv_call *a, int64_t image, int64_t group, int64_t from,
                       bnc_real *scratch)
{
    const conv_image *out = &a->p.out;
    const int64_t pitch = a->p.g->channels_last ? out->channels : out->group, row = out->w * pitch;
    if (!a->p.g->channels_last) return (conv_rows){scratch, pitch, row};
    return (conv_rows){a->finish.to + (image * out->h + from) * row + group * out->group, pitch,
                       row};
}

void conv_rows_done(const conv_call *a, int64_t image, int64_t group, int64_t from, int64_t to,
                    const bnc_real *scratch)
{
    const conv_image *out = &a->p.out;
    const int64_t plane = out->h * out->w, first = group * out->group, count = (to - from) * out->w;
    if (a->p.g->channels_last) {
        bnc_real *y = a->finish.to + (image * plane + from * out->w) * out->channels + first;
        conv_finish_rows(&a->finish, y, out->channels, first, out->group, count);
        return;
    }
    bnc_real *y = a->finish.to + (image * out->channels + first) * plane + from * out->w;
    KERNELS->transpose(scratch, out->group, y, plane, count, out->group);
    conv_finish_rows(&a->finish, y, plane, first, out->group, count);
}

/* ---- the weight in the form of a way; kept ones have their way in front */

typedef struct {
    _Alignas(64) int way;
} kept_weight;

static conv_way choose(const conv_call *a, int64_t images)
{
    if (conv_is_product(a->p.g))
        return a->p.g->channels_last && !a->p.backward ? CONV_TURNED_PRODUCT : CONV_PRODUCT;
    return conv_winograd_choose(&a->p, images);
}

static int64_t weight_values(const conv_call *a)
{
    const bnc_conv *g = a->p.g;
    if (conv_tile(a->way)) return conv_winograd_weight_values(&a->p, conv_tile(a->way));
    return a->way == CONV_DIRECT ? a->p.groups * a->p.packed : g->ci * g->co;
}

/* The weight to its form; 0 when there is no memory. */
static int form_weight(const conv_call *a, const bnc_real *weight, int threads, bnc_real *to)
{
    if (a->way == CONV_TURNED_PRODUCT) conv_turn_weight(a->p.g, weight, threads, to);
    if (a->way == CONV_PRODUCT) memcpy(to, weight, (size_t)weight_values(a) * sizeof *to);
    if (a->way == CONV_DIRECT) conv_pack(&a->p, weight, threads, to);
    if (!conv_tile(a->way)) return 1;
    bnc_real *packed = bnc_pool_get((size_t)(a->p.groups * a->p.packed) * sizeof *packed);
    if (!packed) return 0;
    conv_pack(&a->p, weight, threads, packed);
    conv_winograd_transform(&a->p, conv_tile(a->way), packed, threads, to);
    bnc_pool_put(packed);
    return 1;
}

/* Sizes and the way for so many images, without a weight. */
static int begin(conv_call *a, const bnc_conv *g, int backward, int64_t images)
{
    *a = (conv_call){.p = {.g = g, .backward = backward}};
    if (!conv_is_product(g) && !conv_plan_make(&a->p, g, backward)) return 0;
    a->way = choose(a, images);
    return 1;
}

int conv_ready(conv_call *a, const bnc_conv *g, int backward, const bnc_real *weight,
               const void *kept, int threads)
{
    if (!begin(a, g, backward, g->n)) return BNC_NO_MEMORY;
    a->weight = weight;
    if (kept) {
        a->way = (conv_way)((const kept_weight *)kept)->way;
        a->weight = (const bnc_real *)((const kept_weight *)kept + 1);
    } else if (a->way != CONV_PRODUCT) {
        a->weight = a->own = bnc_pool_get((size_t)weight_values(a) * sizeof(bnc_real));
        if (!a->own || !form_weight(a, weight, threads, a->own)) {
            conv_release(a);
            return BNC_NO_MEMORY;
        }
    }
    return BNC_OK;
}

void conv_release(conv_call *a) /* also of a call that is released already */
{
    bnc_pool_put(a->own);
    conv_plan_free(&a->p);
    a->own = NULL, a->p.view = NULL;
}

int conv_run(const conv_call *a, int threads)
{
    if (a->way == CONV_DIRECT) return conv_direct(a, threads);
    if (conv_tile(a->way)) return conv_winograd(a, threads);
    conv_product(a, threads);
    return BNC_OK;
}

int conv_run_images(const conv_call *a, int64_t images, const bnc_real *from, bnc_real *to,
                    const bnc_real *residual, int threads, bnc_ahead *ahead)
{
    bnc_conv g = *a->p.g;
    conv_call some = *a;
    g.n = images;
    some.p.g = &g;
    some.ahead = ahead;
    some.from = from, some.finish.to = to, some.finish.residual = residual;
    return conv_run(&some, threads);
}

int BNC_OP(conv_keep)(const bnc_conv *g, int backward, int64_t images, const void *weight,
                      void **kept)
{
    conv_call a;
    const int threads = conv_threads(g);
    if (!begin(&a, g, backward, images)) return BNC_NO_MEMORY;
    kept_weight *k = bnc_pool_get(sizeof *k + (size_t)weight_values(&a) * sizeof(bnc_real));
    if (k) k->way = a.way;
    if (k && !form_weight(&a, weight, threads, (bnc_real *)(k + 1))) bnc_pool_put(k), k = NULL;
    conv_release(&a);
    *kept = k;
    return k ? BNC_OK : BNC_NO_MEMORY;
}

/* ---- whole calls */

static int convolve(const bnc_conv *g, int backward, const void *from, const void *weight,
                    conv_finish finish)
{
    conv_call a;
    const int threads = conv_threads(g);
    int error = conv_ready(&a, g, backward, weight, NULL, threads);
    if (error) return error;
    a.finish = finish, a.from = from;
    error = conv_run(&a, threads);
    conv_release(&a);
    return error;
}

int BNC_OP(conv)(const bnc_conv *g, const void *x, const void *weight, const void *bias,
                 const void *residual, int relu, void *y)
{ return convolve(g, 0, x, weight, (conv_finish){y, bias, residual, relu, g->channels_last}); }

int BNC_OP(conv_transpose)(const bnc_conv *g, const void *dy, const void *weight, const void *bias,
                           const void *residual, int relu, void *dx)
{ return convolve(g, 1, dy, weight, (conv_finish){dx, bias, residual, relu, g->channels_last}); }

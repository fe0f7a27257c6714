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

static int convolve(const bnc_conv *g, int backward, const void *from, const void *weight,
                    conv_finish finish)
{
    if (conv_is_product(g)) return conv_product(g, backward, from, weight, &finish);
    conv_call a = {.finish = finish, .from = from};
    const int threads = conv_threads(g);
    if (!conv_plan_make(&a.p, g, backward)) return BNC_NO_MEMORY;
    bnc_real *packed = conv_pack(&a.p, weight, threads);
    a.weight = packed;
    int error = BNC_NO_MEMORY;
    if (packed) error = (conv_winograd_fits(&a.p) ? conv_winograd : conv_direct)(&a, threads);
    bnc_pool_put(packed);
    conv_plan_free(&a.p);
    return error;
}

int BNC_OP(conv)(const bnc_conv *g, const void *x, const void *weight, const void *bias,
                 const void *residual, int relu, void *y)
{ return convolve(g, 0, x, weight, (conv_finish){y, bias, residual, relu, g->channels_last}); }

int BNC_OP(conv_transpose)(const bnc_conv *g, const void *dy, const void *weight, const void *bias,
                           const void *residual, int relu, void *dx)
{ return convolve(g, 1, dy, weight, (conv_finish){dx, bias, residual, relu, g->channels_last}); }

/* Convolutions with 1x1 kernels that see every pixel: products of the images with the weight. */
#include "conv.h"

/* Pixels of a chunk, as many as leave so many chunks. */
enum { FEW_PIXELS = 32, MANY_PIXELS = 256, CHUNKS = 16 };

typedef struct {
    const conv_call *call;
    int64_t in, out, pixels, per, per_image; /* per: pixels of a chunk */
} product;

static void product_chunk(int64_t k, void *arg)
{
    const product *a = arg;
    const conv_call *c = a->call;
    const int64_t image = k / a->per_image, first = k % a->per_image * a->per,
                  count = bnc_min(a->per, a->pixels - first);
    const bnc_real *x = c->from + image * a->in * a->pixels;
    bnc_real *y = c->finish.to + image * a->out * a->pixels;
    if (c->p.g->channels_last) {
        y += first * a->out;
        KERNELS->gemm(0, x + first * a->in, a->in, c->weight, a->out, y, a->out, count, a->out,
                      a->in, 0);
        conv_finish_rows(&c->finish, y, a->out, 0, a->out, count);
        return;
    }
    y += first;
    KERNELS->gemm(c->p.backward, c->weight, c->p.g->ci, x + first, a->pixels, y, a->pixels, a->out,
                  count, a->in, 0);
    conv_finish_rows(&c->finish, y, a->pixels, 0, a->out, count);
}

void conv_product(const conv_call *c, int threads)
{
    const bnc_conv *g = c->p.g;
    const int64_t images = g->channels_last ? 1 : g->n; /* with channels last all are one matrix */
    product a = {.call = c,
                 .in = c->p.backward ? g->co : g->ci,
                 .out = c->p.backward ? g->ci : g->co,
                 .pixels = g->h * g->w * (g->channels_last ? g->n : 1)};
    const int64_t fair = bnc_ceil_div(a.pixels * images, CHUNKS * FEW_PIXELS) * FEW_PIXELS;
    a.per = bnc_max(FEW_PIXELS, bnc_min(fair, MANY_PIXELS));
    a.per_image = bnc_ceil_div(a.pixels, a.per);
    bnc_run(product_chunk, &a, images * a.per_image, threads);
}

enum { TURNED = 64 }; /* output channels of a chunk */

/* The weight (out, in) of some output channels, to their columns of (in, out). */
typedef struct {
    const bnc_real *weight;
    bnc_real *to;
    int64_t in, out;
} turning;

static void turn_some(int64_t k, void *arg)
{
    const turning *t = arg;
    const int64_t first = k * TURNED;
    KERNELS->transpose(t->weight + first * t->in, t->in, t->to + first, t->out,
                       bnc_min(TURNED, t->out - first), t->in);
}

void conv_turn_weight(const bnc_conv *g, const bnc_real *weight, int threads, bnc_real *to)
{
    turning t = {weight, to, g->ci, g->co};
    bnc_run(turn_some, &t, bnc_ceil_div(g->co, TURNED), threads);
}

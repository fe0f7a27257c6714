/* Convolution forward, and its gradient to the input, which is also the transposed convolution
 * forward. Layers of either kind finish with bias, residual and ReLU here. The weight gradient is in
 * conv_weight.c, the way patches are read in conv_patches.c. */
#include "conv.h"

#include <stdatomic.h>
#include <string.h>

/* Bytes of patches worked on at a time: with weights and output they stay in an L2 cache of 512
 * KiB and more. And at least that many bands, as long as they are not too short. */
enum { PATCH_BYTES = 192 << 10, MIN_BAND = 32, ENOUGH_BANDS = 16 };
/* Multiplications that repay another thread. */
enum { THREAD_WORK = 1 << 20 };

conv_sizes conv_sizes_of(const bnc_conv *g)
{
    conv_sizes s = {.g = g};
    s.pixels = g->oh * g->ow;
    s.total = g->n * s.pixels;
    s.cin = g->ci / g->groups;
    s.cout = g->co / g->groups;
    s.kernel = g->kh * g->kw;
    s.taps = s.cin * s.kernel;
    s.depthwise = g->channels_last && g->groups > 1 && s.cin == 1 && s.cout == 1;
    s.steps = s.depthwise ? 1 : g->groups;
    s.direct = g->channels_last && !s.depthwise && s.kernel == 1 && g->sh == 1 && g->sw == 1 &&
               g->ph == 0 && g->pw == 0 && g->oh == g->h && g->ow == g->w;
    /* Whole vectors of pixels; the length depends on sizes alone, not on threads. */
    int64_t band = PATCH_BYTES / (int64_t)sizeof(bnc_real) / s.taps;
    band = bnc_min(band, bnc_ceil_div(s.total, ENOUGH_BANDS));
    s.band = bnc_max(band, MIN_BAND) / 16 * 16;
    s.bands = bnc_ceil_div(s.total, s.band);
    return s;
}

int conv_threads(const conv_sizes *s)
{ return bnc_threads(s->total * s->taps * s->g->co, THREAD_WORK); }

/* One call, in either direction: x to y, or dy to dx. */
typedef struct {
    conv_sizes s;
    const bnc_real *weight; /* packed in channels last */
    const bnc_real *from, *bias, *residual;
    bnc_real *to;
    int relu;
    int64_t images; /* per chunk, for the input gradient */
    atomic_int failed;
} call;

/* ---- packed weights ----
 *
 * Channels first reads the weight as it is. Channels last wants its taps in the order of the
 * patches, (k, l, channel): forward as (groups, taps, cout), so that a row holds what one tap gives
 * to every output channel; the input gradient as (out, taps); depthwise always (taps, out). Work is
 * cut into blocks of output channels. */

enum { PACK_BLOCK = 64 };

typedef struct {
    const conv_sizes *s;
    const bnc_real *weight;
    bnc_real *packed;
    int backward;
} packing;

static void pack_block(int64_t chunk, void *arg)
{
    const packing *p = arg;
    const conv_sizes *s = p->s;
    const int64_t blocks = bnc_ceil_div(s->cout, PACK_BLOCK), group = chunk / blocks;
    const int64_t o = (chunk - group * blocks) * PACK_BLOCK,
                  count = bnc_min(PACK_BLOCK, s->cout - o);
    const bnc_real *weight = p->weight + (group * s->cout + o) * s->taps;
    bnc_real *packed = p->packed + group * s->cout * s->taps;
    if (p->backward)
        for (int64_t i = 0; i < count; i++)
            KERNELS->transpose(weight + i * s->taps, s->kernel, 1, packed + (o + i) * s->taps,
                               s->cin, s->cin, s->kernel);
    else
        for (int64_t t = 0; t < s->kernel; t++)
            KERNELS->transpose(weight + t, s->taps, s->kernel, packed + t * s->cin * s->cout + o,
                               s->cout, count, s->cin);
}

/* The weight for channels last in scratch memory; NULL if there is none. */
static bnc_real *pack(const conv_sizes *s, const bnc_real *weight, int backward, int threads)
{
    bnc_real *packed = bnc_pool_get((size_t)(s->g->co * s->taps) * sizeof(bnc_real));
    if (!packed) return NULL;
    if (s->depthwise) {
        KERNELS->transpose(weight, s->kernel, 1, packed, s->g->co, s->g->co, s->kernel);
        return packed;
    }
    packing p = {s, weight, packed, backward};
    bnc_run(pack_block, &p, s->g->groups * (bnc_ceil_div(s->cout, PACK_BLOCK)), threads);
    return packed;
}

/* ---- forward ---- */

/* Bias, residual and ReLU on channels [first, first + channels) of `count` pixels, from `src` to y,
 * which is src itself or their place in the output. Rows are channels in channels first, pixels in
 * channels last. */
static void finish(const call *a, const bnc_real *src, int64_t src_pitch, bnc_real *y,
                   int64_t pitch, int64_t first, int64_t channels, int64_t count)
{
    const int last = a->s.g->channels_last, plain = !a->bias && !a->relu && !a->residual;
    const int64_t rows = last ? count : channels, n = last ? channels : count;
    const bnc_real *bias = a->bias ? a->bias + first : NULL;
    const bnc_real *residual = a->residual ? a->residual + (y - a->to) : NULL;
    if (!plain)
        KERNELS->finish_rows(src, src_pitch, bias, !last, last, residual, y, pitch, rows, n,
                             a->relu);
    else if (src != y)
        KERNELS->copy_rows(src, src_pitch, 1, y, pitch, rows, n);
}

/* The product of one band and group in channels first, (cout x pixels), to the images it
 * crosses. */
static void unpack_band(const call *a, const bnc_real *matrix, int64_t group, int64_t first,
                        int64_t last)
{
    const conv_sizes *s = &a->s;
    for (int64_t q = first, n; q < last; q += n) {
        const int64_t image = q / s->pixels, start = q - image * s->pixels;
        n = bnc_min(s->pixels - start, last - q);
        bnc_real *y = a->to + (image * s->g->co + group * s->cout) * s->pixels + start;
        finish(a, matrix + q - first, last - first, y, s->pixels, group * s->cout, s->cout, n);
    }
}

/* One band in channels first: Y (cout x pixels) = W (cout x taps) patches (taps x pixels). */
static void forward_first(const call *a, int64_t group, int64_t first, int64_t last, bnc_real *cols)
{
    const conv_sizes *s = &a->s;
    const int64_t count = last - first;
    bnc_real *product = cols + s->taps * s->band;
    conv_gather(s, a->from, group, first, last, cols);
    KERNELS->gemm(0, a->weight + group * s->cout * s->taps, s->taps, cols, count, product, count,
                  s->cout, count, s->taps, 0);
    unpack_band(a, product, group, first, last);
}

/* One band in channels last: Y (pixels x cout) = patches (pixels x taps) W (taps x cout),
 * straight into place. */
static void forward_last(const call *a, int64_t group, int64_t first, int64_t last, bnc_real *cols)
{
    const conv_sizes *s = &a->s;
    const int64_t count = last - first, co = s->g->co;
    const bnc_real *patches = cols;
    bnc_real *y = a->to + first * co + group * s->cout;
    if (s->depthwise) {
        memset(y, 0, (size_t)(count * co) * sizeof(bnc_real));
        conv_depthwise(s, CONV_SUM_Y, conv_readable(a->from), y, conv_readable(a->weight), first,
                       last);
        finish(a, y, co, y, co, 0, co, count);
        return;
    }
    if (s->direct)
        patches = a->from + first * s->g->ci + group * s->cin;
    else
        conv_gather(s, a->from, group, first, last, cols);
    KERNELS->gemm(0, patches, s->direct ? s->g->ci : s->taps, a->weight + group * s->taps * s->cout,
                  s->cout, y, co, count, s->cout, s->taps, 0);
    finish(a, y, co, y, co, group * s->cout, s->cout, count);
}

static void forward_band(int64_t chunk, void *arg)
{
    call *a = arg;
    const conv_sizes *s = &a->s;
    const int64_t first = chunk * s->band, last = bnc_min(s->total, first + s->band);
    bnc_real *cols = NULL;
    if (!s->direct &&
        !(cols = bnc_pool_get((size_t)((s->taps + s->cout) * s->band) * sizeof(bnc_real)))) {
        atomic_store(&a->failed, 1);
        return;
    }
    for (int64_t group = 0; group < s->steps; group++)
        (s->g->channels_last ? forward_last : forward_first)(a, group, first, last, cols);
    bnc_pool_put(cols);
}

int BNC_OP(conv)(const bnc_conv *g, const void *x, const void *weight, const void *bias,
                 const void *residual, int relu, void *y)
{
    call a = {.s = conv_sizes_of(g),
              .weight = weight,
              .from = x,
              .bias = bias,
              .residual = residual,
              .to = y,
              .relu = relu};
    const int threads = conv_threads(&a.s);
    bnc_real *packed = NULL;
    if (g->channels_last) {
        if (!(packed = pack(&a.s, weight, 0, threads))) return BNC_NO_MEMORY;
        a.weight = packed;
    }
    bnc_run(forward_band, &a, a.s.bands, threads);
    bnc_pool_put(packed);
    return a.failed ? BNC_NO_MEMORY : 0;
}

/* ---- input gradient ---- */

/* One band in channels first: patches (taps x pixels) = W^T dY, added to the images. Behind the
 * patches room for dY. */
static void backward_first(const call *a, int64_t group, int64_t first, int64_t last,
                           bnc_real *cols)
{
    const conv_sizes *s = &a->s;
    const int64_t count = last - first;
    bnc_real *dy = cols + s->taps * s->band;
    for (int64_t q = first, n; q < last; q += n) {
        const int64_t image = q / s->pixels, start = q - image * s->pixels;
        n = bnc_min(s->pixels - start, last - q);
        KERNELS->copy_rows(a->from + (image * s->g->co + group * s->cout) * s->pixels + start,
                           s->pixels, 1, dy + q - first, count, s->cout, n);
    }
    KERNELS->gemm(1, a->weight + group * s->cout * s->taps, s->taps, dy, count, cols, count,
                  s->taps, count, s->cout, 0);
    conv_scatter(s, a->to, group, first, last, cols);
}

/* One band in channels last: patches (pixels x taps) = dY W. */
static void backward_last(const call *a, int64_t group, int64_t first, int64_t last, bnc_real *cols)
{
    const conv_sizes *s = &a->s;
    const int64_t count = last - first, ci = s->g->ci, co = s->g->co;
    const bnc_real *dy = a->from + first * co + group * s->cout;
    const bnc_real *weight = a->weight + group * s->cout * s->taps;
    if (s->depthwise) {
        conv_depthwise(s, CONV_SUM_X, a->to, conv_readable(dy), conv_readable(weight), first, last);
        return;
    }
    if (s->direct) {
        KERNELS->gemm(0, dy, co, weight, s->taps, a->to + first * ci + group * s->cin, ci, count,
                      s->taps, s->cout, 0);
        return;
    }
    KERNELS->gemm(0, dy, co, weight, s->taps, cols, s->taps, count, s->taps, s->cout, 0);
    conv_scatter(s, a->to, group, first, last, cols);
}

/* Some whole images, band by band: bands of one image overlap in the input, so they stay on one
 * thread. */
static void backward_images(int64_t chunk, void *arg)
{
    call *a = arg;
    const conv_sizes *s = &a->s;
    const bnc_conv *g = s->g;
    const int64_t image = chunk * a->images, images = bnc_min(a->images, g->n - image),
                  size = g->h * g->w;
    const int64_t begin = image * s->pixels, end = begin + images * s->pixels;
    bnc_real *to = a->to + image * size * g->ci;
    bnc_real *cols = NULL;
    if (!s->direct) {
        if (!(cols = bnc_pool_get((size_t)((s->taps + s->cout) * s->band) * sizeof(bnc_real)))) {
            atomic_store(&a->failed, 1);
            return;
        }
        memset(to, 0, (size_t)(images * size * g->ci) * sizeof(bnc_real));
    }
    for (int64_t first = begin; first < end; first += s->band)
        for (int64_t group = 0; group < s->steps; group++)
            (g->channels_last ? backward_last : backward_first)(
                a, group, first, bnc_min(end, first + s->band), cols);
    bnc_pool_put(cols);
    if (g->channels_last)
        finish(a, to, g->ci, to, g->ci, 0, g->ci, images * size);
    else
        for (int64_t i = 0; i < images; i++, to += size * g->ci)
            finish(a, to, size, to, size, 0, g->ci, size);
}

int BNC_OP(conv_transpose)(const bnc_conv *g, const void *dy, const void *weight, const void *bias,
                           const void *residual, int relu, void *dx)
{
    call a = {.s = conv_sizes_of(g),
              .weight = weight,
              .from = dy,
              .bias = bias,
              .residual = residual,
              .to = dx,
              .relu = relu};
    const int threads = conv_threads(&a.s);
    bnc_real *packed = NULL;
    if (g->channels_last && a.s.kernel > 1) {
        if (!(packed = pack(&a.s, weight, 1, threads))) return BNC_NO_MEMORY;
        a.weight = packed;
    }
    a.images = bnc_max(1, a.s.band / a.s.pixels);
    bnc_run(backward_images, &a, bnc_ceil_div(g->n, a.images), threads);
    bnc_pool_put(packed);
    return a.failed ? BNC_NO_MEMORY : 0;
}

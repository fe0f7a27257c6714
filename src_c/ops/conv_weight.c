/* Gradients of a convolution's parameters: sums over all pixels of all images, of products
 * (weight) or alone (bias).
 *
 * The pixels are cut into a number of parts that depends on sizes alone; each part is summed in
 * its own array, and these are added in order: the same bits for any number of threads. The sums of
 * a part lie as the product leaves them: (groups, taps, cout) in channels first, (taps, out)
 * for a depthwise convolution, else (out, taps). */
#include "conv.h"

#include <stdatomic.h>
#include <string.h>

/* Multiplications worth a part of their own; at most that many parts and bytes of sums. */
enum { MAX_PARTS = 16, PART_WORK = 1 << 20, PARTS_BYTES = 64 << 20 };

typedef struct {
    conv_sizes s;
    const bnc_real *x, *dy;
    bnc_real *sums, *others; /* of part 0, and of the parts behind it, one after the other */
    int64_t parts, size;     /* how many parts; elements of one */
    atomic_int failed;
} call;

static bnc_real *sums_of(const call *a, int64_t part)
{ return part ? a->others + (part - 1) * a->size : a->sums; }

/* sums (taps x cout) += patches (taps x pixels) dY^T (pixels x cout); room for dY^T lies behind
 * the patches. */
static void add_first(const call *a, int64_t group, int64_t first, int64_t last, bnc_real *cols,
                      bnc_real *sums, int add)
{
    const conv_sizes *s = &a->s;
    const int64_t count = last - first;
    bnc_real *turned = cols + s->taps * s->band;
    conv_gather(s, a->x, group, first, last, cols);
    for (int64_t q = first, n; q < last; q += n) {
        const int64_t image = q / s->pixels, start = q - image * s->pixels;
        n = bnc_min(s->pixels - start, last - q);
        KERNELS->transpose(a->dy + (image * s->g->co + group * s->cout) * s->pixels + start,
                           s->pixels, 1, turned + (q - first) * s->cout, s->cout, s->cout, n);
    }
    KERNELS->gemm(0, cols, count, turned, s->cout, sums, s->cout, s->taps, s->cout, count, add);
}

/* sums (cout x taps) += dY^T (cout x pixels) patches (pixels x taps) */
static void add_last(const call *a, int64_t group, int64_t first, int64_t last, bnc_real *cols,
                     bnc_real *sums, int add)
{
    const conv_sizes *s = &a->s;
    const bnc_real *patches = cols;
    if (s->depthwise) { /* sums of a band on their own, so that a long sum errs like a short one */
        bnc_real *one = add ? cols : sums;
        memset(one, 0, (size_t)a->size * sizeof(bnc_real));
        conv_depthwise(s, CONV_SUM_WEIGHT, conv_readable(a->x),
                       conv_readable(a->dy) + first * s->g->co, one, first, last);
        if (add) KERNELS->add_rows(cols, 0, sums, 0, 1, 1, a->size);
        return;
    }
    if (s->direct)
        patches = a->x + first * s->g->ci + group * s->cin;
    else
        conv_gather(s, a->x, group, first, last, cols);
    KERNELS->gemm(1, a->dy + first * s->g->co + group * s->cout, s->g->co, patches,
                  s->direct ? s->g->ci : s->taps, sums, s->taps, s->cout, s->taps, last - first,
                  add);
}

static void sum_part(int64_t part, void *arg)
{
    call *a = arg;
    const conv_sizes *s = &a->s;
    const int64_t begin = s->bands * part / a->parts, end = s->bands * (part + 1) / a->parts;
    bnc_real *cols = NULL;
    const int64_t room = s->depthwise ? a->size : (s->taps + s->cout) * s->band;
    if (!s->direct && !(cols = bnc_pool_get((size_t)room * sizeof(bnc_real)))) {
        atomic_store(&a->failed, 1);
        return;
    }
    if (begin == end) memset(sums_of(a, part), 0, (size_t)a->size * sizeof(bnc_real));
    for (int64_t band = begin; band < end; band++)
        for (int64_t group = 0; group < s->steps; group++)
            (s->g->channels_last ? add_last : add_first)(
                a, group, band * s->band, bnc_min(s->total, (band + 1) * s->band), cols,
                sums_of(a, part) + group * s->cout * s->taps, band > begin);
    bnc_pool_put(cols);
}

enum { MERGE_BLOCK = 4096 };

static void merge_block(int64_t chunk, void *arg)
{
    const call *a = arg;
    const int64_t at = chunk * MERGE_BLOCK, n = bnc_min(MERGE_BLOCK, a->size - at);
    for (int64_t part = 1; part < a->parts; part++)
        KERNELS->add_rows(sums_of(a, part) + at, 0, a->sums + at, 0, 1, 1, n);
}

/* dweight (out, cin, k, l) from the merged sums. */
static void unpack(const call *a, bnc_real *dweight)
{
    const conv_sizes *s = &a->s;
    if (s->depthwise)
        KERNELS->transpose(a->sums, s->g->co, 1, dweight, s->kernel, s->kernel, s->g->co);
    else if (s->g->channels_last)
        for (int64_t o = 0; o < s->g->co; o++)
            KERNELS->transpose(a->sums + o * s->taps, s->cin, 1, dweight + o * s->taps, s->kernel,
                               s->kernel, s->cin);
    else
        for (int64_t group = 0; group < s->g->groups; group++)
            KERNELS->transpose(a->sums + group * s->taps * s->cout, s->cout, 1,
                               dweight + group * s->cout * s->taps, s->taps, s->taps, s->cout);
}

int BNC_OP(conv_weight_gradient)(const bnc_conv *g, const void *x, const void *dy, void *dweight)
{
    call a = {.s = conv_sizes_of(g),
              .x = x,
              .dy = dy,
              .size = g->co * (g->ci / g->groups) * g->kh * g->kw};
    const int64_t work = a.s.total * a.size,
                  room = PARTS_BYTES / (int64_t)sizeof(bnc_real) / a.size;
    a.parts = bnc_max(1, bnc_min(bnc_min(MAX_PARTS, a.s.bands), bnc_min(work / PART_WORK, room)));
    const int in_place = g->channels_last && a.s.kernel == 1; /* the sums lie as the weight does */
    const int64_t arrays = a.parts - in_place;
    bnc_real *scratch = arrays ? bnc_pool_get((size_t)(arrays * a.size) * sizeof(bnc_real)) : NULL;
    if (arrays && !scratch) return BNC_NO_MEMORY;
    a.sums = in_place ? dweight : scratch;
    a.others = in_place ? scratch : scratch + a.size;
    const int threads = conv_threads(&a.s);
    bnc_run(sum_part, &a, a.parts, threads);
    if (a.parts > 1) bnc_run(merge_block, &a, bnc_ceil_div(a.size, MERGE_BLOCK), threads);
    if (!in_place) unpack(&a, dweight);
    bnc_pool_put(scratch);
    return a.failed ? BNC_NO_MEMORY : 0;
}

/* ---- bias gradient ---- */

enum { BIAS_PART_WORK = 1 << 16 };

typedef struct {
    int64_t n, channels, pixels, parts;
    int channels_last;
    const bnc_real *dy;
    bnc_real *sums; /* parts x channels */
} bias_call;

/* Some images: a product with a vector of ones, which sums in blocks as all products do. */
static void sum_bias_part(int64_t part, void *arg)
{
    const bias_call *a = arg;
    const bnc_real one = 1;
    const int64_t begin = a->n * part / a->parts, end = a->n * (part + 1) / a->parts,
                  size = a->channels * a->pixels;
    bnc_real *sums = a->sums + part * a->channels;
    if (a->channels_last || begin == end) {
        KERNELS->gemm(1, &one, 0, a->dy + begin * size, a->channels, sums, a->channels, 1,
                      a->channels, (end - begin) * a->pixels, 0);
        return;
    }
    for (int64_t i = begin; i < end; i++)
        KERNELS->gemm(0, a->dy + i * size, a->pixels, &one, 0, sums, 1, a->channels, 1, a->pixels,
                      i > begin);
}

/* dbias[c] = sum of dy over all images and pixels: dy (n, channels, pixels), or (n, pixels,
 * channels) if channels_last */
int BNC_OP(conv_bias_gradient)(int64_t n, int64_t channels, int64_t pixels, int channels_last,
                               const void *dy, void *dbias)
{
    const int64_t work = n * channels * pixels;
    bias_call a = {n, channels, pixels, 1, channels_last, dy, dbias};
    a.parts = bnc_max(1, bnc_min(bnc_min(MAX_PARTS, n), work / BIAS_PART_WORK));
    bnc_real *scratch = NULL;
    if (a.parts > 1 && !(scratch = bnc_pool_get((size_t)(a.parts * channels) * sizeof(bnc_real))))
        return BNC_NO_MEMORY;
    if (scratch) a.sums = scratch;
    bnc_run(sum_bias_part, &a, a.parts, bnc_threads(work, BIAS_PART_WORK));
    if (scratch) {
        memcpy(dbias, scratch, (size_t)channels * sizeof(bnc_real));
        for (int64_t part = 1; part < a.parts; part++)
            KERNELS->add_rows(scratch + part * channels, 0, dbias, 0, 1, 1, channels);
    }
    bnc_pool_put(scratch);
    return 0;
}

/* A convolution between norms, forward and backward, some images at a time: what one layer wrote is still in the second-level
 * cache when the next one reads it, and the output of the norm in front, like the gradient that enters the convolution, is
 * never stored as a whole. The arithmetic is the single operations'; what is summed over images, statistics and gradients, is
 * summed in parts that depend on sizes alone and added up in order. */
#include "conv_weight.h"
#include "norm_halves.h"
#include "prototypes.h"

#include <stdatomic.h>

enum {
    GROUP_BYTES = 64 << 10, /* images taken together: of so many bytes, */
    GROUP_PIXELS = 1024,    /* and pixels, which share what is read of weights */
    IMAGE_BYTES = 512
        << 10,      /* images up to this size are taken one by one, larger ones all at once */
    PART_ROWS = 32, /* rows, and multiplications, of a part of a product, at least */
    PART_WORK = 1 << 18,
    FEW_IMAGES = 8, /* fewer leave threads without work: all at once */
};

/* How the images are cut: all at once, by the threads of each operation in turn, or part by part, a thread each. */
typedef struct {
    int64_t parts, per; /* per: images at a time */
    int inner;          /* threads of an operation */
} cut;

/* Rows of a product are a part's all at once. */
static int64_t row_parts(const bnc_conv *g)
{ return bnc_min(g->n / PART_ROWS, g->n * g->ci * g->co / PART_WORK); }

static cut cut_images(const bnc_conv *g, int64_t most_parts, int threads)
{
    const int64_t in = g->ci * g->h * g->w, out = g->co * g->oh * g->ow,
                  bytes = bnc_max(in, out) * (int64_t)sizeof(bnc_real);
    if (g->h * g->w == 1) most_parts = bnc_min(most_parts, row_parts(g));
    if (g->n < FEW_IMAGES || bytes > IMAGE_BYTES || most_parts < 2)
        return (cut){1, bnc_max(1, g->n), threads};
    if (g->h * g->w == 1) return (cut){most_parts, g->n, 1};
    const int64_t per = bnc_max(GROUP_BYTES / bytes, GROUP_PIXELS / (g->oh * g->ow));
    return (cut){bnc_min(most_parts, g->n), bnc_max(1, per), 1};
}

/* Images [*begin, *end) of a part. */
static void part_images(const bnc_conv *g, const cut *c, int64_t part, int64_t *begin, int64_t *end)
{
    *begin = g->n * part / c->parts;
    *end = g->n * (part + 1) / c->parts;
}

static inline const bnc_real *from_image(const void *p, int64_t i, int64_t size)
{ return p ? (const bnc_real *)p + i * size : NULL; }

/* A norm's arrays of some images: `pixels` of them from `pixel` on. */
static bnc_norm norm_of(const bnc_norm *a, int64_t pixel, int64_t pixels, bnc_real *y)
{
    bnc_norm some = *a;
    some.shape.n = pixels;
    some.x = from_image(a->x, pixel, a->shape.c);
    some.residual = from_image(a->residual, pixel, a->shape.c);
    some.y = y;
    return some;
}

static bnc_norm_gradient gradient_of(const bnc_norm_gradient *a, int64_t pixel, int64_t pixels,
                                     const bnc_real *dy, bnc_real *dx)
{
    const int64_t c = a->shape.c;
    bnc_norm_gradient some = *a;
    some.shape.n = pixels;
    some.x = from_image(a->x, pixel, c);
    some.y = from_image(a->y, pixel, c);
    some.dy = dy;
    some.dx = dx;
    some.dresidual = (void *)from_image(a->dresidual, pixel, c);
    return some;
}

/* What the convolution reads of some images: x itself, or its norm's output, in `memory` where that is not stored. */
static const bnc_real *input_of(const bnc_conv *g, const bnc_norm *in, const void *x, int64_t image,
                                int64_t images, bnc_real *memory, int *error)
{
    const int64_t pixels = g->h * g->w;
    if (!in) return from_image(x, image, pixels * g->ci);
    bnc_real *y = in->y ? (bnc_real *)in->y + image * pixels * g->ci : memory;
    const bnc_norm some = norm_of(in, image * pixels, images * pixels, y);
    *error |= BNC_OP(normalize)(&some);
    return y;
}

/* Memory for some images: what is read, and what is behind the convolution; used where these are not stored. */
typedef struct {
    bnc_real *x, *y;
    void *block;
} images_memory;

static images_memory take_memory(const bnc_conv *g, int64_t images, int x, int y)
{
    const size_t one = sizeof(bnc_real),
                 x_bytes = bnc_padded((size_t)(x ? images * g->h * g->w * g->ci : 0) * one),
                 y_bytes = (size_t)(y ? images * g->oh * g->ow * g->co : 0) * one;
    bnc_arena arena = {bnc_pool_get(x_bytes + y_bytes)};
    images_memory m = {.block = arena.next};
    if (m.block) m.x = bnc_take(&arena, x_bytes), m.y = (bnc_real *)arena.next;
    return m;
}

/* ---- forward ---- */

typedef struct {
    const bnc_conv_chain *a;
    conv_call call;
    cut cut;
    double *moments; /* (parts, 4, co): mean and m2 of a part, and of the images at hand */
    atomic_int failed;
} forward;

/* Statistics of pixels of y, to those of a part which has seen `seen` pixels. */
static int measure(const bnc_norm *out, const bnc_real *y, int64_t pixels, int64_t seen,
                   double *mean)
{
    const int64_t c = out->shape.c;
    const bnc_shape shape = {.n = pixels, .c = c, .s = 1};
    double *to = seen ? mean + 2 * c : mean;
    const int error = BNC_OP(statistics)(&shape, y, to, to + c);
    if (seen && !error)
        KERNELS->merge_moments(c, (double)seen, mean, mean + c, (double)pixels, to, to + c);
    return error;
}

/* What the next images will read. */
static void forward_ahead(const forward *f, int64_t image, int64_t images, bnc_ahead *ahead)
{
    const bnc_conv_chain *a = f->a;
    const int64_t in = a->g.ci * a->g.h * a->g.w, out = a->g.co * a->g.oh * a->g.ow;
    bnc_ahead_add(ahead, from_image(a->in ? a->in->x : a->x, image, in), images * in);
    if (a->in) bnc_ahead_add(ahead, from_image(a->in->residual, image, in), images * in);
    bnc_ahead_add(ahead, from_image(a->residual, image, out), images * out);
}

static int forward_images(const forward *f, int64_t first, int64_t image, int64_t images,
                          const images_memory *m, double *moments, bnc_ahead *ahead)
{
    const bnc_conv_chain *a = f->a;
    const bnc_conv *g = &a->g;
    const int64_t pixels = g->oh * g->ow, size = pixels * g->co;
    bnc_real *y = (bnc_real *)a->y + image * size, *behind = a->apply ? m->y : y;
    int error = 0;
    const bnc_real *x = input_of(g, a->in, a->x, image, images, m->x, &error);
    error |= conv_run_images(&f->call, images, x, behind, from_image(a->residual, image, size),
                             f->cut.inner, ahead);
    if (error || !a->out) return error;
    if (!a->apply) return measure(a->out, y, images * pixels, (image - first) * pixels, moments);
    bnc_norm some = norm_of(a->out, image * pixels, images * pixels, y);
    some.x = behind;
    return BNC_OP(normalize)(&some);
}

static void forward_part(int64_t part, void *arg)
{
    forward *f = arg;
    const bnc_conv *g = &f->a->g;
    int64_t begin, end;
    part_images(g, &f->cut, part, &begin, &end);
    const int64_t per = bnc_min(f->cut.per, end - begin);
    const images_memory m = take_memory(g, per, f->a->in && !f->a->in->y, f->a->apply);
    int error = !m.block;
    for (int64_t i = begin; i < end && !error; i += per) {
        bnc_ahead ahead = {0};
        forward_ahead(f, i + per, bnc_max(0, bnc_min(per, end - i - per)), &ahead);
        error = forward_images(f, begin, i, bnc_min(per, end - i), &m,
                               f->moments + part * 4 * g->co, f->cut.parts > 1 ? &ahead : NULL);
    }
    bnc_pool_put(m.block);
    if (error) atomic_store(&f->failed, 1);
}

/* The parts' statistics, merged, to the norm. */
static void finish_forward(const forward *f)
{
    const bnc_norm *out = f->a->out;
    const bnc_conv *g = &f->a->g;
    const int64_t c = g->co, pixels = g->oh * g->ow;
    for (int64_t part = 0; part < f->cut.parts; part++) {
        int64_t begin, end;
        part_images(g, &f->cut, part, &begin, &end);
        const double *mean = f->moments + part * 4 * c;
        if (part) {
            KERNELS->merge_moments(c, (double)(begin * pixels), out->mean, out->inv_std,
                                   (double)((end - begin) * pixels), mean, mean + c);
        } else {
            memcpy(out->mean, mean, (size_t)c * sizeof *mean);
            memcpy(out->inv_std, mean + c, (size_t)c * sizeof *mean);
        }
    }
    KERNELS->finish_statistics(c, (double)(g->n * pixels), out->momentum, out->eps, out->unbiased,
                               out->mean, out->inv_std, out->running_mean, out->running_var);
}

int BNC_OP(conv_chain)(const bnc_conv_chain *a)
{
    const int threads = conv_threads(&a->g);
    forward f = {.a = a, .cut = cut_images(&a->g, BNC_WEIGHT_PARTS, threads)};
    if (conv_ready(&f.call, &a->g, 0, a->weight, a->kept, threads)) return BNC_NO_MEMORY;
    f.call.finish = (conv_finish){a->y, a->bias, a->residual, a->relu, 1};
    const int measures = a->out && !a->apply;
    bnc_scratch scratch;
    f.moments = bnc_scratch_get(&scratch, (size_t)(measures ? f.cut.parts * 4 * a->g.co : 0) *
                                              sizeof(double));
    if (f.moments) bnc_run(forward_part, &f, f.cut.parts, threads);
    if (f.moments && measures && !f.failed) finish_forward(&f);
    const int error = !f.moments || f.failed ? BNC_NO_MEMORY : BNC_OK;
    bnc_scratch_put(&scratch);
    conv_release(&f.call);
    return error;
}

/* ---- backward ---- */

typedef struct {
    const bnc_conv_chain_gradient *a;
    conv_call call; /* for dx */
    conv_weight_call weight;
    cut cut;
    bnc_real *sums;    /* (parts, size) of the weight gradient */
    double *norm_sums; /* (parts, 4, ci): of a part, and of the images at hand */
    atomic_int failed;
} backward;

/* Sums of the norm in front over some images, added to a part's. */
static int sum_front(const bnc_norm_gradient *front, const bnc_real *dx, int64_t pixel,
                     int64_t pixels, int first, double *sums)
{
    const int64_t c = front->shape.c;
    bnc_norm_gradient some = gradient_of(front, pixel, pixels, dx, NULL);
    some.sum_g = first ? sums : sums + 2 * c;
    some.sum_gx = some.sum_g + c;
    const int error = BNC_OP(gradient_sums)(&some);
    for (int64_t i = 0; i < 2 * c && !first; i++) sums[i] += sums[2 * c + i];
    return error;
}

/* What the next images will read. */
static void backward_ahead(const backward *b, int64_t image, int64_t images, bnc_ahead *ahead)
{
    const bnc_conv_chain_gradient *a = b->a;
    const int64_t in = a->g.ci * a->g.h * a->g.w, out = a->g.co * a->g.oh * a->g.ow;
    bnc_ahead_add(ahead, from_image(a->dy, image, out), images * out);
    if (a->out) {
        bnc_ahead_add(ahead, from_image(a->out->x, image, out), images * out);
        bnc_ahead_add(ahead, from_image(a->out->y, image, out), images * out);
    }
    bnc_ahead_add(ahead, from_image(a->in ? a->in->x : a->x, image, in), images * in);
    bnc_ahead_add(ahead, from_image(a->more, image, in), images * in);
    if (a->front) {
        bnc_ahead_add(ahead, from_image(a->front->x, image, in), images * in);
        bnc_ahead_add(ahead, from_image(a->front->y, image, in), images * in);
    }
}

static int backward_images(const backward *b, int first, int64_t image, int64_t images,
                           const images_memory *m, int64_t part, bnc_ahead *ahead)
{
    const bnc_conv_chain_gradient *a = b->a;
    const bnc_conv *g = &a->g;
    const int64_t out_pixels = g->oh * g->ow, in_pixels = g->h * g->w, in_size = in_pixels * g->ci;
    int error = 0;
    const bnc_real *dy = from_image(a->dy, image, out_pixels * g->co);
    if (a->out) {
        const bnc_norm_gradient some =
            gradient_of(a->out, image * out_pixels, images * out_pixels, dy, m->y);
        error |= BNC_OP(input_gradient)(&some);
        dy = m->y;
    }
    if (a->dx) {
        bnc_real *dx = (bnc_real *)a->dx + image * in_size;
        error |= conv_run_images(&b->call, images, dy, dx, from_image(a->more, image, in_size),
                                 b->cut.inner, ahead);
        if (a->front && !error)
            error = sum_front(a->front, dx, image * in_pixels, images * in_pixels, first,
                              b->norm_sums + part * 4 * g->ci);
    }
    const bnc_real *x = input_of(g, a->in, a->x, image, images, m->x, &error);
    if (b->cut.parts > 1 && !error)
        error = conv_weight_add(&b->weight, x, dy, 0, images * b->weight.units, first,
                                b->sums + part * b->weight.size, ahead);
    else if (!error) /* all images at once, by all threads */
        error = BNC_OP(conv_weight_gradient)(g, x, dy, a->dweight);
    return error;
}

static void backward_part(int64_t part, void *arg)
{
    backward *b = arg;
    const bnc_conv_chain_gradient *a = b->a;
    const bnc_conv *g = &a->g;
    int64_t begin, end;
    part_images(g, &b->cut, part, &begin, &end);
    const int64_t per = bnc_min(b->cut.per, end - begin);
    const images_memory m = take_memory(g, per, a->in != NULL, a->out != NULL);
    int error = !m.block;
    for (int64_t i = begin; i < end && !error; i += per) {
        bnc_ahead ahead = {0};
        backward_ahead(b, i + per, bnc_max(0, bnc_min(per, end - i - per)), &ahead);
        error = backward_images(b, i == begin, i, bnc_min(per, end - i), &m, part,
                                b->cut.parts > 1 ? &ahead : NULL);
    }
    bnc_pool_put(m.block);
    if (error) atomic_store(&b->failed, 1);
}

static void finish_front(const backward *b)
{
    const bnc_norm_gradient *front = b->a->front;
    const int64_t c = front->shape.c;
    memcpy(front->sum_g, b->norm_sums, (size_t)c * sizeof(double));
    memcpy(front->sum_gx, b->norm_sums + c, (size_t)c * sizeof(double));
    for (int64_t part = 1; part < b->cut.parts; part++) {
        const double *more = b->norm_sums + part * 4 * c;
        for (int64_t i = 0; i < c; i++) front->sum_g[i] += more[i];
        for (int64_t i = 0; i < c; i++) front->sum_gx[i] += more[c + i];
    }
    bnc_parameter_gradients(front, 0, c);
}

int BNC_OP(conv_chain_backward)(const bnc_conv_chain_gradient *a)
{
    const bnc_conv *g = &a->g;
    const int threads = conv_threads(g);
    backward b = {.a = a};
    if (conv_weight_ready(&b.weight, g)) return BNC_NO_MEMORY;
    b.cut = cut_images(g, bnc_min(BNC_WEIGHT_PARTS, conv_weight_room(&b.weight)), threads);
    const int in_parts = b.cut.parts > 1;
    int error = a->dx ? conv_ready(&b.call, g, 1, a->weight, NULL, threads) : BNC_OK;
    b.call.finish = (conv_finish){.channels_last = 1};
    const size_t sums = in_parts ? (size_t)(b.cut.parts * b.weight.size) * sizeof(bnc_real) : 0,
                 norm = a->front ? (size_t)(b.cut.parts * 4 * g->ci) * sizeof(double) : 0;
    bnc_arena memory = {error ? NULL : bnc_pool_get(bnc_padded(sums) + norm)};
    void *block = memory.next;
    if (!block) error = BNC_NO_MEMORY;
    if (!error) {
        b.sums = bnc_take(&memory, sums);
        b.norm_sums = bnc_take(&memory, norm);
        bnc_run(backward_part, &b, b.cut.parts, threads);
        if (b.failed) error = BNC_NO_MEMORY;
    }
    if (!error && in_parts) conv_weight_finish(&b.weight, b.sums, b.cut.parts, a->dweight, threads);
    if (!error && a->front) finish_front(&b);
    bnc_pool_put(block);
    if (a->dx) conv_release(&b.call);
    conv_weight_release(&b.weight);
    return error;
}

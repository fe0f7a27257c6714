/* Pooling over windows. Forward, chunks are ranges of output rows; backward, where windows may
 * overlap, whole planes (channels first) or blocks of channels of whole images (channels last),
 * so that no two chunks write one element. */
#include "op.h"

#include <string.h>

enum { CHUNK = 16384 }; /* elements of the input for a chunk, about */

/* One output row, channels [c0, c1) of it: a plane's row channels first, a row of pixels
 * channels last. */
typedef struct {
    const bnc_pooling *p;
    int backward, max;
    int64_t per, blocks,
        width; /* rows or planes of a chunk; channel blocks of an image and their width */
} pool_job;

static int64_t taps_inside(const struct bnc_taps *t) { return (t->a1 - t->a0) * (t->b1 - t->b0); }

/* `count` outputs from element `out` on, with these taps of the image (or plane) at element
 * `image`. */
static void run(const pool_job *j, const struct bnc_taps *t, int64_t image, int64_t out,
                int64_t count)
{
    const bnc_pooling *p = j->p;
    const bnc_real divisor =
        (bnc_real)(p->count_include_pad ? p->kernel[0] * p->kernel[1] : taps_inside(t));
    const bnc_real *from = (const bnc_real *)p->from + (j->backward ? out : image);
    bnc_real *to = (bnc_real *)p->to + (j->backward ? image : out);
    void *index = j->max ? (char *)p->index + out * (p->wide ? 4 : 1) : 0;
    if (j->max && j->backward)
        KERNELS->max_pool_backward(from, index, p->wide, t, to, count);
    else if (j->max)
        KERNELS->max_pool(from, t, to, index, p->wide, count);
    else if (j->backward)
        KERNELS->avg_pool_backward(from, t, divisor, to, count);
    else
        KERNELS->avg_pool(from, t, divisor, to, count);
}

/* Taps of a window starting at `start` that fall on [0, size). */
static void clip(int64_t start, int64_t kernel, int64_t size, int64_t *first, int64_t *end)
{
    *first = bnc_max(0, -start);
    *end = bnc_min(kernel, size - start);
}

/* A row of pixels: one run over the channels for each. */
static void pixels(const pool_job *j, struct bnc_taps *t, int64_t image, int64_t row_start,
                   int64_t out, int64_t c0, int64_t c1)
{
    const bnc_pooling *p = j->p;
    for (int64_t x = 0; x < p->w_out; x++) {
        const int64_t start = x * p->stride[1] - p->padding[1];
        clip(start, p->kernel[1], p->w, &t->b0, &t->b1);
        t->origin = row_start * t->row + start * t->column;
        run(j, t, image + c0, out + x * p->c + c0, c1 - c0);
    }
}

/* A row of a plane: one run where whole windows fit, single outputs at the padded ends. */
static void plane_row(const pool_job *j, struct bnc_taps *t, int64_t image, int64_t row_start,
                      int64_t out)
{
    const bnc_pooling *p = j->p;
    const int64_t stride = p->stride[1], spare = p->w + p->padding[1] - p->kernel[1];
    const int64_t first = bnc_min(p->w_out, bnc_ceil_div(p->padding[1], stride));
    const int64_t end = bnc_max(first, spare < 0 ? 0 : bnc_min(p->w_out, spare / stride + 1));
    for (int64_t x = 0; x < p->w_out;) {
        const int64_t start = x * stride - p->padding[1],
                      count = x >= first && x < end ? end - x : 1;
        clip(start, p->kernel[1], p->w, &t->b0, &t->b1);
        t->origin = row_start * t->row + start;
        run(j, t, image, out + x, count);
        x += count;
    }
}

static void output_row(const pool_job *j, int64_t image, int64_t y, int64_t out, int64_t c0,
                       int64_t c1)
{
    const bnc_pooling *p = j->p;
    const int64_t start = y * p->stride[0] - p->padding[0], pixel = p->channels_last ? p->c : 1;
    struct bnc_taps t = {.step = p->channels_last ? 1 : p->stride[1],
                         .row = p->w * pixel,
                         .column = pixel,
                         .width = p->kernel[1]};
    clip(start, p->kernel[0], p->h, &t.a0, &t.a1);
    if (p->channels_last)
        pixels(j, &t, image, start, out, c0, c1);
    else
        plane_row(j, &t, image, start, out);
}

/* Images channels last, planes channels first: their number and the elements of an output row. */
static int64_t images(const bnc_pooling *p) { return p->channels_last ? p->n : p->n * p->c; }
static int64_t image_size(const bnc_pooling *p)
{ return p->h * p->w * (p->channels_last ? p->c : 1); }
static int64_t row_size(const bnc_pooling *p) { return p->w_out * (p->channels_last ? p->c : 1); }

static void forward_chunk(int64_t k, void *arg)
{
    const pool_job *j = arg;
    const bnc_pooling *p = j->p;
    const int64_t end = bnc_min((k + 1) * j->per, images(p) * p->h_out);
    for (int64_t r = k * j->per; r < end; r++)
        output_row(j, r / p->h_out * image_size(p), r % p->h_out, r * row_size(p), 0, p->c);
}

static void backward_image(const pool_job *j, int64_t i, int64_t c0, int64_t c1)
{
    const bnc_pooling *p = j->p;
    bnc_real *dx = (bnc_real *)p->to + i * image_size(p);
    if (!p->channels_last || c1 - c0 == p->c)
        memset(dx, 0, (size_t)image_size(p) * sizeof *dx);
    else
        for (int64_t s = 0; s < p->h * p->w; s++)
            memset(dx + s * p->c + c0, 0, (size_t)(c1 - c0) * sizeof *dx);
    for (int64_t y = 0; y < p->h_out; y++)
        output_row(j, i * image_size(p), y, (i * p->h_out + y) * row_size(p), c0, c1);
}

static void backward_chunk(int64_t k, void *arg)
{
    const pool_job *j = arg;
    const bnc_pooling *p = j->p;
    const int64_t block = k % j->blocks, group = k / j->blocks,
                  end = bnc_min((group + 1) * j->per, images(p));
    const int64_t c0 = block * j->width, c1 = bnc_min(c0 + j->width, p->c);
    for (int64_t i = group * j->per; i < end; i++) backward_image(j, i, c0, c1);
}

static int pool_forward(const bnc_pooling *p, int max)
{
    pool_job j = {.p = p, .max = max};
    const int64_t rows = images(p) * p->h_out, work = p->n * p->c * p->h * p->w;
    if (rows == 0 || row_size(p) == 0) return BNC_OK;
    j.per = bnc_max(1, rows * CHUNK / bnc_max(work, CHUNK));
    bnc_run(forward_chunk, &j, bnc_ceil_div(rows, j.per), bnc_threads(work, BNC_GRAIN / 4));
    return BNC_OK;
}

static int pool_backward(const bnc_pooling *p, int max)
{
    pool_job j = {.p = p, .max = max, .backward = 1, .blocks = 1, .width = p->c};
    const int64_t count = images(p), work = p->n * p->c * p->h * p->w;
    if (work == 0) return BNC_OK;
    if (p->channels_last && p->n < 16 &&
        p->c > 64) { /* few images: their channels are shared out too */
        j.width = 64;
        j.blocks = bnc_ceil_div(p->c, j.width);
    }
    j.per = bnc_max(1, CHUNK / image_size(p));
    bnc_run(backward_chunk, &j, bnc_ceil_div(count, j.per) * j.blocks,
            bnc_threads(work, BNC_GRAIN / 4));
    return BNC_OK;
}

int BNC_OP(max_pool)(const bnc_pooling *p) { return pool_forward(p, 1); }
int BNC_OP(avg_pool)(const bnc_pooling *p) { return pool_forward(p, 0); }
int BNC_OP(max_pool_backward)(const bnc_pooling *p) { return pool_backward(p, 1); }
int BNC_OP(avg_pool_backward)(const bnc_pooling *p) { return pool_backward(p, 0); }

/* Pooling over windows. Outputs whose windows keep the same taps inside the input go to one
 * kernel call.
 *
 * Channels last, that is the channels of one output pixel. Channels first, all planes are alike:
 * a table made once says for every output where its window starts, sorted into groups (the inner
 * part, the padded edges and corners). Forward, chunks are ranges of outputs; backward, where
 * windows may overlap, whole planes, or blocks of channels of whole images, so that no two
 * chunks write one element. */
#include "op.h"

#include <string.h>

enum { CHUNK = 16384 }; /* elements of the input for a chunk, about */

typedef struct {
    struct bnc_taps taps;
    int64_t begin, count; /* its outputs in the table */
} group;

typedef struct {
    const bnc_pooling *p;
    int backward, max;
    int64_t images, image, outputs; /* planes or images, elements of one, elements of its result */
    int64_t per, cuts,
        cut;       /* images of a chunk, or parts of an image and the outputs (rows) of a part */
    int64_t width; /* channels last, backward: channels of a part */
    group *groups; /* channels first */
    int64_t group_count;
} pool_job;

/* `count` outputs from element `out` on, with these taps of the image at element `image`. */
static void run(const pool_job *j, const struct bnc_taps *t, int64_t image, int64_t out,
                int64_t count)
{
    const bnc_pooling *p = j->p;
    const int64_t inside = (t->a1 - t->a0) * (t->b1 - t->b0);
    const bnc_real divisor =
        (bnc_real)(p->count_include_pad ? p->kernel[0] * p->kernel[1] : inside);
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

/* Along one axis (0 down, 1 across): where the window of output o starts, and its taps inside
 * the input. */
static int64_t clip(const bnc_pooling *p, int axis, int64_t o, int64_t *first, int64_t *end)
{
    const int64_t start = o * p->stride[axis] - p->padding[axis], size = axis ? p->w : p->h;
    *first = bnc_max(0, -start);
    *end = bnc_min(p->kernel[axis], size - start);
    return start;
}

/* ---- channels first ---- */

/* First output after o whose taps differ from those of o. */
static int64_t alike_until(const bnc_pooling *p, int axis, int64_t o, int64_t *first, int64_t *end)
{
    const int64_t outputs = axis ? p->w_out : p->h_out;
    int64_t f, e;
    clip(p, axis, o, first, end);
    for (o++; o < outputs; o++) {
        clip(p, axis, o, &f, &e);
        if (f != *first || e != *end) break;
    }
    return o;
}

static int64_t alike_runs(const bnc_pooling *p, int axis)
{
    int64_t runs = 0, f, e;
    for (int64_t o = 0; o < (axis ? p->w_out : p->h_out); o = alike_until(p, axis, o, &f, &e))
        runs++;
    return runs;
}

/* Appends the outputs of a rectangle of a plane to the table. */
static void add_group(pool_job *j, struct bnc_taps taps, int64_t *at, int64_t *to, int64_t y0,
                      int64_t y1, int64_t x0, int64_t x1)
{
    const bnc_pooling *p = j->p;
    group *g = j->groups + j->group_count, *before = g - 1;
    const int64_t begin = j->group_count++ ? before->begin + before->count : 0;
    int64_t k = begin;
    for (int64_t y = y0; y < y1; y++)
        for (int64_t x = x0; x < x1; x++, k++) {
            at[k] = (y * p->stride[0] - p->padding[0]) * p->w + x * p->stride[1] - p->padding[1];
            to[k] = y * p->w_out + x;
        }
    taps.at = at + begin;
    taps.to = to + begin;
    *g = (group){taps, begin, k - begin};
}

/* The table, in one block of the pool that starts with the groups. */
static int make_groups(pool_job *j)
{
    const bnc_pooling *p = j->p;
    const size_t head = (size_t)(alike_runs(p, 0) * alike_runs(p, 1)) * sizeof(group);
    const size_t table = (size_t)j->outputs * sizeof(int64_t);
    bnc_arena arena = {bnc_pool_get(bnc_padded(head) + 2 * bnc_padded(table))};
    if (!arena.next) return BNC_NO_MEMORY;
    j->groups = bnc_take(&arena, head);
    int64_t *at = bnc_take(&arena, table), *to = bnc_take(&arena, table);
    struct bnc_taps t = {.row = p->w, .column = 1, .width = p->kernel[1]};
    for (int64_t y = 0, y1; y < p->h_out; y = y1) {
        y1 = alike_until(p, 0, y, &t.a0, &t.a1);
        for (int64_t x = 0, x1; x < p->w_out; x = x1) {
            x1 = alike_until(p, 1, x, &t.b0, &t.b1);
            add_group(j, t, at, to, y, y1, x, x1);
        }
    }
    return BNC_OK;
}

/* Entries [begin, end) of the table, for plane i. */
static void plane_part(const pool_job *j, int64_t i, int64_t begin, int64_t end)
{
    for (const group *g = j->groups; g < j->groups + j->group_count; g++) {
        const int64_t b = bnc_max(begin, g->begin), e = bnc_min(end, g->begin + g->count);
        if (b >= e) continue;
        struct bnc_taps t = g->taps;
        t.at += b - g->begin;
        t.to += b - g->begin;
        run(j, &t, i * j->image, i * j->outputs, e - b);
    }
}

/* ---- channels last ---- */

/* Rows [y0, y1) of the result of image i, channels [c0, c1): a run over the channels for each
 * pixel. */
static void pixels(const pool_job *j, int64_t i, int64_t y0, int64_t y1, int64_t c0, int64_t c1)
{
    const bnc_pooling *p = j->p;
    struct bnc_taps t = {.row = p->w * p->c, .column = p->c, .width = p->kernel[1]};
    for (int64_t y = y0; y < y1; y++) {
        const int64_t down = clip(p, 0, y, &t.a0, &t.a1);
        for (int64_t x = 0; x < p->w_out; x++) {
            t.origin = down * t.row + clip(p, 1, x, &t.b0, &t.b1) * t.column;
            run(j, &t, i * j->image + c0, i * j->outputs + (y * p->w_out + x) * p->c + c0, c1 - c0);
        }
    }
}

/* ---- both ---- */

static void forward_chunk(int64_t k, void *arg)
{
    const pool_job *j = arg;
    const bnc_pooling *p = j->p;
    const int64_t part = k % j->cuts, first = k / j->cuts * j->per,
                  last = bnc_min(first + j->per, j->images);
    const int64_t all = p->channels_last ? p->h_out : j->outputs;
    const int64_t begin = part * j->cut, end = bnc_min(begin + j->cut, all);
    for (int64_t i = first; i < last; i++) {
        if (p->channels_last)
            pixels(j, i, begin, end, 0, p->c);
        else
            plane_part(j, i, begin, end);
    }
}

static void backward_chunk(int64_t k, void *arg)
{
    const pool_job *j = arg;
    const bnc_pooling *p = j->p;
    const int64_t part = k % j->cuts, first = k / j->cuts * j->per,
                  last = bnc_min(first + j->per, j->images);
    const int64_t c0 = part * j->width, c1 = bnc_min(c0 + j->width, p->c);
    for (int64_t i = first; i < last; i++) {
        bnc_real *dx = (bnc_real *)p->to + i * j->image;
        if (j->cuts == 1)
            memset(dx, 0, (size_t)j->image * sizeof *dx);
        else
            for (int64_t s = 0; s < p->h * p->w; s++)
                memset(dx + s * p->c + c0, 0, (size_t)(c1 - c0) * sizeof *dx);
        if (p->channels_last)
            pixels(j, i, 0, p->h_out, c0, c1);
        else
            plane_part(j, i, 0, j->outputs);
    }
}

static int pool(const bnc_pooling *p, int max, int backward)
{
    const int64_t work = p->n * p->c * p->h * p->w, pixel = p->channels_last ? p->c : 1;
    pool_job j = {.p = p, .max = max, .backward = backward, .cuts = 1, .width = p->c};
    if (work == 0) return BNC_OK;
    j.images = p->channels_last ? p->n : p->n * p->c;
    j.image = p->h * p->w * pixel;
    j.outputs = p->h_out * p->w_out * pixel;
    j.per = bnc_max(1, CHUNK / j.image);
    if (backward && p->channels_last && p->n < 16 &&
        p->c > 64) { /* few images: share out their channels too */
        j.width = 64;
        j.cuts = bnc_ceil_div(p->c, j.width);
    } else if (!backward) { /* large images: parts of the result */
        const int64_t units = p->channels_last ? p->h_out : j.outputs;
        j.cut = bnc_ceil_div(units, bnc_max(1, j.image / CHUNK));
        j.cuts = bnc_ceil_div(units, j.cut);
    }
    if (!p->channels_last && make_groups(&j)) return BNC_NO_MEMORY;
    bnc_run(backward ? backward_chunk : forward_chunk, &j, bnc_ceil_div(j.images, j.per) * j.cuts,
            bnc_threads(work, BNC_GRAIN / 4));
    bnc_pool_put(j.groups);
    return BNC_OK;
}

int BNC_OP(max_pool)(const bnc_pooling *p) { return pool(p, 1, 0); }
int BNC_OP(avg_pool)(const bnc_pooling *p) { return pool(p, 0, 0); }
int BNC_OP(max_pool_backward)(const bnc_pooling *p) { return pool(p, 1, 1); }
int BNC_OP(avg_pool_backward)(const bnc_pooling *p) { return pool(p, 0, 1); }

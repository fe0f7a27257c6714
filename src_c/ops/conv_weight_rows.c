/* How the weight gradient of images with channels last or first is summed, from rows; of a product and by Winograd's way
 * see conv_weight.c and conv_winograd_weight.c. Sums lie in blocks of output channels, (groups, blocks, kh, kw, in, block);
 * of a depthwise convolution as (kh, kw, channels). A tap's pixels are those for which it lies in the image. */
#include "conv_weight.h"

/* Input channels up to which the taps of a kernel row are taken together, with zeros for what is outside of the image. */
enum { FEW_CHANNELS = 4 };

typedef conv_weight_call call;

/* A band of one image and group: rows of x from `low` on and of dy from `from` to `to`, with channels last. */
typedef struct {
    const bnc_real *x, *dy;
    int64_t low, from, to, x_pitch, x_row, dy_pitch;
} band;

/* The range of positions i in [0, count) with 0 <= i stride + offset < size. */
static void inside(int64_t stride, int64_t offset, int64_t size, int64_t count, int64_t *from,
                   int64_t *to)
{
    const int64_t low = offset < 0 ? (stride - 1 - offset) / stride : 0,
                  high = size > offset ? (size - offset + stride - 1) / stride : 0;
    *from = bnc_min(low, count);
    *to = bnc_max(*from, bnc_min(high, count));
}

/* Rows of a band for which kernel row k lies in the image, and columns [j0, j1), with the places of the first pixel in x, for
 * kernel column l, and in dy. */
static struct bnc_conv_pixels pixels_of(const call *a, const band *b, int64_t k, int64_t l,
                                        int64_t j0, int64_t j1, int64_t *x_at, int64_t *dy_at)
{
    const conv_plan *p = &a->p;
    const bnc_conv *g = p->g;
    const conv_view *v = p->view;
    int64_t i0, i1;
    inside(g->sh, v->row_at[k], g->h, g->oh, &i0, &i1);
    i0 = bnc_max(i0, b->from), i1 = bnc_max(i0, bnc_min(i1, b->to));
    *x_at = (i0 * g->sh + v->row_at[k] - b->low) * b->x_row +
            (j0 * g->sw + v->column_at[l]) * b->x_pitch;
    *dy_at = ((i0 - b->from) * g->ow + j0) * b->dy_pitch;
    return (struct bnc_conv_pixels){.rows = i1 - i0,
                                    .pixels = j1 - j0,
                                    .x_row = g->sh * b->x_row,
                                    .x_step = g->sw * b->x_pitch,
                                    .dy_row = g->ow * b->dy_pitch,
                                    .dy_step = b->dy_pitch};
}

/* Depthwise: kernel columns [l, l + taps) of row k, for output columns [j0, j1). */
static void add_taps(const call *a, const band *b, int64_t k, int64_t l, int64_t taps, int64_t j0,
                     int64_t j1, bnc_real *sums)
{
    const bnc_conv *g = a->p.g;
    int64_t x_at, dy_at;
    if (j0 >= j1) return;
    const struct bnc_conv_pixels pixels = pixels_of(a, b, k, l, j0, j1, &x_at, &dy_at);
    KERNELS->depthwise_weight_sums(&pixels, b->x + x_at, taps, g->dw * b->x_pitch, b->dy + dy_at,
                                   g->ci, sums + (k * g->kw + l) * g->ci);
}

/* Depthwise: output columns that see a whole kernel row take its taps together, those at the sides one by one. */
static void add_depthwise(const call *a, const band *b, bnc_real *sums)
{
    const bnc_conv *g = a->p.g;
    const int64_t *at = a->p.view->column_at;
    int64_t left, right, skip;
    inside(g->sw, at[0], g->w, g->ow, &left, &skip);
    inside(g->sw, at[g->kw - 1], g->w, g->ow, &skip, &right);
    right = bnc_max(left, right);
    for (int64_t k = 0; k < g->kh; k++) {
        add_taps(a, b, k, 0, g->kw, left, right, sums);
        for (int64_t l = 0; l < g->kw; l++) {
            int64_t j0, j1;
            inside(g->sw, at[l], g->w, g->ow, &j0, &j1);
            add_taps(a, b, k, l, 1, j0, bnc_min(j1, left), sums);
            add_taps(a, b, k, l, 1, bnc_max(j0, right), j1, sums);
        }
    }
}

static void add_band(const call *a, const band *b, bnc_real *sums)
{
    const conv_plan *p = &a->p;
    const bnc_conv *g = p->g;
    const int64_t columns = a->together ? 1 : g->kw, taps = (a->together ? g->kw : 1) * p->in.group;
    for (int64_t k = 0; k < g->kh; k++)
        for (int64_t l = 0; l < columns; l++) {
            int64_t x_at, dy_at, j0 = 0, j1 = g->ow;
            if (!a->together) inside(g->sw, p->view->column_at[l], g->w, g->ow, &j0, &j1);
            const struct bnc_conv_pixels pixels = pixels_of(a, b, k, l, j0, j1, &x_at, &dy_at);
            if (!pixels.rows || !pixels.pixels) continue;
            for (int64_t o = 0; o < p->blocks; o++)
                KERNELS->conv_weight_sums(&pixels, b->x + x_at, b->dy + dy_at + o * p->block, taps,
                                          sums + ((o * g->kh + k) * columns + l) * taps * p->block);
        }
}

/* Output rows [from, to) of an image, all groups; memory for copies of x and dy. */
static void add_rows(const call *a, const bnc_real *x, const bnc_real *dy, int64_t from, int64_t to,
                     bnc_real *x_memory, bnc_real *dy_memory, bnc_real *sums)
{
    const conv_plan *p = &a->p;
    const int last = p->g->channels_last;
    int64_t low, high;
    conv_plan_rows(p, from, to, &low, &high);
    for (int64_t group = 0; group < p->groups; group++, sums += a->size / p->groups) {
        band b = {.x = x, .from = from, .to = to, .x_pitch = p->in.group};
        b.x_row = p->in.w * b.x_pitch;
        if (p->copies) {
            conv_copy_rows(&p->in, last, x, group, low, high, p->left, p->right, b.x_pitch,
                           x_memory);
            b.low = low, b.x_row = (p->left + p->in.w + p->right) * b.x_pitch;
            b.x = x_memory + p->left * b.x_pitch;
        }
        b.dy = dy + from * p->out.w * p->out.channels + group * p->out.group,
        b.dy_pitch = p->out.channels;
        if (a->turns) {
            conv_copy_rows(&p->out, last, dy, group, from, to, 0, 0, a->wide, dy_memory);
            b.dy = dy_memory, b.dy_pitch = a->wide;
        }
        (p->depthwise ? add_depthwise : add_band)(a, &b, sums);
    }
}

int conv_weight_rows_add(const call *a, const bnc_real *x, const bnc_real *dy, int64_t begin,
                         int64_t end, bnc_real *sums, bnc_ahead *ahead)
{
    const conv_plan *p = &a->p;
    const bnc_conv *g = p->g;
    const int64_t rows = p->band * g->sh + (g->kh - 1) * g->dh + 1,
                  row = (p->left + p->in.w + p->right) * p->in.group;
    const size_t x_bytes = bnc_padded(
                     p->copies ? (size_t)(bnc_min(rows, g->h) * row) * sizeof(bnc_real) : 0),
                 dy_bytes = a->turns ? (size_t)(p->band * g->ow * a->wide) * sizeof(bnc_real) : 0;
    char *memory = bnc_pool_get(x_bytes + dy_bytes);
    if (!memory) return BNC_NO_MEMORY;
    for (int64_t r = begin, next; r < end; r = next) {
        const int64_t image = r / g->oh, from = r % g->oh;
        next = bnc_min(bnc_min(end, (image + 1) * g->oh), r + p->band);
        bnc_ahead_fetch(ahead, (next - r) * BNC_AHEAD_ROW);
        add_rows(a, x + image * p->in.channels * p->in.h * p->in.w,
                 dy + image * p->out.channels * p->out.h * p->out.w, from, from + next - r,
                 (bnc_real *)memory, (bnc_real *)(memory + x_bytes), sums);
    }
    bnc_pool_put(memory);
    return BNC_OK;
}

/* dweight (co, in, kh, kw) from the merged sums. */
void conv_weight_rows_unpack(const call *a, const bnc_real *sums, bnc_real *dweight)
{
    const conv_plan *p = &a->p;
    const bnc_conv *g = p->g;
    const int64_t kernel = g->kh * g->kw, in = p->in.group;
    if (p->depthwise) {
        KERNELS->transpose(sums, g->ci, dweight, kernel, kernel, g->ci);
        return;
    }
    for (int64_t o = 0; o < g->co; o++, dweight += in * kernel) {
        const int64_t group = o / p->out.group, channel = o % p->out.group;
        const bnc_real *from = sums + group * (a->size / p->groups) +
                               channel / p->block * kernel * in * p->block + channel % p->block;
        for (int64_t t = 0; t < kernel; t++)
            for (int64_t c = 0; c < in; c++)
                dweight[c * kernel + t] = from[(t * in + c) * p->block];
    }
}

void conv_weight_rows_ready(call *a)
{
    conv_plan *p = &a->p;
    const bnc_conv *g = p->g;
    const int64_t pads = bnc_max(0, (g->ow - 1) * g->sw + g->kw - g->pw - g->w);
    a->together = !p->depthwise && p->in.group <= FEW_CHANNELS && g->dw == 1 && g->kw > 1;
    p->left = a->together ? g->pw : 0; /* others skip what is outside */
    p->right = a->together ? pads : 0;
    p->copies = !g->channels_last || p->groups > 1 || p->left || p->right;
    a->wide = p->depthwise ? g->co : p->blocks * p->block;
    a->turns = !g->channels_last || a->wide != p->out.group;
    a->units = g->oh;
    a->size = (p->depthwise ? 1 : p->groups * p->in.group) * g->kh * g->kw * a->wide;
}

/* A convolution's geometry as views (conv.h), their packed weights, and the chunks of its output. No arithmetic on data. */
#include "conv.h"

/* Bytes of input rows that a chunk copies: with weights and output they stay in a second-level cache of 512 KiB and more.
 * At least so many chunks, as long as rows last. */
enum { BAND_BYTES = 192 << 10, ENOUGH_CHUNKS = 16 };
/* Multiplications that repay another thread: of an image, and of rows, whose weights, just turned, it would have to fetch from
 * the caller's cache. */
enum { THREAD_WORK = 1 << 18, THREAD_WORK_ROWS = 1 << 20 };

int conv_threads(const bnc_conv *g)
{
    const int64_t taps = g->ci / g->groups * g->kh * g->kw;
    const int64_t grain = g->h * g->w == 1 ? THREAD_WORK_ROWS : THREAD_WORK;
    return bnc_threads(g->n * g->oh * g->ow * taps * g->co, grain);
}

/* The taps of one axis that phase `a` of the input's pixels is reached by, as positions in the gradient: input pixel
 * a + i stride meets output pixel i + (a + padding - k dilation) / stride through tap k. From the last tap on, positions
 * ascend. */
static int64_t phase_taps(int64_t a, int64_t k_size, int64_t stride, int64_t padding,
                          int64_t dilation, int64_t *at, int64_t *tap)
{
    int64_t count = 0;
    for (int64_t k = k_size; k-- > 0;) {
        const int64_t distance = a + padding - k * dilation;
        if (distance % stride) continue;
        at[count] = distance / stride;
        tap[count++] = k;
    }
    return count;
}

static int64_t forward_taps(int64_t k_size, int64_t padding, int64_t dilation, int64_t *at,
                            int64_t *tap)
{
    for (int64_t k = 0; k < k_size; k++) at[k] = k * dilation - padding, tap[k] = k;
    return k_size;
}

static void make_view(const conv_plan *p, conv_view *v, int64_t a, int64_t b)
{
    const bnc_conv *g = p->g;
    if (!p->backward) {
        v->out_row = v->out_column = 1;
        v->in_row = g->sh, v->in_column = g->sw;
        v->row_taps = forward_taps(g->kh, g->ph, g->dh, v->row_at, v->row_tap);
        v->column_taps = forward_taps(g->kw, g->pw, g->dw, v->column_at, v->column_tap);
    } else {
        v->first_row = a, v->first_column = b;
        v->out_row = g->sh, v->out_column = g->sw;
        v->in_row = v->in_column = 1;
        v->row_taps = phase_taps(a, g->kh, g->sh, g->ph, g->dh, v->row_at, v->row_tap);
        v->column_taps = phase_taps(b, g->kw, g->sw, g->pw, g->dw, v->column_at, v->column_tap);
    }
    v->rows = bnc_ceil_div(p->out.h - v->first_row, v->out_row);
    v->columns = bnc_ceil_div(p->out.w - v->first_column, v->out_column);
    v->joined = 1;
    for (int64_t l = 1; l < v->column_taps; l++)
        v->joined &= v->column_at[l] == v->column_at[l - 1] + 1;
}

/* What the first and last pixel of a row skip, if no other pixel reads outside of the image; else how many columns of
 * zeros its copies need. */
static void make_borders(conv_plan *p, conv_view *v)
{
    if (!v->column_taps || p->depthwise) return;
    const int64_t w = p->in.w, first = v->column_at[0], last = v->column_at[v->column_taps - 1],
                  end = (v->columns - 1) * v->in_column;
    int64_t before = 0, behind = 0;
    for (int64_t l = 0; l < v->column_taps; l++) {
        before += v->column_at[l] < 0;
        behind += end + v->column_at[l] >= w;
    }
    const int inner =
        v->columns == 1 || (v->in_column + first >= 0 && end - v->in_column + last < w);
    if (v->joined && before + behind <= v->column_taps) {
        v->left = before * p->in.group, v->right = behind * p->in.group;
        if (inner) return;
    }
    p->left = bnc_max(p->left, -first);
    p->right = bnc_max(p->right, end + last - w + 1);
}

void conv_plan_rows(const conv_plan *p, int64_t from, int64_t to, int64_t *low, int64_t *high)
{
    *low = p->in.h, *high = 0;
    for (int64_t q = 0; q < p->views; q++) {
        const conv_view *v = p->view + q;
        const int64_t i0 = bnc_max(0, bnc_ceil_div(from - v->first_row, v->out_row)),
                      i1 = bnc_min(v->rows, bnc_ceil_div(to - v->first_row, v->out_row));
        if (i0 >= i1 || !v->row_taps) continue;
        *low = bnc_min(*low, i0 * v->in_row + v->row_at[0]);
        *high = bnc_max(*high, (i1 - 1) * v->in_row + v->row_at[v->row_taps - 1] + 1);
    }
    *low = bnc_max(0, *low);
    *high = bnc_max(*low, bnc_min(p->in.h, *high));
}

/* As many output rows a chunk as copied rows allow, fewer where that leaves too few chunks. */
static void make_bands(conv_plan *p)
{
    const bnc_conv *g = p->g;
    const int64_t row = (p->left + p->in.w + p->right) * p->in.group * (int64_t)sizeof(bnc_real);
    const int64_t rows = bnc_max(1, BAND_BYTES / bnc_max(1, row)), reach = (g->kh - 1) * g->dh;
    const int64_t fit = p->backward ? (rows - reach / g->sh - 1) * g->sh : (rows - reach) / g->sh;
    const int64_t fair = bnc_ceil_div(p->out.h, bnc_ceil_div(ENOUGH_CHUNKS, bnc_max(1, g->n)));
    p->band = bnc_max(1, bnc_min(fair, fit));
    if (p->backward) p->band = bnc_ceil_div(p->band, g->sh) * g->sh;
    p->bands = bnc_ceil_div(p->out.h, p->band);
}

int conv_plan_make(conv_plan *p, const bnc_conv *g, int backward)
{
    const int depthwise = conv_is_depthwise(g);
    const int64_t groups = depthwise ? 1 : g->groups;
    const conv_image x = {g->ci, g->h, g->w, g->ci / groups},
                     y = {g->co, g->oh, g->ow, g->co / groups};
    *p = (conv_plan){.g = g, .backward = backward, .depthwise = depthwise, .groups = groups};
    p->in = backward ? y : x, p->out = backward ? x : y;
    const int64_t down = backward ? bnc_min(g->sh, g->h) : 1,
                  right = backward ? bnc_min(g->sw, g->w) : 1, taps = g->kh + g->kw;
    p->views = down * right;
    KERNELS->conv_block(&p->block);
    p->blocks = bnc_ceil_div(p->out.group, p->block);
    p->view =
        bnc_pool_get((size_t)p->views * (sizeof(conv_view) + 2 * (size_t)taps * sizeof(int64_t)));
    if (!p->view) return 0;
    int64_t *numbers = (int64_t *)(p->view + p->views);
    for (int64_t q = 0; q < p->views; q++, numbers += 2 * taps) {
        conv_view *v = p->view + q;
        *v = (conv_view){.row_at = numbers,
                         .row_tap = numbers + g->kh,
                         .column_at = numbers + 2 * g->kh,
                         .column_tap = numbers + 2 * g->kh + g->kw};
        make_view(p, v, q / right, q % right);
        make_borders(p, v);
        v->weights = p->packed;
        p->packed +=
            v->row_taps * v->column_taps * (depthwise ? g->ci : p->blocks * p->block * p->in.group);
    }
    p->copies = !g->channels_last || groups > 1 || p->left || p->right;
    make_bands(p);
    return 1;
}

void conv_plan_free(conv_plan *p) { bnc_pool_put(p->view); }

/* ---- packed weights: (groups, views, blocks, row taps, column taps, in, block), zeros for channels that do not exist */

typedef struct {
    const conv_plan *p;
    const bnc_real *weight;
    bnc_real *packed;
} packing;

/* The numbers that one tap of one block takes from the weight (co, cin, kh, kw); `at`: the tap's place in a kernel. */
static void pack_tap(const conv_plan *p, const bnc_real *weight, int64_t at, int64_t group,
                     int64_t first, bnc_real *to)
{
    const bnc_conv *g = p->g;
    const int64_t kernel = g->kh * g->kw, cin = g->ci / g->groups, cout = g->co / g->groups;
    const int64_t some = bnc_min(p->block, p->out.group - first), in = p->in.group;
    const bnc_real *from = weight + group * cout * cin * kernel + at;
    /* weight[(o cin + c) kernel]: out is o forward and c backward */
    const int64_t in_step = (p->backward ? cin : 1) * kernel,
                  out_step = (p->backward ? 1 : cin) * kernel;
    from += first * out_step;
    for (int64_t i = 0; i < in; i++, to += p->block) {
        for (int64_t o = 0; o < some; o++) to[o] = from[i * in_step + o * out_step];
        for (int64_t o = some; o < p->block; o++) to[o] = 0;
    }
}

/* Depthwise: (views, row taps, column taps, channels) */
static void pack_depthwise(const packing *a)
{
    const conv_plan *p = a->p;
    const bnc_conv *g = p->g;
    for (int64_t q = 0; q < p->views; q++) {
        const conv_view *v = p->view + q;
        bnc_real *to = a->packed + v->weights;
        for (int64_t k = 0; k < v->row_taps; k++)
            for (int64_t l = 0; l < v->column_taps; l++, to += g->ci)
                KERNELS->copy_rows(a->weight + v->row_tap[k] * g->kw + v->column_tap[l], 0,
                                   g->kh * g->kw, to, 0, 1, g->ci);
    }
}

static void pack_block(int64_t chunk, void *arg)
{
    const packing *a = arg;
    const conv_plan *p = a->p;
    const int64_t group = chunk / p->blocks, block = chunk % p->blocks;
    for (int64_t q = 0; q < p->views; q++) {
        const conv_view *v = p->view + q;
        const int64_t one = p->in.group * p->block, taps = v->row_taps * v->column_taps;
        bnc_real *to = a->packed + group * p->packed + v->weights + block * taps * one;
        for (int64_t k = 0; k < v->row_taps; k++)
            for (int64_t l = 0; l < v->column_taps; l++, to += one)
                pack_tap(p, a->weight, v->row_tap[k] * p->g->kw + v->column_tap[l], group,
                         block * p->block, to);
    }
}

void conv_pack(const conv_plan *p, const bnc_real *weight, int threads, bnc_real *to)
{
    packing a = {p, weight, to};
    if (p->depthwise)
        pack_depthwise(&a);
    else
        bnc_run(pack_block, &a, p->groups * p->blocks, threads);
}

/* Rows [low, high) of the image, w + around pixels of `pitch` values apart. */
static void copy_inside(const conv_image *image, int channels_last, const bnc_real *x,
                        int64_t group, int64_t low, int64_t high, int64_t around, int64_t pitch,
                        bnc_real *to)
{
    const int64_t c = image->group, w = image->w, plane = image->h * w;
    const int64_t rows = around ? high - low : 1, n = around ? w : (high - low) * w;
    const int one_run = c == image->channels && pitch == c; /* of all pixels of a row */
    for (int64_t r = 0; r < rows; r++, to += (w + around) * pitch) {
        const int64_t at = (low + r) * w; /* without borders rows follow each other on both sides */
        if (channels_last)
            KERNELS->copy_rows(x + at * image->channels + group * c, image->channels, 1, to, pitch,
                               one_run ? 1 : n, one_run ? n * c : c);
        else
            KERNELS->transpose(x + group * c * plane + at, plane, to, pitch, c, n);
    }
}

void conv_copy_rows(const conv_image *image, int channels_last, const bnc_real *x, int64_t group,
                    int64_t low, int64_t high, int64_t left, int64_t right, int64_t pitch,
                    bnc_real *to)
{
    const int64_t row = (left + image->w + right) * pitch, first = bnc_max(0, low),
                  end = bnc_max(first, bnc_min(image->h, high));
    bnc_real *inside = to + (first - low) * row;
    if (pitch > image->group) {
        memset(to, 0, (size_t)((high - low) * row) * sizeof *to);
    } else {
        memset(to, 0, (size_t)(bnc_min(first, high) - low) * (size_t)row * sizeof *to);
        for (int64_t r = 0; r < end - first && left + right; r++) {
            memset(inside + r * row, 0, (size_t)(left * pitch) * sizeof *to);
            memset(inside + (r + 1) * row - right * pitch, 0, (size_t)(right * pitch) * sizeof *to);
        }
        if (high > end)
            memset(to + (end - low) * row, 0, (size_t)((high - end) * row) * sizeof *to);
    }
    copy_inside(image, channels_last, x, group, first, end, left + right, pitch,
                inside + left * pitch);
}

/* Convolutions with 3x3 kernels and without strides by Winograd's F(2x2, 3x3) (kernels/winograd.c). Tiles of two by two outputs are
 * taken row by row of tiles, through all images; a chunk of them is transformed, multiplied by the transformed weights in 16
 * products, and transformed back, all within a second-level cache. Results differ from the direct way's by rounding; and an
 * infinite or NaN input reaches all outputs of its tiles, which is why it can be switched off. */
#include "conv.h"

#include <stdatomic.h>

enum {
    LINE = 64 /
        sizeof(
            bnc_real), /* between slabs: at a power of two they would share cache sets (up to twice as slow) */
    LEAST_CHANNELS = 16, /* fewer spend more on transforms than products save */
    VALUES = 4096,       /* tiles times channels of a chunk, about: 2048 to 8192 are as fast */
    ENOUGH_CHUNKS = 16,
};

typedef struct {
    const conv_call *call;
    bnc_real *u;               /* (groups, 16, in, wide_out): transformed weights */
    int64_t wide_in, wide_out; /* channels of a group, whole vectors */
    int64_t across, down;      /* tiles of an image */
    int64_t per;               /* rows of tiles of a chunk */
    int64_t left, right,
        offset; /* columns of zeros at the sides of copied rows; where the first tile begins in them */
    int64_t v_slab, m_slab;
    atomic_int failed;
} job;

int conv_winograd_fits(const conv_plan *p)
{
    const conv_view *v = p->view;
    if (!bnc_winograd() || p->depthwise || p->views != 1 || !v->joined) return 0;
    const int plain = v->in_row == 1 && v->in_column == 1 && v->row_taps == 3 &&
                      v->column_taps == 3 && v->row_at[2] == v->row_at[0] + 2;
    return plain && p->in.group >= LEAST_CHANNELS && p->out.group >= LEAST_CHANNELS &&
           p->out.h > 1 && p->out.w > 1;
}

/* Input channel k % in of group k / in. */
static void transform_weight(int64_t k, void *arg)
{
    const job *j = arg;
    const conv_plan *p = &j->call->p;
    const int64_t in = p->in.group, group = k / in, i = k % in, pitch = in * p->block;
    const bnc_real *packed = j->call->weight + group * p->packed + i * p->block;
    bnc_real *u = j->u + (group * 16 * in + i) * j->wide_out;
    for (int64_t b = 0; b < p->blocks; b++)
        KERNELS->winograd_weight(packed + b * 9 * pitch, pitch, p->block, u + b * p->block,
                                 in * j->wide_out);
}

/* The part of a chunk that lies in one image: rows [first, end) of tiles, the chunk's from number `done` on. */
typedef struct {
    int64_t image, first, end, done;
} piece;

static int next_piece(const job *j, int64_t begin, int64_t end, piece *q)
{
    const int64_t at = begin + q->done;
    if (at >= end) return 0;
    q->image = at / j->down, q->first = at % j->down;
    q->end = bnc_min(j->down, q->first + end - at);
    return 1;
}

static void transform_input(const job *j, const piece *q, int64_t group, bnc_real *rows,
                            bnc_real *v)
{
    const conv_plan *p = &j->call->p;
    const int64_t low = 2 * q->first + p->view->row_at[0],
                  high = 2 * q->end + p->view->row_at[0] + 2,
                  row = (j->left + p->in.w + j->right) * j->wide_in;
    conv_copy_rows(&p->in, p->g->channels_last,
                   j->call->from + q->image * p->in.channels * p->in.h * p->in.w, group, low, high,
                   j->left, j->right, j->wide_in, rows);
    for (int64_t t = q->first; t < q->end; t++)
        KERNELS->winograd_input(rows + 2 * (t - q->first) * row + j->offset * j->wide_in, row,
                                j->wide_in, j->across,
                                v + (q->done + t - q->first) * j->across * j->wide_in, j->v_slab);
}

static void transform_output(const job *j, const piece *q, int64_t group, const bnc_real *m,
                             bnc_real *scratch)
{
    const conv_plan *p = &j->call->p;
    const int64_t from = 2 * q->first, to = bnc_min(2 * q->end, p->out.h);
    const conv_rows out = conv_rows_of(j->call, q->image, group, from, scratch);
    for (int64_t t = q->first; t < q->end; t++)
        KERNELS->winograd_output(m + (q->done + t - q->first) * j->across * j->wide_out, j->m_slab,
                                 j->wide_out, p->out.group, bnc_min(2, p->out.h - 2 * t), p->out.w,
                                 out.at + (2 * t - from) * out.row, out.row, out.pitch);
    conv_rows_done(j->call, q->image, group, from, to, scratch);
}

/* The memory of a chunk. */
typedef struct {
    bnc_real *v, *m, *rows, *out;
} scratch;

static void *take_scratch(const job *j, scratch *s)
{
    const conv_plan *p = &j->call->p;
    const int64_t tile_rows = bnc_min(j->per, j->down), row = j->left + p->in.w + j->right;
    const size_t one = sizeof(bnc_real), v = bnc_padded((size_t)(16 * j->v_slab) * one),
                 m = bnc_padded((size_t)(16 * j->m_slab) * one),
                 rows = bnc_padded((size_t)((2 * tile_rows + 2) * row * j->wide_in) * one),
                 out = p->g->channels_last
                           ? 0
                           : (size_t)(2 * tile_rows * p->out.w * p->out.group) * one;
    void *memory = bnc_pool_get(v + m + rows + out);
    if (!memory) return 0;
    bnc_arena arena = {memory};
    s->v = bnc_take(&arena, v);
    s->m = bnc_take(&arena, m);
    s->rows = bnc_take(&arena, rows);
    s->out = bnc_take(&arena, out);
    return memory;
}

static void chunk(int64_t k, void *arg)
{
    job *j = arg;
    const conv_plan *p = &j->call->p;
    const int64_t begin = k * j->per, end = bnc_min(begin + j->per, p->g->n * j->down),
                  tiles = (end - begin) * j->across, in = p->in.group;
    scratch s;
    void *memory = take_scratch(j, &s);
    if (!memory) {
        atomic_store(&j->failed, 1);
        return;
    }
    for (int64_t group = 0; group < p->groups; group++) {
        for (piece q = {0}; next_piece(j, begin, end, &q); q.done += q.end - q.first)
            transform_input(j, &q, group, s.rows, s.v);
        const bnc_real *u = j->u + group * 16 * in * j->wide_out;
        for (int i = 0; i < 16; i++)
            KERNELS->gemm(0, s.v + i * j->v_slab, j->wide_in, u + i * in * j->wide_out, j->wide_out,
                          s.m + i * j->m_slab, j->wide_out, tiles, j->wide_out, in, 0);
        for (piece q = {0}; next_piece(j, begin, end, &q); q.done += q.end - q.first)
            transform_output(j, &q, group, s.m, s.out);
    }
    bnc_pool_put(memory);
}

int conv_winograd(conv_call *a, int threads)
{
    const conv_plan *p = &a->p;
    const int64_t rows = p->g->n * bnc_ceil_div(p->out.h, 2), at = p->view->column_at[0];
    job j = {.call = a,
             .wide_in = bnc_ceil_div(p->in.group, BNC_LANES) * BNC_LANES,
             .wide_out = p->blocks * p->block,
             .across = bnc_ceil_div(p->out.w, 2),
             .down = bnc_ceil_div(p->out.h, 2),
             .left = bnc_max(0, -at),
             .offset = bnc_max(0, at)};
    j.right = bnc_max(0, 2 * j.across + 2 + at - p->in.w);
    const int64_t some = VALUES / (j.across * bnc_max(j.wide_in, j.wide_out));
    j.per = bnc_max(1, bnc_min(some, bnc_ceil_div(rows, ENOUGH_CHUNKS)));
    j.v_slab = j.per * j.across * j.wide_in + LINE;
    j.m_slab = j.per * j.across * j.wide_out + LINE;
    j.u = bnc_pool_get((size_t)(p->groups * 16 * p->in.group * j.wide_out) * sizeof(bnc_real));
    if (!j.u) return BNC_NO_MEMORY;
    bnc_run(transform_weight, &j, p->groups * p->in.group, threads);
    bnc_run(chunk, &j, bnc_ceil_div(rows, j.per), threads);
    bnc_pool_put(j.u);
    return j.failed ? BNC_NO_MEMORY : BNC_OK;
}

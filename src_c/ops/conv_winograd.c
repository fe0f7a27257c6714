/* Convolutions with 3x3 kernels and without strides by Winograd's F(2x2, 3x3) or F(4x4, 3x3): a chunk of tiles is transformed,
 * multiplied by the transformed weights in 16 or 36 products, and transformed back. Results differ from the direct way's by rounding, and an
 * infinite input gives NaN in the outputs it reaches, not infinity, which is why it can be switched off. */
#include "conv_winograd.h"

#include <stdatomic.h>

enum {
    LEAST_CHANNELS = 16, /* fewer spend more on transforms than products save */
    LEAST_TILES =
        16, /* of a chunk: for fewer the transformed weights of many channels are read too often */
    ENOUGH_CHUNKS = 16,
    ENOUGH_LARGE_TILES = 16,
};

static int fits(const conv_plan *p)
{
    const conv_view *v = p->view;
    if (p->depthwise || p->views != 1 || !v->joined) return 0;
    const int plain = v->in_row == 1 && v->in_column == 1 && v->row_taps == 3 &&
                      v->column_taps == 3 && v->row_at[2] == v->row_at[0] + 2;
    return plain && p->in.group >= LEAST_CHANNELS && p->out.group >= LEAST_CHANNELS &&
           p->out.h > 1 && p->out.w > 1;
}

/* Of the tiles allowed those that need fewer products; the large ones' weights, 36 numbers for 9, are worth reading for some. */
conv_way conv_winograd_choose(const conv_plan *p, int64_t images)
{
    const int largest = bnc_winograd();
    if (largest < 2 || !fits(p)) return CONV_DIRECT;
    const int64_t twos = bnc_ceil_div(p->out.h, 2) * bnc_ceil_div(p->out.w, 2),
                  fours = bnc_ceil_div(p->out.h, 4) * bnc_ceil_div(p->out.w, 4);
    return largest >= 4 && images * fours >= ENOUGH_LARGE_TILES && 36 * fours < 16 * twos
               ? CONV_WINOGRAD4
               : CONV_WINOGRAD2;
}

static int slabs_of(int tile) { return (tile + 2) * (tile + 2); }

conv_tiles conv_tiles_of(const conv_plan *p, int tile, int64_t chunks)
{
    const int64_t at = p->view->column_at[0];
    conv_tiles t = {.p = p,
                    .tile = tile,
                    .slabs = slabs_of(tile),
                    .wide_in = bnc_ceil_div(p->in.group, BNC_LANES) * BNC_LANES,
                    .wide_out = bnc_ceil_div(p->out.group, BNC_LANES) * BNC_LANES,
                    .across = bnc_ceil_div(p->out.w, tile),
                    .down = bnc_ceil_div(p->out.h, tile),
                    .left = bnc_max(0, -at),
                    .offset = bnc_max(0, at)};
    t.right = bnc_max(0, tile * t.across + 2 + at - p->in.w);
    t.rows = p->g->n * t.down;
    const int64_t values = tile == 4 ? BNC_LARGE_TILE_VALUES : BNC_TILE_VALUES,
                  some = bnc_max(values / (t.across * bnc_max(t.wide_in, t.wide_out)),
                                 bnc_ceil_div(LEAST_TILES, t.across));
    t.per = bnc_max(1, bnc_min(some, bnc_ceil_div(t.rows, chunks)));
    t.in_slab = t.per * t.across * t.wide_in + BNC_SLAB_GAP;
    t.out_slab = t.per * t.across * t.wide_out + BNC_SLAB_GAP;
    return t;
}

void conv_tiles_input(const conv_tiles *t, const conv_piece *q, int64_t group, const bnc_real *from,
                      bnc_real *rows, bnc_real *v)
{
    const conv_plan *p = t->p;
    const int64_t low = t->tile * q->first + p->view->row_at[0],
                  row = (t->left + p->in.w + t->right) * t->wide_in;
    conv_copy_rows(&p->in, p->g->channels_last,
                   from + q->image * p->in.channels * p->in.h * p->in.w, group, low,
                   low + t->tile * (q->end - q->first) + 2, t->left, t->right, t->wide_in, rows);
    for (int64_t i = 0; i < q->end - q->first; i++)
        WINOGRAD(t->tile, input)(rows + t->tile * i * row + t->offset * t->wide_in, row, t->wide_in,
                                 t->across, v + (q->done + i) * t->across * t->wide_in, t->in_slab);
}

/* ---- the weight: (groups, slabs, in, wide_out) */

typedef struct {
    const conv_plan *p;
    const bnc_real *packed;
    bnc_real *u;
    int64_t wide;
    int tile;
} weight_job;

/* Input channel k % in of group k / in. */
static void transform_weight(int64_t k, void *arg)
{
    const weight_job *j = arg;
    const conv_plan *p = j->p;
    const int64_t in = p->in.group, group = k / in, i = k % in, pitch = in * p->block,
                  wide = j->wide, slabs = slabs_of(j->tile);
    const bnc_real *packed = j->packed + group * p->packed + i * p->block;
    bnc_real *u = j->u + (group * slabs * in + i) * wide;
    if (p->blocks * p->block < wide)
        for (int64_t s = 0; s < slabs; s++) memset(u + s * in * wide, 0, (size_t)wide * sizeof *u);
    for (int64_t b = 0; b < p->blocks; b++)
        WINOGRAD(j->tile, weight)(packed + b * 9 * pitch, pitch, p->block, u + b * p->block,
                                  in * wide);
}

static int64_t wide_out(const conv_plan *p)
{ return bnc_ceil_div(p->out.group, BNC_LANES) * BNC_LANES; }

int64_t conv_winograd_weight_values(const conv_plan *p, int tile)
{ return p->groups * slabs_of(tile) * p->in.group * wide_out(p); }

void conv_winograd_transform(const conv_plan *p, int tile, const bnc_real *packed, int threads,
                             bnc_real *to)
{
    weight_job j = {p, packed, to, wide_out(p), tile};
    bnc_run(transform_weight, &j, p->groups * p->in.group, threads);
}

/* ---- the images */

typedef struct {
    const conv_call *call;
    conv_tiles t;
    atomic_int failed;
} job;

static void transform_output(const job *j, const conv_piece *q, int64_t group, const bnc_real *m,
                             bnc_real *scratch)
{
    const conv_tiles *t = &j->t;
    const conv_image *image = &t->p->out;
    const int64_t from = t->tile * q->first, to = bnc_min(t->tile * q->end, image->h);
    const conv_rows out = conv_rows_of(j->call, q->image, group, from, scratch);
    for (int64_t i = 0; i < q->end - q->first; i++)
        WINOGRAD(t->tile, output)(m + (q->done + i) * t->across * t->wide_out, t->out_slab,
                                  t->wide_out, image->group,
                                  bnc_min(t->tile, to - from - t->tile * i), image->w,
                                  out.at + t->tile * i * out.row, out.row, out.pitch);
    conv_rows_done(j->call, q->image, group, from, to, scratch);
}

/* The memory of a chunk. */
typedef struct {
    bnc_real *v, *m, *rows, *out;
} scratch;

static void *take_scratch(const conv_tiles *t, scratch *s)
{
    const conv_plan *p = t->p;
    const size_t one = sizeof(bnc_real), v = bnc_padded((size_t)(t->slabs * t->in_slab) * one),
                 m = bnc_padded((size_t)(t->slabs * t->out_slab) * one),
                 rows = bnc_padded((size_t)conv_tiles_row_values(t) * one);
    const int64_t outputs = t->tile * bnc_min(t->per, t->down) * p->out.w * p->out.group;
    void *memory = bnc_pool_get(v + m + rows + (p->g->channels_last ? 0 : (size_t)outputs * one));
    bnc_arena arena = {memory};
    if (!memory) return 0;
    s->v = bnc_take(&arena, v);
    s->m = bnc_take(&arena, m);
    s->rows = bnc_take(&arena, rows);
    s->out = (bnc_real *)arena.next;
    return memory;
}

static void chunk(int64_t k, void *arg)
{
    job *j = arg;
    const conv_tiles *t = &j->t;
    const int64_t begin = k * t->per, end = bnc_min(begin + t->per, t->rows),
                  tiles = (end - begin) * t->across, in = t->p->in.group;
    scratch s;
    void *memory = take_scratch(t, &s);
    if (!memory) {
        atomic_store(&j->failed, 1);
        return;
    }
    for (int64_t group = 0; group < t->p->groups; group++) {
        for (conv_piece q = {0}; conv_tiles_piece(t, begin, end, &q); q.done += q.end - q.first)
            conv_tiles_input(t, &q, group, j->call->from, s.rows, s.v);
        const bnc_real *u = j->call->weight + group * t->slabs * in * t->wide_out;
        for (int64_t i = 0; i < t->slabs; i++) {
            bnc_ahead_fetch(j->call->ahead, BNC_AHEAD_PIECE);
            KERNELS->gemm(0, s.v + i * t->in_slab, t->wide_in, u + i * in * t->wide_out,
                          t->wide_out, s.m + i * t->out_slab, t->wide_out, tiles, t->wide_out, in,
                          0);
        }
        for (conv_piece q = {0}; conv_tiles_piece(t, begin, end, &q); q.done += q.end - q.first)
            transform_output(j, &q, group, s.m, s.out);
    }
    bnc_pool_put(memory);
}

int conv_winograd(const conv_call *a, int threads)
{
    job j = {.call = a,
             .t = conv_tiles_of(&a->p, conv_tile(a->way), threads > 1 ? ENOUGH_CHUNKS : 1)};
    bnc_run(chunk, &j, bnc_ceil_div(j.t.rows, j.t.per), threads);
    return j.failed ? BNC_NO_MEMORY : BNC_OK;
}

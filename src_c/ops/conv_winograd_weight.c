/* The weight gradient in Winograd's way: G' (sum over tiles of (B' x B) (A dy A')) G, a product a slab for a chunk of tiles.
 * Sums are (groups, slabs, in, wide_out). */
#include "conv_weight.h"

/* A piece of dy, transformed to its place in z (16, tiles, wide_out). */
static void transform_gradient(const conv_tiles *t, const bnc_real *dy, const conv_piece *q,
                               int64_t group, bnc_real *rows, bnc_real *z)
{
    const conv_image *image = &t->p->out;
    const int64_t right = t->tile * t->across - image->w, row = t->tile * t->across * t->wide_out;
    conv_copy_rows(image, t->p->g->channels_last,
                   dy + q->image * image->channels * image->h * image->w, group, t->tile * q->first,
                   t->tile * q->end, 0, right, t->wide_out, rows);
    for (int64_t i = 0; i < q->end - q->first; i++)
        WINOGRAD(t->tile, gradient)(rows + t->tile * i * row, row, t->wide_out, t->across,
                                    z + (q->done + i) * t->across * t->wide_out, t->out_slab);
}

/* The products of a chunk's tiles. */
static void multiply(const conv_tiles *t, int64_t tiles, const bnc_real *v, const bnc_real *z,
                     int add, bnc_real *sums, bnc_ahead *ahead)
{
    const int64_t in = t->p->in.group;
    for (int64_t i = 0; i < t->slabs; i++) {
        bnc_ahead_fetch(ahead, BNC_AHEAD_PIECE);
        KERNELS->gemm(1, v + i * t->in_slab, t->wide_in, z + i * t->out_slab, t->wide_out,
                      sums + i * in * t->wide_out, t->wide_out, in, t->wide_out, tiles, add);
    }
}

void conv_weight_tiles_ready(conv_weight_call *a)
{
    a->t = conv_tiles_of(&a->p, conv_tile(a->way), 1);
    a->units = a->t.down;
    a->size = a->p.groups * a->t.slabs * a->p.in.group * a->t.wide_out;
}

int conv_weight_tiles_add(const conv_weight_call *a, const bnc_real *x, const bnc_real *dy,
                          int64_t begin, int64_t end, int first, bnc_real *sums, bnc_ahead *ahead)
{
    const conv_tiles *t = &a->t;
    const int64_t one = sizeof(bnc_real),
                  dy_rows = t->tile * bnc_min(t->per, t->down) * t->tile * t->across * t->wide_out;
    const size_t v = bnc_padded((size_t)(t->slabs * t->in_slab * one)),
                 z = bnc_padded((size_t)(t->slabs * t->out_slab * one));
    bnc_arena arena = {
        bnc_pool_get(v + z + (size_t)(bnc_max(conv_tiles_row_values(t), dy_rows) * one))};
    void *memory = arena.next;
    if (!memory) return BNC_NO_MEMORY;
    bnc_real *vs = bnc_take(&arena, v), *zs = bnc_take(&arena, z), *rows = (bnc_real *)arena.next;
    for (int64_t from = begin, to; from < end; from = to) {
        to = bnc_min(from + t->per, end);
        for (int64_t group = 0; group < a->p.groups; group++) {
            for (conv_piece q = {0}; conv_tiles_piece(t, from, to, &q); q.done += q.end - q.first) {
                conv_tiles_input(t, &q, group, x, rows, vs);
                transform_gradient(t, dy, &q, group, rows, zs);
            }
            multiply(t, (to - from) * t->across, vs, zs, !first || from > begin,
                     sums + group * (a->size / a->p.groups), ahead);
        }
    }
    bnc_pool_put(memory);
    return BNC_OK;
}

typedef struct {
    const conv_weight_call *call;
    const bnc_real *sums;
    bnc_real *dweight;
} unpacking;

/* Input channel k % in of group k / in: dweight (co, in, 3, 3). */
static void unpack(int64_t k, void *arg)
{
    const unpacking *u = arg;
    const conv_plan *p = &u->call->p;
    const conv_tiles *t = &u->call->t;
    const int64_t in = p->in.group, out = p->out.group, wide = t->wide_out, group = k / in,
                  i = k % in;
    bnc_real taps[9 * BNC_LANES];
    for (int64_t o = 0; o < out; o += BNC_LANES) {
        WINOGRAD(t->tile, weight_gradient)(u->sums + (group * t->slabs * in + i) * wide + o,
                                           in * wide, BNC_LANES, taps, BNC_LANES);
        KERNELS->transpose(taps, BNC_LANES, u->dweight + ((group * out + o) * in + i) * 9, in * 9,
                           9, bnc_min(BNC_LANES, out - o));
    }
}

void conv_weight_tiles_unpack(const conv_weight_call *a, const bnc_real *sums, bnc_real *dweight,
                              int threads)
{
    unpacking u = {a, sums, dweight};
    bnc_run(unpack, &u, a->p.groups * a->p.in.group, threads);
}

/* The weight gradient by Winograd's F(2x2, 3x3): G' (sum over tiles of (B' x B) (A dy A')) G, 16 products a chunk of tiles.
 * As the direct way does it (conv_weight.c), parts that depend on sizes alone have sums of their own, added up in order. */
#include "conv_winograd.h"

#include <stdatomic.h>

enum { MAX_PARTS = 16, PARTS_BYTES = 64 << 20 };

typedef struct {
    conv_tiles t;
    const bnc_real *x, *dy;
    bnc_real *sums, *dweight; /* sums: (parts, groups, 16, in, wide_out) */
    int64_t parts, size;      /* size: of one part's */
    atomic_int failed;
} job;

/* A piece of dy, transformed to its place in z (16, tiles, wide_out). */
static void transform_gradient(const job *j, const conv_piece *q, int64_t group, bnc_real *rows,
                               bnc_real *z)
{
    const conv_tiles *t = &j->t;
    const conv_image *image = &t->p->out;
    const int64_t right = 2 * t->across - image->w, row = 2 * t->across * t->wide_out;
    conv_copy_rows(image, t->p->g->channels_last,
                   j->dy + q->image * image->channels * image->h * image->w, group, 2 * q->first,
                   2 * q->end, 0, right, t->wide_out, rows);
    for (int64_t i = 0; i < q->end - q->first; i++)
        KERNELS->winograd_gradient(rows + 2 * i * row, row, t->wide_out, t->across,
                                   z + (q->done + i) * t->across * t->wide_out, t->out_slab);
}

/* The products of a chunk's tiles. */
static void multiply(const job *j, int64_t tiles, const bnc_real *v, const bnc_real *z, int add,
                     bnc_real *sums)
{
    const conv_tiles *t = &j->t;
    const int64_t in = t->p->in.group;
    for (int i = 0; i < 16; i++)
        KERNELS->gemm(1, v + i * t->in_slab, t->wide_in, z + i * t->out_slab, t->wide_out,
                      sums + i * in * t->wide_out, t->wide_out, in, t->wide_out, tiles, add);
}

static void sum_part(int64_t part, void *arg)
{
    job *j = arg;
    const conv_tiles *t = &j->t;
    const int64_t last = t->rows * (part + 1) / j->parts, one = sizeof(bnc_real);
    const int64_t dy_rows = 2 * bnc_min(t->per, t->down) * 2 * t->across * t->wide_out;
    const size_t v = bnc_padded((size_t)(16 * t->in_slab * one)),
                 z = bnc_padded((size_t)(16 * t->out_slab * one));
    bnc_arena arena = {
        bnc_pool_get(v + z + (size_t)(bnc_max(conv_tiles_row_values(t), dy_rows) * one))};
    void *memory = arena.next;
    if (!memory) {
        atomic_store(&j->failed, 1);
        return;
    }
    bnc_real *vs = bnc_take(&arena, v), *zs = bnc_take(&arena, z), *rows = (bnc_real *)arena.next;
    const int64_t first = t->rows * part / j->parts;
    for (int64_t begin = first, end; begin < last; begin = end) {
        end = bnc_min(begin + t->per, last);
        for (int64_t group = 0; group < t->p->groups; group++) {
            for (conv_piece q = {0}; conv_tiles_piece(t, begin, end, &q);
                 q.done += q.end - q.first) {
                conv_tiles_input(t, &q, group, j->x, rows, vs);
                transform_gradient(j, &q, group, rows, zs);
            }
            multiply(j, (end - begin) * t->across, vs, zs, begin > first,
                     j->sums + part * j->size + group * (j->size / t->p->groups));
        }
    }
    bnc_pool_put(memory);
}

/* Sixteen output channels of input channel k % in of group k / in: dweight (co, in, 3, 3). */
static void unpack(int64_t k, void *arg)
{
    const job *j = arg;
    const conv_plan *p = j->t.p;
    const int64_t in = p->in.group, out = p->out.group, wide = j->t.wide_out, group = k / in,
                  i = k % in;
    bnc_real taps[9 * BNC_LANES];
    for (int64_t o = 0; o < out; o += BNC_LANES) {
        KERNELS->winograd_weight_gradient(j->sums + (group * 16 * in + i) * wide + o, in * wide,
                                          BNC_LANES, taps, BNC_LANES);
        KERNELS->transpose(taps, BNC_LANES, j->dweight + ((group * out + o) * in + i) * 9, in * 9,
                           9, bnc_min(BNC_LANES, out - o));
    }
}

int conv_winograd_weight(const conv_plan *p, const bnc_real *x, const bnc_real *dy,
                         bnc_real *dweight, int threads)
{
    job j = {.t = conv_tiles_of(p, MAX_PARTS), .x = x, .dy = dy, .dweight = dweight};
    j.size = p->groups * 16 * p->in.group * j.t.wide_out;
    const int64_t room = PARTS_BYTES / (int64_t)sizeof(bnc_real) / j.size;
    j.parts = bnc_max(1, bnc_min(bnc_min(MAX_PARTS, j.t.rows), room));
    j.sums = bnc_pool_get((size_t)(j.parts * j.size) * sizeof(bnc_real));
    if (!j.sums) return BNC_NO_MEMORY;
    bnc_run(sum_part, &j, j.parts, threads);
    conv_merge_parts(j.sums, j.sums + j.size, j.parts - 1, j.size, threads);
    bnc_run(unpack, &j, p->groups * p->in.group, threads);
    bnc_pool_put(j.sums);
    return j.failed ? BNC_NO_MEMORY : BNC_OK;
}

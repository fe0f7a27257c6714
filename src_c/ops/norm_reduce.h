/* The chunk grids of a norm's reductions and element-wise passes: ranges of rows, or boxes of slabs. */
#ifndef BNC_NORM_REDUCE_H
#define BNC_NORM_REDUCE_H

#include "norm_layout.h"

/* Columns: the rows of chunk k. */
static inline void bnc_chunk_rows(const bnc_layout *l, int64_t k, int64_t *begin, int64_t *end)
{
    *begin = k * l->chunk_rows;
    *end = bnc_min(*begin + l->chunk_rows, l->rows);
}

/* Slabs: chunk k covers items [n0, n1), elements [s0, s1) of each slab, channels [c0, c1); its sums are partial `part`. */
typedef struct {
    int64_t n0, n1, s0, s1, c0, c1, part;
} bnc_box;

static inline bnc_box bnc_chunk_box(const bnc_layout *l, int64_t k)
{
    const int64_t c = k % l->c_blocks, part = k / l->c_blocks, s = part % l->s_blocks,
                  n = part / l->s_blocks;
    return (bnc_box){n * l->n_per, bnc_min((n + 1) * l->n_per, l->n),
                     s * l->s_per, bnc_min((s + 1) * l->s_per, l->s),
                     c * l->c_per, bnc_min((c + 1) * l->c_per, l->c),
                     part};
}

static inline int64_t bnc_reduction_chunks(const bnc_layout *l)
{ return l->columns ? l->partials : l->partials * l->c_blocks; }

/* Slabs of a box are taken `group` samples at a time, long ones in runs of BNC_RUN elements. */
static inline int64_t bnc_group(const bnc_box *b) { return bnc_max(1, BNC_RUN / (b->s1 - b->s0)); }

#endif

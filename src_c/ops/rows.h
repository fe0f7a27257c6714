/* How a norm over rows walks its array: all of it follows from the shape alone, so that the same bits come out for any
 * number of threads. Rows are the unit: chunks of them for the team, and inside a chunk groups that stay in cache between
 * the passes. Few very long rows are taken one after the other, each cut into pieces for the team. */
#ifndef BNC_ROWS_OP_H
#define BNC_ROWS_OP_H

#include "op.h"

enum {
    BNC_ROW_GROUP = 4096,  /* elements of a group: x, dy and dx stay in the first-level cache */
    BNC_ROW_CHUNK = 32768, /* elements of a chunk, at least */
    BNC_ROW_PIECE = 32768, /* elements of a piece of a long row */
    BNC_FEW_ROWS = 32,     /* fewer rows than this ... */
    BNC_LONG_ROW = 4 * BNC_ROW_PIECE, /* ... of at least so many elements are cut into pieces */
    BNC_ROW_SUMS = 64,                /* rows that column sums take in the precision of the data */
};

static inline int bnc_cut_rows(int64_t rows, int64_t d)
{ return rows < BNC_FEW_ROWS && d >= BNC_LONG_ROW; }

static inline int64_t bnc_piece_length(int64_t piece, int64_t d)
{ return bnc_min(BNC_ROW_PIECE, d - piece * BNC_ROW_PIECE); }

/* gamma and beta as kernels want them: `count` vectors of d reals, constant. */
static inline bnc_real *bnc_constant_vector(bnc_arena *arena, int64_t d, bnc_real value)
{
    bnc_real *v = bnc_take(arena, (size_t)d * sizeof *v);
    for (int64_t j = 0; j < d; j++) v[j] = value;
    return v;
}

#endif

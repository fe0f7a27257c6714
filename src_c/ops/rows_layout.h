/* How a norm over rows walks its array: all of it follows from the shape alone, so that the same bits come out for any
 * number of threads. Rows are the unit: chunks of them for the team, and inside a chunk groups that stay in cache between
 * the passes. Very long rows are taken one after the other, each cut into pieces for the team: forward few of them, backward
 * any number, for every chunk would need column sums of its own. */
#ifndef BNC_ROWS_LAYOUT_H
#define BNC_ROWS_LAYOUT_H

#include "op.h"

enum {
    BNC_ROW_GROUP = 4096,     /* elements of a group: x, dy and dx stay in the first-level cache */
    BNC_ROW_STREAM = 1024,    /* the same for arrays of more than ... */
    BNC_ROW_CACHED = 4 << 20, /* ... so many bytes */
    BNC_ROW_WIDE = 256,       /* columns from which four rows together defeat the prefetchers */
    BNC_ROW_CHUNK = 32768,    /* elements of a chunk, at least */
    BNC_ROW_PIECE = 32768,    /* elements of a piece of a long row */
    BNC_LONG_ROW = 4 * BNC_ROW_PIECE, /* elements of a very long row, at least */
    BNC_FEW_ROWS = 32,                /* so many rows are chunks for any team */
    BNC_ROW_SUMS = 64,                /* rows that column sums take in the precision of the data */
};

/* Whether the array is read from memory: then groups are small, so that reading goes on evenly beside writing; many rows
 * read before any is written leave the prefetchers idle in between. */
static inline int bnc_rows_stream(int64_t rows, int64_t d)
{ return rows * d * (int64_t)sizeof(bnc_real) > BNC_ROW_CACHED; }

static inline int64_t bnc_piece_length(int64_t piece, int64_t d)
{ return bnc_min(BNC_ROW_PIECE, d - piece * BNC_ROW_PIECE); }

/* d times `value`: what stands for a missing gamma or beta. */
static inline bnc_real *bnc_constant_vector(bnc_arena *arena, int64_t d, bnc_real value)
{
    bnc_real *v = bnc_take(arena, (size_t)d * sizeof *v);
    for (int64_t j = 0; j < d; j++) v[j] = value;
    return v;
}

#endif

/* How a norm over rows walks its array: all of it follows from the shape alone, so that the same bits come out for any
 * number of threads. Rows are the unit: chunks of them for the team, and inside a chunk groups that stay in cache between
 * the passes. Very long rows are taken one after the other, each cut into pieces for the team: forward few of them, backward
 * any number, for every chunk would need column sums of its own. */
#ifndef BNC_ROWS_LAYOUT_H
#define BNC_ROWS_LAYOUT_H

#include "plan.h"

enum {
    /* Elements of a group: a quarter of a first-level cache. Between 1024 and 4096 little depends on it: fewer wait for
     * every row's root and quotient, more leave the prefetchers idle in long bursts of reading, then of writing. */
    BNC_ROW_GROUP = 2048,
    /* Columns up to which four rows of x and dy stay in the second-level cache: four share the column sums' traffic. */
    BNC_ROW_FOUR = 8192,
    BNC_ROW_CHUNK =
        8192, /* elements of a chunk, at least: 100000 are 13 chunks, which share out evenly */
    BNC_ROW_PIECE = 32768,            /* elements of a piece of a long row */
    BNC_LONG_ROW = 4 * BNC_ROW_PIECE, /* elements of a very long row, at least */
    BNC_FEW_ROWS = 32,                /* so many rows are chunks for any team, */
    BNC_ROW_TEAM = 8,                 /* and as many chunks, where they should be large, */
    BNC_ROW_PARTS = 32,               /* and so many column sums are merged at most, about */
    BNC_ROW_SUMS = 64,                /* rows that column sums take in the precision of the data */
    /* Lines of a row from which streaming gains more than its ends lose, which share lines with the next rows. */
    BNC_ROW_LINES = 32,
};

/* Whether y or dx, one of `arrays` arrays like it, goes past the caches: from three quarters of what bnc_streams says on,
 * as rows are read and written by turns, and a plain store's line is waited for. (4096, 768) forward on two threads:
 * 0.38-0.65 ms against 0.56-0.77 in three runs, 0.37 against 0.31 in one when the last-level cache was all ours. */
static inline int bnc_rows_stream(const void *out, int64_t rows, int64_t d, int arrays, int threads)
{
    enum { LINE = 64 };
    const int64_t row = d * (int64_t)sizeof(bnc_real);
    const int whole = (uintptr_t)out % LINE == 0 && row % LINE == 0;
    return (whole || row >= BNC_ROW_LINES * LINE) &&
           bnc_streams(arrays * rows * row * 4 / 3, threads);
}

/* Whether rows are cut into pieces. */
static inline int bnc_rows_cut(int64_t rows, int64_t d, int backward)
{ return d >= BNC_LONG_ROW && (backward || rows < BNC_FEW_ROWS); }

/* Rows of a chunk. Backward, enough that writing and merging column sums costs little beside reading the rows, yet chunks
 * for a team. */
static inline int64_t bnc_rows_per_chunk(int64_t rows, int64_t d, int backward)
{
    if (!backward) return bnc_max(1, BNC_ROW_CHUNK / d);
    const int64_t share = bnc_min(BNC_ROW_SUMS, bnc_ceil_div(rows, BNC_ROW_TEAM));
    const int64_t fair = bnc_ceil_div(share, 4) * 4;
    return bnc_max(bnc_ceil_div(BNC_ROW_CHUNK, d),
                   bnc_max(fair, bnc_ceil_div(rows, BNC_ROW_PARTS)));
}

/* Rows measured together, then written while they are in cache. */
static inline int64_t bnc_row_group(int64_t d, int backward)
{
    if (!backward) return bnc_max(1, BNC_ROW_GROUP / d);
    return d > BNC_ROW_FOUR ? 1 : bnc_min(BNC_ROW_SUMS, bnc_max(4, BNC_ROW_GROUP / d / 4 * 4));
}

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

/* What both directions of recurrent layers share: where sequences lie and how they are cut into
 * chunks. Not seen by Cython.
 *
 * Design: given the input products, no sequence of a batch needs another one. So the batch, not
 * time, is cut into chunks: a chunk takes some sequences through all their steps with a product of
 * its own per step, and no thread ever waits for another. Sequences are taken longest first: those
 * of a chunk that are still running are its first ones, and each step is one product. Chunks depend
 * on sizes alone: the same bits for any number of threads. */
#ifndef BNC_OPS_RECURRENT_H
#define BNC_OPS_RECURRENT_H

#include "op.h"

#include <string.h>

typedef struct {
    int64_t n, m, units;
    int64_t width; /* of a row of products: gates x units */
    int reverse;
    const int64_t *lengths;
    int64_t *start;       /* (n,) first row of every sequence */
    int64_t *order;       /* (n,) sequences, longest first; equal ones as they come */
    int64_t rows, chunks; /* sequences of a chunk; chunks */
    int threads;
} sequences;

#define sequences_of BNC_OP(sequences_of)

/* Fills s, whose n, m, units, reverse and lengths are set. `start` is memory to give back. */
int sequences_of(sequences *s, int kind);

/* The row of step `step` (in the order of the computation) of sequence i. */
static inline int64_t row_of(const sequences *s, int64_t i, int64_t step)
{ return s->start[i] + (s->reverse ? s->lengths[i] - 1 - step : step); }

/* How many of a chunk's first sequences have a step number `step`. */
static inline int64_t running(const sequences *s, const int64_t *chunk, int64_t count, int64_t step)
{
    while (count && s->lengths[chunk[count - 1]] <= step) count--;
    return count;
}

/* A chunk's rows of an array (n, units), or zeros. */
static inline void collect(const bnc_real *from, const int64_t *chunk, int64_t count, int64_t units,
                           bnc_real *to)
{
    const size_t bytes = (size_t)units * sizeof *to;
    for (int64_t r = 0; r < count; r++, to += units)
        if (from)
            memcpy(to, from + chunk[r] * units, bytes);
        else
            memset(to, 0, bytes);
}

/* The way back. */
static inline void distribute(const bnc_real *from, const int64_t *chunk, int64_t count,
                              int64_t units, bnc_real *to)
{
    for (int64_t r = 0; r < count; r++)
        memcpy(to + chunk[r] * units, from + r * units, (size_t)units * sizeof *to);
}

#endif

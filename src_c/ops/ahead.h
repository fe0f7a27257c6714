/* Fetching ahead: what the next images of a chain will read comes from memory while these are multiplied, which needs no memory,
 * instead of before. A piece is asked for between products; more at once than memory delivers meanwhile would stop them. */
#ifndef BNC_AHEAD_H
#define BNC_AHEAD_H

#include "op.h"

enum {
    BNC_AHEAD_ARRAYS = 8,
    BNC_AHEAD_LINE = 64,
    BNC_AHEAD_PIECE =
        8192, /* bytes between two products of a chunk of tiles: about as much as memory delivers */
    BNC_AHEAD_ROW = 1024, /* between two rows of pixels */
};

typedef struct {
    const char *at[BNC_AHEAD_ARRAYS], *end[BNC_AHEAD_ARRAYS];
    int arrays, now; /* how many there are, and which one is being fetched */
} bnc_ahead;

/* Adds `count` values to what is to be fetched; twice the same are fetched once, NULL not at all. */
static inline void bnc_ahead_add(bnc_ahead *a, const bnc_real *p, int64_t count)
{
    for (int i = 0; i < a->arrays; i++)
        if (a->at[i] == (const char *)p) return;
    if (!p || a->arrays == BNC_AHEAD_ARRAYS) return;
    a->at[a->arrays] = (const char *)p;
    a->end[a->arrays++] = (const char *)(p + count);
}

/* The next `bytes` of it; NULL: there is nothing to be fetched. */
static inline void bnc_ahead_fetch(bnc_ahead *a, int64_t bytes)
{
    for (; a && bytes > 0 && a->now < a->arrays; bytes -= BNC_AHEAD_LINE) {
        __builtin_prefetch(a->at[a->now], 0, 2); /* to the second-level cache */
        a->at[a->now] += BNC_AHEAD_LINE;
        if (a->at[a->now] >= a->end[a->now]) a->now++;
    }
}

#endif

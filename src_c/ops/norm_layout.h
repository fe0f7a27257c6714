/* How a norm's array is walked: as columns or as slabs, and in which chunks. All of it follows from the shape alone, so
 * that the same bits come out for any number of threads.
 *
 * Columns: (rows, width), every column belonging to one channel. For channels-last and (N, C) a row is c values. Short
 * rows are joined, `joined` of them to one, until a vector is full; short slabs (c, s) are columns too, s per channel.
 * Column j belongs to channel (j / s) % c. What does not fill a whole joined row is the tail, one short row.
 * Slabs: n * c runs of s contiguous values, one channel each. */
#ifndef BNC_NORM_LAYOUT_H
#define BNC_NORM_LAYOUT_H

#include "op.h"

enum {
    BNC_BLOCK_ROWS =
        64, /* rows that one kernel call sums in float lanes; the block stays in the first-level cache */
    BNC_RUN = 4096,      /* the same for slabs, in elements */
    BNC_FULL_WIDTH = 64, /* columns that fill the widest panel */
    BNC_SHORT_SLAB = 64, /* slabs up to this length are walked as columns, if ... */
    BNC_MANY_ROWS = 16,  /* ... there are this many rows of them */
    BNC_CHUNK =
        32768, /* elements of a chunk, about: half of a second-level cache for x and y together */
    BNC_MAX_PARTIALS = 64, /* partial results per channel at most */
};

typedef struct {
    int64_t n, c, s;
    int columns;
    int64_t joined, rows, width, tail; /* columns */
    int64_t chunk_rows;                /* columns: rows of a chunk, a multiple of BLOCK_ROWS */
    int64_t n_per, n_blocks, s_per, s_blocks, c_per, c_blocks; /* slabs: the grid of a reduction */
    int64_t partials; /* partial results per column or channel */
} bnc_layout;

static inline bnc_layout bnc_columns_layout(int64_t n, int64_t c, int64_t s)
{
    bnc_layout l = {.n = n, .c = c, .s = s, .columns = 1};
    const int64_t row = c * s;
    l.joined = bnc_max(1, bnc_min(bnc_ceil_div(BNC_FULL_WIDTH, row), n));
    l.width = row * l.joined;
    l.rows = n / l.joined;
    l.tail = (n % l.joined) * row;
    int64_t rows = bnc_max(BNC_CHUNK / l.width, bnc_ceil_div(l.rows, BNC_MAX_PARTIALS));
    l.chunk_rows = bnc_ceil_div(bnc_max(rows, 1), BNC_BLOCK_ROWS) * BNC_BLOCK_ROWS;
    l.partials = bnc_max(1, bnc_ceil_div(l.rows, l.chunk_rows));
    return l;
}

static inline bnc_layout bnc_slabs_layout(int64_t n, int64_t c, int64_t s)
{
    bnc_layout l = {.n = n, .c = c, .s = s};
    l.s_blocks = bnc_min(bnc_ceil_div(s, 16 * BNC_RUN), BNC_MAX_PARTIALS);
    l.s_per = bnc_ceil_div(bnc_ceil_div(s, l.s_blocks), BNC_RUN) * BNC_RUN;
    l.s_blocks = bnc_ceil_div(s, l.s_per);
    const int64_t group =
        bnc_max(1, BNC_RUN / s); /* slabs of one channel that one kernel call takes */
    const int64_t most = bnc_max(1, BNC_MAX_PARTIALS / 4 / l.s_blocks);
    l.n_per = bnc_ceil_div(bnc_max(group, bnc_ceil_div(n, most)), group) * group;
    l.n_blocks = bnc_ceil_div(n, l.n_per);
    l.c_per = bnc_max(1, BNC_CHUNK / (bnc_min(l.n_per, n) * bnc_min(l.s_per, s)));
    l.c_blocks = bnc_ceil_div(c, l.c_per);
    l.partials = l.n_blocks * l.s_blocks;
    return l;
}

static inline bnc_layout bnc_layout_of(int64_t n, int64_t c, int64_t s)
{
    if (c == 1) s *= n, n = 1; /* one channel is one run */
    if (s == 1 || (s <= BNC_SHORT_SLAB && n >= BNC_MANY_ROWS)) return bnc_columns_layout(n, c, s);
    return bnc_slabs_layout(n, c, s);
}

/* Length of every coefficient array: coefficients of columns are repeated for joined rows and for the slabs' elements. */
static inline int64_t bnc_coefficient_count(const bnc_layout *l)
{ return l->columns ? l->width : l->c; }

/* Repeats (c,) numbers to (width,), in place at the front of `a`. */
static inline void bnc_spread(const bnc_layout *l, bnc_real *a)
{
    if (!l->columns) return;
    if (l->s > 1) KERNELS->spread(a, l->c, l->s);
    const int64_t row = l->c * l->s;
    for (int64_t j = row; j < l->width; j++) a[j] = a[j - row];
}

#endif

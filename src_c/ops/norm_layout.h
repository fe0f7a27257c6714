/* How a norm's array is walked: as columns or as slabs, and in which chunks. All of it follows from the shape alone, so
 * that the same bits come out for any number of threads.
 *
 * Columns: (rows, width), every column belonging to one channel. For channels-last and (N, C) a row is c values. Short
 * rows are joined, `joined` of them to one, until a panel is full; very short slabs (c, s) are columns too, s per channel.
 * Column j belongs to channel (j / s) % c. What does not fill a whole joined row is the tail, one short row.
 * Slabs: n * c runs of s contiguous values, one channel each. */
#ifndef BNC_NORM_LAYOUT_H
#define BNC_NORM_LAYOUT_H

#include "op.h"

enum {
    BNC_BLOCK_ROWS = 64, /* rows measured in two passes; the block stays in the first-level cache */
    BNC_NEAR_ROWS = 256, /* rows that one kernel call sums in float lanes */
    BNC_RUN = 4096,      /* the same for slabs, in elements of a channel */
    BNC_FULL_WIDTH = 64, /* columns that fill the widest panel */
    BNC_CHUNK = 32768,   /* elements of a chunk, about: a quarter of a second-level cache */
    BNC_CHUNK_ROWS = 128,  /* rows that repay the merge of a chunk's columns, ... */
    BNC_FEW_CHUNKS = 8,    /* ... unless that leaves fewer chunks than a team needs */
    BNC_MAX_PARTIALS = 64, /* partial results per channel at most */
    BNC_SLAB_BOX =
        65536, /* elements of some channels of all samples: they stay in the second-level cache */
    BNC_SLAB_RUN =
        4096, /* their elements in one sample, at least: shorter runs leave the prefetchers behind, ... */
    BNC_SHORT_RUN = 1024, /* ... unless all of the array is in second-level caches */
    BNC_WHOLE = 4
        << 20, /* elements of a channel up to which one thread takes all of them, in arrays ... */
    BNC_WHOLE_BELOW = 2
        << 20, /* ... up to so many bytes, which the second-level caches of two threads hold, ... */
    BNC_WHOLE_FROM = 32
        << 20, /* ... and from so many on, which come from memory. In between, from the last-level cache,
                                  two passes in the order of the memory are up to twice as fast */
};

typedef struct {
    int64_t n, c, s;
    int columns;
    int64_t joined, rows, width, tail;                         /* columns */
    int64_t chunk_rows;                                        /* columns: rows of a chunk */
    int64_t n_per, n_blocks, s_per, s_blocks, c_per, c_blocks; /* slabs: the grid of a reduction */
    int64_t partials; /* partial results per column or channel */
    int whole; /* slabs: a chunk has all values of its channels and normalizes them at once */
} bnc_layout;

static inline bnc_layout bnc_columns_layout(int64_t n, int64_t c, int64_t s)
{
    bnc_layout l = {.n = n, .c = c, .s = s, .columns = 1};
    const int64_t row = c * s;
    l.joined = row < BNC_FULL_WIDTH ? bnc_max(1, bnc_min(bnc_ceil_div(BNC_FULL_WIDTH, row), n)) : 1;
    l.width = row * l.joined;
    l.rows = l.joined > 1 ? n / l.joined : n;
    l.tail = (n - l.rows * l.joined) * row;
    l.partials = 1;
    l.chunk_rows = l.rows;
    if (l.rows * l.width <= BNC_CHUNK) return l; /* one chunk, without five divisions */
    /* two element-wise chunks, if enough are left: shifts and merges cost half as often (8 to 20 % of statistics) */
    const int64_t fair = bnc_ceil_div(l.rows, BNC_FEW_CHUNKS);
    const int64_t few = bnc_max(BNC_CHUNK / l.width, bnc_min(BNC_CHUNK_ROWS, fair));
    const int64_t rows = bnc_max(bnc_min(fair, 2 * BNC_CHUNK / l.width), few);
    l.chunk_rows = bnc_ceil_div(bnc_max(rows, bnc_ceil_div(l.rows, BNC_MAX_PARTIALS)), 16) * 16;
    l.partials = bnc_max(1, bnc_ceil_div(l.rows, l.chunk_rows));
    return l;
}

/* Channels that start on a cache line together. */
static inline int64_t bnc_aligned_channels(int64_t s)
{
    int64_t unit = BNC_LANES;
    while (unit > 1 && s % 2 == 0) unit /= 2, s /= 2;
    return unit;
}

/* Some channels of all samples a chunk: whoever measures them can use them at once, while they are in cache. */
static inline void bnc_whole_channels(bnc_layout *l, int large)
{
    const int64_t unit = bnc_aligned_channels(l->s);
    const int64_t run = large ? BNC_SLAB_RUN : BNC_SHORT_RUN;
    const int64_t some = bnc_max(BNC_SLAB_BOX / (l->n * l->s), bnc_ceil_div(run, l->s));
    l->whole = 1;
    l->n_per = l->n, l->s_per = l->s;
    l->n_blocks = l->s_blocks = 1;
    l->c_per = bnc_min(bnc_ceil_div(some, unit) * unit, l->c);
}

/* Boxes that follow the order of the memory: a channel's values in one repay the merge of its sums, as many channels as
 * leave enough chunks make runs long. */
static inline void bnc_boxes(bnc_layout *l)
{
    l->s_blocks = bnc_min(bnc_ceil_div(l->s, 16 * BNC_RUN), BNC_MAX_PARTIALS);
    l->s_per = bnc_ceil_div(bnc_ceil_div(l->s, l->s_blocks), BNC_RUN) * BNC_RUN;
    l->s_blocks = bnc_ceil_div(l->s, l->s_per);
    const int64_t group =
        bnc_max(1, BNC_RUN / l->s); /* slabs of one channel that one kernel call takes */
    const int64_t most = bnc_max(1, BNC_MAX_PARTIALS / 4 / l->s_blocks);
    l->n_per = bnc_ceil_div(bnc_max(group, bnc_ceil_div(l->n, most)), group) * group;
    l->n_blocks = bnc_ceil_div(l->n, l->n_per);
    const int64_t parts = bnc_ceil_div(BNC_FEW_CHUNKS, l->n_blocks * l->s_blocks);
    const int64_t run = bnc_ceil_div(BNC_SLAB_RUN, bnc_min(l->s, l->s_per));
    l->c_per = bnc_min(l->c, bnc_max(bnc_ceil_div(l->c, parts), run));
}

static inline bnc_layout bnc_slabs_layout(int64_t n, int64_t c, int64_t s)
{
    bnc_layout l = {.n = n, .c = c, .s = s};
    const int64_t bytes = n * c * s * (int64_t)sizeof(bnc_real);
    const int large = bytes >= BNC_WHOLE_FROM;
    if ((large || bytes <= BNC_WHOLE_BELOW) && n * s <= BNC_WHOLE && c >= BNC_FEW_CHUNKS)
        bnc_whole_channels(&l, large);
    else
        bnc_boxes(&l);
    l.c_blocks = bnc_ceil_div(c, l.c_per);
    l.partials = l.n_blocks * l.s_blocks;
    return l;
}

/* Slabs shorter than a vector are columns: a vector across more than two channels has no cheap coefficients. */
static inline bnc_layout bnc_layout_of(int64_t n, int64_t c, int64_t s)
{
    if (c == 1) s *= n, n = 1; /* one channel is one run */
    return s < BNC_LANES ? bnc_columns_layout(n, c, s) : bnc_slabs_layout(n, c, s);
}

/* Whether statistics (or gradient sums) and the pass that uses them are one, by chunks of whole channels. `l` is the
 * layout of the reduction. */
static inline int bnc_by_channels(const bnc_shape *m, const bnc_layout *l)
{ return !m->runs && l->whole; }

/* Length of every coefficient array: coefficients of columns are repeated for joined rows and for the slabs' elements, and
 * once more for a vector across the end of a row. */
static inline int64_t bnc_coefficient_count(const bnc_layout *l)
{ return l->columns ? l->width + BNC_LANES : l->c; }

/* Partial sums per partial result. */
static inline int64_t bnc_sum_count(const bnc_layout *l) { return l->columns ? l->width : l->c; }

/* Repeats (c,) numbers to (width + BNC_LANES,), in place at the front of `a`. */
static inline void bnc_spread(const bnc_layout *l, bnc_real *a)
{
    if (!l->columns) return;
    if (l->s > 1) KERNELS->spread(a, l->c, l->s);
    const int64_t row = l->c * l->s, end = l->width + BNC_LANES;
    if (row == l->width && row >= BNC_LANES) { /* the common case, inline */
        memcpy(a + row, a, BNC_LANES * sizeof *a);
        return;
    }
    for (int64_t j = row, more; j < end; j += more) { /* j: a multiple of the row */
        more = bnc_min(j, end - j);
        memcpy(a + j, a, (size_t)more * sizeof *a);
    }
}

#endif

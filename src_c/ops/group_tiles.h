/* How group norm walks x (n, a, c, s), seen as n samples of `groups` groups: in tiles, which stay in cache between their
 * statistics and the pass that uses them, and in chunks of tiles, one partial result each for the parameters' gradients.
 * All of it follows from the shape alone, so that the same bits come out for any number of threads.
 *
 * With a = 1 a group is one run of memory; a tile is some groups of one sample, or some whole samples. With a > 1 groups
 * are interleaved and a tile has whole samples. A tile too large for one thread is shared out inside, by the ops it calls:
 * bnc_run within bnc_run is serial. */
#ifndef BNC_GROUP_TILES_H
#define BNC_GROUP_TILES_H

#include <stdatomic.h>

#include "norm_elementwise.h"

enum {
    BNC_ONE_THREAD = 2 * BNC_GRAIN, /* elements up to which bnc_threads says 1 */
    BNC_TINY_SLAB = 16,             /* slabs so short are walked as columns, even of one row */
    BNC_SHORT_GROUP = 32,           /* values of a group that hardly repay a call of their own */
    BNC_STREAMED_RUN =
        2048, /* bytes of a run that repay its ends, which share lines with other runs */
};

typedef struct {
    int64_t n, a, c, s, groups;
    int64_t channels, values, item; /* channels and values of a group; values of a sample */
    int64_t tile_items, tile_groups;
    int64_t chunk_items, blocks,
        group_blocks; /* samples of a chunk; chunks: blocks x group_blocks */
} bnc_group_grid;

/* Samples [i0, i0 + items), groups [g0, g0 + groups) of each; `groups` is all of them if items > 1. */
typedef struct {
    int64_t i0, items, g0, groups, channels;
    int64_t offset; /* of its first element; of its first channel: c0 */
    int64_t c0;
} bnc_tile;

/* No size may be 0. */
static inline bnc_group_grid bnc_group_grid_of(int64_t n, int64_t a, int64_t c, int64_t s,
                                               int64_t groups)
{
    bnc_group_grid g = {.n = n, .a = a, .c = c, .s = s, .groups = groups};
    g.channels = c / groups;
    g.values = g.channels * a * s;
    g.item = c * a * s;
    g.tile_items = bnc_max(1, BNC_CHUNK / g.item);
    g.tile_groups = groups;
    if (a == 1 && g.item > BNC_CHUNK)
        g.tile_groups = bnc_min(groups, bnc_max(1, BNC_CHUNK / g.values));
    g.group_blocks = bnc_ceil_div(groups, g.tile_groups);
    const int64_t tiles = bnc_ceil_div(n, g.tile_items);
    g.chunk_items = bnc_ceil_div(tiles, BNC_MAX_PARTIALS) * g.tile_items;
    g.blocks = bnc_ceil_div(n, g.chunk_items);
    return g;
}

static inline int64_t bnc_group_chunks(const bnc_group_grid *g)
{ return g->blocks * g->group_blocks; }

/* Whether the few chunks there are had better be shared out inside, tile by tile. */
static inline int bnc_group_inside(const bnc_group_grid *g)
{
    const int64_t largest = g->tile_items * (g->item / g->groups) * g->tile_groups;
    return largest > BNC_ONE_THREAD && bnc_group_chunks(g) < BNC_FEW_CHUNKS;
}

/* Threads for the chunks. */
static inline int bnc_group_threads(const bnc_group_grid *g)
{ return bnc_group_inside(g) ? 1 : bnc_threads(g->n * g->item, BNC_GRAIN); }

/* Whether groups, short runs of memory, are measured many at a time, turned to columns, which fill vectors. */
static inline int bnc_groups_turned(const bnc_group_grid *g)
{ return g->a == 1 && g->values < BNC_SHORT_GROUP; }

/* Whether groups get their statistics from those of their channels, for lack of runs of their own. */
static inline int bnc_groups_merged(const bnc_group_grid *g) { return g->a > 1 && g->channels > 1; }

/* The tile of chunk k that starts with sample i0. */
static inline bnc_tile bnc_tile_at(const bnc_group_grid *g, int64_t k, int64_t i0)
{
    const int64_t g0 = k % g->group_blocks * g->tile_groups;
    const int64_t end = bnc_min((k / g->group_blocks + 1) * g->chunk_items, g->n);
    bnc_tile t = {.i0 = i0, .g0 = g0};
    t.items = bnc_min(g->tile_items, end - i0);
    t.groups = bnc_min(g->tile_groups, g->groups - g0);
    t.channels = t.groups * g->channels;
    t.c0 = g0 * g->channels;
    t.offset = i0 * g->item + t.c0 * g->s;
    return t;
}

/* Whether a sample's part of a tile goes to kernels directly: one run of memory, and no work for two. */
static inline int bnc_tile_direct(const bnc_group_grid *g, const bnc_tile *t)
{ return g->a == 1 && t->channels * g->s < BNC_ONE_THREAD; }

/* Whether direct tiles store past the caches: as bnc_streams says of the call as a whole, of `arrays` arrays, where runs of
 * memory from `out` on are whole lines or long (rows_layout.h has the reason). Of the time of plain stores, in
 * 16 groups: one thread, 26 to 103 MB forward 0.66 to 0.84, backward 0.73 to 0.82; two threads, 103 MB 1.0 and 1.05. */
static inline int bnc_group_streams(const bnc_group_grid *g, const bnc_tile *t, const void *out,
                                    int arrays, int threads)
{
    enum { LINE = 64 };
    const int64_t run = t->channels * g->s * (int64_t)sizeof(bnc_real);
    const int whole = (uintptr_t)out % LINE == 0 && run % LINE == 0;
    return bnc_tile_direct(g, t) && (whole || run >= BNC_STREAMED_RUN) &&
           bnc_streams(arrays * g->n * g->item * (int64_t)sizeof(bnc_real), threads);
}

/* How a sample's part of a tile is walked: channels x space, or rows of `a` times that. */
static inline bnc_layout bnc_tile_layout(const bnc_group_grid *g, int64_t channels)
{
    if (g->a == 1 && g->s <= BNC_TINY_SLAB) return bnc_columns_layout(1, channels, g->s);
    return bnc_layout_of(g->a, channels, g->s);
}

/* Length of a coefficient array that serves every tile. */
static inline int64_t bnc_group_width(const bnc_group_grid *g)
{
    const bnc_layout l = bnc_tile_layout(g, g->c);
    return bnc_max(g->c, bnc_coefficient_count(&l));
}

#endif

/* How Winograd's ways cut images: tiles of two by two or four by four output pixels, row by row of tiles through all images,
 * in chunks that stay in a second-level cache with their 16 or 36 slabs (kernels/winograd2.c, winograd4.c). */
#ifndef BNC_CONV_WINOGRAD_H
#define BNC_CONV_WINOGRAD_H

#include "conv.h"

enum {
    BNC_SLAB_GAP = 64 /
        sizeof(bnc_real), /* at a power of two slabs would share cache sets: up to twice as slow */
    /* Tiles times channels of a chunk, about. Of two by two outputs 2048 to 8192 are as fast; with four by four the 36 slabs
     * must not lie farther apart than a page: the weight gradient took 1.4 times as long with 2048. */
    BNC_TILE_VALUES = 2048,
    BNC_LARGE_TILE_VALUES = 1024,
};

/* A transform of the tiles' size. */
#define WINOGRAD(tile, what) ((tile) == 4 ? KERNELS->winograd4_##what : KERNELS->winograd2_##what)

typedef struct {
    const conv_plan *p;
    int64_t tile, slabs;       /* output pixels of a tile's side: 2 or 4; numbers of a tile */
    int64_t wide_in, wide_out; /* channels of a group, whole vectors */
    int64_t across, down;      /* tiles of an image */
    int64_t rows, per;         /* rows of tiles of all images; of a chunk at most */
    int64_t left, right,
        offset; /* columns of zeros at the sides of copied rows; where the first tile begins in them */
    int64_t in_slab, out_slab; /* values from a slab to the next */
} conv_tiles;

/* The part of a chunk that lies in one image: rows [first, end) of tiles, the chunk's from number `done` on. */
typedef struct {
    int64_t image, first, end, done;
} conv_piece;

#define conv_tiles_of BNC_OP(conv_tiles_of)
#define conv_tiles_input BNC_OP(conv_tiles_input)

conv_tiles conv_tiles_of(const conv_plan *p, int tile, int64_t chunks);

/* Input rows that a chunk copies of one image, in values. */
static inline int64_t conv_tiles_row_values(const conv_tiles *t)
{
    const int64_t rows = t->tile * bnc_min(t->per, t->down) + 2;
    return rows * (t->left + t->p->in.w + t->right) * t->wide_in;
}

/* Rows of tiles [begin, end) image by image: the first piece, {0}, or the next one; 0 when there is none. */
static inline int conv_tiles_piece(const conv_tiles *t, int64_t begin, int64_t end, conv_piece *q)
{
    const int64_t at = begin + q->done;
    if (at >= end) return 0;
    q->image = at / t->down, q->first = at % t->down;
    q->end = bnc_min(t->down, q->first + end - at);
    return 1;
}

/* A piece of the input, transformed to its place in v (16, tiles, wide_in); `rows`: memory for the copied rows. */
void conv_tiles_input(const conv_tiles *t, const conv_piece *q, int64_t group, const bnc_real *from,
                      bnc_real *rows, bnc_real *v);

#endif

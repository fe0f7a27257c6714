/* Walks a contiguous run vector by vector, each with the per-channel numbers of its lanes: the frame of the element-wise
 * passes of batch and group norm. Memory is touched strictly in order (prefetchers want nothing else), stores are aligned,
 * so that they may go past the caches. Static, for kernel files only. */
#ifndef BNC_FLAT_H
#define BNC_FLAT_H

#include "kernels.h"

enum {
    BNC_TERMS = 7,
    BNC_NEAR = 8192, /* elements of a run that is likely in the nearest caches */
    BNC_WIDE =
        2048, /* columns whose terms, three arrays of them and more, leave no room in the first-level cache */
};

/* Up to BNC_TERMS arrays of per-channel numbers; the loops load those they use. */
struct bnc_terms {
    const bnc_real *at[BNC_TERMS];
};

struct bnc_arrays {
    const bnc_real *x, *dy, *extra; /* extra: the residual forward, y backward */
    bnc_real *out, *split;          /* split: the residual's gradient */
};

/* One vector: elements [o, o + lanes) with terms k. */
typedef void (*bnc_step)(struct bnc_arrays a, int64_t o, const vreal *k, int lanes);

BNC_INLINE vreal bnc_in(const bnc_real *p, int lanes)
{ return lanes == VL ? vload(p) : vload_part(p, lanes); }

BNC_INLINE void bnc_out(bnc_real *p, vreal v, int lanes, const int stream)
{
    if (lanes != VL)
        vstore_part(p, v, lanes);
    else if (stream)
        vstream(p, v);
    else
        vstore(p, v);
}

/* Elements in front of the first aligned vector: for streams, and for runs long enough to repay the detour. */
BNC_INLINE int64_t bnc_head(const bnc_real *out, int64_t n, const int stream)
{
    const int64_t head = stream || n >= 64 * VL ? vmisaligned(out) : 0;
    return head < n ? head : n;
}

BNC_INLINE void bnc_load_terms(const struct bnc_terms t, const int terms, int64_t j, vreal *k)
{
#pragma GCC unroll 7
    for (int i = 0; i < terms; i++) k[i] = vload(t.at[i] + j);
}

/* From element o on, `block` rows of `width` at a time (a multiple of four), column by column, so that terms are loaded once
 * for all rows of a block: in the nearest caches, where the order of the memory does not matter, loads do (all rows at once:
 * backward of (32, 64) 0.6 of the time of four); so they do where terms come from the second level (four rows of 3360:
 * 1.2 times as fast forward, 1.3 backward). How far it came. */
BNC_INLINE int64_t bnc_walk_blocks(struct bnc_arrays a, int64_t o, int64_t n, int64_t width,
                                   int64_t block, const struct bnc_terms t, const int terms,
                                   bnc_step step)
{
    vreal k[BNC_TERMS];
    for (; o + block * width <= n; o += block * width)
        for (int64_t j = 0; j < width; j += VL) {
            bnc_load_terms(t, terms, j, k);
            for (int64_t at = o + j, r = 0; r < block; r += 4, at += 4 * width)
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++) step(a, at + i * width, k, VL);
        }
    return o;
}

/* Terms repeat after `width` elements; the run starts at element `at` of them. Their arrays go on for BNC_LANES elements
 * behind `width`, from the start again; width >= VL unless the run ends before. */
BNC_INLINE void bnc_walk_columns(struct bnc_arrays a, int64_t n, int64_t at, int64_t width,
                                 const struct bnc_terms t, const int terms, const int stream,
                                 bnc_step step)
{
    vreal k[BNC_TERMS];
    int64_t j = at, o = bnc_head(a.out, n, stream);
    if (o) {
        bnc_load_terms(t, terms, j, k);
        step(a, 0, k, (int)o);
        j = (j + o) % width;
    } else if (!stream && (n <= BNC_NEAR || width >= BNC_WIDE) && j % VL == 0 && width % VL == 0) {
        for (; j % width != 0 && o + VL <= n; j += VL, o += VL) { /* to the end of the row */
            bnc_load_terms(t, terms, j, k);
            step(a, o, k, VL);
        }
        j = j < width ? j : 0;
        const int64_t rows = n <= BNC_NEAR ? (n - o) / width / 4 * 4 : 4;
        if (j == 0 && rows) o = bnc_walk_blocks(a, o, n, width, rows, t, terms, step);
    }
    for (; o + VL <= n; o += VL) {
        bnc_load_terms(t, terms, j, k);
        step(a, o, k, VL);
        j += VL;
        j -= j >= width ? width : 0;
    }
    if (o < n) {
        bnc_load_terms(t, terms, j, k);
        step(a, o, k, (int)(n - o));
    }
}

BNC_INLINE void bnc_spread_terms(const struct bnc_terms t, const int terms, int64_t c, vreal *k)
{
#pragma GCC unroll 7
    for (int i = 0; i < terms; i++) k[i] = vset(t.at[i][c]);
}

/* Terms are those of channel `first` (of `channels`, then from 0 again) for s >= VL elements a channel; the run starts at
 * element `at` of a slab. A vector across a border takes each lane's terms from its own channel. */
BNC_INLINE void bnc_walk_slabs(struct bnc_arrays a, int64_t n, int64_t at, int64_t s, int64_t first,
                               int64_t channels, const struct bnc_terms t, const int terms,
                               const int stream, bnc_step step)
{
    vreal k[BNC_TERMS], next[BNC_TERMS];
    int64_t c = first, end = s - at, o = bnc_head(a.out, n, stream); /* end: of the slab */
    bnc_spread_terms(t, terms, c, k);
    if (o) {
        bnc_spread_terms(t, terms, c + 1 < channels ? c + 1 : 0, next);
        for (int i = 0; i < terms; i++)
            next[i] = vchoose(vlanes() < (bnc_int)(end < VL ? end : VL), k[i], next[i]);
        step(a, 0, next, (int)o);
    }
    while (o < n) {
        if (end <= o) {
            c = c + 1 < channels ? c + 1 : 0;
            bnc_spread_terms(t, terms, c, k);
            end += s;
        }
        const int64_t whole = end < n ? end : n;
        for (; o + VL <= whole; o += VL) step(a, o, k, VL);
        if (o >= whole) continue;
        bnc_spread_terms(t, terms, c + 1 < channels ? c + 1 : 0, next);
#pragma GCC unroll 7
        for (int i = 0; i < terms; i++)
            next[i] = vchoose(vlanes() < (bnc_int)(end - o), k[i], next[i]);
        step(a, o, next, n - o < VL ? (int)(n - o) : VL);
        o += VL;
    }
}

#endif

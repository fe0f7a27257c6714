/* Arrays of which only some positions count (bnc_shape in bncore.h). Reductions see the valid values as if they were
 * packed, so that what lies between them, or how much of it, cannot change a bit. */
#ifndef BNC_NORM_MASK_H
#define BNC_NORM_MASK_H

#include "norm_layout.h"

static inline int64_t bnc_run_begin(const bnc_shape *m, int64_t i) { return m->runs[2 * i]; }
static inline int64_t bnc_run_before(const bnc_shape *m, int64_t i) { return m->runs[2 * i + 1]; }
static inline int64_t bnc_run_length(const bnc_shape *m, int64_t i)
{ return m->runs[2 * i + 3] - m->runs[2 * i + 1]; }
/* Values that count: of one channel, and in all. */
static inline int64_t bnc_per_channel(const bnc_shape *m)
{ return m->runs ? bnc_run_before(m, m->run_count) : m->n * m->s; }
static inline int64_t bnc_values(const bnc_shape *m) { return bnc_per_channel(m) * m->c; }

/* What a reduction of `arrays` such arrays reads. */
static inline int64_t bnc_reduction_bytes(const bnc_shape *m, int arrays)
{ return bnc_values(m) * arrays * (int64_t)sizeof(bnc_real); }

/* The last run whose begin (column 0) or count before (column 1) is at most v; 0 if there is none. */
static inline int64_t bnc_find_run(const bnc_shape *m, int column, int64_t v)
{
    int64_t low = 0, high = m->run_count;
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        if (m->runs[2 * middle + column] <= v)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* How reductions see the values: valid ones as (valid, c), or with s > 1 as (1, c, valid). */
static inline bnc_layout bnc_reduction_layout(const bnc_shape *m)
{
    if (!m->runs) return bnc_layout_of(m->n, m->c, m->s);
    if (m->s == 1 && !m->slabs) return bnc_columns_layout(bnc_per_channel(m), m->c, 1);
    return bnc_slabs_layout(1, m->c, bnc_per_channel(m));
}

/* How element-wise passes see them. */
static inline bnc_layout bnc_pass_layout(const bnc_shape *m)
{
    if (!m->runs) return bnc_layout_of(m->n, m->c, m->s);
    return m->s == 1 ? bnc_columns_layout(m->n, m->c, 1) : bnc_slabs_layout(m->n, m->c, m->s);
}

/* Values of the largest piece that reductions ask for. */
static inline int64_t bnc_piece_values(const bnc_layout *l)
{ return l->columns ? BNC_NEAR_ROWS * l->width : BNC_RUN; }

/* Room for `arrays` such pieces, to gather masked values in; NULL without a mask, and with *failed set when there is none. */
static inline bnc_real *bnc_gather_memory(const bnc_shape *m, const bnc_layout *l, int arrays,
                                          int *failed)
{
    if (!m->runs) return 0;
    bnc_real *memory = bnc_pool_get((size_t)(bnc_piece_values(l) * arrays) * sizeof *memory);
    if (!memory) __atomic_store_n(failed, 1, __ATOMIC_RELAXED);
    return memory;
}

/* Packed values [o, o + len), o and len multiples of c, of an array with s = 1: where they lie, or a copy in `scratch`. */
static inline const bnc_real *bnc_packed_rows(const bnc_shape *m, const bnc_real *x, int64_t o,
                                              int64_t len, bnc_real *scratch)
{
    const int64_t c = m->c;
    int64_t left = len / c, i = bnc_find_run(m, 1, o / c);
    int64_t skip = o / c - bnc_run_before(m, i);
    for (bnc_real *to = scratch;; skip = 0, i++) {
        const bnc_real *from = x + (bnc_run_begin(m, i) + skip) * c;
        const int64_t take = bnc_min(bnc_run_length(m, i) - skip, left);
        if (take * c == len) return from;
        memcpy(to, from, (size_t)(take * c) * sizeof *to);
        to += take * c;
        left -= take;
        if (!left) return scratch;
    }
}

/* Packed values [v, v + len) of one channel of an array with s > 1. */
static inline const bnc_real *bnc_packed_run(const bnc_shape *m, const bnc_real *x, int64_t channel,
                                             int64_t v, int64_t len, bnc_real *scratch)
{
    int64_t left = len, i = bnc_find_run(m, 1, v);
    int64_t skip = v - bnc_run_before(m, i);
    for (bnc_real *to = scratch;; skip = 0, i++) {
        const int64_t p = bnc_run_begin(m, i) + skip, item = p / m->s;
        const bnc_real *from = x + (item * m->c + channel) * m->s + (p - item * m->s);
        const int64_t take = bnc_min(bnc_run_length(m, i) - skip, left);
        if (take == len) return from;
        memcpy(to, from, (size_t)take * sizeof *to);
        to += take;
        left -= take;
        if (!left) return scratch;
    }
}

/* `len` values of the columns that reductions see, from value `o` on. */
static inline const bnc_real *bnc_rows_at(const bnc_shape *m, const bnc_real *x, int64_t o,
                                          int64_t len, bnc_real *scratch)
{ return m->runs ? bnc_packed_rows(m, x, o, len, scratch) : x + o; }

/* `len` values of a channel's slab in item n, from s on. */
static inline const bnc_real *bnc_piece_at(const bnc_shape *m, const bnc_real *x, int64_t n,
                                           int64_t c, int64_t s, int64_t len, bnc_real *scratch)
{ return m->runs ? bnc_packed_run(m, x, c, s, len, scratch) : x + (n * m->c + c) * m->s + s; }

#endif

/* The element-wise passes of a norm: chunks of rows, or of slabs, for one kernel call each. */
#ifndef BNC_NORM_ELEMENTWISE_H
#define BNC_NORM_ELEMENTWISE_H

#include "norm_layout.h"

/* A pass calls rows() or slabs() for consecutive pieces: `offset` elements into the arrays. */
typedef struct bnc_pass {
    const bnc_layout *l;
    void (*columns)(const struct bnc_pass *, int64_t offset, int64_t rows, int64_t width);
    void (*slabs)(const struct bnc_pass *, int64_t offset, int64_t count, int64_t s,
                  int64_t channel);
    void *arg;
    int64_t rows_per, slabs_per, cuts,
        cut; /* rows or slabs of a chunk; a long slab is cut in `cuts` of `cut` elements */
} bnc_pass;

static inline void bnc_pass_columns(int64_t k, void *arg)
{
    const bnc_pass *p = arg;
    const int64_t begin = k * p->rows_per, end = bnc_min(begin + p->rows_per, p->l->rows),
                  w = p->l->width;
    if (begin < end) p->columns(p, begin * w, end - begin, w);
    if (end == p->l->rows && p->l->tail) p->columns(p, end * w, 1, p->l->tail);
}

static inline void bnc_pass_slabs(int64_t k, void *arg)
{
    const bnc_pass *p = arg;
    const int64_t c = p->l->c, s = p->l->s, total = p->l->n * c;
    if (p->cuts > 1) {
        const int64_t slab = k / p->cuts, from = (k % p->cuts) * p->cut;
        p->slabs(p, slab * s + from, 1, bnc_min(p->cut, s - from), slab % c);
        return;
    }
    const int64_t end = bnc_min((k + 1) * p->slabs_per, total);
    for (int64_t i = k * p->slabs_per, count; i < end; i += count) {
        count = bnc_min(end - i, c - i % c); /* coefficients of one call must not wrap around */
        p->slabs(p, i * s, count, s, i % c);
    }
}

static inline void bnc_pass_run(bnc_pass *p)
{
    const bnc_layout *l = p->l;
    const int threads = bnc_threads(l->n * l->c * l->s, BNC_GRAIN);
    if (l->columns) {
        p->rows_per = bnc_max(1, BNC_CHUNK / l->width);
        bnc_run(bnc_pass_columns, p, bnc_max(1, bnc_ceil_div(l->rows, p->rows_per)), threads);
        return;
    }
    p->cuts = bnc_ceil_div(l->s, 2 * BNC_CHUNK);
    p->cut = bnc_ceil_div(l->s, p->cuts);
    p->slabs_per = bnc_max(1, BNC_CHUNK / l->s);
    const int64_t total = l->n * l->c;
    bnc_run(bnc_pass_slabs, p, p->cuts > 1 ? total * p->cuts : bnc_ceil_div(total, p->slabs_per),
            threads);
}

/* Coefficients from channel `c` on. */
static inline struct bnc_coefficients bnc_from_channel(const struct bnc_coefficients *k, int64_t c)
{
#define FROM(member) .member = k->member ? k->member + c : 0
    return (struct bnc_coefficients){FROM(hi),      FROM(lo),     FROM(scale),  FROM(shift),
                                     FROM(inv_std), FROM(mean_g), FROM(mean_gx)};
#undef FROM
}

#endif

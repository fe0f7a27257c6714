/* The element-wise passes of a norm: chunks of rows, or of slabs, for one kernel call each; of masked arrays the runs of
 * valid positions, with zeros between them. */
#ifndef BNC_NORM_ELEMENTWISE_H
#define BNC_NORM_ELEMENTWISE_H

#include "norm_mask.h"

/* A pass calls rows() or slabs() for consecutive pieces: `offset` elements into the arrays. */
typedef struct bnc_pass {
    const bnc_shape *shape;
    const bnc_layout *l;
    void (*columns)(const struct bnc_pass *, int64_t offset, int64_t rows, int64_t width);
    void (*slabs)(const struct bnc_pass *, int64_t offset, int64_t count, int64_t s,
                  int64_t channel);
    void *zeroed[2]; /* outputs, or NULL: masked positions become 0 in them */
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

/* Positions [p, end) of an array, within one item. */
static inline void bnc_zero_positions(const bnc_shape *m, bnc_real *a, int64_t p, int64_t end)
{
    if (m->s == 1) {
        memset(a + p * m->c, 0, (size_t)((end - p) * m->c) * sizeof *a);
        return;
    }
    const int64_t item = p / m->s;
    for (int64_t c = 0; c < m->c; c++)
        memset(a + (item * m->c + c) * m->s + (p - item * m->s), 0, (size_t)(end - p) * sizeof *a);
}

/* Valid positions [begin, end), within one item. */
static inline void bnc_pass_positions(const bnc_pass *p, int64_t begin, int64_t end)
{
    const int64_t c = p->shape->c, s = p->shape->s, item = begin / s;
    if (s == 1) {
        p->columns(p, begin * c, end - begin, c);
        return;
    }
    for (int64_t j = 0; j < c; j++)
        p->slabs(p, (item * c + j) * s + (begin - item * s), 1, end - begin, j);
}

/* Masked: chunk k takes `rows_per` positions, valid or not, and splits them at items and at the borders of runs. */
static inline void bnc_pass_masked(int64_t k, void *arg)
{
    const bnc_pass *p = arg;
    const bnc_shape *m = p->shape;
    const int64_t last = bnc_min((k + 1) * p->rows_per, m->n * m->s);
    const int64_t item = m->s == 1 ? m->n : m->s;
    int64_t i = bnc_find_run(m, 0, k * p->rows_per), end;
    for (int64_t at = k * p->rows_per; at < last; at = end) {
        while (i < m->run_count && bnc_run_begin(m, i) + bnc_run_length(m, i) <= at) i++;
        const int64_t begin = bnc_run_begin(m, i); /* n * s after the last run */
        end = begin > at ? begin : begin + bnc_run_length(m, i);
        end = bnc_min(bnc_min(end, last), (at / item + 1) * item);
        if (begin <= at)
            bnc_pass_positions(p, at, end);
        else
            for (int o = 0; o < 2; o++)
                if (p->zeroed[o]) bnc_zero_positions(m, p->zeroed[o], at, end);
    }
}

static inline void bnc_pass_run(bnc_pass *p)
{
    const bnc_layout *l = p->l;
    const int threads = bnc_threads(l->n * l->c * l->s, BNC_GRAIN);
    if (p->shape->runs) {
        p->rows_per = bnc_max(1, BNC_CHUNK / l->c);
        const int64_t positions = p->shape->n * p->shape->s;
        bnc_run(bnc_pass_masked, p, bnc_ceil_div(positions, p->rows_per), threads);
        return;
    }
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

/* The element-wise passes of a norm: chunks of one flat run each; of masked arrays the runs of valid positions, with zeros
 * between them. */
#ifndef BNC_NORM_ELEMENTWISE_H
#define BNC_NORM_ELEMENTWISE_H

#include "norm_mask.h"
#include "plan.h"

static inline const bnc_real *bnc_at(const void *p, int64_t offset)
{ return p ? (const bnc_real *)p + offset : 0; }
static inline const double *bnc_doubles_at(const double *p, int64_t offset)
{ return p ? p + offset : 0; }

/* hi, scale and shift of y = (x - hi) scale + shift, of some channels. `a`: the bnc_norm or bnc_norm_gradient, whose
 * mean, inv_std, r and d are there. */
#define BNC_FORWARD_COEFFICIENTS(a, k, channel, channels)                                         \
    KERNELS->forward_coefficients(                                                                \
        channels, (a)->mean + (channel), (a)->inv_std + (channel),                                \
        bnc_doubles_at((a)->r, channel), bnc_doubles_at((a)->d, channel),                         \
        bnc_at((a)->gamma, channel), bnc_at((a)->beta, channel), (bnc_real *)(k)->hi + (channel), \
        (bnc_real *)(k)->scale + (channel), (bnc_real *)(k)->shift + (channel))

/* A pass calls run() for consecutive pieces: n elements from `offset` on. */
typedef struct bnc_pass {
    const bnc_shape *shape;
    const bnc_layout *l;
    void (*run)(const struct bnc_pass *, int64_t offset, int64_t n);
    void *zeroed[2]; /* outputs, or NULL: masked positions become 0 in them */
    void *arg;
    int arrays;    /* read and written, in all */
    int streaming; /* set for run(): stores go past the caches */
} bnc_pass;

/* Arrays that y, or dx, takes: read and written, in all. */
static inline int bnc_forward_arrays(const bnc_norm *a) { return a->residual ? 3 : 2; }
static inline int bnc_backward_arrays(const bnc_norm_gradient *a)
{ return (a->batch || a->relu ? 3 : 2) + (a->y ? 1 : 0) + (a->dresidual ? 1 : 0); }

/* Arrays that the sums of a backward read. */
static inline int bnc_sums_arrays(const bnc_norm_gradient *a) { return a->y ? 3 : 2; }

static inline int64_t bnc_pass_bytes(const bnc_layout *l, int arrays)
{ return l->n * l->c * l->s * arrays * (int64_t)sizeof(bnc_real); }

static inline int64_t bnc_pass_chunks(const bnc_layout *l)
{ return bnc_ceil_div(l->n * l->c * l->s, BNC_CHUNK); }

/* Where in the pattern of its coefficients a run begins. */
typedef struct {
    int64_t at, channel;
} bnc_place;

static inline bnc_place bnc_place_of(const bnc_layout *l, int64_t offset)
{
    if (l->columns) return (bnc_place){offset % l->width, 0};
    return (bnc_place){offset % l->s, offset / l->s % l->c};
}

static inline void bnc_pass_chunk(int64_t k, void *arg)
{
    const bnc_pass *p = arg;
    const int64_t total = p->l->n * p->l->c * p->l->s, begin = k * BNC_CHUNK;
    p->run(p, begin, bnc_min(BNC_CHUNK, total - begin));
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
        p->run(p, begin * c, (end - begin) * c);
        return;
    }
    for (int64_t j = 0; j < c; j++) p->run(p, (item * c + j) * s + (begin - item * s), end - begin);
}

/* Positions of a chunk of a masked array. */
static inline int64_t bnc_masked_per(const bnc_shape *m) { return bnc_max(1, BNC_CHUNK / m->c); }

/* Masked: chunk k takes so many positions, valid or not, and splits them at items and at the borders of runs. */
static inline void bnc_pass_masked(int64_t k, void *arg)
{
    const bnc_pass *p = arg;
    const bnc_shape *m = p->shape;
    const int64_t per = bnc_masked_per(m), last = bnc_min((k + 1) * per, m->n * m->s);
    const int64_t item = m->s == 1 ? m->n : m->s;
    int64_t i = bnc_find_run(m, 0, k * per), end;
    for (int64_t at = k * per; at < last; at = end) {
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
    p->streaming = bnc_streams(bnc_pass_bytes(l, p->arrays), threads);
    if (p->shape->runs) {
        const int64_t positions = p->shape->n * p->shape->s;
        bnc_run(bnc_pass_masked, p, bnc_ceil_div(positions, bnc_masked_per(p->shape)), threads);
        return;
    }
    bnc_run(bnc_pass_chunk, p, bnc_pass_chunks(l), threads);
}

#endif

/* Pooling: one run of outputs whose windows have the same taps, and the means and maxima over
 * all of space.
 *
 * Output i of a run reads x[origin + i step + a row + b column] for the taps (a, b) of its
 * window that lie inside the input. Channels first a run is part of an output row (step: the
 * stride); channels last it is the channels of one output pixel (step 1). */
#include "kernels.h"

enum { BLOCK = 64 }; /* outputs held while the taps go by */

BNC_INLINE int64_t tap_offset(const struct bnc_taps *t, int64_t a, int64_t b)
{ return t->origin + a * t->row + b * t->column; }

/* v takes the place of best if it is larger, or the first NaN; never of an equal value, which
 * came first. */
#define BETTER(v, best) (!((v) <= (best)) & ((best) == (best)))

BNC_INLINE void max_step(const bnc_real *p, const int64_t step, bnc_int tap, bnc_real *best,
                         bnc_int *where, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        const bnc_real v = p[i * step];
        const int better = BETTER(v, best[i]);
        best[i] = better ? v : best[i];
        where[i] = better ? tap : where[i];
    }
}

BNC_INLINE void max_block(const bnc_real *x, const struct bnc_taps *t, const int64_t step,
                          bnc_real *best, bnc_int *where, int64_t count)
{
    const bnc_real *first = x + tap_offset(t, t->a0, t->b0);
    for (int64_t i = 0; i < count; i++) {
        best[i] = first[i * step];
        where[i] = (bnc_int)(t->a0 * t->width + t->b0);
    }
    for (int64_t a = t->a0; a < t->a1; a++)
        for (int64_t b = t->b0; b < t->b1; b++)
            max_step(x + tap_offset(t, a, b), step, (bnc_int)(a * t->width + b), best, where,
                     count);
}

void BNC_KERNEL(max_pool)(const bnc_real *restrict x, const struct bnc_taps *t,
                          bnc_real *restrict y, void *restrict index, int wide, int64_t count)
{
    bnc_real best[BLOCK];
    bnc_int where[BLOCK];
    for (int64_t i = 0; i < count; i += BLOCK) {
        const int64_t m = count - i < BLOCK ? count - i : BLOCK;
        const bnc_real *from = x + i * t->step;
        if (t->step == 1)
            max_block(from, t, 1, best, where, m);
        else if (t->step == 2)
            max_block(from, t, 2, best, where, m);
        else
            max_block(from, t, t->step, best, where, m);
        memcpy(y + i, best, (size_t)m * sizeof *best);
        if (wide)
            for (int64_t j = 0; j < m; j++) ((int32_t *)index)[i + j] = (int32_t)where[j];
        else
            for (int64_t j = 0; j < m; j++) ((uint8_t *)index)[i + j] = (uint8_t)where[j];
    }
}

BNC_INLINE bnc_int saved_tap(const void *index, int wide, int64_t i)
{ return wide ? (bnc_int)((const int32_t *)index)[i] : (bnc_int)((const uint8_t *)index)[i]; }

/* dx += dy at the saved taps. Steps above 1 leave too few neighbours to be worth a vector. */
void BNC_KERNEL(max_pool_backward)(const bnc_real *restrict dy, const void *restrict index,
                                   int wide, const struct bnc_taps *t, bnc_real *restrict dx,
                                   int64_t count)
{
    if (t->step != 1) {
        for (int64_t i = 0; i < count; i++) {
            const int64_t tap = saved_tap(index, wide, i);
            dx[tap_offset(t, tap / t->width, tap % t->width) + i * t->step] += dy[i];
        }
        return;
    }
    bnc_int where[BLOCK];
    for (int64_t i = 0; i < count; i += BLOCK) {
        const int64_t m = count - i < BLOCK ? count - i : BLOCK;
        for (int64_t j = 0; j < m; j++) where[j] = saved_tap(index, wide, i + j);
        for (int64_t a = t->a0; a < t->a1; a++)
            for (int64_t b = t->b0; b < t->b1; b++) {
                const bnc_int tap = (bnc_int)(a * t->width + b);
                bnc_real *to = dx + tap_offset(t, a, b) + i;
#pragma omp simd
                for (int64_t j = 0; j < m; j++) to[j] += where[j] == tap ? dy[i + j] : 0;
            }
    }
}

BNC_INLINE void sum_block(const bnc_real *x, const struct bnc_taps *t, const int64_t step,
                          bnc_real *sum, int64_t count)
{
    for (int64_t i = 0; i < count; i++) sum[i] = 0;
    for (int64_t a = t->a0; a < t->a1; a++)
        for (int64_t b = t->b0; b < t->b1; b++) {
            const bnc_real *p = x + tap_offset(t, a, b);
#pragma omp simd
            for (int64_t i = 0; i < count; i++) sum[i] += p[i * step];
        }
}

void BNC_KERNEL(avg_pool)(const bnc_real *restrict x, const struct bnc_taps *t, bnc_real divisor,
                          bnc_real *restrict y, int64_t count)
{
    bnc_real sum[BLOCK];
    for (int64_t i = 0; i < count; i += BLOCK) {
        const int64_t m = count - i < BLOCK ? count - i : BLOCK;
        const bnc_real *from = x + i * t->step;
        if (t->step == 1)
            sum_block(from, t, 1, sum, m);
        else if (t->step == 2)
            sum_block(from, t, 2, sum, m);
        else
            sum_block(from, t, t->step, sum, m);
        for (int64_t j = 0; j < m; j++) y[i + j] = sum[j] / divisor;
    }
}

/* dx += dy / divisor at every tap */
void BNC_KERNEL(avg_pool_backward)(const bnc_real *restrict dy, const struct bnc_taps *t,
                                   bnc_real divisor, bnc_real *restrict dx, int64_t count)
{
    bnc_real share[BLOCK];
    const int64_t step = t->step;
    for (int64_t i = 0; i < count; i += BLOCK) {
        const int64_t m = count - i < BLOCK ? count - i : BLOCK;
        for (int64_t j = 0; j < m; j++) share[j] = dy[i + j] / divisor;
        for (int64_t a = t->a0; a < t->a1; a++)
            for (int64_t b = t->b0; b < t->b1; b++) {
                bnc_real *to = dx + tap_offset(t, a, b) + i * step;
                if (step == 1)
                    for (int64_t j = 0; j < m; j++) to[j] += share[j];
                else
                    for (int64_t j = 0; j < m; j++) to[j * step] += share[j];
            }
    }
}

/* Means of `count` slabs of s contiguous values, accumulated in double. */
void BNC_KERNEL(slabs_mean)(const bnc_real *restrict x, int64_t count, int64_t s,
                            bnc_real *restrict y)
{
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < s; j++) sum += (double)x[i * s + j];
        y[i] = (bnc_real)(sum / (double)s);
    }
}

/* Means over the rows of c columns, row pitch ld, accumulated in double. */
void BNC_KERNEL(columns_mean)(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t c,
                              bnc_real *restrict y)
{
    double sum[BLOCK];
    for (int64_t j = 0; j < c; j += BLOCK) {
        const int64_t m = c - j < BLOCK ? c - j : BLOCK;
        for (int64_t i = 0; i < m; i++) sum[i] = 0;
        for (int64_t r = 0; r < rows; r++)
#pragma omp simd
            for (int64_t i = 0; i < m; i++) sum[i] += (double)x[r * ld + j + i];
        for (int64_t i = 0; i < m; i++) y[j + i] = (bnc_real)(sum[i] / (double)rows);
    }
}

/* Largest value of each slab and its first position; NaN counts as the largest. */
void BNC_KERNEL(slabs_max)(const bnc_real *restrict x, int64_t count, int64_t s,
                           bnc_real *restrict y, int64_t *restrict index)
{
    for (int64_t i = 0; i < count; i++, x += s) {
        bnc_real top = x[0];
        int64_t nans = 0, at = 0;
#pragma omp simd reduction(max : top) reduction(+ : nans)
        for (int64_t j = 0; j < s; j++) {
            top = x[j] > top ? x[j] : top;
            nans += x[j] != x[j];
        }
        if (nans)
            while (x[at] == x[at]) at++;
        else
            while (x[at] != top) at++;
        y[i] = x[at];
        index[i] = at;
    }
}

/* The same over the rows of c columns, row pitch ld. */
void BNC_KERNEL(columns_max)(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t c,
                             bnc_real *restrict y, int64_t *restrict index)
{
    bnc_real best[BLOCK];
    int64_t where[BLOCK];
    for (int64_t j = 0; j < c; j += BLOCK) {
        const int64_t m = c - j < BLOCK ? c - j : BLOCK;
        for (int64_t i = 0; i < m; i++) best[i] = x[j + i], where[i] = 0;
        for (int64_t r = 1; r < rows; r++)
#pragma omp simd
            for (int64_t i = 0; i < m; i++) {
                const bnc_real v = x[r * ld + j + i];
                const int better = BETTER(v, best[i]);
                best[i] = better ? v : best[i];
                where[i] = better ? r : where[i];
            }
        memcpy(y + j, best, (size_t)m * sizeof *best);
        memcpy(index + j, where, (size_t)m * sizeof *where);
    }
}

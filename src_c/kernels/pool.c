/* Pooling: runs of outputs whose windows have the same taps (kernels.h says how they are
 * addressed), and the means and maxima over all of space. Channels last a run is the channels of
 * one output pixel, contiguous in memory; channels first it is a part of the plane, whose
 * elements are gathered through a table. */
#include "kernels.h"

enum { BLOCK = 64 }; /* outputs held while the taps go by */

BNC_INLINE int64_t tap_offset(const struct bnc_taps *t, int64_t a, int64_t b)
{ return t->origin + a * t->row + b * t->column; }

/* Where element i of a run stands: in the table, or one after the other. */
BNC_INLINE int64_t place(const int64_t *table, int64_t i) { return table ? table[i] : i; }

/* v takes the place of best if it is larger, or the first NaN; never of an equal value, which
 * came first. */
#define BETTER(v, best) (!((v) <= (best)) & ((best) == (best)))

/* What tap (a, b) of the outputs of a block reads: gathered into `held`, or where it stands.
 * Gathering apart from the arithmetic lets the arithmetic vectorize. */
BNC_INLINE const bnc_real *tap_values(const bnc_real *x, const struct bnc_taps *t,
                                      const int64_t *at, int64_t a, int64_t b, bnc_real *held,
                                      int64_t count)
{
    const bnc_real *from = x + tap_offset(t, a, b);
    if (!at) return from;
    for (int64_t i = 0; i < count; i++) held[i] = from[at[i]];
    return held;
}

BNC_INLINE void max_block(const bnc_real *x, const struct bnc_taps *t, const int64_t *at,
                          bnc_real *best, bnc_int *where, int64_t count)
{
    bnc_real held[BLOCK];
    memcpy(best, tap_values(x, t, at, t->a0, t->b0, held, count), (size_t)count * sizeof *best);
    for (int64_t i = 0; i < count; i++) where[i] = (bnc_int)(t->a0 * t->width + t->b0);
    for (int64_t a = t->a0; a < t->a1; a++)
        for (int64_t b = t->b0; b < t->b1; b++) {
            const bnc_int tap = (bnc_int)(a * t->width + b);
            const bnc_real *v = tap_values(x, t, at, a, b, held, count);
#pragma omp simd
            for (int64_t i = 0; i < count; i++) {
                const int better = BETTER(v[i], best[i]);
                best[i] = better ? v[i] : best[i];
                where[i] = better ? tap : where[i];
            }
        }
}

BNC_INLINE void store_taps(const bnc_int *where, const int64_t *to, void *index, int wide,
                           int64_t from, int64_t count)
{
    int32_t *as_int = index;
    uint8_t *as_byte = index;
    if (wide)
        for (int64_t j = 0; j < count; j++) as_int[place(to, from + j)] = (int32_t)where[j];
    else
        for (int64_t j = 0; j < count; j++) as_byte[place(to, from + j)] = (uint8_t)where[j];
}

void BNC_KERNEL(max_pool)(const bnc_real *restrict x, const struct bnc_taps *t,
                          bnc_real *restrict y, void *restrict index, int wide, int64_t count)
{
    bnc_real best[BLOCK];
    bnc_int where[BLOCK];
    for (int64_t i = 0; i < count; i += BLOCK) {
        const int64_t m = count - i < BLOCK ? count - i : BLOCK;
        if (t->at) {
            max_block(x, t, t->at + i, best, where, m);
            for (int64_t j = 0; j < m; j++) y[t->to[i + j]] = best[j];
            store_taps(where, t->to, index, wide, i, m);
        } else {
            max_block(x + i, t, 0, best, where, m);
            memcpy(y + i, best, (size_t)m * sizeof *best);
            store_taps(where, 0, index, wide, i, m);
        }
    }
}

BNC_INLINE bnc_int saved_tap(const void *index, int wide, int64_t i)
{ return wide ? (bnc_int)((const int32_t *)index)[i] : (bnc_int)((const uint8_t *)index)[i]; }

/* dx += dy at the saved taps: one by one through the table; contiguous runs a tap at a time. */
void BNC_KERNEL(max_pool_backward)(const bnc_real *restrict dy, const void *restrict index,
                                   int wide, const struct bnc_taps *t, bnc_real *restrict dx,
                                   int64_t count)
{
    if (t->at) {
        for (int64_t i = 0; i < count; i++) {
            const int64_t from = t->to[i], tap = saved_tap(index, wide, from);
            dx[t->at[i] + tap_offset(t, tap / t->width, tap % t->width)] += dy[from];
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

BNC_INLINE void sum_block(const bnc_real *x, const struct bnc_taps *t, const int64_t *at,
                          bnc_real *sum, int64_t count)
{
    bnc_real held[BLOCK];
    for (int64_t i = 0; i < count; i++) sum[i] = 0;
    for (int64_t a = t->a0; a < t->a1; a++)
        for (int64_t b = t->b0; b < t->b1; b++) {
            const bnc_real *v = tap_values(x, t, at, a, b, held, count);
#pragma omp simd
            for (int64_t i = 0; i < count; i++) sum[i] += v[i];
        }
}

void BNC_KERNEL(avg_pool)(const bnc_real *restrict x, const struct bnc_taps *t, bnc_real divisor,
                          bnc_real *restrict y, int64_t count)
{
    bnc_real sum[BLOCK];
    for (int64_t i = 0; i < count; i += BLOCK) {
        const int64_t m = count - i < BLOCK ? count - i : BLOCK;
        if (t->at) {
            sum_block(x, t, t->at + i, sum, m);
            for (int64_t j = 0; j < m; j++) y[t->to[i + j]] = sum[j] / divisor;
        } else {
            sum_block(x + i, t, 0, sum, m);
            for (int64_t j = 0; j < m; j++) y[i + j] = sum[j] / divisor;
        }
    }
}

/* dx += dy / divisor at every tap */
void BNC_KERNEL(avg_pool_backward)(const bnc_real *restrict dy, const struct bnc_taps *t,
                                   bnc_real divisor, bnc_real *restrict dx, int64_t count)
{
    bnc_real share[BLOCK];
    for (int64_t i = 0; i < count; i += BLOCK) {
        const int64_t m = count - i < BLOCK ? count - i : BLOCK;
        for (int64_t j = 0; j < m; j++) share[j] = dy[place(t->to, i + j)] / divisor;
        for (int64_t a = t->a0; a < t->a1; a++)
            for (int64_t b = t->b0; b < t->b1; b++) {
                const int64_t offset = tap_offset(t, a, b);
                if (t->at)
                    for (int64_t j = 0; j < m; j++) dx[offset + t->at[i + j]] += share[j];
                else
                    for (int64_t j = 0; j < m; j++) dx[offset + i + j] += share[j];
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

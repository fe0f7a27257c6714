/* y = act(x_hat gamma + beta) over rows: the element-wise half of the forward pass of layer and RMS norm. */
#include "rows.h"

enum { STREAM = 8, CENTRED = 4, ADD = 2, RELU = 1 }; /* what a pass does, as bits of a literal */

BNC_INLINE vreal y_at(const bnc_real *x, const bnc_real *gamma, const bnc_real *beta, vreal hi,
                      vreal inv_std, vreal rest, const int what)
{
    vreal a = X_HAT(what & CENTRED, vload(x), hi, inv_std, rest);
    a = what & ADD ? a * vload(gamma) + vload(beta) : a * vload(gamma);
    return what & RELU ? vandnot((vint)(a < vzero()), a) : a; /* NaN passes, as it must */
}

/* `n` (a literal) rows from number r0 on, which share the loads of gamma and beta. What is left over at their end, and
 * when streaming in front of the first whole line, is part of an overlapping vector: the same numbers come out. But no
 * line is both stored and streamed: that took twice as long for all. */
BNC_INLINE void some_rows(const bnc_real *x, bnc_real *y, int64_t ld, const int n, int64_t width,
                          const struct row_numbers *row, int64_t r0, const struct bnc_row_terms *k,
                          const int what)
{
    vreal hi[4], inv_std[4], rest[4];
    const bnc_real *gamma = k->gamma, *beta = k->beta;
    x += r0 * ld, y += r0 * ld;
#pragma GCC unroll 4
    for (int r = 0; r < n; r++)
        hi[r] = vset(row->hi[r0 + r]), inv_std[r] = vset(row->inv_std[r0 + r]),
        rest[r] = vset(row->rest[r0 + r]);
#define Y(r, at) \
    y_at(x + r * ld + (at), gamma + (at), beta + (at), hi[r], inv_std[r], rest[r], what)
#define STEP(at, store) \
    for (int r = 0; r < n; r++) store(y + r * ld + (at), Y(r, at))
    int64_t j = what & STREAM ? unaligned_front(y) : 0;
    if (j) vstore_part(y, Y(0, 0), j); /* streaming, rows come one by one */
    for (; j + VL <= width; j += VL)
        if (what & STREAM)
            STEP(j, vstream);
        else
            STEP(j, vstore);
    if (j == width) return;
    if (what & STREAM)
        vstore_end(y + j, Y(0, width - VL), width - j);
    else
        STEP(width - VL, vstore);
#undef STEP
#undef Y
}

BNC_INLINE void all_rows(const bnc_real *x, bnc_real *y, int64_t ld, int64_t rows, int64_t width,
                         const struct bnc_row_terms *k, const int what)
{
    struct row_numbers row;
    for (int64_t from = 0; from < rows; from += BNC_ROWS_AT_ONCE) {
        const int64_t some = rows - from < BNC_ROWS_AT_ONCE ? rows - from : BNC_ROWS_AT_ONCE;
        const bnc_real *p = x + from * ld;
        bnc_real *q = y + from * ld;
        int64_t r = 0;
        row_numbers(k, from, some, &row);
        for (; !(what & STREAM) && width < BNC_ROW_WIDE && r + BNC_ROWS_TOGETHER <= some;
             r += BNC_ROWS_TOGETHER)
            some_rows(p, q, ld, BNC_ROWS_TOGETHER, width, &row, r, k, what);
        for (; r < some; r++) some_rows(p, q, ld, 1, width, &row, r, k, what);
    }
}

/* Makes what this thread streamed visible to whom it signals next. */
void BNC_KERNEL(rows_fence)(void) { bnc_fence(); }

/* x, y: (rows, width) with row pitch ld. With `stream`, y goes past the caches, and the caller fences. */
void BNC_KERNEL(rows_normalize)(const bnc_real *x, bnc_real *y, int64_t ld, int64_t rows,
                                int64_t width, const struct bnc_row_terms *k, int relu, int stream)
{
    if (width < VL) {
        BNC_KERNEL(narrow_normalize)(x, y, ld, rows, width, k, relu);
        return;
    }
#define CASE(what)                                              \
    case what: all_rows(x, y, ld, rows, width, k, what); break; \
    case STREAM + what: all_rows(x, y, ld, rows, width, k, STREAM + what); break
    switch ((stream != 0) * STREAM + (k->mean != 0) * CENTRED + (k->beta != 0) * ADD +
            (relu != 0) * RELU) {
        CASE(0);
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
        CASE(7);
    }
#undef CASE
}

/* Backward pass of layer and RMS norm over rows. With g the dy that came through the ReLU and w = g gamma, one reading of
 * a group of rows gives each row's sums of w and w x_hat; a second one, while they are in cache,
 * dx = (w - mean_w - x_hat mean_wx) inv_std and, per column, the sums of g and g x_hat: the gradients of beta and gamma.
 * Rows that do not fill a vector are in rows_narrow.c. */
#include "rows.h"

/* What the passes read: rows of x and dy, and the numbers of a few from `r0` on. */
struct some {
    const bnc_real *x, *dy;
    int64_t ld, r0;
    const struct row_numbers *row;
    const bnc_real *gamma, *beta;
};

BNC_INLINE vreal x_hat_at(const struct some *s, int r, int64_t j, const int centred)
{
    const struct row_numbers *row = s->row;
    const int64_t i = s->r0 + r;
    return X_HAT(centred, vload(s->x + i * s->ld + j), vset(row->hi[i]), vset(row->inv_std[i]),
                 vset(row->rest[i]));
}

BNC_INLINE vreal g_at(const struct some *s, int r, int64_t j, vreal x_hat, vreal scale, vreal shift,
                      const int relu)
{ return gated(relu, vload(s->dy + (s->r0 + r) * s->ld + j), x_hat, scale, shift); }

/* The vector at column j of `n` (a literal) rows. `partly`: lanes outside `keep` were counted before. */
BNC_INLINE void sums_step(const struct some *s, const int n, int64_t j, const int centred,
                          const int relu, const int partly, vint keep, vreal *w, vreal *wx)
{
    const vreal scale = vload(s->gamma + j), shift = relu ? vload(s->beta + j) : vzero();
#pragma GCC unroll 4
    for (int r = 0; r < n; r++) {
        const vreal x_hat = x_hat_at(s, r, j, centred);
        vreal a = g_at(s, r, j, x_hat, scale, shift, relu) * scale;
        if (partly) a = vand(keep, a);
        if (centred) w[r] += a;
        wx[r] += a * x_hat;
    }
}

/* Columns [from, to) of `n` rows, whose width is at least a vector. What is left over at the end is the end of an
 * overlapping vector. */
BNC_INLINE void sums_of(const struct some *s, const int n, int64_t from, int64_t to,
                        const int centred, const int relu, vreal *w, vreal *wx)
{
    const vint all = {0};
    int64_t j = from;
#pragma GCC unroll 4
    for (int r = 0; r < n; r++) w[r] = wx[r] = vzero();
    for (; j + VL <= to; j += VL) sums_step(s, n, j, centred, relu, 0, all, w, wx);
    if (j < to) sums_step(s, n, to - VL, centred, relu, 1, last_lanes(to - j), w, wx);
}

/* Up to a vector's lanes of short rows: their lanes are folded together. */
BNC_INLINE void short_sums(const struct some *s, int64_t rows, int64_t width, const int centred,
                           const int relu, double *sum_w, double *sum_wx)
{
    vreal w[VL], wx[VL];
    bnc_real all_w[VL], all_wx[VL];
    struct some a = *s;
    int64_t r = 0;
    for (; r + BNC_ROWS_TOGETHER <= rows; r += BNC_ROWS_TOGETHER, a.r0 += BNC_ROWS_TOGETHER)
        sums_of(&a, BNC_ROWS_TOGETHER, 0, width, centred, relu, w + r, wx + r);
    for (; r < rows; r++, a.r0++) sums_of(&a, 1, 0, width, centred, relu, w + r, wx + r);
    for (; r < VL; r++) w[r] = wx[r] = vzero();
    vstore(all_wx, fold(wx));
    if (centred) vstore(all_w, fold(w));
    for (r = 0; r < rows; r++) {
        sum_w[r] = centred ? (double)all_w[r] : 0;
        sum_wx[r] = (double)all_wx[r];
    }
}

BNC_INLINE void long_sums(const struct some *s, int64_t width, const int centred, const int relu,
                          double *sum_w, double *sum_wx)
{
    *sum_w = *sum_wx = 0;
    for (int64_t j = 0; j < width; j += BNC_ROW_BLOCK) {
        vreal w, wx;
        const int64_t to = width - j < BNC_ROW_BLOCK ? width : j + BNC_ROW_BLOCK;
        sums_of(s, 1, j, to, centred, relu, &w, &wx);
        double block_w, block_wx;
        fold_two(w, wx, &block_w, &block_wx);
        *sum_w += block_w, *sum_wx += block_wx;
    }
}

BNC_INLINE void sums_body(const bnc_real *x, const bnc_real *dy, int64_t ld, int64_t rows,
                          int64_t width, const struct bnc_row_terms *k, const int centred,
                          const int relu, double *sum_w, double *sum_wx)
{
    struct row_numbers row;
    const int64_t step = width <= BNC_SHORT_ROW ? VL : 1;
    for (int64_t from = 0; from < rows; from += BNC_ROWS_AT_ONCE) {
        const int64_t end = rows - from < BNC_ROWS_AT_ONCE ? rows - from : BNC_ROWS_AT_ONCE;
        row_numbers(k, from, end, &row);
        for (int64_t r = 0; r < end; r += step) {
            const struct some s = {x + from * ld, dy + from * ld, ld, r, &row, k->gamma, k->beta};
            if (step > 1)
                short_sums(&s, end - r < step ? end - r : step, width, centred, relu,
                           sum_w + from + r, sum_wx + from + r);
            else
                long_sums(&s, width, centred, relu, sum_w + from + r, sum_wx + from + r);
        }
    }
}

/* The branches that are the same for every element become separate loops. */
#define BRANCHES(BODY)         \
    do {                       \
        if (k->mean && relu) { \
            BODY(1, 1);        \
        } else if (k->mean) {  \
            BODY(1, 0);        \
        } else if (relu) {     \
            BODY(0, 1);        \
        } else {               \
            BODY(0, 0);        \
        }                      \
    } while (0)

/* x, dy: (rows, width) with row pitch ld; writes sum_w (rows,), 0 for RMS norm, and sum_wx (rows,). With relu k->beta is
 * there. */
void BNC_KERNEL(rows_gradient_sums)(const bnc_real *restrict x, const bnc_real *restrict dy,
                                    int64_t ld, int64_t rows, int64_t width,
                                    const struct bnc_row_terms *k, int relu, double *restrict sum_w,
                                    double *restrict sum_wx)
{
    if (width < VL) {
        BNC_KERNEL(narrow_gradient_sums)(x, dy, ld, rows, width, k, relu, sum_w, sum_wx);
        return;
    }
#define SUMS(centred, relu) sums_body(x, dy, ld, rows, width, k, centred, relu, sum_w, sum_wx)
    BRANCHES(SUMS);
#undef SUMS
}

/* The numbers of `n` rows and where their dx goes. */
struct target {
    vreal hi[4], inv_std[4], rest[4], slope[4], constant[4];
    bnc_real *dx, *column_g, *column_gx;
};

/* Which lanes of a vector count: all, the first `count` or the last. */
enum { ALL, FRONT, END };

BNC_INLINE void put_dx(bnc_real *p, vreal dx, const int which, int64_t count, const int stream)
{
    if (!stream)
        vstore(p, dx);
    else if (which == ALL)
        vstream(p, dx);
    else if (which == FRONT)
        vstore_part(p, dx, count);
    else
        vstore_end(p + VL - count, dx, count);
}

/* dx of the vector at column j of `n` (a literal) rows, which share the loads and stores of the columns' sums. */
BNC_INLINE void gradient_step(const struct some *s, const struct target *t, const int n, int64_t j,
                              const int centred, const int relu, const int which, int64_t count,
                              const int stream)
{
    const vint keep = which == FRONT ? first_lanes(count) : last_lanes(count);
    const vreal scale = vload(s->gamma + j), shift = relu ? vload(s->beta + j) : vzero();
    vreal total_g = vload(t->column_g + j), total_gx = vload(t->column_gx + j);
#pragma GCC unroll 4
    for (int r = 0; r < n; r++) {
        const vreal x_hat =
            X_HAT(centred, vload(s->x + r * s->ld + j), t->hi[r], t->inv_std[r], t->rest[r]);
        const vreal dy = vheld(vload(s->dy + r * s->ld + j));
        const vreal g = gated(relu, dy, x_hat, scale, shift);
        const vreal dx =
            ROW_DX(centred, g * scale, x_hat, t->inv_std[r], t->slope[r], t->constant[r]);
        /* the mask comes before the product: sums are fused alike wherever a column's vector begins */
        const vreal counted = which == ALL ? g : vand(keep, g);
        total_g += counted;
        total_gx += counted * x_hat;
        put_dx(t->dx + r * s->ld + j, dx, which, count, stream);
    }
    vstore(t->column_g + j, total_g);
    vstore(t->column_gx + j, total_gx);
}

/* Columns left over at the end, and when streaming in front of the first whole line of dx, are part of an overlapping
 * vector; no line is both stored and streamed, which took twice as long for all. The same rows of the next group are fetched into the second-level cache: the first one is full. */
BNC_INLINE void gradient_rows(const struct some *s, const struct row_slopes *slope, bnc_real *dx,
                              const int n, int64_t width, int64_t next, const int centred,
                              const int relu, const int stream, bnc_real *column_g,
                              bnc_real *column_gx)
{
    struct some a = *s;
    struct target t = {.dx = dx + s->r0 * s->ld, .column_g = column_g, .column_gx = column_gx};
    a.x += s->r0 * s->ld, a.dy += s->r0 * s->ld;
#pragma GCC unroll 4
    for (int r = 0; r < n; r++) {
        const int64_t i = s->r0 + r;
        t.hi[r] = vset(s->row->hi[i]), t.inv_std[r] = vset(s->row->inv_std[i]);
        t.rest[r] = vset(s->row->rest[i]);
        t.slope[r] = vset(slope->x_hat[i]), t.constant[r] = vset(slope->constant[i]);
    }
    int64_t j = stream ? unaligned_front(t.dx) : 0;
    if (j) gradient_step(&a, &t, n, 0, centred, relu, FRONT, j, stream);
    for (; j + VL <= width; j += VL) {
        if (next)
#pragma GCC unroll 4
            for (int r = 0; r < n; r++) {
                __builtin_prefetch(a.x + next + r * s->ld + j, 0, 2);
                __builtin_prefetch(a.dy + next + r * s->ld + j, 0, 2);
            }
        gradient_step(&a, &t, n, j, centred, relu, ALL, 0, stream);
    }
    if (j < width) gradient_step(&a, &t, n, width - VL, centred, relu, END, width - j, stream);
}

/* Streaming, rows go together only where whole lines of dx begin at the same columns. */
BNC_INLINE void gradient_body(const bnc_real *x, const bnc_real *dy, bnc_real *dx, int64_t ld,
                              int64_t rows, int64_t width, const struct bnc_row_terms *k,
                              int64_t next, const int centred, const int relu, const int stream,
                              bnc_real *column_g, bnc_real *column_gx)
{
    struct row_numbers row;
    struct row_slopes slope;
    const int together = !stream || ld % VL == 0;
    for (int64_t from = 0; from < rows; from += BNC_ROWS_AT_ONCE) {
        const int64_t end = rows - from < BNC_ROWS_AT_ONCE ? rows - from : BNC_ROWS_AT_ONCE;
        bnc_real *const to = dx + from * ld;
        row_numbers(k, from, end, &row);
        row_slopes(k, from, end, &slope);
        struct some s = {x + from * ld, dy + from * ld, ld, 0, &row, k->gamma, k->beta};
        for (; together && s.r0 + BNC_ROWS_TOGETHER <= end; s.r0 += BNC_ROWS_TOGETHER)
            gradient_rows(&s, &slope, to, BNC_ROWS_TOGETHER, width, next, centred, relu, stream,
                          column_g, column_gx);
        for (; s.r0 < end; s.r0++)
            gradient_rows(&s, &slope, to, 1, width, next, centred, relu, stream, column_g,
                          column_gx);
    }
}

/* x, dy, dx: (rows, width) with row pitch ld; adds to column_g (width,), column_gx (width,), which take a few hundred
 * rows before they must move on (move_sums). RMS norm has no mean_w. With relu k->beta is there. While the rows are
 * written, those `next` elements behind them are fetched; 0: none. With `stream`, dx goes past the caches, and the caller
 * fences. */
void BNC_KERNEL(rows_input_gradient)(const bnc_real *x, const bnc_real *dy, bnc_real *dx,
                                     int64_t ld, int64_t rows, int64_t width,
                                     const struct bnc_row_terms *k, int relu, int64_t next,
                                     int stream, bnc_real *restrict column_g,
                                     bnc_real *restrict column_gx)
{
    if (width < VL) {
        BNC_KERNEL(narrow_input_gradient)(x, dy, dx, ld, rows, width, k, relu, column_g, column_gx);
        return;
    }
#define BODY(centred, relu, stream) \
    gradient_body(x, dy, dx, ld, rows, width, k, next, centred, relu, stream, column_g, column_gx)
#define GRADIENT(centred, relu) \
    if (stream)                 \
        BODY(centred, relu, 1); \
    else                        \
        BODY(centred, relu, 0)
    BRANCHES(GRADIENT);
#undef GRADIENT
#undef BODY
}

/* to += from, from = 0 */
void BNC_KERNEL(move_sums)(bnc_real *restrict from, int64_t n, double *restrict to)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        to[j] += (double)from[j];
        from[j] = 0;
    }
}

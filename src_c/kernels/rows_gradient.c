/* Backward pass of layer and RMS norm over rows. One reading of a group of rows gives, with g the dy that came through
 * the ReLU and w = g gamma, the sums of w and w x_hat per row and those of g and g x_hat per column (the gradients of
 * beta and gamma); a second one, while they are in cache, dx = (w - mean_w - x_hat mean_wx) inv_std. */
#include "rows.h"

/* g where the ReLU was open; a NaN in front of it lets the gradient pass */
#define GATED(relu, g, x_hat, gamma, beta) ((relu) && (x_hat) * (gamma) + (beta) <= 0 ? 0 : (g))

struct lanes {
    vreal w[4], wx[4]; /* a row each */
};

/* One vector of columns of `n` (a literal) rows, four at most, which share the loads and stores of the columns' sums.
 * `partly`: lanes outside `keep` were counted before. */
BNC_INLINE void column_step(const bnc_real *x, const bnc_real *dy, int64_t ld, const int n,
                            const struct row *row, const bnc_real *gamma, const bnc_real *beta,
                            const int centred, const int relu, const int partly, vint keep,
                            struct lanes *sum, bnc_real *column_g, bnc_real *column_gx)
{
    const vreal scale = vload(gamma), shift = relu ? vload(beta) : vzero();
    vreal total_g = vload(column_g), total_gx = vload(column_gx);
#pragma GCC unroll 4
    for (int r = 0; r < n; r++) {
        const vreal x_hat = X_HAT(centred, vload(x + r * ld), vset(row[r].hi), vset(row[r].lo),
                                  vset(row[r].inv_std));
        vreal g = vload(dy + r * ld);
        if (relu) g = vandnot((vint)(x_hat * scale + shift <= vzero()), g);
        vreal gx = g * x_hat;
        if (partly) g = vand(keep, g), gx = vand(keep, gx);
        total_g += g;
        total_gx += gx;
        if (centred) sum->w[r] += g * scale;
        sum->wx[r] += gx * scale;
    }
    vstore(column_g, total_g);
    vstore(column_gx, total_gx);
}

/* The same for columns that do not fill a vector, one by one. */
BNC_INLINE void short_columns(const bnc_real *x, const bnc_real *dy, int64_t ld, const int n,
                              int64_t width, const struct row *row, const bnc_real *gamma,
                              const bnc_real *beta, const int centred, const int relu,
                              double *sum_w, double *sum_wx, bnc_real *column_g,
                              bnc_real *column_gx)
{
    for (int r = 0; r < n; r++)
        for (int64_t j = 0; j < width; j++) {
            const bnc_real x_hat =
                X_HAT(centred, x[r * ld + j], row[r].hi, row[r].lo, row[r].inv_std);
            const bnc_real g = GATED(relu, dy[r * ld + j], x_hat, gamma[j], beta[j]);
            const bnc_real gx = g * x_hat;
            column_g[j] += g;
            column_gx[j] += gx;
            if (centred) sum_w[r] += (double)(g * gamma[j]);
            sum_wx[r] += (double)(gx * gamma[j]);
        }
}

/* Columns [from, from + len) of some rows, of whose `width` columns those before `from` are counted. What is left over
 * at the end of a row is the end of an overlapping vector. */
BNC_INLINE void column_block(const bnc_real *x, const bnc_real *dy, int64_t ld, const int n,
                             int64_t from, int64_t len, int64_t width, const struct row *row,
                             const bnc_real *gamma, const bnc_real *beta, const int centred,
                             const int relu, double *sum_w, double *sum_wx, bnc_real *column_g,
                             bnc_real *column_gx)
{
    struct lanes sum;
    vint all = {0}, end;
    for (int r = 0; r < n; r++) sum.w[r] = sum.wx[r] = vzero();
    const int64_t whole = from + len / VL * VL, over = from + len - whole;
    for (int64_t j = from; j < whole; j += VL)
        column_step(x + j, dy + j, ld, n, row, gamma + j, beta + j, centred, relu, 0, all, &sum,
                    column_g + j, column_gx + j);
    if (over && width >= VL) {
        const int64_t j = whole + over - VL;
        for (int i = 0; i < VL; i++) end[i] = i >= VL - over ? -1 : 0;
        column_step(x + j, dy + j, ld, n, row, gamma + j, beta + j, centred, relu, 1, end, &sum,
                    column_g + j, column_gx + j);
    } else if (over) {
        short_columns(x, dy, ld, n, width, row, gamma, beta, centred, relu, sum_w, sum_wx, column_g,
                      column_gx);
        return;
    }
    for (int r = 0; r < n; r++) {
        if (centred) sum_w[r] += vsum(sum.w[r]);
        sum_wx[r] += vsum(sum.wx[r]);
    }
}

BNC_INLINE void some_rows(const bnc_real *x, const bnc_real *dy, int64_t ld, const int n,
                          int64_t first, int64_t width, const struct bnc_row_terms *k,
                          const int centred, const int relu, double *sum_w, double *sum_wx,
                          bnc_real *column_g, bnc_real *column_gx)
{
    struct row row[4];
    for (int r = 0; r < n; r++) {
        row[r] = row_at(k, first + r);
        sum_w[first + r] = sum_wx[first + r] = 0;
    }
    for (int64_t j = 0; j < width; j += BNC_ROW_BLOCK) {
        const int64_t len = width - j < BNC_ROW_BLOCK ? width - j : BNC_ROW_BLOCK;
        column_block(x + first * ld, dy + first * ld, ld, n, j, len, width, row, k->gamma, k->beta,
                     centred, relu, sum_w + first, sum_wx + first, column_g, column_gx);
    }
}

BNC_INLINE void sums_body(const bnc_real *x, const bnc_real *dy, int64_t ld, int64_t rows,
                          int64_t width, const struct bnc_row_terms *k, const int centred,
                          const int relu, double *sum_w, double *sum_wx, bnc_real *column_g,
                          bnc_real *column_gx)
{
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4)
        some_rows(x, dy, ld, 4, r, width, k, centred, relu, sum_w, sum_wx, column_g, column_gx);
    for (; r < rows; r++)
        some_rows(x, dy, ld, 1, r, width, k, centred, relu, sum_w, sum_wx, column_g, column_gx);
}

/* x, dy: (rows, width) with row pitch ld; writes sum_w (rows,), 0 for RMS norm, and sum_wx (rows,); adds to column_g
 * (width,), column_gx (width,), which take a few hundred rows before they must move on (move_sums). With relu k->beta is
 * there. */
void BNC_KERNEL(rows_gradient_sums)(const bnc_real *restrict x, const bnc_real *restrict dy,
                                    int64_t ld, int64_t rows, int64_t width,
                                    const struct bnc_row_terms *k, int relu, double *restrict sum_w,
                                    double *restrict sum_wx, bnc_real *restrict column_g,
                                    bnc_real *restrict column_gx)
{
#define SUMS(centred, relu) \
    sums_body(x, dy, ld, rows, width, k, centred, relu, sum_w, sum_wx, column_g, column_gx)
    if (k->mean && relu)
        SUMS(1, 1);
    else if (k->mean)
        SUMS(1, 0);
    else if (relu)
        SUMS(0, 1);
    else
        SUMS(0, 0);
#undef SUMS
}

BNC_INLINE void gradient_row(const bnc_real *restrict x, const bnc_real *restrict dy,
                             bnc_real *restrict dx, int64_t width, struct row row, bnc_real mean_w,
                             bnc_real mean_wx, const bnc_real *restrict gamma,
                             const bnc_real *restrict beta, const int centred, const int relu)
{
#pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        const bnc_real x_hat = X_HAT(centred, x[j], row.hi, row.lo, row.inv_std);
        bnc_real w = GATED(relu, dy[j], x_hat, gamma[j], beta[j]) * gamma[j];
        if (centred) w -= mean_w;
        dx[j] = (w - x_hat * mean_wx) * row.inv_std;
    }
}

BNC_INLINE void gradient_body(const bnc_real *x, const bnc_real *dy, bnc_real *dx, int64_t ld,
                              int64_t rows, int64_t width, const struct bnc_row_terms *k,
                              const int centred, const int relu)
{
    for (int64_t r = 0; r < rows; r++)
        gradient_row(x + r * ld, dy + r * ld, dx + r * ld, width, row_at(k, r),
                     (bnc_real)k->mean_w[r], (bnc_real)k->mean_wx[r], k->gamma, k->beta, centred,
                     relu);
}

/* x, dy, dx: (rows, width) with row pitch ld. RMS norm has no mean_w. With relu k->beta is there. */
void BNC_KERNEL(rows_input_gradient)(const bnc_real *x, const bnc_real *dy, bnc_real *dx,
                                     int64_t ld, int64_t rows, int64_t width,
                                     const struct bnc_row_terms *k, int relu)
{
#define GRADIENT(centred, relu) gradient_body(x, dy, dx, ld, rows, width, k, centred, relu)
    if (k->mean && relu)
        GRADIENT(1, 1);
    else if (k->mean)
        GRADIENT(1, 0);
    else if (relu)
        GRADIENT(0, 1);
    else
        GRADIENT(0, 0);
#undef GRADIENT
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

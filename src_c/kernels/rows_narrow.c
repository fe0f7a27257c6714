/* Norms over rows that do not fill a vector: tiles of rows are transposed, so that every lane has a row of its own, and back.
 * Lanes without a row compute with zeros: a row's numbers do not depend on how many come with it. */
#include "rows.h"

/* Element (r, j) of a tile is tile[j ROWS + r] */
enum { ROWS = BNC_ROWS_AT_ONCE };

static void gather(const bnc_real *x, int64_t ld, int64_t rows, int64_t width, bnc_real *tile)
{
    if (rows < ROWS) memset(tile, 0, (size_t)(width * ROWS) * sizeof *tile);
    BNC_KERNEL(transpose)(x, ld, tile, ROWS, rows, width);
}

static void scatter(const bnc_real *tile, int64_t rows, int64_t width, bnc_real *y, int64_t ld)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++) y[r * ld + j] = tile[j * ROWS + r];
}

/* x: (rows, width) with row pitch ld, width < VL -> mean (rows,), m2 (rows,) */
void BNC_KERNEL(narrow_moments)(const bnc_real *x, int64_t ld, int64_t rows, int64_t width,
                                double *mean, double *m2)
{
    bnc_real tile[VL * ROWS];
    double all_mean[ROWS], all_m2[ROWS];
    for (int64_t from = 0; from < rows; from += ROWS) {
        const int64_t some = rows - from < ROWS ? rows - from : ROWS,
                      lanes = (some + VL - 1) / VL * VL;
        gather(x + from * ld, ld, some, width, tile);
        BNC_KERNEL(columns_moments)(tile, ROWS, width, lanes, all_mean, all_m2);
        memcpy(mean + from, all_mean, (size_t)some * sizeof *mean);
        memcpy(m2 + from, all_m2, (size_t)some * sizeof *m2);
    }
}

/* As rows_normalize; `rest` lanes of the numbers are zeros. */
void BNC_KERNEL(narrow_normalize)(const bnc_real *x, bnc_real *y, int64_t ld, int64_t rows,
                                  int64_t width, const struct bnc_row_terms *k, int relu)
{
    bnc_real tile[VL * ROWS];
    for (int64_t from = 0; from < rows; from += ROWS) {
        const int64_t some = rows - from < ROWS ? rows - from : ROWS;
        struct row_numbers row = {{0}, {0}, {0}};
        row_numbers(k, from, some, &row);
        gather(x + from * ld, ld, some, width, tile);
        for (int64_t r = 0; r < some; r += VL) {
            const vreal hi = vload(row.hi + r), inv_std = vload(row.inv_std + r),
                        rest = vload(row.rest + r);
            for (int64_t j = 0; j < width; j++) {
                bnc_real *at = tile + j * ROWS + r;
                vreal a = X_HAT(k->mean != 0, vload(at), hi, inv_std, rest) * vset(k->gamma[j]);
                if (k->beta) a += vset(k->beta[j]);
                if (relu) a = vandnot((vint)(a < vzero()), a);
                vstore(at, a);
            }
        }
        scatter(tile, some, width, y + from * ld, ld);
    }
}

/* What the two backward passes see of a tile's column j, rows [r, r + VL). */
struct values {
    vreal x_hat, g, w;
};

BNC_INLINE struct values values_at(const bnc_real *x, const bnc_real *dy, int64_t j, int64_t r,
                                   const struct row_numbers *row, const struct bnc_row_terms *k,
                                   int relu)
{
    struct values v;
    const vreal scale = vset(k->gamma[j]);
    v.x_hat = X_HAT(k->mean != 0, vload(x + j * ROWS + r), vload(row->hi + r),
                    vload(row->inv_std + r), vload(row->rest + r));
    v.g = gated(relu, vload(dy + j * ROWS + r), v.x_hat, scale, relu ? vset(k->beta[j]) : vzero());
    v.w = v.g * scale;
    return v;
}

/* As rows_gradient_sums. */
void BNC_KERNEL(narrow_gradient_sums)(const bnc_real *x, const bnc_real *dy, int64_t ld,
                                      int64_t rows, int64_t width, const struct bnc_row_terms *k,
                                      int relu, double *sum_w, double *sum_wx)
{
    bnc_real tile[VL * ROWS], dy_tile[VL * ROWS], all_w[ROWS], all_wx[ROWS];
    for (int64_t from = 0; from < rows; from += ROWS) {
        const int64_t some = rows - from < ROWS ? rows - from : ROWS;
        struct row_numbers row = {{0}, {0}, {0}};
        row_numbers(k, from, some, &row);
        gather(x + from * ld, ld, some, width, tile);
        gather(dy + from * ld, ld, some, width, dy_tile);
        for (int64_t r = 0; r < some; r += VL) {
            vreal w = vzero(), wx = vzero();
            for (int64_t j = 0; j < width; j++) {
                const struct values v = values_at(tile, dy_tile, j, r, &row, k, relu);
                w += v.w;
                wx += v.w * v.x_hat;
            }
            vstore(all_w + r, w);
            vstore(all_wx + r, wx);
        }
        for (int64_t r = 0; r < some; r++) {
            sum_w[from + r] = k->mean ? (double)all_w[r] : 0;
            sum_wx[from + r] = (double)all_wx[r];
        }
    }
}

/* As rows_input_gradient. */
void BNC_KERNEL(narrow_input_gradient)(const bnc_real *x, const bnc_real *dy, bnc_real *dx,
                                       int64_t ld, int64_t rows, int64_t width,
                                       const struct bnc_row_terms *k, int relu, bnc_real *column_g,
                                       bnc_real *column_gx)
{
    bnc_real tile[VL * ROWS], dy_tile[VL * ROWS];
    for (int64_t from = 0; from < rows; from += ROWS) {
        const int64_t some = rows - from < ROWS ? rows - from : ROWS;
        struct row_numbers row = {{0}, {0}, {0}};
        struct row_slopes slope = {{0}, {0}};
        row_numbers(k, from, some, &row);
        row_slopes(k, from, some, &slope);
        gather(x + from * ld, ld, some, width, tile);
        gather(dy + from * ld, ld, some, width, dy_tile);
        for (int64_t j = 0; j < width; j++) {
            vreal g = vzero(), gx = vzero();
            for (int64_t r = 0; r < some; r += VL) {
                const struct values v = values_at(tile, dy_tile, j, r, &row, k, relu);
                g += v.g;
                gx += v.g * v.x_hat;
                vstore(tile + j * ROWS + r,
                       ROW_DX(1, v.w, v.x_hat, vload(row.inv_std + r), vload(slope.x_hat + r),
                              vload(slope.constant + r)));
            }
            column_g[j] += (bnc_real)vsum(g);
            column_gx[j] += (bnc_real)vsum(gx);
        }
        scatter(tile, some, width, dx + from * ld, ld);
    }
}

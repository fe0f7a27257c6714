/* y = act(x_hat gamma + beta) over rows: the element-wise half of the forward pass of layer and RMS norm. */
#include "rows.h"

BNC_INLINE void one_row(const bnc_real *restrict x, bnc_real *restrict y, int64_t width,
                        struct row row, const bnc_real *restrict gamma,
                        const bnc_real *restrict beta, const int centred, const int add,
                        const int relu)
{
#pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        bnc_real a = X_HAT(centred, x[j], row.hi, row.lo, row.inv_std) * gamma[j];
        if (add) a += beta[j];
        y[j] = relu ? (a < 0 ? 0 : a) : a; /* NaN passes, as it must through ReLU */
    }
}

BNC_INLINE void all_rows(const bnc_real *x, bnc_real *y, int64_t ld, int64_t rows, int64_t width,
                         const struct bnc_row_terms *k, const int centred, const int add,
                         const int relu)
{
    for (int64_t r = 0; r < rows; r++)
        one_row(x + r * ld, y + r * ld, width, row_at(k, r), k->gamma, k->beta, centred, add, relu);
}

/* x, y: (rows, width) with row pitch ld */
void BNC_KERNEL(rows_normalize)(const bnc_real *x, bnc_real *y, int64_t ld, int64_t rows,
                                int64_t width, const struct bnc_row_terms *k, int relu)
{
#define ROWS(centred, add, relu) all_rows(x, y, ld, rows, width, k, centred, add, relu)
    switch ((k->mean != 0) * 4 + (k->beta != 0) * 2 + (relu != 0)) {
    case 0: ROWS(0, 0, 0); break;
    case 1: ROWS(0, 0, 1); break;
    case 2: ROWS(0, 1, 0); break;
    case 3: ROWS(0, 1, 1); break;
    case 4: ROWS(1, 0, 0); break;
    case 5: ROWS(1, 0, 1); break;
    case 6: ROWS(1, 1, 0); break;
    default: ROWS(1, 1, 1);
    }
#undef ROWS
}

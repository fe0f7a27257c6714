/* Statistics of rows: mean and M2 for layer norm, the sum of squares for RMS norm. Blocks of a row are measured as
 * norm_moments.c does it for a channel, and merged in double. */
#include "rows.h"
#include "squares.h"

enum { TILE_ROWS = 64, TILE_WIDTH = 64 };

/* Short rows: transposed, so that every lane has a row of its own. Lanes without one are zeros: a row's numbers do not
 * depend on how many come with it. */
static void short_rows(const bnc_real *x, int64_t ld, int64_t rows, int64_t width, double *mean,
                       double *m2)
{
    bnc_real tile[TILE_WIDTH * TILE_ROWS];
    double all_mean[TILE_ROWS], all_m2[TILE_ROWS];
    const int64_t lanes = (rows + VL - 1) / VL * VL;
    if (rows < lanes) memset(tile, 0, (size_t)(width * lanes) * sizeof *tile);
    BNC_KERNEL(transpose)(x, ld, 1, tile, lanes, rows, width);
    BNC_KERNEL(columns_moments)(tile, lanes, width, lanes, all_mean, all_m2);
    memcpy(mean, all_mean, (size_t)rows * sizeof *mean);
    memcpy(m2, all_m2, (size_t)rows * sizeof *m2);
}

/* The first block takes two passes, the others one, around the mean so far. */
static void long_row(const bnc_real *x, int64_t width, double *mean, double *m2)
{
    BNC_KERNEL(slabs_moments)(x, 1, 0, width < BNC_ROW_BLOCK ? width : BNC_ROW_BLOCK, mean, m2);
    for (int64_t j = BNC_ROW_BLOCK; j < width; j += BNC_ROW_BLOCK) {
        const int64_t len = width - j < BNC_ROW_BLOCK ? width - j : BNC_ROW_BLOCK;
        double block_mean, block_m2;
        BNC_KERNEL(slabs_moments_near)(x + j, 1, 0, 1, 0, len, mean, &block_mean, &block_m2);
        BNC_KERNEL(merge_moments)(1, (double)j, mean, m2, (double)len, &block_mean, &block_m2);
    }
}

/* x: (rows, width) with row pitch ld -> mean (rows,), m2 (rows,). width >= 1 */
void BNC_KERNEL(rows_moments)(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t width,
                              double *restrict mean, double *restrict m2)
{
    if (width > TILE_WIDTH)
        for (int64_t r = 0; r < rows; r++) long_row(x + r * ld, width, mean + r, m2 + r);
    else
        for (int64_t r = 0; r < rows; r += TILE_ROWS)
            short_rows(x + r * ld, ld, rows - r < TILE_ROWS ? rows - r : TILE_ROWS, width, mean + r,
                       m2 + r);
}

static double squares_in_double(const bnc_real *x, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) sum += (double)x[j] * (double)x[j];
    return sum;
}

typedef double vdouble __attribute__((vector_size(BNC_VBYTES)));

/* sum += v, lane by lane and half by half */
BNC_INLINE void widen_add(vreal v, vdouble sum[2])
{
#if BNC_F64
    sum[0] += v;
#else
    typedef float half __attribute__((vector_size(BNC_VBYTES / 2)));
    half part[2];
    memcpy(part, &v, sizeof part);
    sum[0] += __builtin_convertvector(part[0], vdouble);
    sum[1] += __builtin_convertvector(part[1], vdouble);
#endif
}

/* The squares of four vectors are added in float, then leave as double: a lane that took many values of one size would
 * round them all the same way. */
BNC_INLINE double squares(const bnc_real *x, int64_t n)
{
    vdouble sum[2] = {{0}};
    int64_t j = 0;
    for (; j + 4 * VL <= n; j += 4 * VL) {
        vreal four = vzero();
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) four += vload(x + j + v * VL) * vload(x + j + v * VL);
        widen_add(four, sum);
    }
    for (; j + VL <= n; j += VL) widen_add(vload(x + j) * vload(x + j), sum);
    sum[0] += sum[1];
    double total = squares_in_double(x + j, n - j);
    for (int i = 0; i < BNC_VBYTES / 8; i++) total += sum[0][i];
    return total;
}

/* x: (rows, width) with row pitch ld -> sum (rows,) of squares; 0 for width 0. Squares of data around 1e+-30 leave the
 * range of float: such rows are summed again in double. */
void BNC_KERNEL(rows_squares)(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t width,
                              double *restrict sum)
{
    for (int64_t r = 0; r < rows; r++, x += ld) {
        sum[r] = 0;
        for (int64_t j = 0; j < width; j += BNC_ROW_BLOCK)
            sum[r] += squares(x + j, width - j < BNC_ROW_BLOCK ? width - j : BNC_ROW_BLOCK);
        if (suspicious(sum[r])) sum[r] = squares_in_double(x, width);
    }
}

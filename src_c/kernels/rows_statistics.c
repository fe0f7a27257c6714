/* Statistics of rows: mean and M2 for layer norm, the sum of squares for RMS norm.
 *
 * Moments take one pass of sums around a shift, the mean of the row's first values, as norm_moments.c does it for channels
 * with a mean nearby, and with the same guard: a row that lies elsewhere, or leaves the range of float, is done again in
 * two passes. The sums of a short row's lanes are folded together with those of other rows. */
#include "norm_moments.h"
#include "rows.h"

/* Sums of d = x - k and of d*d. Squares are added by fours, for the reason norm_moments.c gives. */
struct sums {
    vreal s[2], q[2];
};

BNC_INLINE void add_four(const bnc_real *x, vreal k, struct sums *a, const int turn)
{
    vreal d[4], four;
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        d[v] = vload(x + v * VL) - k;
        four = v ? four + d[v] * d[v] : d[v] * d[v];
    }
    a->s[turn] += (d[0] + d[1]) + (d[2] + d[3]);
    a->q[turn] += four;
}

/* `len` values of a row of at least a vector; what is left over at the end is the end of an overlapping vector. */
BNC_INLINE void add_run(const bnc_real *x, int64_t len, vreal k, struct sums *a)
{
    int64_t j = 0;
    for (; j + 8 * VL <= len; j += 8 * VL) {
        add_four(x + j, k, a, 0);
        add_four(x + j + 4 * VL, k, a, 1);
    }
    if (j + 4 * VL <= len) add_four(x + j, k, a, 0), j += 4 * VL;
    for (; j + VL <= len; j += VL) {
        const vreal d = vload(x + j) - k;
        a->s[1] += d;
        a->q[1] += d * d;
    }
    if (j < len) {
        const vreal d = vand(last_lanes(len - j), vload(x + len - VL) - k);
        a->s[0] += d;
        a->q[0] += d * d;
    }
}

/* Up to a vector's lanes of short rows. */
static void short_rows(const bnc_real *x, int64_t ld, int64_t rows, int64_t width, double *mean,
                       double *m2)
{
    bnc_real shift[VL], all_s[VL], all_q[VL];
    vreal s[VL], q[VL], first = vzero();
    for (int r = 0; r < VL; r++) s[r] = q[r] = vzero();
    for (int64_t r = 0; r < rows; r++) {
        first[r] = x[r * ld];
        s[r] = vload(x + r * ld) - vset(x[r * ld]);
    }
    vstore(shift, first + fold(s) * vset((bnc_real)1 / VL));
    for (int64_t r = 0; r < rows; r++) {
        struct sums a = {{vzero(), vzero()}, {vzero(), vzero()}};
        add_run(x + r * ld, width, vset(shift[r]), &a);
        s[r] = a.s[0] + a.s[1];
        q[r] = a.q[0] + a.q[1];
    }
    for (int64_t r = rows; r < VL; r++) s[r] = vzero();
    vstore(all_s, fold(s));
    vstore(all_q, fold(q));
    const double over = 1 / (double)width;
    int doubtful = 0;
#pragma omp simd reduction(| : doubtful)
    for (int64_t r = 0; r < rows; r++) {
        const double sum = (double)all_s[r], square = (double)all_q[r];
        mean[r] = (double)shift[r] + sum * over;
        m2[r] = square - sum * sum * over;
        doubtful |= far_off(square, m2[r]);
    }
    for (int64_t r = 0; doubtful && r < rows; r++)
        if (far_off((double)all_q[r], m2[r]))
            BNC_KERNEL(slabs_moments)(x + r * ld, 1, 0, width, mean + r, m2 + r);
}

/* The first block takes two passes, the others one, around the mean so far. */
static void again(const bnc_real *x, int64_t width, double *mean, double *m2)
{
    BNC_KERNEL(slabs_moments)(x, 1, 0, width < BNC_ROW_BLOCK ? width : BNC_ROW_BLOCK, mean, m2);
    for (int64_t j = BNC_ROW_BLOCK; j < width; j += BNC_ROW_BLOCK) {
        const int64_t len = width - j < BNC_ROW_BLOCK ? width - j : BNC_ROW_BLOCK;
        double block_mean, block_m2;
        BNC_KERNEL(slabs_moments_near)(x + j, 1, 0, 1, 0, len, mean, &block_mean, &block_m2);
        BNC_KERNEL(merge_moments)(1, (double)j, mean, m2, (double)len, &block_mean, &block_m2);
    }
}

static void long_row(const bnc_real *x, int64_t width, double *mean, double *m2)
{
    const bnc_real k = x[0] + (bnc_real)(vsum(vload(x) - vset(x[0])) / VL);
    double s = 0, q = 0;
    for (int64_t j = 0; j < width; j += BNC_ROW_BLOCK) {
        struct sums a = {{vzero(), vzero()}, {vzero(), vzero()}};
        int64_t len = width - j < BNC_ROW_BLOCK ? width - j : BNC_ROW_BLOCK;
        add_run(x + j, len, vset(k), &a);
        double block_s, block_q;
        fold_two(a.s[0] + a.s[1], a.q[0] + a.q[1], &block_s, &block_q);
        s += block_s, q += block_q;
    }
    settle((double)k, s, q, (double)width, mean, m2);
    if (far_off(q, *m2)) again(x, width, mean, m2);
}

/* x: (rows, width) with row pitch ld -> mean (rows,), m2 (rows,). width >= 1 */
void BNC_KERNEL(rows_moments)(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t width,
                              double *restrict mean, double *restrict m2)
{
    if (width < VL)
        BNC_KERNEL(narrow_moments)(x, ld, rows, width, mean, m2);
    else if (width <= BNC_SHORT_ROW)
        for (int64_t r = 0; r < rows; r += VL)
            short_rows(x + r * ld, ld, rows - r < VL ? rows - r : VL, width, mean + r, m2 + r);
    else
        for (int64_t r = 0; r < rows; r++) long_row(x + r * ld, width, mean + r, m2 + r);
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

BNC_INLINE vreal four_squares(const bnc_real *x)
{
    vreal four = vload(x) * vload(x);
#pragma GCC unroll 3
    for (int v = 1; v < 4; v++) four += vload(x + v * VL) * vload(x + v * VL);
    return four;
}

/* The squares of four vectors are added in float, then leave as double: a lane that took many values of one size would
 * round them all the same way. */
static double block_squares(const bnc_real *x, int64_t n)
{
    vdouble sum[2] = {{0}};
    int64_t j = 0;
    for (; j + 4 * VL <= n; j += 4 * VL) widen_add(four_squares(x + j), sum);
    for (; j + VL <= n; j += VL) widen_add(vload(x + j) * vload(x + j), sum);
    sum[0] += sum[1];
    double total = squares_in_double(x + j, n - j);
    for (int i = 0; i < BNC_VBYTES / 8; i++) total += sum[0][i];
    return total;
}

static double long_squares(const bnc_real *x, int64_t n)
{
    double sum = 0;
    for (int64_t j = 0; j < n; j += BNC_ROW_BLOCK)
        sum += block_squares(x + j, n - j < BNC_ROW_BLOCK ? n - j : BNC_ROW_BLOCK);
    return sum;
}

/* Up to a vector's lanes of rows so short that few values meet in a lane. */
static void short_squares(const bnc_real *x, int64_t ld, int64_t rows, int64_t width, double *sum)
{
    bnc_real all[VL];
    vreal q[VL];
    for (int64_t r = rows; r < VL; r++) q[r] = vzero();
    for (int64_t r = 0; r < rows; r++, x += ld) {
        int64_t j = 0;
        q[r] = vzero();
        for (; j + 4 * VL <= width; j += 4 * VL) q[r] += four_squares(x + j);
        for (; j + VL <= width; j += VL) q[r] += vload(x + j) * vload(x + j);
        if (j < width) {
            const vreal v = vand(last_lanes(width - j), vload(x + width - VL));
            q[r] += v * v;
        }
    }
    vstore(all, fold(q));
    for (int64_t r = 0; r < rows; r++) sum[r] = (double)all[r];
}

/* x: (rows, width) with row pitch ld -> sum (rows,) of squares; 0 for width 0. Squares of data around 1e+-30 leave the
 * range of float: such rows are summed again in double. */
void BNC_KERNEL(rows_squares)(const bnc_real *restrict x, int64_t ld, int64_t rows, int64_t width,
                              double *restrict sum)
{
    const int is_short = width >= VL && width <= BNC_SHORT_ROW;
    for (int64_t r = 0; r < rows; r += is_short ? VL : 1)
        if (is_short)
            short_squares(x + r * ld, ld, rows - r < VL ? rows - r : VL, width, sum + r);
        else
            sum[r] = long_squares(x + r * ld, width);
    for (int64_t r = 0; r < rows; r++)
        if (suspicious(sum[r])) sum[r] = squares_in_double(x + r * ld, width);
}

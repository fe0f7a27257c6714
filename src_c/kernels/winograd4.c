/* Winograd's F(4x4, 3x3): four by four outputs of a 3x3 correlation from six by six inputs, with 36 products a pair of
 * channels instead of 144 (Lavin & Gray 2015, arXiv 1509.09308). As winograd2.c, with 36 slabs, and the same arguments.
 *
 * The points are 0, +-a, +-b, infinity with a = sqrt(1/2) and b = 1/a: numbers of the transforms are small and balanced, and
 * rounding errors two to three times those of the plain sum, where the usual points 0, +-1, +-2 have seven times as large
 * ones. (Points that are each other's inverses: Barabasz et al. 2020, arXiv 1803.10986.) With a^2 = 1/2 and b^2 = 2 all but
 * the odd parts' factors a and b are exact. */
#include "kernels.h"

static const double A = 0.70710678118654752440, B = 1.41421356237309504880;

/* B' d B, one direction. */
BNC_INLINE void input_step(const vreal d[6], vreal to[6])
{
    const vreal even_a = d[4] - 2 * d[2], odd_a = (bnc_real)A * (d[3] - 2 * d[1]),
                even_b = d[4] - (bnc_real)0.5 * d[2],
                odd_b = (bnc_real)B * (d[3] - (bnc_real)0.5 * d[1]);
    to[0] = (d[0] + d[4]) - (bnc_real)2.5 * d[2];
    to[1] = even_a + odd_a;
    to[2] = even_a - odd_a;
    to[3] = even_b + odd_b;
    to[4] = even_b - odd_b;
    to[5] = (d[1] + d[5]) - (bnc_real)2.5 * d[3];
}

void BNC_KERNEL(winograd4_input)(const bnc_real *restrict x, int64_t row, int64_t channels,
                                 int64_t tiles, bnc_real *restrict v, int64_t slab)
{
    for (int64_t t = 0; t < tiles; t++, x += 4 * channels, v += channels)
        for (int64_t c = 0; c < channels; c += VL) {
            vreal half[6][6], d[6], whole[6];
#pragma GCC unroll 6
            for (int i = 0; i < 6; i++) {
#pragma GCC unroll 6
                for (int j = 0; j < 6; j++) d[j] = vload(x + i * row + j * channels + c);
                input_step(d, half[i]);
            }
#pragma GCC unroll 6
            for (int j = 0; j < 6; j++) {
#pragma GCC unroll 6
                for (int i = 0; i < 6; i++) d[i] = half[i][j];
                input_step(d, whole);
#pragma GCC unroll 6
                for (int i = 0; i < 6; i++) vstore(v + (6 * i + j) * slab + c, whole[i]);
            }
        }
}

/* G g, one direction. */
BNC_INLINE void weight_step(const vreal g[3], vreal to[6])
{
    const vreal even_a = (bnc_real)(-2. / 3) * g[0] - (bnc_real)(1. / 3) * g[2],
                odd_a = (bnc_real)(-2. / 3 * A) * g[1],
                even_b = (bnc_real)(1. / 6) * g[0] + (bnc_real)(1. / 3) * g[2],
                odd_b = (bnc_real)(B / 6) * g[1];
    to[0] = g[0];
    to[1] = even_a + odd_a;
    to[2] = even_a - odd_a;
    to[3] = even_b + odd_b;
    to[4] = even_b - odd_b;
    to[5] = g[2];
}

void BNC_KERNEL(winograd4_weight)(const bnc_real *restrict g, int64_t pitch, int64_t out,
                                  bnc_real *restrict u, int64_t slab)
{
    for (int64_t o = 0; o < out; o += VL) {
        vreal half[3][6], column[3], all[6];
        for (int k = 0; k < 3; k++) {
#pragma GCC unroll 3
            for (int l = 0; l < 3; l++) column[l] = vload(g + (3 * k + l) * pitch + o);
            weight_step(column, half[k]);
        }
        for (int j = 0; j < 6; j++) {
#pragma GCC unroll 3
            for (int k = 0; k < 3; k++) column[k] = half[k][j];
            weight_step(column, all);
#pragma GCC unroll 6
            for (int i = 0; i < 6; i++) vstore(u + (6 * i + j) * slab + o, all[i]);
        }
    }
}

/* A' m, one direction. */
BNC_INLINE void output_step(const vreal m[6], vreal to[4])
{
    const vreal sum_a = m[1] + m[2], sum_b = m[3] + m[4], odd_a = (bnc_real)A * (m[1] - m[2]),
                odd_b = (bnc_real)B * (m[3] - m[4]);
    to[0] = m[0] + (sum_a + sum_b);
    to[1] = odd_a + odd_b;
    to[2] = (bnc_real)0.5 * sum_a + 2 * sum_b;
    to[3] = ((bnc_real)0.5 * odd_a + 2 * odd_b) + m[5];
}

/* A' m A of one vector of channels: the outputs of a tile, row by row. */
BNC_INLINE void output_tile(const bnc_real *m, int64_t slab, vreal y[4][4])
{
    vreal half[6][4], column[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
#pragma GCC unroll 6
        for (int j = 0; j < 6; j++) column[j] = vload(m + (6 * i + j) * slab);
        output_step(column, half[i]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        vreal to[4];
#pragma GCC unroll 6
        for (int i = 0; i < 6; i++) column[i] = half[i][j];
        output_step(column, to);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) y[i][j] = to[i];
    }
}

enum { AHEAD = 2 }; /* tiles */

static void store_some(vreal y[4][4], int64_t rows, int64_t columns, int64_t lanes, bnc_real *to,
                       int64_t row, int64_t step)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) vstore_part(to + i * row + j * step, y[i][j], lanes);
}

void BNC_KERNEL(winograd4_output)(const bnc_real *restrict m, int64_t slab, int64_t padded,
                                  int64_t channels, int64_t rows, int64_t columns,
                                  bnc_real *restrict y, int64_t row, int64_t step)
{
    for (int64_t j = 0; j < columns; j += 4, m += padded, y += 4 * step)
        for (int64_t c = 0; c < channels; c += VL) {
            vreal pixel[4][4];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
                for (int k = 0; k < 4; k++)
                    __builtin_prefetch(y + i * row + (4 * AHEAD + k) * step + c, 1);
            output_tile(m + c, slab, pixel);
            if (rows == 4 && j + 3 < columns && c + VL <= channels) {
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
                    for (int k = 0; k < 4; k++) vstore(y + i * row + k * step + c, pixel[i][k]);
            } else {
                store_some(pixel, rows, columns - j < 4 ? columns - j : 4,
                           channels - c < VL ? channels - c : VL, y + c, row, step);
            }
        }
}

/* A dy, one direction. */
BNC_INLINE void gradient_step(const vreal d[4], vreal to[6])
{
    const vreal even_a = d[0] + (bnc_real)0.5 * d[2],
                odd_a = (bnc_real)A * (d[1] + (bnc_real)0.5 * d[3]), even_b = d[0] + 2 * d[2],
                odd_b = (bnc_real)B * (d[1] + 2 * d[3]);
    to[0] = d[0];
    to[1] = even_a + odd_a;
    to[2] = even_a - odd_a;
    to[3] = even_b + odd_b;
    to[4] = even_b - odd_b;
    to[5] = d[3];
}

void BNC_KERNEL(winograd4_gradient)(const bnc_real *restrict dy, int64_t row, int64_t channels,
                                    int64_t tiles, bnc_real *restrict z, int64_t slab)
{
    for (int64_t t = 0; t < tiles; t++, dy += 4 * channels, z += channels)
        for (int64_t c = 0; c < channels; c += VL) {
            vreal half[4][6], d[4], whole[6];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
#pragma GCC unroll 4
                for (int j = 0; j < 4; j++) d[j] = vload(dy + i * row + j * channels + c);
                gradient_step(d, half[i]);
            }
#pragma GCC unroll 6
            for (int j = 0; j < 6; j++) {
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++) d[i] = half[i][j];
                gradient_step(d, whole);
#pragma GCC unroll 6
                for (int i = 0; i < 6; i++) vstore(z + (6 * i + j) * slab + c, whole[i]);
            }
        }
}

/* G' u, one direction. */
BNC_INLINE void sum_step(const vreal u[6], vreal to[3])
{
    const vreal sum_a = u[1] + u[2], sum_b = u[3] + u[4], odd_a = u[1] - u[2], odd_b = u[3] - u[4];
    to[0] = u[0] + ((bnc_real)(1. / 6) * sum_b - (bnc_real)(2. / 3) * sum_a);
    to[1] = (bnc_real)(B / 6) * odd_b - (bnc_real)(2. / 3 * A) * odd_a;
    to[2] = (bnc_real)(1. / 3) * (sum_b - sum_a) + u[5];
}

void BNC_KERNEL(winograd4_weight_gradient)(const bnc_real *restrict u, int64_t slab, int64_t out,
                                           bnc_real *restrict g, int64_t pitch)
{
    for (int64_t o = 0; o < out; o += VL) {
        vreal half[6][3], column[6], all[3];
        for (int i = 0; i < 6; i++) {
#pragma GCC unroll 6
            for (int j = 0; j < 6; j++) column[j] = vload(u + (6 * i + j) * slab + o);
            sum_step(column, half[i]);
        }
        for (int l = 0; l < 3; l++) {
#pragma GCC unroll 6
            for (int i = 0; i < 6; i++) column[i] = half[i][l];
            sum_step(column, all);
#pragma GCC unroll 3
            for (int k = 0; k < 3; k++) vstore(g + (3 * k + l) * pitch + o, all[k]);
        }
    }
}

/* Winograd's F(2x2, 3x3): two by two outputs of a 3x3 correlation from four by four inputs, with 16 products a pair of
 * channels instead of 36 (Lavin & Gray 2015, arXiv 1509.09308). A tile's 16 numbers lie in 16 slabs, `slab` values apart,
 * each (tiles, channels): what is between the transforms are 16 products of matrices. Channels are whole vectors. */
#include "kernels.h"

/* B' d B, one direction: a row or column of four. */
#define INPUT_STEP(a, b, c, d, to0, to1, to2, to3) \
    to0 = (a) - (c), to1 = (b) + (c), to2 = (c) - (b), to3 = (b) - (d)

/* x: the four by four inputs of the first of `tiles` tiles, two pixels apart, pixels `channels` and rows `row` apart */
void BNC_KERNEL(winograd2_input)(const bnc_real *restrict x, int64_t row, int64_t channels,
                                 int64_t tiles, bnc_real *restrict v, int64_t slab)
{
    for (int64_t t = 0; t < tiles; t++, x += 2 * channels, v += channels)
        for (int64_t c = 0; c < channels; c += VL) {
            vreal half[4][4], whole[4];
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) {
                const bnc_real *at = x + j * channels + c;
                INPUT_STEP(vload(at), vload(at + row), vload(at + 2 * row), vload(at + 3 * row),
                           half[0][j], half[1][j], half[2][j], half[3][j]);
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                INPUT_STEP(half[i][0], half[i][1], half[i][2], half[i][3], whole[0], whole[1],
                           whole[2], whole[3]);
#pragma GCC unroll 4
                for (int j = 0; j < 4; j++) vstore(v + (4 * i + j) * slab + c, whole[j]);
            }
        }
}

/* G g G' of `out` columns (whole vectors) of one input channel's 3x3 weights, which lie at g + tap * pitch, to u + i * slab */
void BNC_KERNEL(winograd2_weight)(const bnc_real *restrict g, int64_t pitch, int64_t out,
                                  bnc_real *restrict u, int64_t slab)
{
    const vreal half = vset((bnc_real)0.5);
#define WEIGHT_STEP(a, b, c, to0, to1, to2, to3)                                             \
    to0 = (a), to1 = ((a) + (c)) * half + (b) * half, to2 = ((a) + (c)) * half - (b) * half, \
    to3 = (c)
    for (int64_t o = 0; o < out; o += VL) {
        vreal first[4][3], all[4];
#pragma GCC unroll 3
        for (int l = 0; l < 3; l++)
            WEIGHT_STEP(vload(g + l * pitch + o), vload(g + (3 + l) * pitch + o),
                        vload(g + (6 + l) * pitch + o), first[0][l], first[1][l], first[2][l],
                        first[3][l]);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            WEIGHT_STEP(first[i][0], first[i][1], first[i][2], all[0], all[1], all[2], all[3]);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) vstore(u + (4 * i + j) * slab + o, all[j]);
        }
    }
#undef WEIGHT_STEP
}

/* A' m A of one vector of channels: the outputs of a tile, row by row. */
BNC_INLINE void output_tile(const bnc_real *m, int64_t slab, vreal y[4])
{
    vreal half[2][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        const vreal a = vload(m + j * slab), b = vload(m + (4 + j) * slab),
                    c = vload(m + (8 + j) * slab), d = vload(m + (12 + j) * slab);
        half[0][j] = a + (b + c);
        half[1][j] = (b - c) - d;
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        y[2 * i] = half[i][0] + (half[i][1] + half[i][2]);
        y[2 * i + 1] = (half[i][1] - half[i][2]) - half[i][3];
    }
}

enum { AHEAD = 8 };

/* Of a tile at the end of an image or of the channels, what exists. */
static void store_some(const vreal pixel[4], int64_t rows, int64_t columns, int64_t lanes,
                       bnc_real *y, int64_t row, int64_t step)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            vstore_part(y + i * row + j * step, pixel[2 * i + j], lanes);
}

/* y: the first of `rows` (1 or 2) by `columns` (of two a tile, the last may be missing) output pixels, of which the first
 * `channels` of `padded` channels exist; pixels `step`, rows `row` apart */
void BNC_KERNEL(winograd2_output)(const bnc_real *restrict m, int64_t slab, int64_t padded,
                                  int64_t channels, int64_t rows, int64_t columns,
                                  bnc_real *restrict y, int64_t row, int64_t step)
{
    for (int64_t j = 0; j < columns; j += 2, m += padded, y += 2 * step)
        for (int64_t c = 0; c < channels; c += VL) {
            vreal pixel[4];
            __builtin_prefetch(y + 2 * AHEAD * step + c, 1);
            __builtin_prefetch(y + (2 * AHEAD + 1) * step + c, 1);
            __builtin_prefetch(y + row + 2 * AHEAD * step + c, 1);
            __builtin_prefetch(y + row + (2 * AHEAD + 1) * step + c, 1);
            output_tile(m + c, slab, pixel);
            if (rows == 2 && j + 1 < columns && c + VL <= channels)
#pragma GCC unroll 4
                for (int q = 0; q < 4; q++) vstore(y + q / 2 * row + q % 2 * step + c, pixel[q]);
            else
                store_some(pixel, rows, columns - j < 2 ? 1 : 2,
                           channels - c < VL ? channels - c : VL, y + c, row, step);
        }
}

/* A dy A' of two by two gradients of outputs: what the weight's gradient multiplies. dy as x of winograd_input, z as its v. */
void BNC_KERNEL(winograd2_gradient)(const bnc_real *restrict dy, int64_t row, int64_t channels,
                                    int64_t tiles, bnc_real *restrict z, int64_t slab)
{
#define GRADIENT_STEP(a, b, to0, to1, to2, to3) \
    to0 = (a), to1 = (a) + (b), to2 = (a) - (b), to3 = -(b)
    for (int64_t t = 0; t < tiles; t++, dy += 2 * channels, z += channels)
        for (int64_t c = 0; c < channels; c += VL) {
            vreal half[4][2], whole[4];
#pragma GCC unroll 2
            for (int j = 0; j < 2; j++)
                GRADIENT_STEP(vload(dy + j * channels + c), vload(dy + j * channels + c + row),
                              half[0][j], half[1][j], half[2][j], half[3][j]);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                GRADIENT_STEP(half[i][0], half[i][1], whole[0], whole[1], whole[2], whole[3]);
#pragma GCC unroll 4
                for (int j = 0; j < 4; j++) vstore(z + (4 * i + j) * slab + c, whole[j]);
            }
        }
#undef GRADIENT_STEP
}

/* G' u G of `out` columns (whole vectors) of one input channel, u as that of winograd_weight: the gradients of its 3x3 weights,
 * to g + tap * pitch */
void BNC_KERNEL(winograd2_weight_gradient)(const bnc_real *restrict u, int64_t slab, int64_t out,
                                           bnc_real *restrict g, int64_t pitch)
{
    const vreal half = vset((bnc_real)0.5);
#define SUM_STEP(a, b, c, d, to0, to1, to2) \
    to0 = (a) + ((b) + (c)) * half, to1 = ((b) - (c)) * half, to2 = ((b) + (c)) * half + (d)
    for (int64_t o = 0; o < out; o += VL) {
        vreal first[3][4], all[3];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            SUM_STEP(vload(u + j * slab + o), vload(u + (4 + j) * slab + o),
                     vload(u + (8 + j) * slab + o), vload(u + (12 + j) * slab + o), first[0][j],
                     first[1][j], first[2][j]);
#pragma GCC unroll 3
        for (int k = 0; k < 3; k++) {
            SUM_STEP(first[k][0], first[k][1], first[k][2], first[k][3], all[0], all[1], all[2]);
#pragma GCC unroll 3
            for (int l = 0; l < 3; l++) vstore(g + (3 * k + l) * pitch + o, all[l]);
        }
    }
#undef SUM_STEP
}

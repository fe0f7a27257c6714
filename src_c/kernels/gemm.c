/* Matrix product on one thread, C = A B or C += A B, and the small copies around it. Not here:
 * threads, layouts, packing of whole matrices. B's rows are read where they lie; only a last,
 * partly filled vector of columns is copied first. */
#include "kernels.h"

#include <string.h>

/* A tile of C stays in registers: MR rows of NV vectors. The pairs are the largest that leave
 * room for B and A. */
#if BNC_VBYTES == 64
#define MR 8
#define NV 3
#else
#define MR 6
#define NV 2
#endif
/* Depth of a block: NV vectors of KC rows of B stay in cache; it also bounds the error of sums. */
#define KC 256
#define NR (NV * VL)
#define UNROLL _Pragma("GCC unroll 8")

/* c (mr x nv vectors) = or += sum over p < k, in order, of A(i, p) B(p, :). A(i, p) is a[i lda +
 * p], or a[p lda + i] if transposed. The sum starts at 0 and is added to c at the end, so a long
 * sum over blocks errs like a short one. */
BNC_INLINE void tile(const int transposed, const int mr, const int nv, int64_t k,
                     const bnc_real *restrict a, int64_t lda, const bnc_real *restrict b,
                     int64_t ldb, bnc_real *restrict c, int64_t ldc, int add)
{
    vreal sum[MR][NV];
    UNROLL for (int i = 0; i < mr; i++) UNROLL for (int v = 0; v < nv; v++) sum[i][v] = vzero();
    for (int64_t p = 0; p < k; p++) {
        vreal row[NV];
        UNROLL for (int v = 0; v < nv; v++) row[v] = vload(b + p * ldb + v * VL);
        UNROLL for (int i = 0; i < mr; i++)
        {
            bnc_real ai = transposed ? a[p * lda + i] : a[i * lda + p];
            UNROLL for (int v = 0; v < nv; v++) sum[i][v] += ai * row[v];
        }
    }
    UNROLL for (int i = 0; i < mr; i++) UNROLL for (int v = 0; v < nv; v++)
    {
        bnc_real *to = c + i * ldc + v * VL;
        vstore(to, add ? vload(to) + sum[i][v] : sum[i][v]);
    }
}

typedef void tile_fn(int64_t k, const bnc_real *a, int64_t lda, const bnc_real *b, int64_t ldb,
                     bnc_real *c, int64_t ldc, int add);

#define TILE(t, m, v)                                                                           \
    static __attribute__((noinline)) void tile_##t##_##m##_##v(                                 \
        int64_t k, const bnc_real *a, int64_t lda, const bnc_real *b, int64_t ldb, bnc_real *c, \
        int64_t ldc, int add)                                                                   \
    { tile(t, m, v, k, a, lda, b, ldb, c, ldc, add); }
#define TILES(t, v) TILE(t, MR, v) TILE(t, 4, v) TILE(t, 2, v) TILE(t, 1, v)
#define ROW(t, v) {tile_##t##_MR_##v, tile_##t##_4_##v, tile_##t##_2_##v, tile_##t##_1_##v}
TILES(0, 1)
TILES(1, 1)
TILES(0, 2)
TILES(1, 2)
#if NV == 3
TILES(0, 3)
TILES(1, 3)
static tile_fn *const tiles[2][NV][4] = {{ROW(0, 1), ROW(0, 2), ROW(0, 3)},
                                         {ROW(1, 1), ROW(1, 2), ROW(1, 3)}};
#else
static tile_fn *const tiles[2][NV][4] = {{ROW(0, 1), ROW(0, 2)}, {ROW(1, 1), ROW(1, 2)}};
#endif
static const int tile_rows[4] = {MR, 4, 2, 1};

/* The first w of NR columns of a finished tile, to c. */
static void store_edge(const bnc_real *edge, int rows, int64_t w, bnc_real *c, int64_t ldc, int add)
{
    for (int r = 0; r < rows; r++)
        for (int64_t q = 0; q < w; q++)
            c[r * ldc + q] = add ? c[r * ldc + q] + edge[r * NR + q] : edge[r * NR + q];
}

/* One block of depth k and one panel of w <= NR columns: every row of C. b may be the padded
 * copy of the columns. */
static void panel(int transposed, const bnc_real *a, int64_t lda, const bnc_real *b, int64_t ldb,
                  bnc_real *c, int64_t ldc, int64_t m, int64_t w, int64_t k, int add)
{
    _Alignas(64) bnc_real edge[MR * NR];
    const int nv = (int)((w + VL - 1) / VL), whole = w % VL == 0;
    for (int64_t i = 0; i < m;) {
        const int64_t left = m - i;
        const int size = left >= MR ? 0 : left >= 4 ? 1 : left >= 2 ? 2 : 3;
        tile_fn *run = tiles[transposed][nv - 1][size];
        const bnc_real *ai = transposed ? a + i : a + i * lda;
        if (whole) {
            run(k, ai, lda, b, ldb, c + i * ldc, ldc, add);
        } else {
            run(k, ai, lda, b, ldb, edge, NR, 0);
            store_edge(edge, tile_rows[size], w, c + i * ldc, ldc, add);
        }
        i += tile_rows[size];
    }
}

/* Sum of a[p] b[p step], step being 1 or 0, in vectors: one column of a product. */
static bnc_real dot(const bnc_real *a, const bnc_real *b, int64_t step, int64_t k)
{
    vreal sum[4] = {vzero(), vzero(), vzero(), vzero()};
    const vreal first = vset(b[0]);
    bnc_real rest = 0;
    int64_t p = 0;
    for (; p + 4 * VL <= k; p += 4 * VL)
        UNROLL for (int v = 0; v < 4; v++) sum[v] +=
            vload(a + p + v * VL) * (step ? vload(b + p + v * VL) : first);
    for (; p + VL <= k; p += VL) sum[0] += vload(a + p) * (step ? vload(b + p) : first);
    for (; p < k; p++) rest += a[p] * b[p * step];
    return (bnc_real)(vsum(sum[0] + sum[1] + (sum[2] + sum[3])) + (double)rest);
}

/* C (m x n) = A B, or C += A B if add. A is m x k, row p of its transpose at a + p lda if
 * transposed; B is k x n. lda and ldb may be 0: one row that counts as all. C overlaps neither. */
void BNC_KERNEL(gemm)(int transposed, const bnc_real *restrict a, int64_t lda,
                      const bnc_real *restrict b, int64_t ldb, bnc_real *restrict c, int64_t ldc,
                      int64_t m, int64_t n, int64_t k, int add)
{
    if (n == 1 && !transposed && ldb <= 1 && k > 0) {
        for (int64_t i = 0; i < m; i++) {
            const bnc_real sum = dot(a + i * lda, b, ldb, k);
            c[i * ldc] = add ? c[i * ldc] + sum : sum;
        }
        return;
    }
    _Alignas(64) bnc_real copy[KC * NR];
    for (int64_t p = 0; p < k || p == 0; p += KC) {
        const int64_t depth = k - p < KC ? k - p : KC;
        const bnc_real *ap = transposed ? a + p * lda : a + p;
        for (int64_t j = 0, w; j < n; j += w) {
            const int64_t left = (n - j + VL - 1) / VL;
            const int64_t nv = left <= NV ? left : left == NV + 1 ? (left + 1) / 2 : NV;
            w = n - j < nv * VL ? n - j : nv * VL;
            const bnc_real *bj = b + p * ldb + j;
            int64_t pitch = ldb;
            if (w % VL) {
                pitch = nv * VL;
                for (int64_t q = 0; q < depth; q++) {
                    memset(copy + q * pitch + pitch - VL, 0, VL * sizeof(bnc_real));
                    for (int64_t r = 0; r < w; r++) copy[q * pitch + r] = bj[q * ldb + r];
                }
                bj = copy;
            }
            panel(transposed, ap, lda, bj, pitch, c + j, ldc, m, w, depth, add || p);
        }
    }
}

/* Layer and RMS norm, backward: a group of rows gives its row sums and, still in cache, dx; the column sums, which are
 * the gradients of beta and gamma, are kept per chunk and merged in the order of the chunks. */
#include "rows_layout.h"

typedef struct {
    const bnc_rows_gradient *a;
    const bnc_real *gamma, *beta;
    int64_t rows_per; /* rows of a chunk */
    bnc_real *sums;   /* (chunks, 2 d): column sums of g, then of g x_hat, of a few rows */
    double *
        totals; /* (chunks, 2 d): of all rows of the chunk; NULL for a few rows that are very long */
    int64_t chunks;
    int streams;              /* dx goes past the caches */
    int64_t row;              /* the long row at hand ... */
    double *mean_w, *mean_wx; /* ... its means, and the sums of its pieces */
} job;

/* Sums become means: of w over the row, of w x_hat over what inv_std was taken from. */
static void divide(const job *j, int64_t rows, double *w, double *wx)
{
    const double n = (double)j->a->d, m = (double)(j->a->squared ? j->a->squared : j->a->d);
    for (int64_t r = 0; r < rows; r++) w[r] /= n, wx[r] /= m;
}

static struct bnc_row_terms terms(const job *j, int64_t row, int64_t column, const double *mean_w,
                                  const double *mean_wx)
{
    const bnc_rows_gradient *a = j->a;
    return (struct bnc_row_terms){.gamma = j->gamma + column,
                                  .beta = j->beta ? j->beta + column : 0,
                                  .mean = a->mean ? a->mean + row : 0,
                                  .inv_std = a->inv_std + row,
                                  .mean_w = mean_w,
                                  .mean_wx = mean_wx};
}

static void sums(const job *j, int64_t row, int64_t rows, int64_t column, int64_t width, double *w,
                 double *wx)
{
    const bnc_rows_gradient *a = j->a;
    const struct bnc_row_terms k = terms(j, row, column, 0, 0);
    const int64_t o = row * a->d + column;
    KERNELS->rows_gradient_sums((const bnc_real *)a->x + o, (const bnc_real *)a->dy + o, a->d, rows,
                                width, &k, a->relu, w, wx);
}

static void measure(const job *j, int64_t row, int64_t rows, double *w, double *wx)
{
    sums(j, row, rows, 0, j->a->d, w, wx);
    divide(j, rows, w, wx);
}

static const double zeros[BNC_ROW_SUMS] = {0};

/* dx of columns that all, or none of which, inv_std was taken from, and column sums. A single value is its mean: its dx is
 * 0, not a rounding of w. Meanwhile what lies `next` elements behind is fetched. */
static void columns_gradient(const job *j, int64_t row, int64_t rows, int64_t column, int64_t width,
                             const double *mean_w, const double *mean_wx, int64_t next,
                             bnc_real *sum)
{
    const bnc_rows_gradient *a = j->a;
    struct bnc_row_terms k = terms(j, row, column, mean_w, mean_wx);
    if (a->mean && a->d == 1) k.inv_std = zeros;
    const int64_t o = row * a->d + column;
    KERNELS->rows_input_gradient((const bnc_real *)a->x + o, (const bnc_real *)a->dy + o,
                                 (bnc_real *)a->dx + o, a->d, rows, width, &k, a->relu, next,
                                 j->streams, sum + column, sum + a->d + column);
}

static void input_gradient(const job *j, int64_t row, int64_t rows, int64_t column, int64_t width,
                           const double *mean_w, const double *mean_wx, int64_t next, bnc_real *sum)
{
    const int64_t squared = j->a->squared ? j->a->squared : j->a->d;
    const int64_t inside = bnc_max(0, bnc_min(width, squared - column));
    if (inside) columns_gradient(j, row, rows, column, inside, mean_w, mean_wx, next, sum);
    if (inside < width)
        columns_gradient(j, row, rows, column + inside, width - inside, mean_w, zeros, next, sum);
}

static void chunk_of_rows(int64_t k, void *arg)
{
    const job *j = arg;
    const int64_t d = j->a->d, end = bnc_min((k + 1) * j->rows_per, j->a->rows);
    const int64_t group = bnc_row_group(d, 1);
    bnc_real *sum = j->sums + k * 2 * d;
    double w[BNC_ROW_SUMS], wx[BNC_ROW_SUMS], *total = j->totals + k * 2 * d;
    memset(sum, 0, (size_t)(2 * d) * sizeof *sum);
    memset(total, 0, (size_t)(2 * d) * sizeof *total);
    for (int64_t row = k * j->rows_per, held = 0, rows; row < end; row += rows) {
        rows = bnc_min(group, end - row);
        if (held + rows > BNC_ROW_SUMS) KERNELS->move_sums(sum, 2 * d, total), held = 0;
        measure(j, row, rows, w, wx);
        input_gradient(j, row, rows, 0, d, w, wx, row + rows < end ? rows * d : 0, sum);
        held += rows;
    }
    KERNELS->move_sums(sum, 2 * d, total);
    if (j->streams) KERNELS->rows_fence();
}

static void sum_piece(int64_t k, void *arg)
{
    const job *j = arg;
    const int64_t d = j->a->d, at = k * BNC_ROW_PIECE, len = bnc_piece_length(k, d);
    if (j->row == 0)
        for (int i = 0; i < 2; i++) memset(j->sums + i * d + at, 0, (size_t)len * sizeof(bnc_real));
    sums(j, j->row, 1, at, len, j->mean_w + 1 + k, j->mean_wx + 1 + k);
}

static void gradient_piece(int64_t k, void *arg)
{
    const job *j = arg;
    input_gradient(j, j->row, 1, k * BNC_ROW_PIECE, bnc_piece_length(k, j->a->d), j->mean_w,
                   j->mean_wx, 0, j->sums);
    if (j->streams) KERNELS->rows_fence();
}

static void move_piece(int64_t k, void *arg)
{
    const job *j = arg;
    const int64_t d = j->a->d, at = k * BNC_ROW_PIECE, len = bnc_piece_length(k, d);
    for (int i = 0; i < 2; i++)
        KERNELS->move_sums(j->sums + i * d + at, len, j->totals + i * d + at);
}

/* Very long rows, one after the other: one chunk whatever their number. Pieces have columns of their own. */
static int long_rows(job *j)
{
    const int64_t d = j->a->d, rows = j->a->rows, pieces = bnc_ceil_div(d, BNC_ROW_PIECE);
    const int threads = bnc_threads(d, BNC_GRAIN);
    j->mean_w = bnc_pool_get((size_t)(2 * pieces + 2) * sizeof *j->mean_w);
    if (!j->mean_w) return BNC_NO_MEMORY;
    j->mean_wx = j->mean_w + pieces + 1;
    if (j->totals) memset(j->totals, 0, (size_t)(2 * d) * sizeof *j->totals);
    for (j->row = 0; j->row < rows; j->row++) {
        bnc_run(sum_piece, j, pieces, threads);
        *j->mean_w = *j->mean_wx = 0;
        for (int64_t p = 1; p <= pieces; p++)
            *j->mean_w += j->mean_w[p], *j->mean_wx += j->mean_wx[p];
        divide(j, 1, j->mean_w, j->mean_wx);
        bnc_run(gradient_piece, j, pieces, threads);
        if (j->totals && ((j->row + 1) % BNC_ROW_SUMS == 0 || j->row + 1 == rows))
            bnc_run(move_piece, j, pieces, threads);
    }
    bnc_pool_put(j->mean_w);
    return BNC_OK;
}

/* Columns of a piece: all chunks' totals, in their order, to the gradients of beta and gamma. */
static void merge_piece(int64_t k, void *arg)
{
    const job *j = arg;
    const int64_t d = j->a->d, from = k * BNC_ROW_GROUP, to = bnc_min(from + BNC_ROW_GROUP, d);
    bnc_real *const target[2] = {j->a->dbeta, j->a->dgamma};
    for (int i = 0; i < 2; i++) {
        if (!target[i]) continue;
        if (!j->totals) {
            memcpy(target[i] + from, j->sums + i * d + from,
                   (size_t)(to - from) * sizeof(bnc_real));
            continue;
        }
        double *sum = j->totals + i * d;
        for (int64_t part = 1; part < j->chunks; part++)
            for (int64_t c = from; c < to; c++) sum[c] += sum[part * 2 * d + c];
        for (int64_t c = from; c < to; c++) target[i][c] = (bnc_real)sum[c];
    }
}

/* Everything but the rows' own sums, in one block that is returned; NULL when there is no memory. */
static void *prepare(job *j, const bnc_rows_gradient *a, int cut)
{
    const int64_t d = a->d;
    *j = (job){.a = a, .gamma = a->gamma, .beta = a->beta};
    j->rows_per = cut ? a->rows : bnc_rows_per_chunk(a->rows, d, 1);
    j->chunks = bnc_ceil_div(a->rows, j->rows_per);
    const size_t values = (size_t)(j->chunks * 2 * d),
                 vector = bnc_padded((size_t)d * sizeof(bnc_real)),
                 reals = bnc_padded(values * sizeof(bnc_real)),
                 doubles = cut && a->rows <= BNC_ROW_SUMS ? 0 : values * sizeof(double);
    void *memory = bnc_pool_get(2 * vector + reals + doubles);
    if (!memory) return 0;
    bnc_arena arena = {memory};
    if (!a->gamma) j->gamma = bnc_constant_vector(&arena, d, 1);
    if (!a->beta && a->relu) j->beta = bnc_constant_vector(&arena, d, 0);
    j->sums = bnc_take(&arena, reals);
    if (doubles) j->totals = bnc_take(&arena, doubles);
    return memory;
}

int BNC_OP(rows_norm_backward)(const bnc_rows_gradient *a)
{
    const int64_t d = a->d;
    if (a->rows * d == 0) {
        if (a->dgamma) memset(a->dgamma, 0, (size_t)d * sizeof(bnc_real));
        if (a->dbeta) memset(a->dbeta, 0, (size_t)d * sizeof(bnc_real));
        return BNC_OK;
    }
    job j;
    int error = BNC_OK;
    const int cut = bnc_rows_cut(a->rows, d, 1), threads = bnc_threads(a->rows * d, BNC_GRAIN);
    void *memory = prepare(&j, a, cut);
    if (!memory) return BNC_NO_MEMORY;
    j.streams = bnc_rows_stream(a->dx, a->rows, d, 3, threads);
    if (cut)
        error = long_rows(&j);
    else
        bnc_run(chunk_of_rows, &j, j.chunks, threads);
    if (!error && (a->dgamma || a->dbeta))
        bnc_run(merge_piece, &j, bnc_ceil_div(d, BNC_ROW_GROUP),
                bnc_threads(d * j.chunks, BNC_GRAIN));
    bnc_pool_put(memory);
    return error;
}

/* Layer and RMS norm, forward: a group of rows is measured and, still in cache, normalized. */
#include "rows_layout.h"

typedef struct {
    const bnc_rows *a;
    const bnc_real *gamma, *beta;
    int64_t rows_per; /* rows of a chunk */
    int streams;      /* y goes past the caches */
    int64_t row;      /* the long row at hand ... */
    double *mean,
        *m2; /* ... and the statistics of its pieces; RMS norm: m2 is the sum of squares */
    int error;
} job;

static const bnc_real *x_at(const job *j, int64_t row, int64_t column)
{ return (const bnc_real *)j->a->x + row * j->a->d + column; }

/* The sums in inv_std[row...) become 1 / sqrt(sum / count + eps). */
static void finish(const job *j, int64_t row, int64_t rows)
{
    const bnc_rows *a = j->a;
    KERNELS->finish_statistics(rows, (double)(a->squared ? a->squared : a->d), 0, a->eps, 0, 0,
                               a->inv_std + row, 0, 0);
}

static void normalize(const job *j, int64_t row, int64_t rows, int64_t column, int64_t width)
{
    const bnc_rows *a = j->a;
    const struct bnc_row_terms k = {.gamma = j->gamma + column,
                                    .beta = j->beta ? j->beta + column : 0,
                                    .mean = a->mean ? a->mean + row : 0,
                                    .inv_std = a->inv_std + row};
    bnc_real *y = (bnc_real *)a->y + row * a->d + column;
    KERNELS->rows_normalize(x_at(j, row, column), y, a->d, rows, width, &k, a->relu, j->streams);
}

/* 1 / standard deviations of a group, and means */
static void measure(const job *j, int64_t row, int64_t rows)
{
    const bnc_rows *a = j->a;
    if (a->squared)
        KERNELS->rows_squares(x_at(j, row, 0), a->d, rows, a->squared, a->inv_std + row);
    else
        KERNELS->rows_moments(x_at(j, row, 0), a->d, rows, a->d, a->mean + row, a->inv_std + row);
    finish(j, row, rows);
}

static void chunk_of_rows(int64_t k, void *arg)
{
    const job *j = arg;
    const int64_t end = bnc_min((k + 1) * j->rows_per, j->a->rows), d = j->a->d;
    const int64_t group = bnc_row_group(d, 0);
    for (int64_t row = k * j->rows_per; row < end; row += group) {
        const int64_t rows = bnc_min(group, end - row);
        measure(j, row, rows);
        normalize(j, row, rows, 0, d);
    }
    if (j->streams) KERNELS->rows_fence();
}

static void measure_piece(int64_t k, void *arg)
{
    const job *j = arg;
    const int64_t at = k * BNC_ROW_PIECE, len = bnc_piece_length(k, j->a->d);
    if (j->a->squared)
        KERNELS->rows_squares(x_at(j, j->row, at), 0, 1,
                              bnc_max(0, bnc_min(len, j->a->squared - at)), j->m2 + k);
    else
        KERNELS->rows_moments(x_at(j, j->row, at), 0, 1, len, j->mean + k, j->m2 + k);
}

static void normalize_piece(int64_t k, void *arg)
{
    const job *j = arg;
    const int64_t piece = bnc_ceil_div(j->a->d, BNC_ROW_PIECE) - 1 - k;
    normalize(j, j->row, 1, piece * BNC_ROW_PIECE, bnc_piece_length(piece, j->a->d));
    if (j->streams) KERNELS->rows_fence();
}

/* The last pieces measured are still in cache: they are normalized first. */
static int long_row(job *j, int64_t row, int threads)
{
    const bnc_rows *a = j->a;
    const int64_t pieces = bnc_ceil_div(a->d, BNC_ROW_PIECE);
    j->mean = bnc_pool_get((size_t)(2 * pieces) * sizeof *j->mean);
    if (!j->mean) return BNC_NO_MEMORY;
    j->m2 = j->mean + pieces;
    j->row = row;
    bnc_run(measure_piece, j, pieces, threads);
    double sum = j->m2[0], mean = j->mean[0];
    for (int64_t p = 1; p < pieces; p++)
        if (a->squared)
            sum += j->m2[p];
        else
            KERNELS->merge_moments(1, (double)(p * BNC_ROW_PIECE), &mean, &sum,
                                   (double)bnc_piece_length(p, a->d), j->mean + p, j->m2 + p);
    a->inv_std[row] = sum;
    if (a->mean) a->mean[row] = mean;
    finish(j, row, 1);
    bnc_run(normalize_piece, j, pieces, threads);
    bnc_pool_put(j->mean);
    return BNC_OK;
}

static void whole_long_row(int64_t row, void *arg)
{
    job *all = arg, own = *all;
    const int error = long_row(&own, row, 1);
    if (error) __atomic_store_n(&all->error, error, __ATOMIC_RELAXED);
}

/* Rows side by side, if that keeps all threads busy; else the pieces of one after the other. */
static int long_rows(job *j)
{
    const int64_t rows = j->a->rows;
    const int threads = bnc_threads(rows * j->a->d, BNC_GRAIN);
    if (rows % threads == 0 || rows >= 4 * threads) {
        bnc_run(whole_long_row, j, rows, threads);
        return j->error;
    }
    for (int64_t row = 0; row < rows && !j->error; row++) j->error = long_row(j, row, threads);
    return j->error;
}

int BNC_OP(rows_norm)(const bnc_rows *a)
{
    if (a->rows * a->d == 0) {
        for (int64_t r = 0; r < a->rows; r++) a->inv_std[r] = 1;
        for (int64_t r = 0; a->mean && r < a->rows; r++) a->mean[r] = 0;
        return BNC_OK;
    }
    job j = {.a = a, .gamma = a->gamma, .beta = a->beta};
    void *memory = 0;
    if (!a->gamma) {
        memory = bnc_pool_get((size_t)a->d * sizeof(bnc_real));
        if (!memory) return BNC_NO_MEMORY;
        j.gamma = bnc_constant_vector(&(bnc_arena){memory}, a->d, 1);
    }
    int error = BNC_OK;
    const int threads = bnc_threads(a->rows * a->d, BNC_GRAIN);
    j.streams = bnc_rows_stream(a->y, a->rows, a->d, 2, threads);
    if (bnc_rows_cut(a->rows, a->d, 0)) {
        error = long_rows(&j);
    } else {
        j.rows_per = bnc_rows_per_chunk(a->rows, a->d, 0);
        bnc_run(chunk_of_rows, &j, bnc_ceil_div(a->rows, j.rows_per), threads);
    }
    bnc_pool_put(memory);
    return error;
}

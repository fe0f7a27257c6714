/* Batch norm backward: the sums of g and g x_hat (gradients of beta and gamma), then one element-wise pass for dx. */
#include "norm_elementwise.h"
#include "norm_reduce.h"

typedef struct {
    const bnc_norm_gradient *a;
    bnc_layout l;
    struct bnc_coefficients k;
    double *sum_g, *sum_gx; /* (partials, width or c) */
    void *memory;
    int failed; /* no memory for a chunk */
} job;

static const bnc_real *at(const void *p, int64_t offset)
{ return p ? (const bnc_real *)p + offset : 0; }

/* Coefficients both halves need; mean_g and mean_gx from the sums when `sums` is set and the statistics are a batch's. */
static int prepare(job *j, const bnc_norm_gradient *a, int sums)
{
    const int64_t channels = a->shape.c;
    j->a = a;
    j->failed = 0;
    j->l = sums ? bnc_pass_layout(&a->shape) : bnc_reduction_layout(&a->shape);
    const size_t one = bnc_padded((size_t)bnc_coefficient_count(&j->l) * sizeof(bnc_real));
    j->memory = bnc_pool_get(7 * one);
    if (!j->memory) return BNC_NO_MEMORY;
    bnc_arena arena = {j->memory};
    bnc_real *v[7];
    for (int i = 0; i < 7; i++) v[i] = bnc_take(&arena, one);
    KERNELS->forward_coefficients(channels, a->mean, a->inv_std, a->r, a->d, a->gamma, a->beta,
                                  v[0], v[1], v[2], v[3]);
    for (int64_t c = 0; c < channels; c++) v[4][c] = (bnc_real)a->inv_std[c];
    const int batch = sums && a->batch;
    if (batch) {
        const double over = 1 / a->count;
        for (int64_t c = 0; c < channels; c++) v[5][c] = (bnc_real)(a->sum_g[c] * over);
        for (int64_t c = 0; c < channels; c++) v[6][c] = (bnc_real)(a->sum_gx[c] * over);
    }
    for (int i = 0; i < (batch ? 7 : 5); i++) bnc_spread(&j->l, v[i]);
    j->k =
        (struct bnc_coefficients){v[0], v[1], v[2], v[3], v[4], batch ? v[5] : 0, batch ? v[6] : 0};
    return BNC_OK;
}

/* The three arrays of a reduction, and memory to gather them in when they are masked. */
typedef struct {
    const bnc_real *x, *dy, *y;
    bnc_real *memory;
    int64_t piece; /* values between two arrays in memory */
} source;

static int open_source(job *j, source *s)
{
    const bnc_norm_gradient *a = j->a;
    *s = (source){a->x, a->dy, a->y, 0, 0};
    s->memory = bnc_gather_memory(&a->shape, &j->l, 3, &j->failed);
    s->piece = bnc_piece_values(&j->l);
    return a->shape.runs && !s->memory;
}

static void columns_sums(const job *j, const source *s, int64_t from, int64_t rows, int64_t width,
                         int64_t part)
{
    const int64_t o = from * j->l.width, len = rows * width;
    const bnc_shape *shape = &j->a->shape;
    const bnc_real *x = bnc_rows_at(shape, s->x, o, len, s->memory),
                   *dy = bnc_rows_at(shape, s->dy, o, len, s->memory + s->piece), *y = 0;
    if (s->y) y = bnc_rows_at(shape, s->y, o, len, s->memory + 2 * s->piece);
    KERNELS->columns_gradient_sums(x, dy, y, rows, width, &j->k, j->a->relu,
                                   j->sum_g + part * j->l.width, j->sum_gx + part * j->l.width);
}

static void columns_chunk(int64_t k, void *arg)
{
    job *j = arg;
    source s;
    if (open_source(j, &s)) return;
    int64_t begin, end;
    bnc_chunk_rows(&j->l, k, &begin, &end);
    for (int64_t r = begin; r < end; r += BNC_BLOCK_ROWS)
        columns_sums(j, &s, r, bnc_min(BNC_BLOCK_ROWS, end - r), j->l.width, k);
    if (j->l.tail && k == j->l.partials - 1) columns_sums(j, &s, j->l.rows, 1, j->l.tail, k);
    bnc_pool_put(s.memory);
}

/* `count` pieces of `len` values of channel c, the first one in item n from element e on. */
static void slabs_sums(const job *j, const source *s, int64_t n, int64_t c, int64_t e,
                       int64_t count, int64_t len, int64_t part)
{
    const bnc_shape *shape = &j->a->shape;
    const int64_t sum = part * j->l.c + c;
    const bnc_real *x = bnc_piece_at(shape, s->x, n, c, e, len, s->memory),
                   *dy = bnc_piece_at(shape, s->dy, n, c, e, len, s->memory + s->piece), *y = 0;
    if (s->y) y = bnc_piece_at(shape, s->y, n, c, e, len, s->memory + 2 * s->piece);
    KERNELS->slabs_gradient_sums(x, dy, y, count, j->l.c * j->l.s, len, &j->k, c, j->a->relu,
                                 j->sum_g + sum, j->sum_gx + sum);
}

static void slabs_chunk(int64_t k, void *arg)
{
    job *j = arg;
    const bnc_box b = bnc_chunk_box(&j->l, k);
    const int64_t group = bnc_group(&b);
    source source;
    if (open_source(j, &source)) return;
    for (int64_t c = b.c0; c < b.c1; c++)
        for (int64_t n = b.n0; n < b.n1; n += group)
            for (int64_t s = b.s0; s < b.s1; s += BNC_RUN)
                slabs_sums(j, &source, n, c, s, bnc_min(group, b.n1 - n),
                           bnc_min(BNC_RUN, b.s1 - s), b.part);
    bnc_pool_put(source.memory);
}

/* All partial results of a channel, in the order of the memory. */
static void fold(const job *j, const double *partial, double *sum)
{
    const bnc_layout *l = &j->l;
    const int64_t width = bnc_coefficient_count(l), s = l->columns ? l->s : 1;
    for (int64_t c = 0; c < l->c; c++) sum[c] = 0;
    for (int64_t part = 0; part < l->partials; part++)
        for (int64_t i = 0; i < width; i += l->c * s)
            for (int64_t c = 0; c < l->c; c++)
                for (int64_t e = 0; e < s; e++) sum[c] += partial[part * width + i + c * s + e];
}

static int sums(job *j)
{
    const int64_t values = j->l.partials * bnc_coefficient_count(&j->l);
    double *memory = bnc_pool_get((size_t)(2 * values) * sizeof *memory);
    if (!memory) return BNC_NO_MEMORY;
    memset(memory, 0, (size_t)(2 * values) * sizeof *memory);
    j->sum_g = memory;
    j->sum_gx = memory + values;
    bnc_run(j->l.columns ? columns_chunk : slabs_chunk, j, bnc_reduction_chunks(&j->l),
            bnc_threads(bnc_values(&j->a->shape), BNC_GRAIN));
    fold(j, j->sum_g, j->a->sum_g);
    fold(j, j->sum_gx, j->a->sum_gx);
    bnc_pool_put(memory);
    return j->failed ? BNC_NO_MEMORY : BNC_OK;
}

static void columns_gradient(const bnc_pass *p, int64_t o, int64_t rows, int64_t width)
{
    const job *j = p->arg;
    const bnc_norm_gradient *a = j->a;
    KERNELS->columns_input_gradient(at(a->x, o), at(a->dy, o), at(a->y, o), (bnc_real *)a->dx + o,
                                    a->dresidual ? (bnc_real *)a->dresidual + o : 0, rows, width,
                                    &j->k, a->relu);
}

static void slabs_gradient(const bnc_pass *p, int64_t o, int64_t count, int64_t s, int64_t channel)
{
    const job *j = p->arg;
    const bnc_norm_gradient *a = j->a;
    const struct bnc_coefficients k = bnc_from_channel(&j->k, channel);
    KERNELS->slabs_input_gradient(at(a->x, o), at(a->dy, o), at(a->y, o), (bnc_real *)a->dx + o,
                                  a->dresidual ? (bnc_real *)a->dresidual + o : 0, count, s, &k,
                                  a->relu);
}

int BNC_OP(gradient_sums)(const bnc_norm_gradient *a)
{
    memset(a->sum_g, 0, (size_t)a->shape.c * sizeof(double));
    memset(a->sum_gx, 0, (size_t)a->shape.c * sizeof(double));
    if (bnc_values(&a->shape) == 0) return BNC_OK;
    job j;
    int error = prepare(&j, a, 0);
    if (error) return error;
    error = sums(&j);
    bnc_pool_put(j.memory);
    return error;
}

int BNC_OP(input_gradient)(const bnc_norm_gradient *a)
{
    if (a->shape.n * a->shape.c * a->shape.s == 0) return BNC_OK;
    job j;
    const int error = prepare(&j, a, 1);
    if (error) return error;
    bnc_pass pass = {.shape = &a->shape,
                     .l = &j.l,
                     .columns = columns_gradient,
                     .slabs = slabs_gradient,
                     .zeroed = {a->dx, a->dresidual},
                     .arg = &j};
    bnc_pass_run(&pass);
    bnc_pool_put(j.memory);
    return BNC_OK;
}

/* Gradients of gamma and beta from the sums; with r and d, sum of g x_hat = r sum_gx + d sum_g. */
static void parameter_gradients(const bnc_norm_gradient *a)
{
    bnc_real *dgamma = a->dgamma, *dbeta = a->dbeta;
    for (int64_t c = 0; dbeta && c < a->shape.c; c++) dbeta[c] = (bnc_real)a->sum_g[c];
    if (!dgamma) return;
    for (int64_t c = 0; c < a->shape.c; c++)
        dgamma[c] =
            (bnc_real)(a->r ? a->r[c] * a->sum_gx[c] + a->d[c] * a->sum_g[c] : a->sum_gx[c]);
}

int BNC_OP(batch_norm_backward)(const bnc_norm_gradient *a)
{
    const int error = BNC_OP(gradient_sums)(a);
    if (error) return error;
    parameter_gradients(a);
    return BNC_OP(input_gradient)(a);
}

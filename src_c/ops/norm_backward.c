/* Batch norm backward: the sums of g and g x_hat (gradients of beta and gamma), then one element-wise pass for dx; or, where
 * a thread can hold some channels of all samples, both for these channels at once. */
#include "norm_elementwise.h"
#include "norm_halves.h"
#include "norm_reduce.h"

typedef struct {
    const bnc_norm_gradient *a;
    bnc_layout l;
    struct bnc_coefficients k;
    double *sum_g, *sum_gx; /* (partials, width or c) */
    int streaming, far;     /* bnc_streams of dx, bnc_far of the sums */
    int failed;             /* no memory for a chunk */
} job;

enum { FOR_SUMS = 4, FOR_BOTH = 6 }; /* coefficient arrays */

/* The coefficient arrays in one piece of memory; 0 when there is none. */
static int take_coefficients(job *j, int arrays, bnc_scratch *scratch)
{
    const size_t one = bnc_padded((size_t)bnc_coefficient_count(&j->l) * sizeof(bnc_real));
    bnc_arena arena = {bnc_scratch_get(scratch, (size_t)arrays * one)};
    if (!arena.next) return 0;
    j->k.hi = bnc_take(&arena, one);
    j->k.scale = bnc_take(&arena, one);
    j->k.shift = bnc_take(&arena, one);
    j->k.inv_std = bnc_take(&arena, one);
    if (arrays == FOR_BOTH) {
        j->k.slope = bnc_take(&arena, one);
        j->k.offset = bnc_take(&arena, one);
    }
    return 1;
}

/* What both halves need, of some channels. */
static void coefficients(const job *j, int64_t channel, int64_t channels)
{
    const bnc_norm_gradient *a = j->a;
    BNC_FORWARD_COEFFICIENTS(a, &j->k, channel, channels);
    KERNELS->to_real(channels, a->inv_std + channel, (bnc_real *)j->k.inv_std + channel);
}

/* What dx needs besides, from the sums over `count` values. */
static void gradient_coefficients(const job *j, double count, int64_t channel, int64_t channels)
{
    const bnc_norm_gradient *a = j->a;
    KERNELS->gradient_coefficients(
        channels, 1 / count, a->mean + channel, a->inv_std + channel, a->sum_g + channel,
        a->sum_gx + channel, (bnc_real *)j->k.slope + channel, (bnc_real *)j->k.offset + channel);
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
    KERNELS->columns_gradient_sums(x, dy, y, rows, width, &j->k, j->a->relu, j->far,
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

/* `items` pieces of `len` values, from sample n and element e on, of some channels; of masked arrays one by one. */
static void slabs_sums(const job *j, const source *s, int64_t n, const bnc_box *b, int64_t e,
                       int64_t items, int64_t len)
{
    const bnc_shape *shape = &j->a->shape;
    const int64_t c = j->l.c, stride = j->l.s, sum = b->part * c;
    if (!shape->runs) {
        const int64_t o = (n * c + b->c0) * stride + e;
        KERNELS->slabs_gradient_sums(bnc_at(s->x, o), bnc_at(s->dy, o), bnc_at(s->y, o), items,
                                     c * stride, b->c1 - b->c0, stride, len, &j->k, b->c0,
                                     j->a->relu, j->sum_g + sum + b->c0, j->sum_gx + sum + b->c0);
        return;
    }
    for (int64_t i = b->c0; i < b->c1; i++) {
        const bnc_real *x = bnc_piece_at(shape, s->x, n, i, e, len, s->memory), *y = 0,
                       *dy = bnc_piece_at(shape, s->dy, n, i, e, len, s->memory + s->piece);
        if (s->y) y = bnc_piece_at(shape, s->y, n, i, e, len, s->memory + 2 * s->piece);
        KERNELS->slabs_gradient_sums(x, dy, y, 1, 0, 1, 0, len, &j->k, i, j->a->relu,
                                     j->sum_g + sum + i, j->sum_gx + sum + i);
    }
}

static void box_sums(const job *j, const bnc_box *b, const source *source)
{
    const int64_t group = bnc_group(b);
    for (int64_t n = b->n0; n < b->n1; n += group)
        for (int64_t s = b->s0; s < b->s1; s += BNC_RUN)
            slabs_sums(j, source, n, b, s, bnc_min(group, b->n1 - n), bnc_min(BNC_RUN, b->s1 - s));
}

static void slabs_chunk(int64_t k, void *arg)
{
    job *j = arg;
    const bnc_box b = bnc_chunk_box(&j->l, k);
    source source;
    if (open_source(j, &source)) return;
    box_sums(j, &b, &source);
    bnc_pool_put(source.memory);
}

/* Sums of c channels, s columns each. */
static void add_columns(const double *columns, int64_t c, int64_t s, double *sum)
{
    if (s == 1) {
#pragma omp simd
        for (int64_t i = 0; i < c; i++) sum[i] += columns[i];
        return;
    }
    for (int64_t i = 0; i < c; i++)
        for (int64_t e = 0; e < s; e++) sum[i] += columns[i * s + e];
}

/* All partial results of a channel, in the order of the memory. */
static void fold(const job *j, const double *partial, double *sum)
{
    const bnc_layout *l = &j->l;
    const int64_t s = l->columns ? l->s : 1, row = l->c * s, end = l->partials * bnc_sum_count(l);
    memset(sum, 0, (size_t)l->c * sizeof *sum);
    for (int64_t i = 0; i < end; i += row) add_columns(partial + i, l->c, s, sum);
}

static int sums(job *j)
{
    const int64_t values = j->l.partials * bnc_sum_count(&j->l);
    const int direct = values == j->l.c; /* one partial of whole channels is the result itself */
    bnc_scratch scratch;
    double *memory = bnc_scratch_get(&scratch, direct ? 0 : (size_t)(2 * values) * sizeof *memory);
    if (!memory) return BNC_NO_MEMORY;
    j->far = bnc_far(bnc_reduction_bytes(&j->a->shape, bnc_sums_arrays(j->a)));
    j->sum_g = direct ? j->a->sum_g : memory;
    j->sum_gx = direct ? j->a->sum_gx : memory + values;
    memset(j->sum_g, 0, (size_t)values * sizeof *memory);
    memset(j->sum_gx, 0, (size_t)values * sizeof *memory);
    bnc_run(j->l.columns ? columns_chunk : slabs_chunk, j, bnc_reduction_chunks(&j->l),
            bnc_threads(bnc_values(&j->a->shape), BNC_GRAIN));
    if (!direct) fold(j, j->sum_g, j->a->sum_g), fold(j, j->sum_gx, j->a->sum_gx);
    KERNELS->centre_sums(j->l.c, j->a->mean, j->a->inv_std, j->a->sum_g, j->a->sum_gx);
    bnc_scratch_put(&scratch);
    return j->failed ? BNC_NO_MEMORY : BNC_OK;
}

/* dx of n elements from offset `o` on. */
static void gradient(const job *j, const bnc_layout *l, int64_t o, int64_t n, int streaming)
{
    const bnc_norm_gradient *a = j->a;
    const bnc_place place = bnc_place_of(l, o);
    const bnc_real *x = bnc_at(a->x, o), *dy = bnc_at(a->dy, o), *y = bnc_at(a->y, o);
    bnc_real *dx = (bnc_real *)a->dx + o, *dresidual = (bnc_real *)bnc_at(a->dresidual, o);
    if (l->columns)
        KERNELS->columns_input_gradient(x, dy, y, dx, dresidual, n, place.at, l->width, &j->k,
                                        a->relu, streaming);
    else
        KERNELS->slabs_input_gradient(x, dy, y, dx, dresidual, n, place.at, l->s, place.channel,
                                      l->c, &j->k, a->relu, streaming);
}

static void run(const bnc_pass *p, int64_t offset, int64_t n)
{
    const job *j = p->arg;
    gradient(j, &j->l, offset, n, p->streaming);
}

/* Arrays `first` to `end` of the coefficients, to all columns. */
static void spread(const job *j, int first, int end)
{
    const bnc_real *const v[] = {j->k.hi,      j->k.scale, j->k.shift,
                                 j->k.inv_std, j->k.slope, j->k.offset};
    for (int i = first; i < end; i++) bnc_spread(&j->l, (bnc_real *)v[i]);
}

int BNC_OP(gradient_sums)(const bnc_norm_gradient *a)
{
    if (bnc_values(&a->shape) == 0) {
        memset(a->sum_g, 0, (size_t)a->shape.c * sizeof(double));
        memset(a->sum_gx, 0, (size_t)a->shape.c * sizeof(double));
        return BNC_OK;
    }
    job j = {.a = a, .l = bnc_reduction_layout(&a->shape)};
    bnc_scratch scratch;
    if (!take_coefficients(&j, FOR_SUMS, &scratch)) return BNC_NO_MEMORY;
    coefficients(&j, 0, a->shape.c);
    spread(&j, 0, FOR_SUMS);
    const int error = sums(&j);
    bnc_scratch_put(&scratch);
    return error;
}

static int arrays_for_both(const bnc_norm_gradient *a) { return a->batch ? FOR_BOTH : FOR_SUMS; }

/* dx in one pass, from the sums and what both halves need. */
static void pass_over(job *j)
{
    const bnc_norm_gradient *a = j->a;
    if (a->batch) gradient_coefficients(j, a->count, 0, a->shape.c);
    spread(j, FOR_SUMS, arrays_for_both(a));
    bnc_pass pass = {.shape = &a->shape,
                     .l = &j->l,
                     .run = run,
                     .zeroed = {a->dx, a->dresidual},
                     .arg = j,
                     .arrays = bnc_backward_arrays(a)};
    bnc_pass_run(&pass);
}

int BNC_OP(input_gradient)(const bnc_norm_gradient *a)
{
    if (a->shape.n * a->shape.c * a->shape.s == 0) return BNC_OK;
    job j = {.a = a, .l = bnc_pass_layout(&a->shape)};
    bnc_scratch scratch;
    if (!take_coefficients(&j, arrays_for_both(a), &scratch)) return BNC_NO_MEMORY;
    coefficients(&j, 0, a->shape.c);
    spread(&j, 0, FOR_SUMS);
    pass_over(&j);
    bnc_scratch_put(&scratch);
    return BNC_OK;
}

/* Gradients of gamma and beta from the sums; with r and d, sum of g x_hat = r sum_gx + d sum_g. */
void bnc_parameter_gradients(const bnc_norm_gradient *a, int64_t channel, int64_t channels)
{
    bnc_real *dgamma = a->dgamma, *dbeta = a->dbeta;
    if (dbeta) KERNELS->to_real(channels, a->sum_g + channel, dbeta + channel);
    if (dgamma && !a->r) KERNELS->to_real(channels, a->sum_gx + channel, dgamma + channel);
    for (int64_t c = channel; dgamma && a->r && c < channel + channels; c++)
        dgamma[c] = (bnc_real)(a->r[c] * a->sum_gx[c] + a->d[c] * a->sum_g[c]);
}

/* Some channels of all samples: their sums, then dx, from the sample on that is most likely still in cache. */
static void channels_chunk(int64_t k, void *arg)
{
    const job *j = arg;
    const bnc_norm_gradient *a = j->a;
    const bnc_layout *l = &j->l;
    const bnc_box b = bnc_chunk_box(l, k);
    const int64_t channels = b.c1 - b.c0;
    const source all = {a->x, a->dy, a->y, 0, 0};
    coefficients(j, b.c0, channels);
    for (int64_t c = b.c0; c < b.c1; c++) a->sum_g[c] = a->sum_gx[c] = 0;
    box_sums(j, &b, &all);
    KERNELS->centre_sums(channels, a->mean + b.c0, a->inv_std + b.c0, a->sum_g + b.c0,
                         a->sum_gx + b.c0);
    bnc_parameter_gradients(a, b.c0, channels);
    if (a->batch) gradient_coefficients(j, (double)(l->n * l->s), b.c0, channels);
    for (int64_t n = l->n; n-- > 0;)
        gradient(j, l, (n * l->c + b.c0) * l->s, channels * l->s, j->streaming);
}

static int by_channels(job *j)
{
    const bnc_norm_gradient *a = j->a;
    const int threads = bnc_threads(j->l.n * j->l.c * j->l.s, BNC_GRAIN);
    bnc_scratch scratch;
    if (!take_coefficients(j, arrays_for_both(a), &scratch)) return BNC_NO_MEMORY;
    j->sum_g = a->sum_g, j->sum_gx = a->sum_gx;
    j->streaming = bnc_streams(bnc_pass_bytes(&j->l, bnc_backward_arrays(a)), threads);
    bnc_run(channels_chunk, j, j->l.c_blocks, threads);
    bnc_scratch_put(&scratch);
    return BNC_OK;
}

/* All channels: their sums, then dx, with the same coefficients. */
static int in_turn(job *j)
{
    bnc_scratch scratch;
    if (!take_coefficients(j, arrays_for_both(j->a), &scratch)) return BNC_NO_MEMORY;
    coefficients(j, 0, j->l.c);
    spread(j, 0, FOR_SUMS);
    const int error = sums(j);
    if (!error) {
        bnc_parameter_gradients(j->a, 0, j->l.c);
        pass_over(j);
    }
    bnc_scratch_put(&scratch);
    return error;
}

int BNC_OP(norm_sums)(const bnc_norm_gradient *a)
{
    const int error = BNC_OP(gradient_sums)(a);
    if (!error) bnc_parameter_gradients(a, 0, a->shape.c);
    return error;
}

int BNC_OP(batch_norm_backward)(const bnc_norm_gradient *a)
{
    if (!a->shape.runs && bnc_values(&a->shape)) {
        job j = {.a = a, .l = bnc_reduction_layout(&a->shape)};
        return bnc_by_channels(&a->shape, &j.l) ? by_channels(&j) : in_turn(&j);
    }
    const int error = BNC_OP(norm_sums)(a);
    return error ? error : BNC_OP(input_gradient)(a);
}

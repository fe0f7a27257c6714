/* Pooling over all of space: a value per (item, channel). Channels first, items are slabs;
 * channels last, columns. */
#include "op.h"

#include <string.h>

enum { CHUNK = 16384 }; /* elements of the input for a chunk, about */

typedef struct {
    const bnc_global_pooling *p;
    int64_t per;           /* channels first: slabs of a chunk */
    int64_t blocks, width; /* channels last: channel blocks of an item and their width */
} global_job;

/* Runs fn over a grid that depends on the shape alone. */
static int run_grid(const bnc_global_pooling *p, bnc_chunk_fn fn)
{
    global_job j = {.p = p};
    int64_t chunks;
    if (p->n * p->c == 0) return BNC_OK;
    if (p->channels_last) {
        j.width =
            p->n < 16 ? bnc_min(p->c, 64) : p->c; /* few items: their channels are shared out too */
        j.blocks = bnc_ceil_div(p->c, j.width);
        chunks = p->n * j.blocks;
    } else {
        j.per = bnc_max(1, CHUNK / p->s);
        chunks = bnc_ceil_div(p->n * p->c, j.per);
    }
    bnc_run(fn, &j, chunks, bnc_threads(p->n * p->c * p->s, BNC_GRAIN));
    return BNC_OK;
}

/* What chunk k covers: `count` results from `result` on, the image elements from `at` on. */
typedef struct {
    int64_t result, count, at;
} piece;

static piece piece_of(const global_job *j, int64_t k)
{
    const bnc_global_pooling *p = j->p;
    if (p->channels_last) {
        const int64_t item = k / j->blocks, c0 = k % j->blocks * j->width;
        return (piece){item * p->c + c0, bnc_min(j->width, p->c - c0), item * p->s * p->c + c0};
    }
    const int64_t first = k * j->per;
    return (piece){first, bnc_min(j->per, p->n * p->c - first), first * p->s};
}

static void avg_chunk(int64_t k, void *arg)
{
    const global_job *j = arg;
    const bnc_global_pooling *p = j->p;
    const piece b = piece_of(j, k);
    const bnc_real *x = (const bnc_real *)p->from + b.at;
    bnc_real *y = (bnc_real *)p->to + b.result;
    if (p->channels_last)
        KERNELS->columns_mean(x, p->c, p->s, b.count, y);
    else
        KERNELS->slabs_mean(x, b.count, p->s, y);
}

static void max_chunk(int64_t k, void *arg)
{
    const global_job *j = arg;
    const bnc_global_pooling *p = j->p;
    const piece b = piece_of(j, k);
    const bnc_real *x = (const bnc_real *)p->from + b.at;
    bnc_real *y = (bnc_real *)p->to + b.result;
    if (p->channels_last)
        KERNELS->columns_max(x, p->c, p->s, b.count, y, p->index + b.result);
    else
        KERNELS->slabs_max(x, b.count, p->s, y, p->index + b.result);
}

/* dx = dy / s everywhere */
static void avg_back_chunk(int64_t k, void *arg)
{
    const global_job *j = arg;
    const bnc_global_pooling *p = j->p;
    const piece b = piece_of(j, k);
    const bnc_real *dy = (const bnc_real *)p->from + b.result;
    bnc_real *dx = (bnc_real *)p->to + b.at;
    const bnc_real s = (bnc_real)p->s;
    if (p->channels_last) {
        for (int64_t i = 0; i < b.count; i++) dx[i] = dy[i] / s;
        for (int64_t r = 1; r < p->s; r++) memcpy(dx + r * p->c, dx, (size_t)b.count * sizeof *dx);
        return;
    }
    for (int64_t i = 0; i < b.count; i++) {
        const bnc_real share = dy[i] / s;
        for (int64_t r = 0; r < p->s; r++) dx[i * p->s + r] = share;
    }
}

/* dx = dy at the saved position, 0 elsewhere */
static void max_back_chunk(int64_t k, void *arg)
{
    const global_job *j = arg;
    const bnc_global_pooling *p = j->p;
    const piece b = piece_of(j, k);
    const bnc_real *dy = (const bnc_real *)p->from + b.result;
    const int64_t *index = p->index + b.result;
    bnc_real *dx = (bnc_real *)p->to + b.at;
    if (p->channels_last) {
        for (int64_t r = 0; r < p->s; r++) memset(dx + r * p->c, 0, (size_t)b.count * sizeof *dx);
        for (int64_t i = 0; i < b.count; i++) dx[index[i] * p->c + i] = dy[i];
        return;
    }
    memset(dx, 0, (size_t)(b.count * p->s) * sizeof *dx);
    for (int64_t i = 0; i < b.count; i++) dx[i * p->s + index[i]] = dy[i];
}

int BNC_OP(global_avg_pool)(const bnc_global_pooling *p) { return run_grid(p, avg_chunk); }
int BNC_OP(global_max_pool)(const bnc_global_pooling *p) { return run_grid(p, max_chunk); }
int BNC_OP(global_avg_pool_backward)(const bnc_global_pooling *p)
{ return run_grid(p, avg_back_chunk); }
int BNC_OP(global_max_pool_backward)(const bnc_global_pooling *p)
{ return run_grid(p, max_back_chunk); }

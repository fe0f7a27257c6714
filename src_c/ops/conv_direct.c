/* Convolutions view by view and row by row, straight from the image (conv.h). */
#include "conv.h"

#include <stdatomic.h>

typedef struct {
    const conv_call *call;
    atomic_int failed;
} job;

/* Scratch memory of a chunk: copied rows, output rows of one group with channels last, where runs begin. */
typedef struct {
    bnc_real *rows, *out;
    int64_t *at;
} scratch;

static void *take_scratch(const conv_plan *p, int64_t in_rows, int64_t out_rows, scratch *s)
{
    const size_t row = (size_t)((p->left + p->in.w + p->right) * p->in.group);
    const size_t rows = bnc_padded(p->copies ? (size_t)in_rows * row * sizeof(bnc_real) : 0),
                 out =
                     bnc_padded(p->g->channels_last ? 0
                                                    : (size_t)(out_rows * p->out.w * p->out.group) *
                                                          sizeof(bnc_real)),
                 at = (size_t)(2 * p->g->kh * p->g->kw) * sizeof(int64_t);
    void *memory = bnc_pool_get(rows + out + at);
    bnc_arena arena = {memory};
    if (!memory) return 0;
    s->rows = bnc_take(&arena, rows);
    s->out = bnc_take(&arena, out);
    s->at = bnc_take(&arena, at);
    return memory;
}

/* Row i of a view, block by block. */
static void view_row(const conv_plan *p, const conv_view *v, const conv_work *w, int64_t i)
{
    const int64_t top = i * v->in_row;
    int64_t k0, k1, runs = 0;
    conv_row_taps(p, v, i, &k0, &k1);
    const int64_t pieces = v->joined ? bnc_min(1, v->column_taps) : v->column_taps;
    for (int64_t k = k0; k < k1; k++)
        for (int64_t l = 0; l < pieces; l++)
            w->at[runs++] =
                (top + v->row_at[k] - w->low) * w->in_row + v->column_at[l] * w->in_pitch;
    struct bnc_conv_row r = {.at = w->at,
                             .runs = runs,
                             .length = (v->joined ? v->column_taps : 1) * p->in.group,
                             .left = v->left,
                             .right = v->right,
                             .x_step = v->in_column * w->in_pitch,
                             .y_step = v->out_column * w->out_pitch,
                             .pixels = v->columns};
    const int64_t tap_row = v->column_taps * p->in.group * p->block,
                  u = v->first_row + i * v->out_row;
    const bnc_real *weight = w->weight + v->weights + k0 * tap_row;
    bnc_real *y = w->out + (u - w->from) * w->out_row + v->first_column * w->out_pitch;
    for (int64_t b = 0; b < p->blocks; b++, weight += v->row_taps * tap_row, y += p->block) {
        r.channels = bnc_min(p->block, p->out.group - b * p->block);
        KERNELS->conv_row(&r, w->in, weight, y);
    }
}

static void views(const conv_plan *p, const conv_work *w, bnc_ahead *ahead)
{
    for (int64_t q = 0; q < p->views; q++) {
        const conv_view *v = p->view + q;
        int64_t i = bnc_max(0, bnc_ceil_div(w->from - v->first_row, v->out_row));
        for (; i < v->rows && v->first_row + i * v->out_row < w->to; i++) {
            bnc_ahead_fetch(ahead, BNC_AHEAD_ROW);
            (p->depthwise ? conv_depthwise_row : view_row)(p, v, w, i);
        }
    }
}

/* Output rows [from, to) of an image, from input rows [low, high). */
static void band(const conv_call *a, int64_t image, int64_t from, int64_t to, int64_t low,
                 int64_t high, const scratch *s)
{
    const conv_plan *p = &a->p;
    const int64_t cin = p->in.group;
    const bnc_real *x = a->from + image * p->in.channels * p->in.h * p->in.w;
    for (int64_t group = 0; group < p->groups; group++) {
        const conv_rows out = conv_rows_of(a, image, group, from, s->out);
        conv_work w = {.in = x,
                       .weight = a->weight + group * p->packed,
                       .out = out.at,
                       .from = from,
                       .to = to,
                       .in_pitch = cin,
                       .in_row = p->in.w * cin,
                       .out_pitch = out.pitch,
                       .out_row = out.row,
                       .at = s->at};
        if (p->copies) {
            conv_copy_rows(&p->in, p->g->channels_last, x, group, low, high, p->left, p->right, cin,
                           s->rows);
            w.low = low, w.in_row = (p->left + p->in.w + p->right) * cin;
            w.in = s->rows + p->left * cin;
        }
        views(p, &w, a->ahead);
        conv_rows_done(a, image, group, from, to, s->out);
    }
}

static void chunk(int64_t k, void *arg)
{
    job *j = arg;
    const conv_plan *p = &j->call->p;
    const int64_t from = k % p->bands * p->band, to = bnc_min(from + p->band, p->out.h);
    int64_t low, high;
    scratch s;
    conv_plan_rows(p, from, to, &low, &high);
    void *memory = take_scratch(p, high - low, to - from, &s);
    if (memory)
        band(j->call, k / p->bands, from, to, low, high, &s);
    else
        atomic_store(&j->failed, 1);
    bnc_pool_put(memory);
}

int conv_direct(const conv_call *a, int threads)
{
    job j = {.call = a};
    bnc_run(chunk, &j, a->p.g->n * a->p.bands, threads);
    return j.failed ? BNC_NO_MEMORY : BNC_OK;
}

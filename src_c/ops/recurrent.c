/* Recurrent layers forward, given their input products: h U^T and the gates, step by step. The
 * design is in recurrent.h, the gates are in kernels/gates.c, the gradients in
 * recurrent_backward.c. */
#include "recurrent.h"

#include <stdatomic.h>
#include <string.h>

/* Multiplications that repay another thread; chunks that keep a team busy; sequences of a chunk:
 * so many that the weight is used several times once it is in cache, more if it is large. */
enum { THREAD_WORK = 1 << 20, ENOUGH_CHUNKS = 16, FEWEST = 8, MOST = 128, LARGE_WEIGHT = 1 << 16 };

/* Longest first by counting, in the order they come where equal. */
static void sort_by_length(sequences *s, int64_t longest, int64_t *count)
{
    memset(count, 0, (size_t)(longest + 2) * sizeof *count);
    for (int64_t i = 0; i < s->n; i++) count[longest - s->lengths[i] + 1]++;
    for (int64_t k = 0; k <= longest; k++) count[k + 1] += count[k];
    for (int64_t i = 0; i < s->n; i++) s->order[count[longest - s->lengths[i]]++] = i;
}

int sequences_of(sequences *s, int kind)
{
    const int64_t gates = kind == BNC_LSTM ? 4 : kind == BNC_GRU ? 3 : 1;
    int64_t longest = 0;
    for (int64_t i = 0; i < s->n; i++) longest = bnc_max(longest, s->lengths[i]);
    int64_t *memory = bnc_pool_get((size_t)(2 * s->n + longest + 2) * sizeof *memory);
    if (!memory) return BNC_NO_MEMORY;
    s->start = memory;
    s->order = memory + s->n;
    for (int64_t i = 0, row = 0; i < s->n; row += s->lengths[i++]) s->start[i] = row;
    sort_by_length(s, longest, memory + 2 * s->n);
    s->width = gates * s->units;
    const int64_t weight = s->width * s->units,
                  fewest = weight > LARGE_WEIGHT ? 4 * FEWEST : FEWEST;
    s->rows = bnc_min(MOST, bnc_max(fewest, bnc_ceil_div(s->n, ENOUGH_CHUNKS)));
    s->chunks = bnc_ceil_div(s->n, s->rows);
    s->threads = bnc_threads(s->m * weight, THREAD_WORK);
    return BNC_OK;
}

typedef struct {
    sequences s;
    const bnc_recurrent *a;
    const bnc_real *turned; /* weight^T (units x width) */
    const bnc_real *bias;   /* zeros if there is none */
    atomic_int failed;
} call;

/* Scratch memory of a chunk. */
typedef struct {
    bnc_real *h, *c;  /* (rows, units) state */
    bnc_real *hidden; /* (rows, width) h U^T */
    bnc_real *gates;  /* (4 units) where they are not kept */
} state;

/* One step of sequence r of the chunk, at `row` of the whole: state, output, and what is kept. */
static void step_row(const call *f, const state *k, int64_t r, int64_t row)
{
    const bnc_recurrent *a = f->a;
    const int64_t units = a->units, width = f->s.width;
    const bnc_real *product = (const bnc_real *)a->products + row * width;
    const bnc_real *hidden = k->hidden + r * width;
    const size_t bytes = (size_t)units * sizeof(bnc_real);
    bnc_real *h = k->h + r * units, *c = k->c + r * units;
    bnc_real *gates = a->gates ? (bnc_real *)a->gates + row * 4 * units : k->gates;
    if (a->kind == BNC_LSTM)
        KERNELS->lstm_gates(product, hidden, f->bias, c, gates, c, h, units);
    else if (a->kind == BNC_GRU)
        KERNELS->gru_gates(product, hidden, f->bias, h, gates, h, units);
    else
        KERNELS->rnn_gates(product, hidden, f->bias, h, units, a->kind == BNC_RNN_RELU);
    memcpy((bnc_real *)a->y + row * a->y_pitch, h, bytes);
    if (a->cells) memcpy((bnc_real *)a->cells + row * units, c, bytes);
}

/* All steps of `count` sequences. */
static void run_steps(const call *f, const state *k, const int64_t *chunk, int64_t count)
{
    const int64_t units = f->a->units, width = f->s.width;
    for (int64_t step = 0; (count = running(&f->s, chunk, count, step)) > 0; step++) {
        KERNELS->gemm(0, k->h, units, f->turned, width, k->hidden, width, count, width, units, 0);
        for (int64_t r = 0; r < count; r++) step_row(f, k, r, row_of(&f->s, chunk[r], step));
    }
}

static void forward_chunk(int64_t number, void *arg)
{
    call *f = arg;
    const bnc_recurrent *a = f->a;
    const int64_t first = number * f->s.rows, count = bnc_min(f->s.rows, a->n - first);
    const int64_t *chunk = f->s.order + first, units = a->units, size = count * units;
    bnc_real *memory =
        bnc_pool_get((size_t)(2 * size + count * f->s.width + 4 * units) * sizeof(bnc_real));
    if (!memory) {
        atomic_store(&f->failed, 1);
        return;
    }
    const state k = {memory, memory + size, memory + 2 * size + 4 * units, memory + 2 * size};
    collect(a->h0, chunk, count, units, k.h);
    if (a->kind == BNC_LSTM) collect(a->c0, chunk, count, units, k.c);
    run_steps(f, &k, chunk, count);
    distribute(k.h, chunk, count, units, a->hn);
    if (a->kind == BNC_LSTM) distribute(k.c, chunk, count, units, a->cn);
    bnc_pool_put(memory);
}

int BNC_OP(recurrent)(const bnc_recurrent *a)
{
    call f = {.s = {.n = a->n,
                    .m = a->m,
                    .units = a->units,
                    .reverse = a->reverse,
                    .lengths = a->lengths},
              .a = a};
    if (sequences_of(&f.s, a->kind)) return BNC_NO_MEMORY;
    const int64_t units = a->units, width = f.s.width;
    bnc_real *turned = bnc_pool_get((size_t)((units + 1) * width) * sizeof *turned);
    if (turned) {
        KERNELS->transpose(a->weight, units, turned, width, width, units);
        f.turned = turned;
        f.bias = a->bias;
        if (!f.bias) f.bias = memset(turned + units * width, 0, (size_t)width * sizeof *turned);
        bnc_run(forward_chunk, &f, f.s.chunks, f.s.threads);
    }
    bnc_pool_put(turned);
    bnc_pool_put(f.s.start);
    return !turned || f.failed ? BNC_NO_MEMORY : BNC_OK;
}

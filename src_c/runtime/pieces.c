/* A plan on pieces of a batch: every thread takes a piece through all steps in memory of its own. What a step leaves is
 * in cache for the next, and threads meet once, at the end. Not for steps that look at the batch as a whole. */
#include "bncore.h"

#include <stdatomic.h>
#include <string.h>

static const int64_t PIECE_GRAIN = 1 << 18; /* multiplications worth a thread */

typedef struct {
    const bnc_ops *ops;
    const bnc_pieces *p;
    atomic_int error;
} job;

/* There are as many places as threads: one is free. */
static bnc_piece_place *take_place(const bnc_pieces *p)
{
    for (int i = 0;; i = (i + 1) % p->place_count)
        if (!__atomic_test_and_set(&p->places[i].taken, __ATOMIC_ACQUIRE)) return p->places + i;
}

/* The last piece begins where a whole one fits, and leaves out what the one before it has done. */
static void run_piece(int64_t k, void *arg)
{
    job *j = arg;
    const bnc_pieces *p = j->p;
    bnc_piece_place *place = take_place(p);
    const int64_t first = k * p->per, last = p->samples - p->per;
    const int64_t begin = first < last ? first : last;
    const size_t done = (size_t)(first - begin), new = (size_t)p->per - done;
    bnc_stay_alone(1);
    memcpy(place->x, p->x + (size_t)begin * p->x_bytes, (size_t)p->per * p->x_bytes);
    const int error = bnc_run_steps(j->ops, place->steps, place->count, 0);
    if (error) atomic_store(&j->error, error);
    memcpy(p->y + (size_t)first * p->y_bytes, (const char *)place->y + done * p->y_bytes,
           new * p->y_bytes);
    bnc_stay_alone(0);
    __atomic_clear(&place->taken, __ATOMIC_RELEASE);
}

int bnc_run_pieces(const bnc_ops *ops, const bnc_pieces *p)
{
    job j = {ops, p, BNC_OK};
    int threads = bnc_threads(p->work, PIECE_GRAIN);
    if (threads > p->place_count) threads = p->place_count;
    bnc_run(run_piece, &j, (p->samples + p->per - 1) / p->per, threads);
    return atomic_load(&j.error);
}

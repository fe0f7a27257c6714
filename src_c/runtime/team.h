/* What the files of the runtime tell each other about threads; nothing here is for ops. */
#ifndef BNC_TEAM_H
#define BNC_TEAM_H

#include "bncore.h"

#include <time.h>

/* -DBNC_OPENMP_REGION: OpenMP's team here too, to compare and to test what other systems get. */
#if defined(_OPENMP) && defined(__linux__) && !defined(BNC_OPENMP_REGION)
#define BNC_OWN_TEAM 1
#endif

/* Nanoseconds that workers spin after a call before they sleep, about what waking one takes. */
enum { BNC_WORKERS_SPIN = 50000 };

typedef struct {
    int64_t worked, waited; /* nanoseconds: on chunks, and then for others to finish theirs */
} bnc_turn;

/* Runs all chunks on the calling thread and up to `threads` - 1 workers, for one caller at a time. With `place` workers
 * may be moved between processors. */
bnc_turn bnc_team_run(bnc_chunk_fn fn, void *arg, int64_t chunks, int threads, int place);

/* In a forked child, where only the forking thread is left. Returns whether there can be workers again. */
int bnc_team_forked(void);

/* OpenMP's limit for the calling thread; whether the user has bound OpenMP's threads to processors. */
int bnc_openmp_limit(void);
int bnc_openmp_bound(void);

#ifdef __linux__
#include <sched.h>
/* The processors of the place where OpenMP would put a bound thread; 0 if there are none. */
int bnc_openmp_place(int thread, cpu_set_t *place);
#endif

static inline int64_t bnc_nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif

/* The only file that names OpenMP: its limits and places, which hold for our team too, and, where we have no team of our
 * own, a parallel region in its place. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "team.h"

#ifdef _OPENMP
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>

int bnc_has_openmp(void) { return 1; }

int bnc_openmp_limit(void)
{
    if (omp_in_parallel())
        return 1; /* in a region of the caller's program: its processors are taken */
    const int most = omp_get_max_threads(), all = omp_get_thread_limit();
    return most < all ? most : all;
}

int bnc_openmp_bound(void) { return omp_get_proc_bind() != omp_proc_bind_false; }

#ifdef BNC_OWN_TEAM

int bnc_openmp_place(int thread, cpu_set_t *place)
{
    const int places = omp_get_num_places();
    if (places < 1) return 0;
    const int which = thread % places, count = omp_get_place_num_procs(which);
    int *processors = malloc((size_t)count * sizeof *processors);
    if (!processors) return 0;
    omp_get_place_proc_ids(which, processors);
    CPU_ZERO(place);
    for (int i = 0; i < count; i++)
        if (processors[i] < CPU_SETSIZE) CPU_SET(processors[i], place);
    free(processors);
    return CPU_COUNT(place) > 0;
}

#else

/* One region a call; chunks are claimed, so that a worker that lost its processor cannot hold the rest. */
bnc_turn bnc_team_run(bnc_chunk_fn fn, void *arg, int64_t chunks, int threads, int place)
{
    (void)place;
    atomic_llong next = 0;
    const int64_t begin = bnc_nanoseconds();
    int64_t worked = begin;
#pragma omp parallel num_threads(threads)
    {
        for (int64_t k; (k = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed)) < chunks;)
            fn(k, arg);
#pragma omp master
        worked = bnc_nanoseconds(); /* the caller has no more to do: from here on it waits */
    }
    return (bnc_turn){worked - begin, bnc_nanoseconds() - worked};
}

const char *bnc_team_name(void) { return "OpenMP"; }

/* OpenMP's threads are gone and it does not know. */
int bnc_team_forked(void) { return 0; }

#endif
#else

int bnc_has_openmp(void) { return 0; }
const char *bnc_team_name(void) { return "none"; }

#endif

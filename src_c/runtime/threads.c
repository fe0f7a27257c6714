/* bnc_run: the only place that starts threads. Here is who gets how many, and when none; how they work together is in
 * team.c (Linux) and openmp.c (elsewhere). Which thread runs a chunk never matters to the result: chunk borders depend
 * on shapes alone.
 *
 * A call that had to wait long for a worker is followed by serial calls for BACK_OFF times as long: next to a busy
 * neighbour it would wait again. A call that finds another one running (from a second Python thread, or from a chunk)
 * is serial too, instead of doubling the number of threads. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "team.h"

#include <stdatomic.h>

static atomic_int cpu_quota, forced;
static _Thread_local int
    alone; /* this thread does a piece of something that is shared out already */

void bnc_set_cpu_quota(int cpus) { atomic_store(&cpu_quota, cpus > 0 ? cpus : 0); }
void bnc_stay_alone(int on) { alone = on; }
void bnc_force_threads(int threads) { atomic_store(&forced, threads > 0 ? threads : 0); }

static void run_serially(bnc_chunk_fn fn, void *arg, int64_t chunks)
{
    for (int64_t k = 0; k < chunks; k++) fn(k, arg);
}

#ifdef _OPENMP
#include <pthread.h>

/* nanoseconds; times the time waited */
static const int64_t STALL = 300000, BACK_OFF = 10;
/* Asks at most so far apart are in a row; so many in a row wake workers for little work. */
static const int64_t IN_A_ROW = 100000, ROW = 6;

static struct {
    atomic_flag busy;
    atomic_int started,
        crippled;         /* workers exist, or did; they did in the parent and cannot here */
    int64_t serial_until; /* guarded by busy */
    atomic_llong last_together, last_asked; /* when */
    atomic_int row;
    atomic_ullong together, alone, stalled;
} run = {.busy = ATOMIC_FLAG_INIT};

static void count(atomic_ullong *what) { atomic_fetch_add_explicit(what, 1, memory_order_relaxed); }

static void run_together(bnc_chunk_fn fn, void *arg, int64_t chunks, int threads)
{
    atomic_store_explicit(&run.started, 1, memory_order_relaxed);
    const bnc_turn t = bnc_team_run(fn, arg, chunks, threads, !bnc_openmp_bound());
    const int64_t end = bnc_nanoseconds();
    atomic_store_explicit(&run.last_together, end, memory_order_relaxed);
    count(&run.together);
    /* a chunk may legitimately take as long as the caller's share of them took */
    if (t.waited > STALL && t.waited > t.worked) {
        count(&run.stalled);
        run.serial_until = end + BACK_OFF * t.waited;
    }
}

void bnc_run(bnc_chunk_fn fn, void *arg, int64_t chunks, int threads)
{
    if (threads > chunks) threads = (int)chunks;
    if (threads < 2 || atomic_load_explicit(&run.crippled, memory_order_relaxed)) {
        run_serially(fn, arg, chunks);
        return;
    }
    if (atomic_flag_test_and_set(&run.busy)) {
        count(&run.alone);
        run_serially(fn, arg, chunks);
        return;
    }
    if (run.serial_until && !atomic_load(&forced) && bnc_nanoseconds() < run.serial_until) {
        count(&run.alone);
        run_serially(fn, arg, chunks);
    } else {
        run.serial_until = 0;
        run_together(fn, arg, chunks, threads);
    }
    atomic_flag_clear(&run.busy);
}

int bnc_thread_limit(void)
{
    if (alone || atomic_load(&run.crippled)) return 1;
    if (atomic_load(&forced)) return atomic_load(&forced);
    int limit = bnc_openmp_limit();
#ifdef __linux__
    cpu_set_t mask; /* that of a bound caller is its own place, not the team's */
    if (limit > 1 && !bnc_openmp_bound() && sched_getaffinity(0, sizeof mask, &mask) == 0 &&
        CPU_COUNT(&mask) < limit)
        limit = CPU_COUNT(&mask);
#endif
    const int quota = atomic_load(&cpu_quota);
    if (quota && quota < limit) limit = quota;
    return limit < 1 ? 1 : limit;
}

/* Whether it pays to use workers for work that takes about as long as waking them: they are awake, or one such pass
 * follows another, so that they will be. */
static int pays_if_little(void)
{
    const int64_t now = bnc_nanoseconds();
    if (now - atomic_load_explicit(&run.last_together, memory_order_relaxed) < BNC_WORKERS_SPIN)
        return 1;
    const int64_t last = atomic_exchange_explicit(&run.last_asked, now, memory_order_relaxed);
    const int row =
        now - last < IN_A_ROW ? atomic_load_explicit(&run.row, memory_order_relaxed) + 1 : 0;
    atomic_store_explicit(&run.row, row < ROW ? row : 0, memory_order_relaxed);
    return row >= ROW;
}

static void after_fork_in_child(void)
{
    if (!bnc_team_forked() && atomic_load(&run.started)) atomic_store(&run.crippled, 1);
    run.serial_until = 0;
    atomic_flag_clear(&run.busy);
}

static int start(void) { return pthread_atfork(0, 0, after_fork_in_child); }

bnc_thread_statistics bnc_threads_read(void)
{
    return (bnc_thread_statistics){atomic_load(&run.together), atomic_load(&run.alone),
                                   atomic_load(&run.stalled)};
}

#else /* a serial build */

void bnc_run(bnc_chunk_fn fn, void *arg, int64_t chunks, int threads)
{
    (void)threads;
    run_serially(fn, arg, chunks);
}

int bnc_thread_limit(void) { return 1; }
static int pays_if_little(void) { return 0; }
static int start(void) { return 0; }
bnc_thread_statistics bnc_threads_read(void) { return (bnc_thread_statistics){0, 0, 0}; }

#endif

enum { LITTLE = 8 }; /* grains of work that take no longer than waking a worker */

int bnc_threads_at_most(int64_t work, int64_t grain)
{
    if (alone) return 1;
    if (atomic_load_explicit(&forced, memory_order_relaxed)) return bnc_thread_limit();
    if (work < 2 * grain) return 1; /* the common small call asks nobody */
    const int64_t useful = work / grain;
    const int limit = bnc_thread_limit();
    return useful < limit ? (int)useful : limit;
}

int bnc_is_little(int64_t work, int64_t grain)
{
    return work >= 2 * grain && work / grain < LITTLE &&
           !atomic_load_explicit(&forced, memory_order_relaxed);
}

int bnc_threads(int64_t work, int64_t grain)
{
    if (alone || (bnc_is_little(work, grain) && !pays_if_little())) return 1;
    return bnc_threads_at_most(work, grain);
}

int bnc_pool_start(void);

int bnc_runtime_start(void)
{
    bnc_read_machine();
    return start() || bnc_pool_start();
}

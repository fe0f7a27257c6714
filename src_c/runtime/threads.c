/* bnc_run: the only place that starts threads, and the only file that names OpenMP.
 *
 * Design: one parallel region a call; chunks are claimed from a counter, so a worker that lost its core cannot hold the
 * rest. Which thread runs a chunk never matters to the result: chunk borders depend on shapes alone.
 * Two troubles of OpenMP runtimes are dealt with here:
 *  - A worker woken after an idle pause may be queued on the caller's own processor, behind the caller that waits for
 *    it, for one or two scheduler ticks (4-16 ms). `steer` allows it every processor but the caller's while it wakes.
 *    Not where the user has bound OpenMP's threads to processors (OMP_PROC_BIND, OMP_PLACES, GOMP_CPU_AFFINITY).
 *  - A worker that cannot get a processor at all (a busy neighbour) delays the end of every region. A call that waited
 *    long is followed by serial calls for BACK_OFF times as long.
 * After fork the runtime's threads are gone but it does not know: a child of a process that had started them computes
 * on one thread. A call that finds another one running (from a second Python thread) also runs serially, instead of
 * doubling the number of threads. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bncore.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef _OPENMP
#include <omp.h>
#include <pthread.h>
#endif
#ifdef __linux__
#include <sched.h>
#include <sys/syscall.h>
#endif

#define STALL 300e-6 /* seconds of waiting that are not ordinary imbalance */
#define BACK_OFF 10.0
#define IDLE 1e-3 /* seconds after which a worker may have gone to sleep */

typedef struct {
    bnc_chunk_fn fn;
    void *arg;
    int64_t chunks;
    atomic_llong next;
} job;

static atomic_int cpu_quota, forced;

void bnc_set_cpu_quota(int cpus) { atomic_store(&cpu_quota, cpus > 0 ? cpus : 0); }
void bnc_force_threads(int threads) { atomic_store(&forced, threads > 0 ? threads : 0); }

static void run_serially(bnc_chunk_fn fn, void *arg, int64_t chunks)
{
    for (int64_t k = 0; k < chunks; k++) fn(k, arg);
}

#ifdef _OPENMP

enum { MAX_WORKERS = 64 };
static struct {
    atomic_flag busy;
    atomic_int started, forked; /* threads exist; this is a child of a process in which they did */
    double serial_until, last_end; /* seconds of the monotonic clock; guarded by busy */
#ifdef __linux__
    pid_t worker[MAX_WORKERS]; /* thread ids, as the system knows them, of the last region; ... */
    uint64_t caller, callers;  /* ... who started it; callers so far: all guarded by busy */
#endif
} team = {.busy = ATOMIC_FLAG_INIT};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Whether OpenMP keeps its threads on places of the user's choice. */
static int bound(void) { return omp_get_proc_bind() != omp_proc_bind_false; }

static void claim_chunks(job *j)
{
    for (int64_t k; (k = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed)) < j->chunks;)
        j->fn(k, j->arg);
}

#ifdef __linux__
static pid_t thread_id(void)
{
    static _Thread_local pid_t id; /* a fork's child, where it is wrong, never gets here */
    return id ? id : (id = (pid_t)syscall(SYS_gettid));
}

/* A number for the calling thread that no other ever had, unlike thread ids. */
static uint64_t caller_id(void)
{
    static _Thread_local uint64_t id;
    return id ? id : (id = ++team.callers);
}

/* Sets the workers' processors to `all`, without the caller's own one when `avoid` is set. One that has ended all the
 * same, by another library's use of OpenMP, is left out: its id may be that of another process by now. */
static void place_workers(const pid_t *worker, int threads, cpu_set_t all, int avoid)
{
    if (avoid) CPU_CLR(sched_getcpu(), &all);
    if (CPU_COUNT(&all) == 0) return;
    for (int i = 1; i < threads && i < MAX_WORKERS; i++)
        if (worker[i] && syscall(SYS_tgkill, getpid(), worker[i], 0) == 0)
            sched_setaffinity(worker[i], sizeof all, &all);
}

/* Every thread that calls has workers of its own, which end with it, as do those that the next region does not need:
 * only their caller knows that the last region's workers still exist. */
static void forget_workers(void)
{
    memset(team.worker, 0, sizeof team.worker);
    team.caller = caller_id();
}
#endif

static void run_region(job *j, int threads)
{
#pragma omp parallel num_threads(threads)
    {
#ifdef __linux__
        const int me = omp_get_thread_num();
        if (me > 0 && me < MAX_WORKERS) team.worker[me] = thread_id();
#endif
        claim_chunks(j);
#pragma omp master
        team.last_end = now(); /* the caller has no more to do: from here on it waits */
    }
}

static void run_in_team(job *j, int threads, double begin)
{
#ifdef __linux__
    cpu_set_t all;
    pid_t steered[MAX_WORKERS];
    const int steer = begin - team.last_end > IDLE && team.caller == caller_id() && !bound() &&
                      sched_getaffinity(0, sizeof all, &all) == 0;
    memcpy(steered, team.worker, sizeof steered);
    forget_workers();
    if (steer) place_workers(steered, threads, all, 1);
#endif
    run_region(j, threads);
    const double end = now(), waited = end - team.last_end, worked = team.last_end - begin;
    /* a chunk may legitimately take as long as the caller's share of them took */
    if (waited > STALL && waited > worked) team.serial_until = end + BACK_OFF * waited;
    team.last_end = end;
#ifdef __linux__
    if (steer) place_workers(steered, threads, all, 0);
#endif
}

void bnc_run(bnc_chunk_fn fn, void *arg, int64_t chunks, int threads)
{
    if (threads > chunks) threads = (int)chunks;
    if (threads < 2 || atomic_load(&team.forked) || atomic_flag_test_and_set(&team.busy)) {
        run_serially(fn, arg, chunks);
        return;
    }
    const double begin = now();
    if (begin < team.serial_until && !atomic_load(&forced)) {
        run_serially(fn, arg, chunks);
    } else {
        job j = {fn, arg, chunks, 0};
        atomic_store(&team.started, 1);
        run_in_team(&j, threads, begin);
    }
    atomic_flag_clear(&team.busy);
}

int bnc_has_openmp(void) { return 1; }

int bnc_thread_limit(void)
{
    if (atomic_load(&forced) && !atomic_load(&team.forked)) return atomic_load(&forced);
    int limit = omp_get_max_threads();
#ifdef __linux__
    cpu_set_t mask; /* that of a bound caller is its own place, not the team's */
    if (!bound() && sched_getaffinity(0, sizeof mask, &mask) == 0 && CPU_COUNT(&mask) < limit)
        limit = CPU_COUNT(&mask);
#endif
    const int quota = atomic_load(&cpu_quota);
    if (quota && quota < limit) limit = quota;
    return atomic_load(&team.forked) || limit < 1 ? 1 : limit;
}

static void after_fork_in_child(void)
{
    atomic_flag_clear(&team.busy);
    if (atomic_load(&team.started)) atomic_store(&team.forked, 1);
}

static int start_team(void) { return pthread_atfork(0, 0, after_fork_in_child); }

#else /* a serial build */

void bnc_run(bnc_chunk_fn fn, void *arg, int64_t chunks, int threads)
{
    (void)threads;
    run_serially(fn, arg, chunks);
}

int bnc_has_openmp(void) { return 0; }
int bnc_thread_limit(void) { return 1; }
static int start_team(void) { return 0; }

#endif

int bnc_threads(int64_t work, int64_t grain)
{
    if (atomic_load_explicit(&forced, memory_order_relaxed)) return bnc_thread_limit();
    if (work < 2 * grain) return 1; /* the common small call asks nobody */
    const int64_t useful = work / grain;
    const int limit = bnc_thread_limit();
    return useful < limit ? (int)useful : limit;
}

int bnc_pool_start(void);

int bnc_runtime_start(void)
{
    bnc_read_machine();
    return start_team() || bnc_pool_start();
}

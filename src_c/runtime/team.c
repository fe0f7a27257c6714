/* A team of our own (Linux), because OpenMP's cannot be left: its region ends when the last thread gets there, and one
 * that the system does not schedule costs 4-16 ms. Measured with libgomp, two processors: after 20 ms of idling calls of
 * 0.1 ms took 1.5 ms on the mean beside a busy process, whatever steering and back-off did about it.
 *
 * A call is open, then closed. A worker may enter while it is open, and the caller waits for those that did; whoever
 * comes late goes back to waiting, so being asked is never an obligation. Chunks are shared out evenly, in the same way
 * every time (what a thread wrote in one call is in its cache for the next); who has done his share takes from the
 * others'. Only the workers asked for are woken. Between calls workers spin for a time about as long as waking takes,
 * then sleep.
 *
 * The caller, when it has to wait for a worker, spins as shortly, then sleeps: one that lost its processor is sent to the
 * caller's, to go on there.
 * Workers have the caller's processors but the one it runs on: schedulers, those of virtual machines above all, like to
 * queue a woken thread behind its waker. Threads that the user has bound (OMP_PROC_BIND, OMP_PLACES, GOMP_CPU_AFFINITY)
 * keep their places instead.
 * Not here: who gets how many threads (threads.c). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "team.h"

#ifdef BNC_OWN_TEAM
#include "float_mode.h"
#include "placement.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_WORKERS = 127, POLLS = 32 }; /* polls between looks at the clock */
static const unsigned OPEN = 1u << 31, SLEEPS = 1u << 30, COUNT = (1u << 30) - 1;
/* nanoseconds: */
static const int64_t CALLER_SPINS = 30000, LOOK_AFTER_ABSENT = 1000000;

typedef struct {
    _Alignas(128) atomic_uint call; /* the last call it was asked to; it sleeps on this word */
    atomic_int asleep, inside, thread_id;
    atomic_uint came; /* the last call it came to */
    int was_awake;    /* from here on the caller's: when last asked */
    cpu_set_t placed; /* the processors it was last given */
} worker;

typedef struct {
    _Alignas(128) atomic_llong next;
    int64_t end;
} share;

static struct {
    _Alignas(128) atomic_uint state; /* OPEN | SLEEPS (the caller) | workers inside */
    bnc_chunk_fn fn;                 /* from here on: written while nobody is inside */
    void *arg;
    unsigned float_mode; /* the caller's */
    int threads;
    share shares[MAX_WORKERS + 1];
    worker workers[MAX_WORKERS];
    int started;
    unsigned calls;
    int64_t looked_at; /* when absent workers were last seen to */
} team;

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* yield does nothing on most */
#endif
}

/* Sleeps while the word has this value, at most `nanoseconds` (0: no limit); may return early. */
static void sleep_on(atomic_uint *word, unsigned value, int64_t nanoseconds)
{
    const struct timespec limit = {.tv_nsec = nanoseconds};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, nanoseconds ? &limit : 0, 0, 0);
}

static void wake(atomic_uint *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0); }

/* ---- both sides ---- */

/* Share `first`, then the others'; how many chunks were left for us. */
static int64_t take_chunks(int first)
{
    int64_t taken = 0;
    for (int i = 0; first < team.threads && i < team.threads; i++) {
        share *s = &team.shares[(first + i) % team.threads];
        while (atomic_load_explicit(&s->next, memory_order_relaxed) < s->end) {
            const int64_t k = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
            if (k < s->end) team.fn(k, team.arg), taken++;
        }
    }
    return taken;
}

/* ---- a worker ---- */

/* The number of a call that is not `seen`. */
static unsigned await_call(worker *me, unsigned seen, int64_t spin)
{
    const int64_t until = spin ? bnc_nanoseconds() + spin : 0;
    for (;;) {
        for (int i = 0; i < POLLS; i++) {
            const unsigned call = atomic_load_explicit(&me->call, memory_order_acquire);
            if (call != seen) return call;
            pause_briefly();
        }
        if (spin && bnc_nanoseconds() < until) continue;
        atomic_store(
            &me->asleep,
            1); /* before looking a last time, as the caller asks before it looks who sleeps */
        if (atomic_load(&me->call) == seen) sleep_on(&me->call, seen, 0);
        atomic_store(&me->asleep, 0);
    }
}

static int enter(worker *me)
{
    atomic_store(&me->inside, 1);
    unsigned state = atomic_load(&team.state);
    while (state & OPEN)
        if (atomic_compare_exchange_weak(&team.state, &state, state + 1)) return 1;
    atomic_store(&me->inside, 0);
    return 0;
}

/* Whether the caller slept meanwhile: then there are more threads than processors. */
static int leave(worker *me)
{
    atomic_store(&me->inside, 0);
    const unsigned before = atomic_fetch_sub(&team.state, 1);
    const int slept = (before & SLEEPS) != 0;
    if (slept && (before & COUNT) == 1) wake(&team.state);
    return slept;
}

static void *work(void *arg)
{
    worker *me = arg;
    const int index = (int)(me - team.workers) + 1;
    prctl(PR_SET_NAME, "bncore", 0, 0, 0);
    atomic_store(&me->thread_id, (int)syscall(SYS_gettid));
    unsigned seen = 0;
    int64_t spin = BNC_WORKERS_SPIN;
    for (;;) {
        seen = await_call(me, seen, spin);
        spin = BNC_WORKERS_SPIN;
        if (!enter(me)) continue;
        atomic_store_explicit(&me->came, seen, memory_order_relaxed);
        if (team.float_mode != bnc_float_mode()) bnc_set_float_mode(team.float_mode);
        take_chunks(index);
        if (leave(me)) spin = 0;
    }
    return 0;
}

/* ---- the caller ---- */

/* Starts what is missing; how many workers there are. Signals are for the program's own threads. */
static int have_workers(int wanted)
{
    if (wanted > MAX_WORKERS) wanted = MAX_WORKERS;
    if (team.started >= wanted) return wanted;
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV), sigdelset(&all, SIGBUS), sigdelset(&all, SIGFPE),
        sigdelset(&all, SIGILL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; team.started < wanted; team.started++) {
        pthread_t thread;
        if (pthread_create(&thread, 0, work, &team.workers[team.started])) break;
        cpu_set_t set; /* else it has the caller's, which is one place only if that is bound */
        if (bnc_openmp_bound() && bnc_openmp_place(team.started + 1, &set))
            pthread_setaffinity_np(thread, sizeof set, &set);
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, 0);
    return team.started;
}

static void open_call(bnc_chunk_fn fn, void *arg, int64_t chunks, int threads)
{
    team.fn = fn;
    team.arg = arg;
    team.float_mode = bnc_float_mode();
    team.threads = threads;
    for (int i = 0; i < threads; i++) {
        atomic_store_explicit(&team.shares[i].next, chunks * i / threads, memory_order_relaxed);
        team.shares[i].end = chunks * (i + 1) / threads;
    }
    atomic_store(&team.state, OPEN);
}

static void place(worker *w, const cpu_set_t *set)
{
    const int id = atomic_load_explicit(&w->thread_id, memory_order_relaxed);
    if (!id || CPU_EQUAL(&w->placed, set)) return;
    w->placed = *set;
    bnc_place(id, set);
}

static void ask(int workers, int may_place)
{
    worker *asleep[MAX_WORKERS];
    int sleepers = 0;
    team.calls++;
    for (int i = 0; i < workers; i++) {
        worker *w = &team.workers[i];
        atomic_store(&w->call, team.calls);
        w->was_awake = !atomic_load(&w->asleep);
        if (!w->was_awake) asleep[sleepers++] = w;
    }
    if (!sleepers) return;
    const bnc_processors p = may_place ? bnc_processors_of_caller() : (bnc_processors){.known = 0};
    for (int i = 0; i < sleepers; i++) {
        if (p.known) place(asleep[i], &p.others);
        wake(&asleep[i]->call);
    }
}

/* Waits until nobody is inside the closed call. A worker that takes much longer than a chunk has lost its processor. */
static void wait_for(int workers, int64_t chunk_time, int may_place)
{
    const int64_t begin = bnc_nanoseconds();
    do {
        for (int i = 0; i < POLLS; i++) {
            if (!(atomic_load_explicit(&team.state, memory_order_acquire) & COUNT)) return;
            pause_briefly();
        }
    } while (bnc_nanoseconds() < begin + CALLER_SPINS);
    unsigned state = atomic_fetch_or(&team.state, SLEEPS) | SLEEPS;
    const int64_t patience = CALLER_SPINS + 2 * chunk_time;
    bnc_processors p = {.known = 0};
    while (state & COUNT) {
        sleep_on(&team.state, state, may_place && !p.known ? patience : 0);
        state = atomic_load(&team.state);
        if (!(state & COUNT) || !may_place || p.known || bnc_nanoseconds() < begin + patience)
            continue;
        p = bnc_processors_of_caller();
        may_place = p.known;
        for (int i = 0; p.known && i < workers; i++)
            if (atomic_load(&team.workers[i].inside)) place(&team.workers[i], &p.here);
    }
    for (int i = 0; p.known && i < workers; i++) place(&team.workers[i], &p.others);
}

/* A worker that did not come though it was awake may be queued behind the caller. */
static void look_after_absent(int workers, int64_t now)
{
    if (now < team.looked_at + LOOK_AFTER_ABSENT) return;
    bnc_processors p = {.known = 0};
    for (int i = 0; i < workers; i++) {
        worker *w = &team.workers[i];
        if (!w->was_awake || atomic_load_explicit(&w->came, memory_order_relaxed) == team.calls)
            continue;
        if (!p.known) p = bnc_processors_of_caller();
        if (!p.known) return;
        team.looked_at = now;
        place(w, &p.others);
    }
}

bnc_turn bnc_team_run(bnc_chunk_fn fn, void *arg, int64_t chunks, int threads, int place)
{
    const int workers = have_workers(threads - 1);
    const int64_t begin = bnc_nanoseconds();
    open_call(fn, arg, chunks, workers + 1);
    ask(workers, place);
    const int64_t taken = take_chunks(0), worked = bnc_nanoseconds();
    if (atomic_fetch_and(&team.state, ~OPEN) & COUNT)
        wait_for(workers, taken ? (worked - begin) / taken : 0, place);
    if (place) look_after_absent(workers, worked);
    return (bnc_turn){worked - begin, bnc_nanoseconds() - worked};
}

const char *bnc_team_name(void) { return "own"; }

int bnc_team_forked(void)
{
    memset(&team, 0, sizeof team);
    return 1;
}

#endif

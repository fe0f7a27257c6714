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
 * The caller, when it has to wait for a worker, spins as shortly, then sleeps: one that lost its processor can go on at
 * the caller's, and is sent there if it does not find the way.
 * A sleeping worker is woken with the caller's processor forbidden to it for that moment: schedulers, those of virtual
 * machines above all, like to queue it behind its waker. It then gets the caller's processors. Threads that the user has
 * bound (OMP_PROC_BIND, OMP_PLACES, GOMP_CPU_AFFINITY) keep their places instead.
 * Not here: who gets how many threads (threads.c). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "team.h"

#ifdef BNC_OWN_TEAM
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
static const int64_t WORKER_SPINS = 50000, CALLER_SPINS = 30000, RESCUE_AFTER = 100000,
                     LOOK_AFTER_ABSENT = 1000000;

typedef struct {
    _Alignas(128) atomic_uint call; /* the last call it was asked to; it sleeps on this word */
    atomic_int asleep, inside, thread_id;
    atomic_uint came; /* the last call it came to */
} worker;

typedef struct {
    _Alignas(128) atomic_llong next;
    int64_t end;
} share;

static struct {
    _Alignas(128) atomic_uint state; /* OPEN | SLEEPS (the caller) | workers inside */
    bnc_chunk_fn fn;                 /* from here on: written while nobody is inside */
    void *arg;
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

static void take_chunks(int first)
{
    for (int i = 0; first < team.threads && i < team.threads; i++) {
        share *s = &team.shares[(first + i) % team.threads];
        while (atomic_load_explicit(&s->next, memory_order_relaxed) < s->end) {
            const int64_t k = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
            if (k < s->end) team.fn(k, team.arg);
        }
    }
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
    int64_t spin = WORKER_SPINS;
    for (;;) {
        seen = await_call(me, seen, spin);
        spin = WORKER_SPINS;
        if (!enter(me)) continue;
        atomic_store_explicit(&me->came, seen, memory_order_relaxed);
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
    team.threads = threads;
    for (int i = 0; i < threads; i++) {
        atomic_store_explicit(&team.shares[i].next, chunks * i / threads, memory_order_relaxed);
        team.shares[i].end = chunks * (i + 1) / threads;
    }
    atomic_store(&team.state, OPEN);
}

static void ask(int workers, int place)
{
    worker *asleep[MAX_WORKERS];
    int sleepers = 0;
    team.calls++;
    for (int i = 0; i < workers; i++) {
        atomic_store(&team.workers[i].call, team.calls);
        if (atomic_load(&team.workers[i].asleep)) asleep[sleepers++] = &team.workers[i];
    }
    if (!sleepers) return;
    const bnc_processors p = place ? bnc_processors_of_caller() : (bnc_processors){.known = 0};
    for (int i = 0; i < sleepers; i++) {
        if (p.known) bnc_place(atomic_load(&asleep[i]->thread_id), &p.others);
        wake(&asleep[i]->call);
    }
    for (int i = 0; p.known && i < sleepers; i++)
        bnc_place(atomic_load(&asleep[i]->thread_id), &p.all);
}

/* Sends those that are still inside to the caller's processor, which it is about to leave. */
static void rescue(int workers, const bnc_processors *p)
{
    for (int i = 0; p->known && i < workers; i++)
        if (atomic_load(&team.workers[i].inside))
            bnc_place(atomic_load(&team.workers[i].thread_id), &p->here);
}

static void release(int workers, const bnc_processors *p)
{
    for (int i = 0; p->known && i < workers; i++)
        bnc_place(atomic_load(&team.workers[i].thread_id), &p->all);
}

/* Waits until nobody is inside the closed call. */
static void wait_for(int workers, int place)
{
    unsigned state;
    const int64_t begin = bnc_nanoseconds();
    do {
        for (int i = 0; i < POLLS; i++) {
            if (!(atomic_load_explicit(&team.state, memory_order_acquire) & COUNT)) return;
            pause_briefly();
        }
    } while (bnc_nanoseconds() < begin + CALLER_SPINS);
    bnc_processors p = {.known = 0};
    int rescued = !place;
    state = atomic_fetch_or(&team.state, SLEEPS) | SLEEPS;
    while (state & COUNT) {
        sleep_on(&team.state, state, rescued ? 0 : RESCUE_AFTER);
        state = atomic_load(&team.state);
        if ((state & COUNT) && !rescued && bnc_nanoseconds() > begin + RESCUE_AFTER) {
            p = bnc_processors_of_caller();
            rescue(workers, &p);
            rescued = 1;
        }
    }
    release(workers, &p);
}

/* A worker that did not come though it was awake may be queued behind the caller. */
static void look_after_absent(int workers, int64_t now)
{
    if (now < team.looked_at + LOOK_AFTER_ABSENT) return;
    bnc_processors p = {.known = 0};
    for (int i = 0; i < workers; i++) {
        worker *w = &team.workers[i];
        if (atomic_load_explicit(&w->came, memory_order_relaxed) == team.calls) continue;
        if (!p.known) p = bnc_processors_of_caller();
        if (!p.known) return;
        team.looked_at = now;
        bnc_place(atomic_load(&w->thread_id), &p.others);
        bnc_place(atomic_load(&w->thread_id), &p.all);
    }
}

bnc_turn bnc_team_run(bnc_chunk_fn fn, void *arg, int64_t chunks, int threads, int place)
{
    const int workers = have_workers(threads - 1);
    const int64_t begin = bnc_nanoseconds();
    open_call(fn, arg, chunks, workers + 1);
    ask(workers, place);
    take_chunks(0);
    const int64_t worked = bnc_nanoseconds();
    if (atomic_fetch_and(&team.state, ~OPEN) & COUNT) wait_for(workers, place);
    if (place) look_after_absent(workers, worked);
    return (bnc_turn){worked - begin, bnc_nanoseconds() - worked};
}

int bnc_team_forked(void)
{
    memset(&team, 0, sizeof team);
    return 1;
}

#endif

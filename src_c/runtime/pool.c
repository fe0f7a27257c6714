/* A bounded, thread-safe free list of aligned blocks, by size class: outputs and scratch memory live in it, so that a
 * training loop takes no page faults after its first step.
 *
 *   [ header, 64 bytes ][ data, 64-byte aligned ... ]
 *
 * Eight classes per octave (at most 12.5 % waste). Blocks from 4 MiB are mapped at 2 MiB borders and ask for huge pages.
 * The start of the data is staggered modulo 4096: arrays of equal size do not share cache sets. The bound counts idle
 * bytes only; over it, blocks of the class unused longest go first. Not here: per-thread caches, sub-allocation. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bncore.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { CLASSES = 448, HEADER = 64, SMALLEST = 512, STAGGERED = 16384 };
static const size_t LARGE = (size_t)4 << 20, HUGE_PAGE = (size_t)2 << 20;

typedef struct block {
    struct block *next;
    void *base;            /* what malloc or mmap returned */
    size_t mapped, usable; /* mapped: bytes to unmap, 0 for malloc */
    int class;
} block;

static struct {
    pthread_mutex_t lock;
    block *idle[CLASSES];
    uint64_t used_at[CLASSES], clock;
    unsigned colour;
    bnc_pool_statistics count;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .count = {.bound_bytes = (size_t)1 << 30}};

/* Rounds up to (8..15) 2^k; the number of that class. */
static int class_of(size_t bytes, size_t *rounded)
{
    if (bytes < SMALLEST) bytes = SMALLEST;
    const int exponent = 63 - __builtin_clzll(bytes - 1), shift = exponent - 3;
    const size_t steps = ((bytes - 1) >> shift) + 1; /* 9..16 */
    *rounded = steps << shift;
    return (exponent - 8) * 8 + (int)(steps - 9);
}

/* `bytes` at a 2 MiB border, huge pages asked for. */
static char *map_huge(size_t bytes)
{
    char *raw =
        mmap(0, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return 0;
    char *start = (char *)(((uintptr_t)raw + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    if (start > raw) munmap(raw, (size_t)(start - raw));
    if (raw + HUGE_PAGE > start) munmap(start + bytes, (size_t)(raw + HUGE_PAGE - start));
#ifdef MADV_HUGEPAGE
    madvise(start, bytes, MADV_HUGEPAGE);
#endif
    return start;
}

static block *new_block(size_t usable, int class, unsigned colour)
{
    const size_t offset = usable >= STAGGERED ? 64 * (size_t)(17 * colour % 64) : 0;
    size_t mapped = 0;
    void *base = 0;
    if (usable >= LARGE) {
        mapped = (usable + HEADER + offset + 4095) & ~(size_t)4095;
        base = map_huge(mapped);
    } else if (posix_memalign(&base, 64, usable + HEADER + offset)) {
        base = 0;
    }
    if (!base) return 0;
    block *b = (block *)((char *)base + offset);
    *b = (block){.base = base, .mapped = mapped, .usable = usable, .class = class};
    return b;
}

static void delete_block(block *b)
{
    if (b->mapped)
        munmap(b->base, b->mapped);
    else
        free(b->base);
}

/* Under the lock: unlinks idle blocks until `bound` bytes are left, and returns them as a list to delete outside it. */
static block *evict_to(size_t bound)
{
    block *gone = 0;
    while (pool.count.idle_bytes > bound) {
        int oldest = -1;
        for (int i = 0; i < CLASSES; i++)
            if (pool.idle[i] && (oldest < 0 || pool.used_at[i] < pool.used_at[oldest])) oldest = i;
        if (oldest < 0) break;
        block *b = pool.idle[oldest];
        pool.idle[oldest] = b->next;
        pool.count.idle_bytes -= b->usable;
        pool.count.evicted++;
        b->next = gone;
        gone = b;
    }
    return gone;
}

static void delete_all(block *b)
{
    while (b) {
        block *next = b->next;
        delete_block(b);
        b = next;
    }
}

void *bnc_pool_get(size_t bytes)
{
    if (bytes > SIZE_MAX / 2) return 0;
    size_t usable;
    const int class = class_of(bytes, &usable);
    pthread_mutex_lock(&pool.lock);
    block *b = pool.idle[class];
    pool.used_at[class] = ++pool.clock;
    if (b) {
        pool.idle[class] = b->next;
        pool.count.idle_bytes -= b->usable;
        pool.count.hits++;
    } else {
        pool.count.misses++;
    }
    pool.count.live_bytes += usable;
    const unsigned colour = pool.colour++;
    pthread_mutex_unlock(&pool.lock);
    if (!b && !(b = new_block(usable, class, colour))) {
        pthread_mutex_lock(&pool.lock);
        pool.count.live_bytes -= usable;
        pthread_mutex_unlock(&pool.lock);
        return 0;
    }
    return (char *)b + HEADER;
}

void bnc_pool_put(void *data)
{
    if (!data) return;
    block *b = (block *)((char *)data - HEADER);
    pthread_mutex_lock(&pool.lock);
    pool.count.live_bytes -= b->usable;
    b->next = pool.idle[b->class];
    pool.idle[b->class] = b;
    pool.count.idle_bytes += b->usable;
    block *gone =
        pool.count.idle_bytes > pool.count.bound_bytes ? evict_to(pool.count.bound_bytes) : 0;
    pthread_mutex_unlock(&pool.lock);
    delete_all(gone);
}

size_t bnc_pool_usable(const void *data)
{ return ((const block *)((const char *)data - HEADER))->usable; }

size_t bnc_pool_trim(void)
{
    pthread_mutex_lock(&pool.lock);
    const size_t bytes = pool.count.idle_bytes;
    block *gone = evict_to(0);
    pthread_mutex_unlock(&pool.lock);
    delete_all(gone);
    return bytes;
}

void bnc_pool_set_bound(size_t bytes)
{
    pthread_mutex_lock(&pool.lock);
    pool.count.bound_bytes = bytes;
    block *gone = evict_to(bytes);
    pthread_mutex_unlock(&pool.lock);
    delete_all(gone);
}

bnc_pool_statistics bnc_pool_read(void)
{
    pthread_mutex_lock(&pool.lock);
    bnc_pool_statistics copy = pool.count;
    pthread_mutex_unlock(&pool.lock);
    return copy;
}

static void lock_pool(void) { pthread_mutex_lock(&pool.lock); }
static void unlock_pool(void) { pthread_mutex_unlock(&pool.lock); }

int bnc_pool_start(void); /* called by bnc_runtime_start */
int bnc_pool_start(void) { return pthread_atfork(lock_pool, unlock_pool, unlock_pool); }

/* What every op file starts with: the interface, the kernels of this dtype, and the threshold for a second thread. */
#ifndef BNC_OP_H
#define BNC_OP_H

#include "bncore.h"
#include "kernels/kernels.h"

/* A thread gets at least this many elements: below, waking it costs more than it saves (about 200 KB of float32). */
enum { BNC_GRAIN = 49152 };

/* Scratch memory handed out piece by piece, each piece aligned to 64 bytes. */
typedef struct {
    char *next;
} bnc_arena;

static inline size_t bnc_padded(size_t bytes) { return (bytes + 63) & ~(size_t)63; }
static inline void *bnc_take(bnc_arena *arena, size_t bytes)
{
    void *p = arena->next;
    arena->next += bnc_padded(bytes);
    return p;
}

/* Memory for one call: on the stack while it is little, else from the pool. */
enum { BNC_STACKED = 8192 };
typedef struct {
    _Alignas(64) char stacked[BNC_STACKED];
    void *block;
} bnc_scratch;

/* `bytes` of it; NULL when there are none. */
static inline void *bnc_scratch_get(bnc_scratch *s, size_t bytes)
{
    s->block = bytes <= BNC_STACKED ? 0 : bnc_pool_get(bytes);
    return bytes <= BNC_STACKED ? s->stacked : s->block;
}
static inline void bnc_scratch_put(bnc_scratch *s) { bnc_pool_put(s->block); }

static inline int64_t bnc_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t bnc_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t bnc_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

#endif

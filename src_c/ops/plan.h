/* The thresholds that choose how an operation runs, each with its reason. All follow from the shape and the machine; what
 * follows from the number of threads may change speed, never a bit. `bncore info --plan` shows what they come to. */
#ifndef BNC_PLAN_H
#define BNC_PLAN_H

#include "op.h"

/* What `threads` have of the last-level cache, in bytes. */
static inline int64_t bnc_cache_share(int threads)
{
    const bnc_machine *m = bnc_this_machine();
    return m->llc_each * bnc_min(threads, m->llc_cpus);
}

/* Whether outputs go past the caches (non-temporal stores): when what a call reads and writes does not fit into its
 * threads' share of the last-level cache. Below, a plain store is as fast or faster and leaves the output where its
 * reader looks first; above, it would first read every line it overwrites: a third of all traffic. Measured with copies
 * (2 arrays) and triads (3): they break even at 0.8-1.5 and 0.8-1.1 of the share. */
static inline int bnc_streams(int64_t bytes, int threads)
{ return bytes > bnc_cache_share(threads); }

/* Whether a reduction's arrays come from behind the caches rather than from them: then kernels fetch ahead. Measured with
 * two arrays of rows of 512 and 1024: at 0.4 of the last level fetching costs 15 %, at 0.8 and above it gains 40 %. */
static inline int64_t bnc_near_bytes(void) { return bnc_this_machine()->llc / 2; }
static inline int bnc_far(int64_t bytes) { return bytes > bnc_near_bytes(); }

#endif

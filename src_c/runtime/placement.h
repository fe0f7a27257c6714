/* Where workers run (Linux): moved aside while they wake, and to the caller's processor when they cannot go on. */
#ifndef BNC_PLACEMENT_H
#define BNC_PLACEMENT_H

#include <sched.h>
#include <sys/types.h>

/* The caller's processors: all, the one it is on, and the others (all, if it has no others). */
typedef struct {
    cpu_set_t all, here, others;
    int known;
} bnc_processors;

bnc_processors bnc_processors_of_caller(void);

/* Lets a thread of this process run on `set` only; one that has not told its id yet stays where it is. */
void bnc_place(pid_t thread, const cpu_set_t *set);

#endif

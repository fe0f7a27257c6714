/* Moving threads between processors; see placement.h for what and team.c for when and why. */
#ifdef __linux__
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "placement.h"

bnc_processors bnc_processors_of_caller(void)
{
    bnc_processors p = {.known = sched_getaffinity(0, sizeof p.all, &p.all) == 0};
    const int cpu = sched_getcpu();
    if (!p.known || cpu < 0 || cpu >= CPU_SETSIZE) return (bnc_processors){.known = 0};
    CPU_SET(cpu, &p.here);
    p.others = p.all;
    CPU_CLR(cpu, &p.others);
    if (CPU_COUNT(&p.others) == 0) p.others = p.all;
    return p;
}

void bnc_place(pid_t thread, const cpu_set_t *set)
{
    if (thread > 0) sched_setaffinity(thread, sizeof *set, set);
}
#endif

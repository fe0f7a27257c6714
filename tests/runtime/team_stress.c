/* The runtime under the thread sanitizer, without Python: callers in turns and at once, with gaps, sleeping workers, more
 * threads than processors, and a forked child in the end. Prints "done". Compiled and run by test_team.py. */
#include "bncore.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNKS = 37, CALLERS = 4, ROUNDS = 200 };

typedef struct {
    int seed;
    int64_t result[CHUNKS];
} task;

static void chunk(int64_t k, void *arg)
{
    task *t = arg;
    int64_t sum = t->seed;
    for (int64_t i = 0; i < 200 * k; i++) sum = sum * 31 + i;
    t->result[k] = sum;
}

static int same(const task *a, const task *b)
{
    for (int k = 0; k < CHUNKS; k++)
        if (a->result[k] != b->result[k]) return 0;
    return 1;
}

/* Returns how many rounds gave other results than one thread does. */
static void *caller(void *arg)
{
    intptr_t wrong = 0;
    task wanted = {.seed = (int)(intptr_t)arg};
    for (int k = 0; k < CHUNKS; k++) chunk(k, &wanted);
    for (int round = 0; round < ROUNDS; round++) {
        task t = {.seed = wanted.seed};
        bnc_run(chunk, &t, CHUNKS, 2 + round % 5);
        wrong += !same(&t, &wanted);
        if (round % 50 == 0) usleep(2000); /* the workers fall asleep */
    }
    return (void *)wrong;
}

int main(void)
{
    if (bnc_runtime_start()) return 1;
    bnc_force_threads(6);
    if (caller((void *)1)) return 2;
    pthread_t threads[CALLERS];
    for (intptr_t i = 0; i < CALLERS; i++) pthread_create(&threads[i], 0, caller, (void *)(i + 2));
    for (int i = 0; i < CALLERS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        if (wrong) return 3;
    }
    if (bnc_threads_read().together == 0) return 4;
    const pid_t child = fork();
    if (child == 0) _exit(caller((void *)9) ? 5 : 0);
    int status;
    if (waitpid(child, &status, 0) != child || status) return 6;
    puts("done");
    return 0;
}

/* What the process may switch while it runs. */
#include "bncore.h"

#include <stdatomic.h>

static atomic_int winograd = 1;

void bnc_set_winograd(int on) { atomic_store(&winograd, on != 0); }
int bnc_winograd(void) { return atomic_load_explicit(&winograd, memory_order_relaxed); }

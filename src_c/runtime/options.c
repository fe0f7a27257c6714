/* What the process may switch while it runs. */
#include "bncore.h"

#include <stdatomic.h>

static atomic_int winograd = 4;

void bnc_set_winograd(int tile) { atomic_store(&winograd, tile); }
int bnc_winograd(void) { return atomic_load_explicit(&winograd, memory_order_relaxed); }

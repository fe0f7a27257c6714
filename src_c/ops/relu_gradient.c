/* The gradient through a ReLU that was an epilogue: everywhere at once, before the products of
 * the layer's backward. */
#include "op.h"

enum { BLOCK = 16384 };

typedef struct {
    const bnc_real *dy, *y;
    bnc_real *g;
    int64_t count;
} call;

static void block(int64_t chunk, void *arg)
{
    const call *a = arg;
    const int64_t at = chunk * BLOCK;
    KERNELS->relu_gradient(a->dy + at, a->y + at, a->g + at, bnc_min(BLOCK, a->count - at));
}

int BNC_OP(relu_gradient)(int64_t count, const void *dy, const void *y, void *g)
{
    call a = {dy, y, g, count};
    bnc_run(block, &a, bnc_ceil_div(count, BLOCK), bnc_threads(count, BNC_GRAIN));
    return BNC_OK;
}

/* What both halves of the backward pass share: g, the dy that came through the ReLU. Static, for kernel files only. */
#ifndef BNC_NORM_GRADIENT_H
#define BNC_NORM_GRADIENT_H

#include "kernels.h"

/* How the ReLU's sign is known: there is none; from the pre-activation, computed again; from y (after add + ReLU). */
enum { BNC_OPEN, BNC_FROM_X, BNC_FROM_Y };

#define BNC_GATE(relu, y) (!(relu) ? BNC_OPEN : (y) ? BNC_FROM_Y : BNC_FROM_X)

/* dy where the ReLU was open. centred = x - hi; a NaN in front of the ReLU lets the gradient pass. */
BNC_INLINE vreal bnc_gated(const int gate, vreal dy, vreal centred, vreal y, vreal scale,
                           vreal shift)
{
    if (gate == BNC_FROM_Y) return vandnot((vint)(y <= vzero()), dy);
    if (gate == BNC_FROM_X) return vandnot((vint)(centred * scale + shift <= vzero()), dy);
    return dy;
}

#endif

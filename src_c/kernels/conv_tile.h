/* The register tile of the convolutions: SIDE pixels (of an output row) or taps (of a weight's gradient) by a block of NV
 * vectors of output channels. It leaves registers for the loads and the broadcasts between (16 and 28 pixels were 5 to 25 %
 * slower on AVX-512). Static, for kernel files only. */
#ifndef BNC_CONV_TILE_H
#define BNC_CONV_TILE_H

#include "kernels.h"

/* EACH_SIDE(X): X(1) to X(SIDE), for a function of each number of pixels or taps, and for their table. */
#if BNC_VBYTES == 64
enum { SIDE = 8, NV = 1 };
#define EACH_SIDE(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#elif BNC_VBYTES == 32
enum { SIDE = 6, NV = 2 };
#define EACH_SIDE(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
enum { SIDE = 4, NV = 2 };
#define EACH_SIDE(X) X(1) X(2) X(3) X(4)
#endif
enum { BLOCK = NV * VL };

BNC_INLINE void clear_tile(vreal acc[SIDE][NV], const int side)
{
#pragma GCC unroll 8
    for (int i = 0; i < side; i++)
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) acc[i][v] = vzero();
}

#endif

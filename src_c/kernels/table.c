/* The table of this (instruction set, dtype): every kernel of list.h under its name. */
#include "kernels.h"

const bnc_kernel_table BNC_KERNEL(table) = {
#define K(name, args) .name = BNC_KERNEL(name),
#include "list.h"
#undef K
};

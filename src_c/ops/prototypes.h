/* Prototypes of all ops of this dtype, for files that make one out of others. */
#ifndef BNC_PROTOTYPES_H
#define BNC_PROTOTYPES_H

#include "op.h"

#define BNC_PROTOTYPE(name, args) int BNC_OP(name) args;
BNC_OPS(BNC_PROTOTYPE)
#undef BNC_PROTOTYPE

#endif

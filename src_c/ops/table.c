/* The ops of this dtype as one table, and the choice of the kernels they use. */
#include "prototypes.h"

#define ENTRY(name, args) .name = BNC_OP(name),
const bnc_ops BNC_NAME4(bnc_ops, BNC_SUFFIX, , ) = {BNC_OPS(ENTRY)};

const bnc_kernel_table *KERNELS;

/* One table per instruction set; those of sets this build lacks do not exist. */
#define TABLE(isa) BNC_NAME4(bnc_k_table, BNC_SUFFIX, _, isa)
extern const bnc_kernel_table TABLE(generic);
#ifdef BNC_HAVE_AVX512
extern const bnc_kernel_table TABLE(avx2), TABLE(avx512);
#endif

/* isa as in runtime/isa.c: 0 generic, 1 avx2, 2 avx512 */
void BNC_OP(use_kernels)(int isa);
void BNC_OP(use_kernels)(int isa)
{
    KERNELS = &TABLE(generic);
#ifdef BNC_HAVE_AVX512
    if (isa == 1) KERNELS = &TABLE(avx2);
    if (isa == 2) KERNELS = &TABLE(avx512);
#else
    (void)isa;
#endif
}

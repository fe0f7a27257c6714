/* Which instruction sets this build has and this machine (its operating system included) can run, and which is used.
 * Compiled for the baseline. The choice is made once, at import. */
#include "bncore.h"

void bnc_use_kernels_f32(int isa);
void bnc_use_kernels_f64(int isa);

static const char *const names[] = {"generic", "avx2", "avx512"};

int bnc_isa_count(void) { return (int)(sizeof names / sizeof *names); }
const char *bnc_isa_name(int isa) { return names[isa]; }

int bnc_isa_available(int isa)
{
    if (isa == 0) return 1;
#ifdef BNC_HAVE_AVX512
    __builtin_cpu_init(); /* its answers include what the operating system saves */
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                     __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    if (isa == 1) return avx2;
    if (isa == 2)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#endif
    return 0;
}

int bnc_isa_select(int isa)
{
    if (isa < 0 || isa >= bnc_isa_count() || !bnc_isa_available(isa)) return 1;
    bnc_use_kernels_f32(isa);
    bnc_use_kernels_f64(isa);
    return 0;
}

/* Rounding and treatment of denormal numbers of the calling thread: workers take over their caller's, or bits would depend
 * on the number of threads. */
#ifndef BNC_FLOAT_MODE_H
#define BNC_FLOAT_MODE_H

#include <stdint.h>

static inline unsigned bnc_float_mode(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_stmxcsr() & ~0x3fu; /* without the flags of what happened */
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return (unsigned)mode;
#else
    return 0;
#endif
}

static inline void bnc_set_float_mode(unsigned mode)
{
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)mode));
#else
    (void)mode;
#endif
}

#endif

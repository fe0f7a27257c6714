/* Vectors of BNC_REAL for kernels: GCC/Clang vector extensions, as wide as the instruction set of this compile.
 * Everything is static: a kernel file must not leave a copy that the linker could pick for another instruction set. */
#ifndef BNC_VEC_H
#define BNC_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define BNC_VBYTES 64
#elif defined(__AVX__)
#define BNC_VBYTES 32
#else
#define BNC_VBYTES 16
#endif

#if BNC_F64
typedef double bnc_real;
typedef int64_t bnc_int;
#define BNC_REAL_MIN 2.2250738585072014e-308
#define BNC_REAL_MAX 1.7976931348623157e+308
#define BNC_REAL_EPS 2.220446049250313e-16
#else
typedef float bnc_real;
typedef int32_t bnc_int;
#define BNC_REAL_MIN 1.17549435e-38f
#define BNC_REAL_MAX 3.40282347e+38f
#define BNC_REAL_EPS 1.1920929e-07f
#endif

enum { VL = BNC_VBYTES / sizeof(bnc_real) };
typedef bnc_real vreal __attribute__((vector_size(BNC_VBYTES)));
typedef bnc_int vint __attribute__((vector_size(BNC_VBYTES)));
typedef bnc_real vreal_unaligned
    __attribute__((vector_size(BNC_VBYTES), aligned(sizeof(bnc_real)), may_alias));

#define BNC_INLINE static inline __attribute__((always_inline))

BNC_INLINE vreal vload(const bnc_real *p) { return *(const vreal_unaligned *)p; }
BNC_INLINE void vstore(bnc_real *p, vreal v) { *(vreal_unaligned *)p = v; }
/* The first `count` (fewer than VL) values only; the rest is 0, or stays. */
BNC_INLINE vreal vload_part(const bnc_real *p, int64_t count)
{
    bnc_real t[VL] = {0};
    for (int64_t i = 0; i < count; i++) t[i] = p[i];
    return vload(t);
}
BNC_INLINE void vstore_part(bnc_real *p, vreal v, int64_t count)
{
    bnc_real t[VL];
    vstore(t, v);
    for (int64_t i = 0; i < count; i++) p[i] = t[i];
}
/* The last `count` lanes. */
BNC_INLINE void vstore_end(bnc_real *p, vreal v, int64_t count)
{
    bnc_real t[VL];
    vstore(t, v);
    for (int64_t i = 0; i < count; i++) p[i] = t[VL - count + i];
}
/* To an aligned place, past the caches where the instruction set can; bnc_fence() before other threads read it. */
BNC_INLINE void vstream(bnc_real *p, vreal v)
{
#if defined(__AVX512F__)
    _mm512_stream_si512((void *)p, (__m512i)v);
#elif defined(__AVX__)
    _mm256_stream_si256((void *)p, (__m256i)v);
#elif defined(__SSE2__)
    _mm_stream_si128((void *)p, (__m128i)v);
#else
    vstore(p, v);
#endif
}
BNC_INLINE void bnc_fence(void)
{
#ifdef __SSE2__
    _mm_sfence();
#endif
}
/* Brings vector number `i` (a literal) of those from p on nearer; several share a line, which is fetched once. */
BNC_INLINE void vfetch(const bnc_real *p, const int i, const int locality)
{
    if (i * BNC_VBYTES % 64 != 0) return;
    if (locality == 2)
        __builtin_prefetch(p + i * VL, 0, 2);
    else
        __builtin_prefetch(p + i * VL);
}
/* p, of which the compiler then knows nothing: it would otherwise keep an address for every row that a loop takes together,
 * more of them than there are registers. */
BNC_INLINE const bnc_real *vopaque(const bnc_real *p)
{
    __asm__("" : "+r"(p));
    return p;
}
/* v, loaded once: the compiler would otherwise let each use of it read memory again. */
BNC_INLINE vreal vheld(vreal v)
{
#if defined(__AVX512F__)
    __asm__("" : "+v"(v));
#elif defined(__x86_64__)
    __asm__("" : "+x"(v));
#endif
    return v;
}
/* Values in front of the first aligned place from p on. */
BNC_INLINE int64_t vmisaligned(const bnc_real *p)
{ return (int64_t)(-(uintptr_t)p % BNC_VBYTES / sizeof(bnc_real)); }
BNC_INLINE vreal vzero(void) { return (vreal){0}; }
/* a - 0 is a for every a, the sign of zero included */
BNC_INLINE vreal vset(bnc_real a) { return a - (vreal){0}; }
/* VL doubles, rounded. */
BNC_INLINE vreal vnarrow(const double *p)
{
    bnc_real lanes[VL];
    for (int i = 0; i < VL; i++) lanes[i] = (bnc_real)p[i];
    return vload(lanes);
}
/* Sum of the lanes in double, in a fixed order: halves are added to halves, which waits for few additions. */
BNC_INLINE double vsum(vreal v)
{
    double s[VL];
    for (int i = 0; i < VL; i++) s[i] = (double)v[i];
#pragma GCC unroll 4
    for (int half = VL / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) s[i] += s[i + half];
    return s[0];
}
/* How far ahead a walk over `items` runs of `run` values, `pitch` apart, should fetch: from short runs to the next one,
 * which no prefetcher foresees, else a little way along the run. */
BNC_INLINE int64_t fetch_distance(int64_t items, int64_t pitch, int64_t run)
{ return items > 1 && run <= 8192 ? pitch : 512; }
/* Lane numbers 0, 1, ... */
BNC_INLINE vint vlanes(void)
{
    vint v;
    for (int i = 0; i < VL; i++) v[i] = i;
    return v;
}
/* a where the lane of the comparison result `mask` is all ones, else b. */
BNC_INLINE vreal vchoose(vint mask, vreal a, vreal b)
{ return (vreal)((mask & (vint)a) | (~mask & (vint)b)); }
/* v where the lane of the comparison result `mask` is all ones, else 0. */
BNC_INLINE vreal vand(vint mask, vreal v) { return (vreal)(mask & (vint)v); }
BNC_INLINE vreal vandnot(vint mask, vreal v) { return (vreal)(~mask & (vint)v); }

#endif

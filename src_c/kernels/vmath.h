/* exp and what is built on it, for vectors: sigmoid, tanh, the normal distribution, log1p.
 *
 * The C library's scalar functions do not vectorize without -ffast-math. Measured against long
 * double, worst errors in units in the last place: exp 1.2, sigmoid 2.1, tanh 1.4, log1p 2.8,
 * normal distribution 7. All go to the right limits at ±inf and return NaN for NaN; every branch
 * is a select. Polynomials interpolate at Chebyshev nodes, fitted in 60 digits. All static: see
 * vec.h. */
#ifndef BNC_VMATH_H
#define BNC_VMATH_H

#include "vec.h"

#if !BNC_F64
#define VM_BITS 32
#define VM_MANTISSA 23
#define VM_BIAS 127
#define VM_LN2_HI 0.693359375f /* 9 bits: its product with the exponent is exact without FMA too */
#define VM_LN2_LO -2.12194440e-4f
#define VM_EXP_TOP 89.0f     /* beyond: inf */
#define VM_EXP_FLOOR -104.0f /* beyond: 0 */
#define VM_HALF_BITS 12      /* cleared to make a square exact */
#else
#define VM_BITS 64
#define VM_MANTISSA 52
#define VM_BIAS 1023
#define VM_LN2_HI 6.93147180369123816490e-01
#define VM_LN2_LO 1.90821492927058770002e-10
#define VM_EXP_TOP 710.0
#define VM_EXP_FLOOR -746.0
#define VM_HALF_BITS 27
#endif

/* 1.5 · 2^mantissa: adding it rounds to an integer, which then stands in the lowest bits. */
#define VM_ROUND ((bnc_real)((int64_t)3 << (VM_MANTISSA - 1)))

/* a where the lane of `mask` is all ones, else b */
BNC_INLINE vreal vm_select(vint mask, vreal a, vreal b)
{ return (vreal)((mask & (vint)a) | (~mask & (vint)b)); }

/* c[0] + c[1]·x + ... + c[last]·x^last */
BNC_INLINE vreal vm_poly(vreal x, const bnc_real *c, int last)
{
    vreal p = vset(c[last]);
    for (int i = last - 1; i >= 0; i--) p = p * x + c[i];
    return p;
}

/* The sign bit of every lane. */
BNC_INLINE vint vm_sign_bit(void) { return ~(vint){0} << (VM_BITS - 1); }

BNC_INLINE vreal vm_abs(vreal x) { return (vreal)((vint)x & ~vm_sign_bit()); }

/* x held between bounds; NaN stays. */
BNC_INLINE vreal vm_clamp(vreal x, bnc_real low, bnc_real high)
{
    x = vm_select((vint)(x > high), vset(high), x);
    return vm_select((vint)(x < low), vset(low), x);
}

/* -inf becomes the lowest finite number, so that its product with 0 is 0. */
BNC_INLINE vreal vm_finite_below(vreal x)
{ return vm_select((vint)(x < -BNC_REAL_MAX), vset(-BNC_REAL_MAX), x); }

/* 2^n for integers n as reals, |n| < bias: the exponent field is what VM_ROUND leaves in the
 * lowest bits. */
BNC_INLINE vreal vm_power_of_two(vreal n)
{ return (vreal)((vint)(n + (VM_ROUND + VM_BIAS)) << VM_MANTISSA); }

/* exp(a + b) for |b| much below |a|, or 0: b holds what a could not. With n = round((a + b) / ln
 * 2) and r = a + b - n·ln 2 it is 2^n·(1 + r + r²·q(r)), the power in two factors so that
 * subnormals round once. */
BNC_INLINE vreal vm_exp_sum(vreal a, vreal b)
{
#if !BNC_F64
    static const bnc_real q[] = {0.5f, 0.166665733f, 0.0416665487f, 0.00836377405f, 0.00139269268f};
#else
    static const bnc_real q[] = {0.5,
                                 0.16666666666666669,
                                 0.041666666666620639,
                                 0.0083333333333297926,
                                 0.0013888888918939168,
                                 0.00019841269864380513,
                                 2.4801518641395993e-05,
                                 2.7557266418612302e-06,
                                 2.7621338669142925e-07,
                                 2.5101346928350339e-08};
#endif
    a = vm_clamp(a, VM_EXP_FLOOR, VM_EXP_TOP);
    const vreal n = ((a + b) * (bnc_real)1.44269504088896341 + VM_ROUND) - VM_ROUND;
    const vreal r = ((a - n * VM_LN2_HI) - n * VM_LN2_LO) + b;
    const vreal p = vm_poly(r, q, (int)(sizeof(q) / sizeof(q[0])) - 1);
    const vreal half = (n * (bnc_real)0.5 + VM_ROUND) - VM_ROUND;
    return ((r * r * p + r) + (bnc_real)1) * vm_power_of_two(half) * vm_power_of_two(n - half);
}

BNC_INLINE vreal vm_exp(vreal x) { return vm_exp_sum(x, vset(0)); }

/* 1 / (1 + exp(-x)) */
BNC_INLINE vreal vm_sigmoid(vreal x)
{
    const vreal e = vm_exp(-vm_abs(x));
    return vm_select((vint)(x >= (bnc_real)0), vset(1), e) / (e + (bnc_real)1);
}

/* The same, and 1 / (1 + exp(x)) = 1 - sigmoid(x) without cancellation. */
BNC_INLINE vreal vm_sigmoid_pair(vreal x, vreal *other)
{
    const vreal e = vm_exp(-vm_abs(x)), larger = (bnc_real)1 / (e + (bnc_real)1);
    const vreal smaller = e * larger;
    const vint right = (vint)(x >= (bnc_real)0);
    *other = vm_select(right, smaller, larger);
    return vm_select(right, larger, smaller);
}

/* tanh: x + x·z·P(z)/Q(z) with z = x² near 0 (Moshier, Cephes), elsewhere 1 - 2/(exp(2|x|) + 1)
 * with x's sign. */
BNC_INLINE vreal vm_tanh(vreal x)
{
    static const bnc_real p[] = {(bnc_real)-1.61468768441708447952e3,
                                 (bnc_real)-9.92877231001918586564e1,
                                 (bnc_real)-9.64399179425052238628e-1};
    static const bnc_real q[] = {(bnc_real)4.84406305325125486048e3,
                                 (bnc_real)2.23548839060100448583e3,
                                 (bnc_real)1.12811678491632931402e2, (bnc_real)1};
    const vreal ax = vm_clamp(vm_abs(x), 0, 30), z = ax * ax;
    const vint near = (vint)(ax < (bnc_real)0.625);
    const vreal ratio = vm_select(near, ax * z * vm_poly(z, p, 2), vset(-2)) /
                        vm_select(near, vm_poly(z, q, 3), vm_exp(ax + ax) + (bnc_real)1);
    const vreal y = vm_select(near, ax, vset(1)) + ratio;
    return (vreal)((vint)y | ((vint)x & vm_sign_bit()));
}

/* The standard normal distribution function, with relative precision in the left tail, and
 * exp(-x²/2). With u = |x|/sqrt(2), P(X > |x|) = exp(-u²)·g(t)/(1 + 2u)/2, g(t) = (1 +
 * 2u)·exp(u²)·erfc(u), t = (u - 3.75)/(u + 3.75) (Shepherd & Laframboise 1981). x² is split in
 * two so that its rounding does not grow in the exponential. */
BNC_INLINE vreal vm_normal_cdf(vreal x, vreal *density)
{
#if !BNC_F64
    static const bnc_real g[] = {1.23751259f,     -0.140240654f, 0.00358543801f,  0.0822784305f,
                                 -0.108804561f,   0.092290692f,  -0.0586882532f,  0.0284094308f,
                                 -0.00976469088f, 0.0016757343f, 0.000325388479f, -0.000224052055f,
                                 2.36348205e-05f};
#else
    static const bnc_real g[] = {
        1.2375126308378275,      -0.14024059858554522,   0.0035854154854663067,
        0.082276738489991591,    -0.10880393014193915,   0.092304321164356162,
        -0.058693398584491845,   0.028362277371370044,   -0.0097465796208150903,
        0.0017556261692276722,   0.00029371408777227685, -0.00029015536563947129,
        5.1647371238718378e-05,  2.238759272534769e-05,  -1.143961526007595e-05,
        -9.7929752909982296e-07, 1.7438577411359181e-06, -5.0816911811698186e-08,
        -2.4996538037405243e-07, 1.8778501156468795e-08, 3.2564990837985131e-08,
        -1.9527901629748369e-09, -2.7293941332533855e-09};
#endif
    const vint upper = (vint){0} - ((int64_t)1 << VM_HALF_BITS);
    const vreal ax = vm_clamp(vm_abs(x), 0, 40);
    const vreal head = (vreal)((vint)ax & upper);
    const vreal e =
        vm_exp_sum(head * head * (bnc_real)-0.5, (ax - head) * (ax + head) * (bnc_real)-0.5);
    const vreal u = ax * (bnc_real)0.70710678118654752440;
    const vreal t = (u - (bnc_real)3.75) / (u + (bnc_real)3.75);
    const vreal tail =
        e * vm_poly(t, g, (int)(sizeof(g) / sizeof(g[0])) - 1) / (u * (bnc_real)4 + (bnc_real)2);
    *density = e;
    return vm_select((vint)(x > (bnc_real)0), (bnc_real)1 - tail, tail);
}

/* log(1 + e) for 0 <= e <= 1: 2·atanh(s), s = e / (2 + e) <= 1/3. */
BNC_INLINE vreal vm_log1p_unit(vreal e)
{
#if !BNC_F64
    static const bnc_real c[] = {1.0f, 0.333331615f, 0.200122982f, 0.139825791f, 0.140788898f};
#else
    static const bnc_real c[] = {1.0,
                                 0.33333333333333076,
                                 0.20000000000092874,
                                 0.14285714272727057,
                                 0.11111112040373837,
                                 0.090908704162524029,
                                 0.076933070211520044,
                                 0.066501870163373125,
                                 0.060550843640346089,
                                 0.0416225325593041,
                                 0.085220817813906988};
#endif
    const vreal s = e / (e + (bnc_real)2);
    return (s + s) * vm_poly(s * s, c, (int)(sizeof(c) / sizeof(c[0])) - 1);
}

#endif

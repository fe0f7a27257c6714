/* Element-wise activations and the dropout mask, over one contiguous run. The same bits for an
 * element wherever it stands: what does not fill a vector goes through one that is padded.
 * Results may take the place of x or dy. */
#include "bncore.h"
#include "kernels.h"
#include "vmath.h"

/* The functions of one activation: y = forward(x), dx = backward(dy, kept). */
typedef vreal forward_fn(vreal x, vreal slope);
typedef vreal backward_fn(vreal dy, vreal kept, vreal slope);

BNC_INLINE void map(forward_fn *f, const bnc_real *x, bnc_real *y, int64_t n, bnc_real slope)
{
    const vreal sl = vset(slope);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vstore(y + i, f(vload(x + i), sl));
    if (i < n) {
        bnc_real t[VL] = {0};
        memcpy(t, x + i, (size_t)(n - i) * sizeof *t);
        vstore(t, f(vload(t), sl));
        memcpy(y + i, t, (size_t)(n - i) * sizeof *t);
    }
}

BNC_INLINE void map_back(backward_fn *f, const bnc_real *dy, const bnc_real *kept, bnc_real *dx,
                         int64_t n, bnc_real slope)
{
    const vreal sl = vset(slope);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vstore(dx + i, f(vload(dy + i), vload(kept + i), sl));
    if (i < n) {
        bnc_real t[VL] = {0}, k[VL] = {0};
        memcpy(t, dy + i, (size_t)(n - i) * sizeof *t);
        memcpy(k, kept + i, (size_t)(n - i) * sizeof *k);
        vstore(t, f(vload(t), vload(k), sl));
        memcpy(dx + i, t, (size_t)(n - i) * sizeof *t);
    }
}

#define ONE ((bnc_real)1)
#define NO_SLOPE (void)slope

BNC_INLINE vreal relu(vreal x, vreal slope)
{
    NO_SLOPE;
    return vandnot((vint)(x <= vzero()), x); /* NaN <= 0 is false: NaN stays */
}
BNC_INLINE vreal relu_back(vreal dy, vreal y, vreal slope)
{
    NO_SLOPE;
    return vandnot((vint)(y <= vzero()), dy);
}

BNC_INLINE vreal leaky_relu(vreal x, vreal slope)
{ return vm_select((vint)(x < vzero()), x * slope, x); }
BNC_INLINE vreal leaky_relu_back(vreal dy, vreal x, vreal slope)
{ return vm_select((vint)(x <= vzero()), dy * slope, dy); }

/* x Phi(x), and Phi(x) + x phi(x): outside +-40 phi is 0 and x may be too large for the product */
BNC_INLINE vreal gelu(vreal x, vreal slope)
{
    NO_SLOPE;
    vreal e;
    return vm_finite_below(x) * vm_normal_cdf(x, &e);
}
BNC_INLINE vreal gelu_back(vreal dy, vreal x, vreal slope)
{
    NO_SLOPE;
    vreal e;
    const vreal cdf = vm_normal_cdf(x, &e);
    return dy * (cdf + vm_clamp(x, -40, 40) * e * (bnc_real)0.39894228040143267794);
}

#define CUBIC ((bnc_real)0.044715)
#define ROOT_8_PI ((bnc_real)1.59576912160573071176) /* 2 sqrt(2/pi) */

/* x (1 + tanh(u))/2 = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3) */
BNC_INLINE vreal gelu_tanh(vreal x, vreal slope)
{
    NO_SLOPE;
    const vreal c = vm_clamp(x, -40, 40);
    return vm_finite_below(x) * vm_sigmoid((c * c * c * CUBIC + c) * ROOT_8_PI);
}
/* s + x s (1 - s) 2u' with s = sigmoid(2u) */
BNC_INLINE vreal gelu_tanh_back(vreal dy, vreal x, vreal slope)
{
    NO_SLOPE;
    const vreal c = vm_clamp(x, -40, 40), u2 = (c * c * c * CUBIC + c) * ROOT_8_PI;
    const vreal du2 = (c * c * (3 * CUBIC) + ONE) * ROOT_8_PI;
    vreal rest;
    const vreal s = vm_sigmoid_pair(u2, &rest);
    return dy * (c * s * rest * du2 + s);
}

BNC_INLINE vreal silu(vreal x, vreal slope)
{
    NO_SLOPE;
    return vm_finite_below(x) * vm_sigmoid(x);
}
/* s (1 + x (1 - s)); outside +-1000 s is 0 or 1 */
BNC_INLINE vreal silu_back(vreal dy, vreal x, vreal slope)
{
    NO_SLOPE;
    vreal rest;
    const vreal s = vm_sigmoid_pair(x, &rest);
    return dy * s * (vm_clamp(x, -1000, 1000) * rest + ONE);
}

BNC_INLINE vreal sigmoid(vreal x, vreal slope)
{
    NO_SLOPE;
    return vm_sigmoid(x);
}
BNC_INLINE vreal sigmoid_back(vreal dy, vreal y, vreal slope)
{
    NO_SLOPE;
    return dy * y * (ONE - y);
}

BNC_INLINE vreal hyperbolic_tangent(vreal x, vreal slope)
{
    NO_SLOPE;
    return vm_tanh(x);
}
BNC_INLINE vreal hyperbolic_tangent_back(vreal dy, vreal y, vreal slope)
{
    NO_SLOPE;
    return dy * ((ONE - y) * (ONE + y));
}

void BNC_KERNEL(activation)(const bnc_real *x, bnc_real *y, int64_t n, int kind, bnc_real slope)
{
    switch (kind) {
    case BNC_RELU: map(relu, x, y, n, slope); break;
    case BNC_LEAKY_RELU: map(leaky_relu, x, y, n, slope); break;
    case BNC_GELU: map(gelu, x, y, n, slope); break;
    case BNC_GELU_TANH: map(gelu_tanh, x, y, n, slope); break;
    case BNC_SILU: map(silu, x, y, n, slope); break;
    case BNC_SIGMOID: map(sigmoid, x, y, n, slope); break;
    case BNC_TANH: map(hyperbolic_tangent, x, y, n, slope); break;
    }
}

void BNC_KERNEL(activation_backward)(const bnc_real *dy, const bnc_real *kept, bnc_real *dx,
                                     int64_t n, int kind, bnc_real slope)
{
    switch (kind) {
    case BNC_RELU: map_back(relu_back, dy, kept, dx, n, slope); break;
    case BNC_LEAKY_RELU: map_back(leaky_relu_back, dy, kept, dx, n, slope); break;
    case BNC_GELU: map_back(gelu_back, dy, kept, dx, n, slope); break;
    case BNC_GELU_TANH: map_back(gelu_tanh_back, dy, kept, dx, n, slope); break;
    case BNC_SILU: map_back(silu_back, dy, kept, dx, n, slope); break;
    case BNC_SIGMOID: map_back(sigmoid_back, dy, kept, dx, n, slope); break;
    case BNC_TANH: map_back(hyperbolic_tangent_back, dy, kept, dx, n, slope); break;
    }
}

/* y = x scale where kept, x 0 elsewhere: a dropped NaN stays NaN. keep: 0 or 1. */
void BNC_KERNEL(mask_scale)(const bnc_real *x, const uint8_t *keep, bnc_real *y, int64_t n,
                            bnc_real scale)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * (scale * (bnc_real)keep[i]);
}

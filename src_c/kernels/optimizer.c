/* Optimizer steps over one run of the flat vector: each array is read once and written once.
 * Vectors do not overlap. */
#include "kernels.h"

/* g = grad + decay param, v = momentum v + g, param -= lr v (Nesterov: lr (g + momentum v)); no
 * velocity: lr g. */
void BNC_KERNEL(sgd_step)(bnc_real *restrict param, const bnc_real *restrict grad,
                          bnc_real *restrict velocity, int64_t n, bnc_real lr, bnc_real momentum,
                          int nesterov, bnc_real decay)
{
    if (!velocity) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) param[i] -= lr * (grad[i] + decay * param[i]);
    } else if (nesterov) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const bnc_real g = grad[i] + decay * param[i], v = momentum * velocity[i] + g;
            velocity[i] = v;
            param[i] -= lr * (g + momentum * v);
        }
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const bnc_real v = momentum * velocity[i] + (grad[i] + decay * param[i]);
            velocity[i] = v;
            param[i] -= lr * v;
        }
    }
}

/* param keep, m += (1 - beta1)(g - m), v = beta2 v + (1 - beta2) g^2, param -= size m /
 * (sqrt(v)/root + eps); `size` and `root` hold the bias corrections, `keep` the decay. */
void BNC_KERNEL(adamw_step)(bnc_real *restrict param, const bnc_real *restrict grad,
                            bnc_real *restrict m, bnc_real *restrict v, int64_t n, bnc_real keep,
                            double beta1, double beta2, bnc_real size, bnc_real root, bnc_real eps)
{
    const bnc_real new1 = (bnc_real)(1 - beta1), old2 = (bnc_real)beta2,
                   new2 = (bnc_real)(1 - beta2);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const bnc_real g = grad[i], a = m[i] + new1 * (g - m[i]), b = old2 * v[i] + new2 * g * g;
        m[i] = a;
        v[i] = b;
#if BNC_F64
        param[i] = param[i] * keep - size * (a / (sqrt(b) / root + eps));
#else
        param[i] = param[i] * keep - size * (a / (sqrtf(b) / root + eps));
#endif
    }
}

void BNC_KERNEL(squared_sum)(const bnc_real *restrict x, int64_t n, double *sum)
{
    double s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t i = 0; i < n; i++) s += (double)x[i] * (double)x[i];
    *sum = s;
}

void BNC_KERNEL(scale)(bnc_real *x, int64_t n, bnc_real factor)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) x[i] *= factor;
}

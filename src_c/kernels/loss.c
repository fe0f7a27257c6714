/* Losses over one block of rows or elements: sums in double, gradients. Shifted exponentials: no
 * logit overflows. */
#include "kernels.h"
#include "vmath.h"

/* The part of a row that does not fill a vector, padded with -inf: the exponential of that is 0. `room`: values from z on
 * that may be read. */
BNC_INLINE vreal load_padded(const bnc_real *z, int64_t left, int64_t room)
{
    static const bnc_real lanes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const vint there = (vint)(vload(lanes) < vset((bnc_real)left));
    return vm_select(there, room >= VL ? vload(z) : vload_part(z, left), vset(-(bnc_real)INFINITY));
}

/* Largest entry of a row; a NaN need not be found here, the sum of exponentials will be NaN
 * anyway. */
BNC_INLINE bnc_real row_max(const bnc_real *z, int64_t k)
{
    bnc_real top = z[0];
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < k; j++) top = z[j] > top ? z[j] : top;
    return top;
}

/* Sum of exp(z - shift); `room` as above. */
BNC_INLINE double row_exp_sum(const bnc_real *z, int64_t k, bnc_real shift, int64_t room)
{
    const vreal m = vset(shift);
    double sum = 0;
    int64_t j = 0;
    while (k - j >= VL) { /* a few hundred terms a lane, then on in double */
        const int64_t end = k - j < 256 * VL ? j + (k - j) / VL * VL : j + 256 * VL;
        vreal s = vzero();
        for (; j < end; j += VL) s += vm_exp(vload(z + j) - m);
        sum += vsum(s);
    }
    if (j < k) sum += vsum(vm_exp(load_padded(z + j, k - j, room - j) - m));
    return sum;
}

/* Per row -sum_j q_j log softmax(z)_j = log total - (1 - eps) (z_t - shift) - eps/k sum_j (z_j -
 * shift); `loss` gets the sum over the rows, shift and total what the backward pass needs. */
void BNC_KERNEL(cross_entropy)(const bnc_real *restrict z, const int64_t *restrict target,
                               int64_t rows, int64_t k, double smoothing, bnc_real *restrict shift,
                               bnc_real *restrict total, double *loss)
{
    double all = 0;
    for (int64_t r = 0; r < rows; r++, z += k) {
        const bnc_real top = shift[r] = row_max(z, k);
        const double sum = row_exp_sum(z, k, top, (rows - r) * k);
        total[r] = (bnc_real)sum;
        double row = log(sum) - (1 - smoothing) * (double)(z[target[r]] - top);
        if (smoothing > 0) { /* without it a logit of -inf costs nothing: 0 inf would be NaN */
            double spread = 0;
#pragma omp simd reduction(+ : spread)
            for (int64_t j = 0; j < k; j++) spread += (double)(z[j] - top);
            row -= smoothing / (double)k * spread;
        }
        all += row;
    }
    *loss = all;
}

/* dz = (exp(z - shift)/total - q) scale */
void BNC_KERNEL(cross_entropy_backward)(const bnc_real *restrict z, const int64_t *restrict target,
                                        int64_t rows, int64_t k, double smoothing,
                                        const bnc_real *restrict shift,
                                        const bnc_real *restrict total, double scale,
                                        bnc_real *restrict dz)
{
    const bnc_real off = (bnc_real)(smoothing / (double)k), on = (bnc_real)(1 - smoothing),
                   sc = (bnc_real)scale;
    for (int64_t r = 0; r < rows; r++, z += k, dz += k) {
        const vreal m = vset(shift[r]), over = vset(1 / total[r]);
        int64_t j = 0;
        for (; j + VL <= k; j += VL) vstore(dz + j, (vm_exp(vload(z + j) - m) * over - off) * sc);
        if (j < k) {
            const vreal last = load_padded(z + j, k - j, (rows - r) * k - j);
            const vreal d = (vm_exp(last - m) * over - off) * sc;
            if ((rows - r) * k - j >= VL)
                vstore(dz + j, d); /* what is too much is overwritten by the next row */
            else
                vstore_part(dz + j, d, k - j);
        }
        /* checked before the forward pass, but the array is the caller's and may have changed */
        if ((uint64_t)target[r] < (uint64_t)k) dz[target[r]] -= on * sc;
    }
}

/* Sum of (pred - target)^2; the squares are taken in double, where they do not overflow. */
void BNC_KERNEL(squared_error)(const bnc_real *restrict pred, const bnc_real *restrict target,
                               int64_t n, double *loss)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)(pred[i] - target[i]);
        sum += d * d;
    }
    *loss = sum;
}

void BNC_KERNEL(squared_error_backward)(const bnc_real *restrict pred,
                                        const bnc_real *restrict target, int64_t n, double scale,
                                        bnc_real *restrict dx)
{
    const bnc_real sc = (bnc_real)(2 * scale);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) dx[i] = (pred[i] - target[i]) * sc;
}

BNC_INLINE vreal bce(vreal z, vreal t)
{ return vandnot((vint)(z <= vzero()), z) - z * t + vm_log1p_unit(vm_exp(-vm_abs(z))); }

BNC_INLINE vreal bce_back(vreal z, vreal t, bnc_real scale) { return (vm_sigmoid(z) - t) * scale; }

/* Sum of max(z, 0) - z t + log(1 + exp(-|z|)). */
void BNC_KERNEL(bce)(const bnc_real *restrict z, const bnc_real *restrict t, int64_t n,
                     double *loss)
{
    double sum = 0;
    int64_t i = 0;
    for (; i + VL <= n; i += VL) sum += vsum(bce(vload(z + i), vload(t + i)));
    if (i < n) {
        bnc_real a[VL] = {0}, b[VL] = {0};
        memcpy(a, z + i, (size_t)(n - i) * sizeof *a);
        memcpy(b, t + i, (size_t)(n - i) * sizeof *b);
        vstore(a, bce(vload(a), vload(b)));
        for (int64_t j = 0; j < n - i; j++) sum += (double)a[j];
    }
    *loss = sum;
}

void BNC_KERNEL(bce_backward)(const bnc_real *restrict z, const bnc_real *restrict t, int64_t n,
                              double scale, bnc_real *restrict dz)
{
    const bnc_real sc = (bnc_real)scale;
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vstore(dz + i, bce_back(vload(z + i), vload(t + i), sc));
    if (i < n) {
        bnc_real a[VL] = {0}, b[VL] = {0};
        memcpy(a, z + i, (size_t)(n - i) * sizeof *a);
        memcpy(b, t + i, (size_t)(n - i) * sizeof *b);
        vstore(a, bce_back(vload(a), vload(b), sc));
        memcpy(dz + i, a, (size_t)(n - i) * sizeof *a);
    }
}

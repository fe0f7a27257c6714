/* The gates of recurrent layers, forward and backward, over the n units of one row. Blocks of n
 * stand one after the other, in PyTorch's order. Not here: the products with the weights, and the
 * way through time. What does not fill a vector goes through one that is padded, so that a unit has
 * the same bits wherever it stands. */
#include "kernels.h"
#include "vmath.h"

#define ONE ((bnc_real)1)

/* `lanes` values: all of a vector where that is a literal, else the end of a row. */
BNC_INLINE vreal get(const bnc_real *p, int64_t lanes)
{
    if (lanes == VL) return vload(p);
    bnc_real t[VL] = {0};
    memcpy(t, p, (size_t)lanes * sizeof *t);
    return vload(t);
}

BNC_INLINE void put(bnc_real *p, vreal v, int64_t lanes)
{
    bnc_real t[VL];
    vstore(lanes == VL ? p : t, v);
    if (lanes != VL) memcpy(p, t, (size_t)lanes * sizeof *t);
}

/* step(arguments, i, lanes) for every vector of the n units */
#define EACH_VECTOR(step, ...)                                \
    int64_t i = 0;                                            \
    for (; i + VL <= n; i += VL) step(__VA_ARGS__, n, i, VL); \
    if (i < n) step(__VA_ARGS__, n, i, n - i)

/* What enters a gate: the products of input (a) and hidden state (u), the latter with its bias. */
typedef struct {
    const bnc_real *a, *u, *bias;
} sums;

BNC_INLINE vreal hidden_of(sums s, int64_t at, int64_t lanes)
{ return get(s.u + at, lanes) + get(s.bias + at, lanes); }
BNC_INLINE vreal sum_of(sums s, int64_t at, int64_t lanes)
{ return get(s.a + at, lanes) + hidden_of(s, at, lanes); }

/* ---- tanh or ReLU of the sum; NaN stays NaN ---- */

BNC_INLINE void rnn(sums s, bnc_real *h, int relu, int64_t n, int64_t i, int64_t lanes)
{
    (void)n;
    const vreal x = sum_of(s, i, lanes);
    put(h + i, relu ? vandnot((vint)(x <= vzero()), x) : vm_tanh(x), lanes);
}

BNC_INLINE void rnn_back(const bnc_real *h, const bnc_real *dh, bnc_real *d, int relu, int64_t n,
                         int64_t i, int64_t lanes)
{
    (void)n;
    const vreal y = get(h + i, lanes), g = get(dh + i, lanes);
    put(d + i, relu ? vandnot((vint)(y <= vzero()), g) : g * ((ONE - y) * (ONE + y)), lanes);
}

/* h (n) = act(a + u + bias) */
void BNC_KERNEL(rnn_gates)(const bnc_real *a, const bnc_real *u, const bnc_real *bias, bnc_real *h,
                           int64_t n, int relu)
{
    const sums s = {a, u, bias};
    EACH_VECTOR(rnn, s, h, relu);
}

/* d (n), the gradient to the sum, from h and dh */
void BNC_KERNEL(rnn_gates_backward)(const bnc_real *h, const bnc_real *dh, bnc_real *d, int64_t n,
                                    int relu)
{ EACH_VECTOR(rnn_back, h, dh, d, relu); }

/* ---- LSTM ---- */

BNC_INLINE void lstm(sums s, const bnc_real *c_before, bnc_real *gates, bnc_real *c, bnc_real *h,
                     int64_t n, int64_t k, int64_t lanes)
{
    const vreal i = vm_sigmoid(sum_of(s, k, lanes));
    const vreal f = vm_sigmoid(sum_of(s, n + k, lanes));
    const vreal g = vm_tanh(sum_of(s, 2 * n + k, lanes));
    const vreal o = vm_sigmoid(sum_of(s, 3 * n + k, lanes));
    const vreal cell = f * get(c_before + k, lanes) + i * g;
    put(gates + k, i, lanes);
    put(gates + n + k, f, lanes);
    put(gates + 2 * n + k, g, lanes);
    put(gates + 3 * n + k, o, lanes);
    put(c + k, cell, lanes);
    put(h + k, o * vm_tanh(cell), lanes);
}

BNC_INLINE void lstm_back(const bnc_real *gates, const bnc_real *c_before, const bnc_real *c,
                          const bnc_real *dh, bnc_real *dc, bnc_real *d, int64_t n, int64_t k,
                          int64_t lanes)
{
    const vreal i = get(gates + k, lanes), f = get(gates + n + k, lanes);
    const vreal g = get(gates + 2 * n + k, lanes), o = get(gates + 3 * n + k, lanes);
    const vreal t = vm_tanh(get(c + k, lanes)), dy = get(dh + k, lanes);
    const vreal dcell = get(dc + k, lanes) + dy * o * ((ONE - t) * (ONE + t));
    put(d + k, dcell * g * (i * (ONE - i)), lanes);
    put(d + n + k, dcell * get(c_before + k, lanes) * (f * (ONE - f)), lanes);
    put(d + 2 * n + k, dcell * i * ((ONE - g) * (ONE + g)), lanes);
    put(d + 3 * n + k, dy * t * (o * (ONE - o)), lanes);
    put(dc + k, dcell * f, lanes);
}

/* gates (4n) = i, f, g, o; c (n) = f c_before + i g; h (n) = o tanh(c). c may be c_before. */
void BNC_KERNEL(lstm_gates)(const bnc_real *a, const bnc_real *u, const bnc_real *bias,
                            const bnc_real *c_before, bnc_real *gates, bnc_real *c, bnc_real *h,
                            int64_t n)
{
    const sums s = {a, u, bias};
    EACH_VECTOR(lstm, s, c_before, gates, c, h);
}

/* d (4n), the gradients to the sums; dc becomes the gradient to c_before */
void BNC_KERNEL(lstm_gates_backward)(const bnc_real *gates, const bnc_real *c_before,
                                     const bnc_real *c, const bnc_real *dh, bnc_real *dc,
                                     bnc_real *d, int64_t n)
{ EACH_VECTOR(lstm_back, gates, c_before, c, dh, dc, d); }

/* ---- GRU ---- */

BNC_INLINE void gru(sums s, const bnc_real *h_before, bnc_real *gates, bnc_real *h, int64_t n,
                    int64_t k, int64_t lanes)
{
    const vreal r = vm_sigmoid(sum_of(s, k, lanes));
    const vreal z = vm_sigmoid(sum_of(s, n + k, lanes));
    const vreal hidden = hidden_of(s, 2 * n + k, lanes);
    const vreal m = vm_tanh(get(s.a + 2 * n + k, lanes) + r * hidden);
    put(gates + k, r, lanes);
    put(gates + n + k, z, lanes);
    put(gates + 2 * n + k, m, lanes);
    put(gates + 3 * n + k, hidden, lanes);
    put(h + k, (ONE - z) * m + z * get(h_before + k, lanes), lanes);
}

BNC_INLINE void gru_back(const bnc_real *gates, const bnc_real *h_before, bnc_real *dh, bnc_real *d,
                         bnc_real *dhidden, int64_t n, int64_t k, int64_t lanes)
{
    const vreal r = get(gates + k, lanes), z = get(gates + n + k, lanes);
    const vreal m = get(gates + 2 * n + k, lanes), hidden = get(gates + 3 * n + k, lanes);
    const vreal dy = get(dh + k, lanes);
    const vreal dm = dy * (ONE - z) * ((ONE - m) * (ONE + m));
    const vreal dr = dm * hidden * (r * (ONE - r));
    const vreal dz = dy * (get(h_before + k, lanes) - m) * (z * (ONE - z));
    put(d + k, dr, lanes);
    put(d + n + k, dz, lanes);
    put(d + 2 * n + k, dm, lanes);
    put(dhidden + k, dr, lanes);
    put(dhidden + n + k, dz, lanes);
    put(dhidden + 2 * n + k, dm * r, lanes);
    put(dh + k, dy * z, lanes);
}

/* gates (4n) = r, z, the new state m = tanh(a + r hidden), hidden = u + bias of m;
 * h (n) = (1 - z) m + z h_before. h may be h_before. */
void BNC_KERNEL(gru_gates)(const bnc_real *a, const bnc_real *u, const bnc_real *bias,
                           const bnc_real *h_before, bnc_real *gates, bnc_real *h, int64_t n)
{
    const sums s = {a, u, bias};
    EACH_VECTOR(gru, s, h_before, gates, h);
}

/* d, dhidden (3n): the gradients to a and to u; dh becomes what reaches h_before beside u */
void BNC_KERNEL(gru_gates_backward)(const bnc_real *gates, const bnc_real *h_before, bnc_real *dh,
                                    bnc_real *d, bnc_real *dhidden, int64_t n)
{ EACH_VECTOR(gru_back, gates, h_before, dh, d, dhidden); }

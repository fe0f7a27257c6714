/* Mean and M2 of one channel's contiguous pieces: the design is that of norm_moments.c. */
#include "norm_moments.h"

/* Sum of x - k (and of squares) over one contiguous piece, four accumulators a quantity, then a tail of single values. */
BNC_INLINE void piece_sum(const bnc_real *x, int64_t len, bnc_real k, vreal s[4], double *tail)
{
    const vreal kv = vset(k);
    int64_t i = 0;
    for (; i + 4 * VL <= len; i += 4 * VL)
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) s[v] += vload(x + i + v * VL) - kv;
    for (; i + VL <= len; i += VL) s[0] += vload(x + i) - kv;
    for (; i < len; i++) *tail += (double)(x[i] - k);
}

BNC_INLINE void square_four(const bnc_real *x, vreal kv, vreal s[4], vreal *q)
{
    vreal four = vzero();
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        vreal d = vload(x + v * VL) - kv;
        s[v] += d;
        four += d * d;
    }
    *q += four;
}

/* Squares by fours, and the fours to four accumulators in turn: where nearly all deviations are one small number beside a
 * few large ones (a sparse channel) each addition rounds the same way, so that no lane may take many. */
BNC_INLINE void piece_squares(const bnc_real *x, int64_t len, bnc_real k, vreal s[4], vreal q[4],
                              double tail[2])
{
    const vreal kv = vset(k);
    int64_t i = 0;
    for (; i + 16 * VL <= len; i += 16 * VL)
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) square_four(x + i + u * 4 * VL, kv, s, q + u);
    for (; i + 4 * VL <= len; i += 4 * VL) square_four(x + i, kv, s, q);
    for (; i + VL <= len; i += VL) {
        vreal d = vload(x + i) - kv;
        s[0] += d;
        q[1] += d * d;
    }
    for (; i < len; i++) {
        double d = (double)(x[i] - k);
        tail[0] += d;
        tail[1] += d * d;
    }
}

static void slabs_in_double(const bnc_real *x, int64_t count, int64_t stride, int64_t len,
                            double *mean, double *m2)
{
    double first = (double)x[0], s = 0, t = 0, q = 0, n = (double)count * (double)len;
    for (int64_t i = 0; i < count; i++)
#pragma omp simd reduction(+ : s)
        for (int64_t j = 0; j < len; j++) s += (double)x[i * stride + j] - first;
    double k = first + s / n;
    for (int64_t i = 0; i < count; i++)
#pragma omp simd reduction(+ : t, q)
        for (int64_t j = 0; j < len; j++) {
            double d = (double)x[i * stride + j] - k;
            t += d;
            q += d * d;
        }
    settle(k, t, q, n, mean, m2);
}

enum { MOST = 64 * 4 * VL }; /* values that the float lanes add up before they leave as double */

static void sums_around(const bnc_real *x, int64_t count, int64_t stride, int64_t len, bnc_real k,
                        double *sum, double *squares)
{
    vreal s[4] = {{0}}, q[4] = {{0}};
    double tail[2] = {0, 0};
    int64_t inside = 0;
    *sum = *squares = 0;
    for (int64_t i = 0; i < count; i++)
        for (int64_t o = 0; o < len; o += MOST) {
            const int64_t run = len - o < MOST ? len - o : MOST;
            piece_squares(x + i * stride + o, run, k, s, q, tail);
            inside += run;
            if (inside < MOST && (i + 1 < count || o + run < len)) continue;
            *sum += vsum((s[0] + s[1]) + (s[2] + s[3]));
            *squares += vsum((q[0] + q[1]) + (q[2] + q[3]));
            for (int v = 0; v < 4; v++) s[v] = q[v] = vzero();
            inside = 0;
        }
    *sum += tail[0];
    *squares += tail[1];
}

/* One channel: `count` pieces of `len` contiguous values, `stride` apart -> mean, m2. count * len at most some 4096. */
void BNC_KERNEL(slabs_moments)(const bnc_real *restrict x, int64_t count, int64_t stride,
                               int64_t len, double *restrict mean, double *restrict m2)
{
    const double n = (double)count * (double)len;
    vreal s[4] = {{0}};
    double tail = 0, sum, squares;
    for (int64_t i = 0; i < count; i++) piece_sum(x + i * stride, len, x[0], s, &tail);
    const bnc_real k = x[0] + (bnc_real)((vsum((s[0] + s[1]) + (s[2] + s[3])) + tail) / n);
    sums_around(x, count, stride, len, k, &sum, &squares);
    settle(k, sum, squares, n, mean, m2);
    if (suspicious(squares)) slabs_in_double(x, count, stride, len, mean, m2);
}

/* A value near the mean of each of `channels` pieces, `stride` apart, and the channel's own if it is constant: the mean of
 * few values, those of whole vectors where there is one. */
void BNC_KERNEL(slabs_shift)(const bnc_real *restrict x, int64_t channels, int64_t stride,
                             int64_t len, double *restrict near)
{
    const int64_t few = len < VL ? len : len / VL * VL;
    const double over = 1 / (double)few;
    for (int64_t c = 0; c < channels; c++, x += stride) {
        vreal s[4] = {{0}};
        double tail = 0;
        piece_sum(x, few, x[0], s, &tail);
        const double sum = vsum((s[0] + s[1]) + (s[2] + s[3])) + tail;
        near[c] = (double)(x[0] + (bnc_real)(sum * over));
    }
}

enum { CHANNELS = 64 }; /* at once: their sums stay in the first-level cache */

struct sums {
    vreal s, q;
};

BNC_INLINE void add_rest(const bnc_real *x, int64_t len, int64_t rest, vreal k, struct sums *to)
{
    const int whole = len >= VL;
    const bnc_int from = (bnc_int)(whole ? VL - rest : 0), end = (bnc_int)(whole ? VL : rest);
    const vreal values = whole ? vload(x + len - VL) : vload_part(x, rest);
    const vreal d = vand((vlanes() >= from) & (vlanes() < end), values - k);
    to->s += d;
    to->q += d * d;
}

/* Up to CAREFUL values of a piece; those `ahead` are fetched meanwhile. */
BNC_INLINE void add_few(const bnc_real *x, int64_t len, int64_t ahead, vreal k, struct sums *to)
{
    vreal s[4], q[2];
    int64_t i = 0;
    if (len >= 8 * VL) {
        for (int v = 0; v < 4; v++) s[v] = vzero();
        q[0] = q[1] = vzero();
        for (; i + 8 * VL <= len; i += 8 * VL)
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
#pragma GCC unroll 4
                for (int v = 0; v < 4; v++) vfetch(x + ahead + i, 4 * half + v, 3);
                square_four(x + i + half * 4 * VL, k, s, q + half);
            }
        to->s += (s[0] + s[1]) + (s[2] + s[3]);
        to->q += q[0] + q[1];
    }
    struct sums rest = {vzero(), vzero()};
    for (; i + VL <= len; i += VL) {
        const vreal d = vload(x + i) - k;
        __builtin_prefetch(x + ahead + i);
        rest.s += d;
        rest.q += d * d;
    }
    if (i < len) add_rest(x, len, len - i, k, &rest);
    to->s += rest.s;
    to->q += rest.q;
}

enum {
    CAREFUL = 64 * VL
}; /* values: few squares a lane, beside a far value each addition rounds the same way */

BNC_INLINE void add_piece(const bnc_real *x, int64_t len, int64_t ahead, vreal k, struct sums *to)
{
    int64_t i = 0;
    for (; i + 2 * CAREFUL <= len; i += CAREFUL) add_few(x + i, CAREFUL, ahead, k, to);
    add_few(x + i, len - i, ahead, k, to);
}

/* Whether all values are k: then an M2 of 0 is right. */
static int constant(const bnc_real *x, int64_t items, int64_t pitch, int64_t len, bnc_real k)
{
    int moved = 0;
    for (int64_t i = 0; i < items && !moved; i++)
#pragma omp simd reduction(| : moved)
        for (int64_t j = 0; j < len; j++) moved |= x[i * pitch + j] != k;
    return !moved;
}

static void channels_near(const bnc_real *x, int64_t items, int64_t pitch, int64_t channels,
                          int64_t stride, int64_t len, const double *near, double *mean, double *m2)
{
    struct sums sums[CHANNELS];
    const double n = (double)items * (double)len, over = 1 / n;
    for (int64_t c = 0; c < channels; c++) sums[c].s = sums[c].q = vzero();
    const int64_t ahead = fetch_distance(items, pitch, channels * len);
    for (int64_t i = 0; i < items; i++)
        for (int64_t c = 0; c < channels; c++)
            add_piece(x + i * pitch + c * stride, len, ahead, vset((bnc_real)near[c]), sums + c);
    for (int64_t c = 0; c < channels; c++) {
        const double k = (double)(bnc_real)near[c], s = vsum(sums[c].s), q = vsum(sums[c].q);
        mean[c] = k + s * over;
        m2[c] = q - s * s * over;
        if (far_off(q, m2[c]) && !constant(x + c * stride, items, pitch, len, (bnc_real)k))
            BNC_KERNEL(slabs_moments)(x + c * stride, items, pitch, len, mean + c, m2 + c);
    }
}

/* Of `channels` channels, `stride` apart, in `items` samples, `pitch` apart, given means of similar data; `near` may be
 * `mean`. Samples are walked one after the other, each through all channels, in the order of the memory. */
void BNC_KERNEL(slabs_moments_near)(const bnc_real *restrict x, int64_t items, int64_t pitch,
                                    int64_t channels, int64_t stride, int64_t len,
                                    const double *near, double *mean, double *m2)
{
    for (int64_t c = 0; c < channels; c += CHANNELS)
        channels_near(x + c * stride, items, pitch,
                      channels - c < CHANNELS ? channels - c : CHANNELS, stride, len, near + c,
                      mean + c, m2 + c);
}

/* sum of g and of g x_hat of channels' contiguous pieces: the design is that of norm_gradient_sums.c. Samples are walked one
 * after the other, each through all channels, in the order of the memory; every channel has a vector of sums of its own, so
 * that lanes are added up once a call. */
#include "norm_gradient.h"

struct source {
    const bnc_real *x, *dy, *y;
    int64_t ahead; /* from a piece to the one to fetch meanwhile; 0: none */
};

struct channel {
    vreal hi, inv_std, scale, shift;
};

struct sums {
    vreal s, t;
};

BNC_INLINE void add(struct source a, int64_t i, struct channel ch, const int gate, struct sums *to)
{
    const vreal centred = vload(a.x + i) - ch.hi;
    const vreal y = gate == BNC_FROM_Y ? vload(a.y + i) : vzero();
    const vreal dy = vheld(vload(a.dy + i));
    const vreal g = bnc_gated(gate, dy, centred, y, ch.scale, ch.shift);
    to->s += g;
    to->t += g * (centred * ch.inv_std);
}

/* The last `rest` values of a piece: the end of its last whole vector, or a piece shorter than one. */
BNC_INLINE void add_rest(struct source a, int64_t len, int64_t rest, struct channel ch,
                         const int gate, struct sums *to)
{
    const int whole = len >= VL;
    const int64_t o = len - VL;
    const vreal x = whole ? vload(a.x + o) : vload_part(a.x, rest),
                dy = whole ? vload(a.dy + o) : vload_part(a.dy, rest);
    const vreal y = gate != BNC_FROM_Y ? vzero() : whole ? vload(a.y + o) : vload_part(a.y, rest);
    const bnc_int from = (bnc_int)(whole ? VL - rest : 0), end = (bnc_int)(whole ? VL : rest);
    const vint counts = (vlanes() >= from) & (vlanes() < end);
    const vreal centred = x - ch.hi;
    const vreal g = vand(counts, bnc_gated(gate, dy, centred, y, ch.scale, ch.shift));
    to->s += g;
    to->t += vand(counts, g * (centred * ch.inv_std));
}

BNC_INLINE void piece(struct source a, int64_t len, struct channel ch, const int gate,
                      struct sums *to)
{
    struct sums two[2] = {*to, {vzero(), vzero()}};
    int64_t i = 0;
    for (; i + 2 * VL <= len; i += 2 * VL)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            vfetch(a.x + a.ahead + i, v, 3);
            vfetch(a.dy + a.ahead + i, v, 3);
            add(a, i + v * VL, ch, gate, two + v);
        }
    if (i + VL <= len) {
        add(a, i, ch, gate, two + 1);
        i += VL;
    }
    if (i < len) add_rest(a, len, len - i, ch, gate, two + 1);
    to->s = two[0].s + two[1].s;
    to->t = two[0].t + two[1].t;
}

enum { CHANNELS = 64 }; /* at once: their sums stay in the first-level cache */

BNC_INLINE struct channel channel_of(const struct bnc_coefficients *k, int64_t c)
{
    return (struct channel){vset(k->hi[c]), vset(k->inv_std[c]), vset(k->scale[c]),
                            vset(k->shift[c])};
}

BNC_INLINE void channels_body(struct source a, int64_t items, int64_t pitch, int64_t channels,
                              int64_t stride, int64_t len, const struct bnc_coefficients *k,
                              int64_t first, const int gate, double *sum_g, double *sum_gx)
{
    struct sums sums[CHANNELS];
    const int64_t ahead = fetch_distance(items, pitch, channels * len);
    for (int64_t c = 0; c < channels; c++) sums[c].s = sums[c].t = vzero();
    for (int64_t i = 0; i < items; i++)
        for (int64_t c = 0; c < channels; c++) {
            const int64_t o = i * pitch + c * stride;
            const struct source at = {a.x + o, a.dy + o, a.y + o, ahead};
            piece(at, len, channel_of(k, first + c), gate, sums + c);
        }
    for (int64_t c = 0; c < channels; c++) {
        sum_g[c] += vsum(sums[c].s);
        sum_gx[c] += vsum(sums[c].t);
    }
}

BNC_INLINE void slabs_body(struct source a, int64_t items, int64_t pitch, int64_t channels,
                           int64_t stride, int64_t len, const struct bnc_coefficients *k,
                           int64_t first, const int gate, double *sum_g, double *sum_gx)
{
    for (int64_t c = 0; c < channels; c += CHANNELS) {
        const int64_t some = channels - c < CHANNELS ? channels - c : CHANNELS;
        const struct source at = {a.x + c * stride, a.dy + c * stride, a.y + c * stride, 0};
        channels_body(at, items, pitch, some, stride, len, k, first + c, gate, sum_g + c,
                      sum_gx + c);
    }
}

/* Pieces of `len` values: of `channels` channels from number `first` on, `stride` apart, in `items` samples, `pitch` apart;
 * adds to sum_g, sum_gx (channels,). items * len at most some 4096. */
void BNC_KERNEL(slabs_gradient_sums)(const bnc_real *restrict x, const bnc_real *restrict dy,
                                     const bnc_real *y, int64_t items, int64_t pitch,
                                     int64_t channels, int64_t stride, int64_t len,
                                     const struct bnc_coefficients *k, int64_t first, int relu,
                                     double *restrict sum_g, double *restrict sum_gx)
{
    const struct source a = {x, dy, y ? y : x, 0};
#define BODY(gate) slabs_body(a, items, pitch, channels, stride, len, k, first, gate, sum_g, sum_gx)
    switch (BNC_GATE(relu, y)) {
    case BNC_OPEN: BODY(BNC_OPEN); break;
    case BNC_FROM_X: BODY(BNC_FROM_X); break;
    default: BODY(BNC_FROM_Y);
    }
#undef BODY
}

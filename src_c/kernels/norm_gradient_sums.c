/* sum of g and of g x_hat per column: the reduction half of the backward pass; also the gradients of beta and gamma. Slabs:
 * norm_gradient_sums_slabs.c.
 * x_hat is taken as (x - hi) inv_std, of the order of 1, so that the products stay in range whatever the scale of x; what hi
 * lacks of the mean is put right in the sums, in double, by their reader.
 * Long rows are taken eight together in panels of four vectors, whose sums stay in registers; of arrays from
 * behind the caches the eight after the next are fetched meanwhile in the order of the memory, which panels alone would hide from the
 * prefetchers (1.5 times as fast there; from within a cache it costs 15 %). */
#include "norm_gradient.h"

struct rows {
    const bnc_real *x, *dy, *y;
    int64_t ld;
};

BNC_INLINE struct rows rows_from(struct rows a, int64_t o)
{ return (struct rows){a.x + o, a.dy + o, a.y + o, a.ld}; }

BNC_INLINE struct rows next_row(struct rows a)
{ return (struct rows){vopaque(a.x + a.ld), vopaque(a.dy + a.ld), vopaque(a.y + a.ld), a.ld}; }

/* Columns of a panel: their numbers, and float sums of few rows. */
struct panel {
    vreal hi, inv_std, scale, shift, s, t;
};

BNC_INLINE void open_panel(const struct bnc_coefficients *k, int64_t c, const int nv,
                           const int gate, struct panel *p)
{
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) {
        p[v].hi = vload(k->hi + c + v * VL);
        p[v].inv_std = vload(k->inv_std + c + v * VL);
        p[v].scale = gate == BNC_FROM_X ? vload(k->scale + c + v * VL) : vzero();
        p[v].shift = gate == BNC_FROM_X ? vload(k->shift + c + v * VL) : vzero();
        p[v].s = p[v].t = vzero();
    }
}

BNC_INLINE void add_row(struct rows a, const int nv, const int gate, struct panel *p)
{
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) {
        const vreal centred = vload(a.x + v * VL) - p[v].hi;
        const vreal y = gate == BNC_FROM_Y ? vload(a.y + v * VL) : vzero();
        const vreal dy = vheld(vload(a.dy + v * VL));
        const vreal g = bnc_gated(gate, dy, centred, y, p[v].scale, p[v].shift);
        p[v].s += g;
        p[v].t += g * (centred * p[v].inv_std);
    }
}

BNC_INLINE void close_panel(const struct panel *p, const int nv, bnc_real *s, bnc_real *t)
{
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) {
        vstore(s + v * VL, vload(s + v * VL) + p[v].s);
        vstore(t + v * VL, vload(t + v * VL) + p[v].t);
    }
}

/* Sums of `w` columns, of which those from `from` on are added to the results. */
BNC_INLINE void leave(const bnc_real *s, const bnc_real *t, int64_t from, int64_t w, double *sum_g,
                      double *sum_gx)
{
    for (int64_t j = from; j < w; j++) {
        sum_g[j] += (double)s[j];
        sum_gx[j] += (double)t[j];
    }
}

/* All rows of up to four vectors: memory as it lies. nv is a literal. */
BNC_INLINE void narrow(struct rows a, int64_t rows, int64_t c, const struct bnc_coefficients *k,
                       const int nv, const int gate, struct panel *p)
{
    open_panel(k, c, nv, gate, p);
    for (int64_t r = 0; r < rows; r++) add_row(rows_from(a, r * a.ld), nv, gate, p);
}

/* The same, where that is all there is to add up. */
BNC_INLINE void narrow_only(struct rows a, int64_t rows, int64_t c, int64_t from,
                            const struct bnc_coefficients *k, const int nv, const int gate,
                            double *sum_g, double *sum_gx)
{
    struct panel p[4];
    bnc_real s[4 * VL], t[4 * VL];
    narrow(a, rows, c, k, nv, gate, p);
    for (int v = 0; v < nv; v++) vstore(s + v * VL, p[v].s), vstore(t + v * VL, p[v].t);
    leave(s, t, from, nv * VL, sum_g, sum_gx);
}

enum { TOGETHER = 8, AHEAD = 2 * TOGETHER }; /* rows; how far on rows are fetched */

/* `fetch`: how far behind the panel's rows lie the values to fetch while they are added up, if they come from `far`. */
BNC_INLINE void together(struct rows a, int64_t c, const struct bnc_coefficients *k, const int nv,
                         const int gate, const int far, int64_t fetch, bnc_real *s, bnc_real *t)
{
    struct panel p[4];
    const struct rows next = rows_from(a, fetch);
    open_panel(k, c, nv, gate, p);
#pragma GCC unroll 8
    for (int r = 0; r < TOGETHER; r++, a = next_row(a)) {
        for (int v = 0; far && v < nv; v++) {
            vfetch(next.x, r * nv + v, 2);
            vfetch(next.dy, r * nv + v, 2);
            if (gate == BNC_FROM_Y) vfetch(next.y, r * nv + v, 2);
        }
        add_row(a, nv, gate, p);
    }
    close_panel(p, nv, s, t);
}

/* Columns [c, c + w), whole vectors, of eight rows: the panel at j fetches the TOGETHER j values from the start of
 * those AHEAD on. */
BNC_INLINE void eight_rows(struct rows a, int64_t c, int64_t w, const struct bnc_coefficients *k,
                           const int gate, const int far, bnc_real *s, bnc_real *t)
{
    int64_t j = 0;
    for (; j + 4 * VL <= w; j += 4 * VL)
        together(rows_from(a, j), c + j, k, 4, gate, far, AHEAD * a.ld + (TOGETHER - 1) * j, s + j,
                 t + j);
    for (; j < w; j += VL)
        together(rows_from(a, j), c + j, k, 1, gate, far, AHEAD * a.ld + (TOGETHER - 1) * j, s + j,
                 t + j);
}

BNC_INLINE void wide(struct rows a, int64_t rows, int64_t c, int64_t w,
                     const struct bnc_coefficients *k, const int gate, int far, bnc_real *s,
                     bnc_real *t)
{
    int64_t r = 0;
    if (far)
        for (; r + TOGETHER <= rows; r += TOGETHER)
            eight_rows(rows_from(a, r * a.ld), c, w, k, gate, 1, s, t);
    for (; r + TOGETHER <= rows; r += TOGETHER)
        eight_rows(rows_from(a, r * a.ld), c, w, k, gate, 0, s, t);
    for (int64_t j = 0; j < w; j += VL) {
        struct panel p;
        narrow(rows_from(a, r * a.ld + j), rows - r, c + j, k, 1, gate, &p);
        close_panel(&p, 1, s + j, t + j);
    }
}

enum { GROUP = 2048 }; /* columns of a group */

BNC_INLINE void wide_group(struct rows a, int64_t rows, int64_t c, int64_t w, int64_t from,
                           const struct bnc_coefficients *k, const int gate, int far, double *sum_g,
                           double *sum_gx)
{
    bnc_real s[GROUP], t[GROUP];
    for (int64_t j = 0; j < w; j++) s[j] = t[j] = 0;
    wide(a, rows, c, w, k, gate, far, s, t);
    leave(s, t, from, w, sum_g, sum_gx);
}

/* Columns [j0, j0 + w), whole vectors; those from `from` on are added to the results. */
BNC_INLINE void group(struct rows a, int64_t rows, int64_t j0, int64_t w, int64_t from,
                      const struct bnc_coefficients *k, const int gate, int far, double *sum_g,
                      double *sum_gx)
{
    a = rows_from(a, j0), from -= j0, sum_g += j0, sum_gx += j0;
    switch (w / VL) {
    case 1: narrow_only(a, rows, j0, from, k, 1, gate, sum_g, sum_gx); break;
    case 2: narrow_only(a, rows, j0, from, k, 2, gate, sum_g, sum_gx); break;
    case 3: narrow_only(a, rows, j0, from, k, 3, gate, sum_g, sum_gx); break;
    case 4: narrow_only(a, rows, j0, from, k, 4, gate, sum_g, sum_gx); break;
    default: wide_group(a, rows, j0, w, from, k, gate, far, sum_g, sum_gx);
    }
}

/* Columns of an array narrower than a vector: through a block that is one vector wide. */
BNC_INLINE void part(struct rows a, int64_t rows, int64_t c, const struct bnc_coefficients *k,
                     const int gate, double *sum_g, double *sum_gx)
{
    struct panel p = {.hi = vload_part(k->hi, c), .inv_std = vload_part(k->inv_std, c)};
    if (gate == BNC_FROM_X) p.scale = vload_part(k->scale, c), p.shift = vload_part(k->shift, c);
    for (int64_t r = 0; r < rows; r++, a = rows_from(a, a.ld)) {
        const vreal centred = vload_part(a.x, c) - p.hi;
        const vreal y = gate == BNC_FROM_Y ? vload_part(a.y, c) : vzero();
        const vreal g = bnc_gated(gate, vload_part(a.dy, c), centred, y, p.scale, p.shift);
        p.s += g;
        p.t += g * (centred * p.inv_std);
    }
    for (int64_t j = 0; j < c; j++) sum_g[j] += (double)p.s[j], sum_gx[j] += (double)p.t[j];
}

BNC_INLINE void columns_body(struct rows a, int64_t rows, int64_t c,
                             const struct bnc_coefficients *k, const int gate, int far,
                             double *sum_g, double *sum_gx)
{
    const int64_t whole = c / VL * VL;
    for (int64_t j = 0; j < whole; j += GROUP) {
        const int64_t w = whole - j < GROUP ? whole - j : GROUP;
        group(a, rows, j, w, j, k, gate, far, sum_g, sum_gx);
    }
    if (whole &&
        whole < c) /* the last vector overlaps columns already added: only its end counts */
        group(a, rows, c - VL, VL, whole, k, gate, far, sum_g, sum_gx);
    else if (whole < c)
        part(a, rows, c, k, gate, sum_g, sum_gx);
}

/* x, dy, y (or NULL): (rows, c); adds to sum_g (c,), sum_gx (c,). rows at most a few hundred: float lanes add them
 * up. `far`: the arrays come from behind the caches. */
void BNC_KERNEL(columns_gradient_sums)(const bnc_real *restrict x, const bnc_real *restrict dy,
                                       const bnc_real *y, int64_t rows, int64_t c,
                                       const struct bnc_coefficients *k, int relu, int far,
                                       double *restrict sum_g, double *restrict sum_gx)
{
    const struct rows a = {x, dy, y ? y : x, c};
    switch (BNC_GATE(relu, y)) {
    case BNC_OPEN: columns_body(a, rows, c, k, BNC_OPEN, far, sum_g, sum_gx); break;
    case BNC_FROM_X: columns_body(a, rows, c, k, BNC_FROM_X, far, sum_g, sum_gx); break;
    default: columns_body(a, rows, c, k, BNC_FROM_Y, far, sum_g, sum_gx);
    }
}

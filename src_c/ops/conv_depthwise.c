/* Depthwise convolutions, one channel a group: channels are lanes, a tap is a vector of weights. Views as for others
 * (conv.h), but pixels near the sides of the image have taps of their own: nothing is multiplied by zero, and nothing copied. */
#include "conv.h"

/* Columns [*from, *to) of a view in which the same taps are in the image as in column `from`: taps [*first, *end). */
static void same_taps(const conv_plan *p, const conv_view *v, int64_t from, int64_t *to,
                      int64_t *first, int64_t *end)
{
    const int64_t at = from * v->in_column, w = p->in.w;
    *first = 0, *end = v->column_taps;
    while (*first < *end && at + v->column_at[*first] < 0) ++*first;
    while (*end > *first && at + v->column_at[*end - 1] >= w) --*end;
    *to = v->columns;
    if (*first > 0) *to = from + 1; /* the next column may have one more */
    if (*end > *first)              /* the column in which the last of them leaves the image */
        *to = bnc_min(*to, (w - 1 - v->column_at[*end - 1]) / v->in_column + 1);
    *to = bnc_max(*to, from + 1);
}

void conv_depthwise_row(const conv_plan *p, const conv_view *v, const conv_work *w, int64_t i)
{
    const int64_t u = v->first_row + i * v->out_row, c = p->in.channels;
    const bnc_real *weight = w->weight + v->weights;
    bnc_real *y = w->out + (u - w->from) * w->out_row + v->first_column * w->out_pitch;
    int64_t k0, k1;
    conv_row_taps(p, v, i, &k0, &k1);
    for (int64_t j = 0, next; j < v->columns; j = next) {
        int64_t l0, l1, taps = 0;
        same_taps(p, v, j, &next, &l0, &l1);
        for (int64_t k = k0; k < k1; k++)
            for (int64_t l = l0; l < l1; l++) {
                w->at[2 * taps] = (i * v->in_row + v->row_at[k] - w->low) * w->in_row +
                                  (j * v->in_column + v->column_at[l]) * w->in_pitch;
                w->at[2 * taps++ + 1] = (k * v->column_taps + l) * c;
            }
        const struct bnc_conv_row r = {.at = w->at,
                                       .runs = taps,
                                       .x_step = v->in_column * w->in_pitch,
                                       .y_step = v->out_column * w->out_pitch,
                                       .pixels = next - j,
                                       .channels = c};
        KERNELS->depthwise_row(&r, w->in, weight, y + j * r.y_step);
    }
}

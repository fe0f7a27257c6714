/* Patches of images: gathered into a matrix, or a matrix added back to the images. One thread;
 * no arithmetic but sums, except for the depthwise convolution, which is too thin for a product.
 *
 * All walk the same way, over rectangles of output pixels inside one image. What a patch has
 * outside the image is 0 in the matrix and dropped on the way back. */
#include "conv.h"

#include <string.h>

/* What is done with the pixels of a band. */
typedef struct {
    const conv_sizes *s;
    bnc_real *x;    /* the convolution's input images; only read by gather and two of the sums */
    bnc_real *band; /* the matrix of patches, or the output pixels */
    bnc_real *weight;
    int64_t group, width; /* width: pixels of the band */
    int mode;             /* 1: back to the image (gather or scatter); a conv_sum for depthwise */
} task;

/* Rows [i0, i1) by columns [j0, j1) of output pixels of one image; `at` is its first pixel's
 * place in the band. The pixels follow each other in memory: whole rows, or a piece of one. */
typedef struct {
    int64_t image, i0, i1, j0, j1, at;
} rectangle;

typedef void visit_fn(const task *t, rectangle r);

/* The range of positions i with 0 <= i stride + offset < size, clipped to [*from, *to). */
static void inside(int64_t stride, int64_t offset, int64_t size, int64_t *from, int64_t *to)
{
    const int64_t low = offset < 0 ? (stride - 1 - offset) / stride : 0;
    const int64_t high = size > offset ? (size - offset + stride - 1) / stride : 0;
    *from = bnc_max(*from, low);
    *to = bnc_max(*from, bnc_min(*to, high));
}

/* The pixels from `first` on as rectangles: images are cut into a part of a row, whole rows, a part
 * of a row. */
static void walk(const task *t, int64_t first, visit_fn *visit)
{
    const conv_sizes *s = t->s;
    const int64_t ow = s->g->ow, last = first + t->width;
    for (int64_t q = first; q < last;) {
        const int64_t image = q / s->pixels, start = q - image * s->pixels;
        const int64_t end = bnc_min(s->pixels, start + last - q);
        for (int64_t p = start, next; p < end; p = next) {
            const int64_t i = p / ow, j = p - i * ow;
            rectangle r = {image, i, i + 1, j, ow, q - first + p - start};
            if (j == 0 && end - p >= ow)
                r.i1 = end / ow;
            else
                r.j1 = bnc_min(ow, j + end - p);
            next = p + (r.i1 - r.i0) * (r.j1 - r.j0);
            visit(t, r);
        }
        q += end - start;
    }
}

/* Channels first: row (c, k, l) of the matrix holds one tap of every pixel. */
static void visit_first(const task *t, rectangle r)
{
    const conv_sizes *s = t->s;
    const bnc_conv *g = s->g;
    const int64_t columns = r.j1 - r.j0, count = (r.i1 - r.i0) * columns, plane = g->h * g->w;
    for (int64_t tap = 0; tap < s->kernel; tap++) {
        const int64_t down = tap / g->kw * g->dh - g->ph, right = tap % g->kw * g->dw - g->pw;
        int64_t i0 = r.i0, i1 = r.i1, j0 = r.j0, j1 = r.j1;
        inside(g->sh, down, g->h, &i0, &i1);
        inside(g->sw, right, g->w, &j0, &j1);
        const int64_t rows = i1 - i0, n = j1 - j0;
        const int64_t image_at = (i0 * g->sh + down) * g->w + j0 * g->sw + right;
        const int64_t patch_at = (i0 - r.i0) * columns + j0 - r.j0;
        bnc_real *x = t->x + (r.image * g->ci + t->group * s->cin) * plane;
        bnc_real *row = t->band + tap * t->width + r.at;
        for (int64_t c = 0; c < s->cin; c++, x += plane, row += s->kernel * t->width) {
            if (!t->mode && rows * n < count) memset(row, 0, (size_t)count * sizeof(bnc_real));
            if (rows == 0 || n == 0) continue;
            if (t->mode)
                KERNELS->add_rows(row + patch_at, columns, x + image_at, g->sh * g->w, g->sw, rows,
                                  n);
            else
                KERNELS->copy_rows(x + image_at, g->sh * g->w, g->sw, row + patch_at, columns, rows,
                                   n);
        }
    }
}

static void move(int back, bnc_real *image, int64_t image_pitch, bnc_real *patch,
                 int64_t patch_pitch, int64_t rows, int64_t n)
{
    if (back)
        KERNELS->add_rows(patch, patch_pitch, image, image_pitch, 1, rows, n);
    else
        KERNELS->copy_rows(image, image_pitch, 1, patch, patch_pitch, rows, n);
}

/* A piece of one patch, kernel rows by columns; a points at the image's first tap of these, b at
 * the patch's. */
static void move_taps(const conv_sizes *s, int back, bnc_real *a, bnc_real *b, int64_t rows,
                      int64_t columns)
{
    const bnc_conv *g = s->g;
    const int64_t a_row = g->dh * g->w * g->ci, b_row = g->kw * s->cin;
    if (s->cin == g->ci && g->dw == 1) { /* the taps of a kernel row follow each other */
        move(back, a, a_row, b, b_row, rows, columns * s->cin);
        return;
    }
    for (int64_t k = 0; k < rows; k++)
        move(back, a + k * a_row, g->dw * g->ci, b + k * b_row, s->cin, columns, s->cin);
}

/* One tap after the other of one pixel of a depthwise convolution: every channel is a lane. */
static void sum_taps(const task *t, bnc_real *x, bnc_real *y, bnc_real *weight, int64_t rows,
                     int64_t columns)
{
    const bnc_conv *g = t->s->g;
    for (int64_t k = 0; k < rows; k++)
        for (int64_t l = 0; l < columns; l++) {
            bnc_real *xt = x + (k * g->dh * g->w + l * g->dw) * g->ci;
            bnc_real *wt = weight + (k * g->kw + l) * g->ci;
            if (t->mode == CONV_SUM_Y)
                KERNELS->multiply_add(xt, wt, y, g->ci);
            else if (t->mode == CONV_SUM_X)
                KERNELS->multiply_add(y, wt, xt, g->ci);
            else
                KERNELS->multiply_add(xt, y, wt, g->ci);
        }
}

/* Channels last: row (pixel) of the band holds its whole patch, or, depthwise, the pixel itself. */
static void visit_last(const task *t, rectangle r)
{
    const conv_sizes *s = t->s;
    const bnc_conv *g = s->g;
    const int64_t step = s->depthwise ? g->ci : s->taps;
    bnc_real *image = t->x + r.image * g->h * g->w * g->ci + t->group * s->cin;
    bnc_real *at = t->band + r.at * step;
    for (int64_t i = r.i0; i < r.i1; i++) {
        const int64_t y = i * g->sh - g->ph;
        int64_t k0 = 0, k1 = g->kh;
        inside(g->dh, y, g->h, &k0, &k1);
        for (int64_t j = r.j0; j < r.j1; j++, at += step) {
            const int64_t left = j * g->sw - g->pw;
            int64_t l0 = 0, l1 = g->kw;
            inside(g->dw, left, g->w, &l0, &l1);
            const int64_t rows = k1 - k0, columns = l1 - l0, first = k0 * g->kw + l0;
            bnc_real *x = image + ((y + k0 * g->dh) * g->w + left + l0 * g->dw) * g->ci;
            if (s->depthwise) {
                sum_taps(t, x, at, t->weight + first * g->ci, rows, columns);
                continue;
            }
            if (!t->mode && rows * columns < s->kernel)
                memset(at, 0, (size_t)s->taps * sizeof(bnc_real));
            if (rows && columns) move_taps(s, t->mode, x, at + first * s->cin, rows, columns);
        }
    }
}

void conv_gather(const conv_sizes *s, const bnc_real *x, int64_t group, int64_t first, int64_t last,
                 bnc_real *cols)
{
    const task t = {s, conv_readable(x), cols, NULL, group, last - first, 0};
    walk(&t, first, s->g->channels_last ? visit_last : visit_first);
}

void conv_scatter(const conv_sizes *s, bnc_real *x, int64_t group, int64_t first, int64_t last,
                  const bnc_real *cols)
{
    const task t = {s, x, conv_readable(cols), NULL, group, last - first, 1};
    walk(&t, first, s->g->channels_last ? visit_last : visit_first);
}

void conv_depthwise(const conv_sizes *s, conv_sum sum, bnc_real *x, bnc_real *y, bnc_real *weight,
                    int64_t first, int64_t last)
{
    const task t = {s, x, y, weight, 0, last - first, sum};
    walk(&t, first, visit_last);
}

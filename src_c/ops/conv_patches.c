/* Patches of images: gathered into a matrix, or a matrix added back to the images. One thread;
 * no arithmetic but sums.
 *
 * Both directions walk the same way (`back` says which), over rectangles of output pixels inside
 * one image. What a patch has outside the image is 0 in the matrix and dropped on the way back. */
#include "conv.h"

#include <string.h>

/* Rows [i0, i1) by columns [j0, j1) of output pixels of one image; `at` is its first pixel's
 * place in the band. The pixels follow each other in memory: whole rows, or a piece of one. */
typedef struct {
    int64_t image, i0, i1, j0, j1, at;
} rectangle;

typedef void visit_fn(const conv_sizes *s, int back, bnc_real *x, int64_t group, rectangle r,
                      int64_t width, bnc_real *cols);

/* The range of positions i with 0 <= i stride + offset < size, clipped to [*from, *to). */
static void inside(int64_t stride, int64_t offset, int64_t size, int64_t *from, int64_t *to)
{
    const int64_t low = offset < 0 ? (stride - 1 - offset) / stride : 0;
    const int64_t high = size > offset ? (size - offset + stride - 1) / stride : 0;
    *from = bnc_max(*from, low);
    *to = bnc_max(*from, bnc_min(*to, high));
}

/* Pixels [first, last) of the batch as rectangles: images are cut into a part of a row, whole
 * rows, a part of a row. */
static void walk(const conv_sizes *s, int back, bnc_real *x, int64_t group, int64_t first,
                 int64_t last, bnc_real *cols, visit_fn *visit)
{
    const int64_t ow = s->g->ow, width = last - first;
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
            visit(s, back, x, group, r, width, cols);
        }
        q += end - start;
    }
}

/* Channels first: row (c, k, l) of the matrix holds one tap of every pixel. */
static void visit_first(const conv_sizes *s, int back, bnc_real *x, int64_t group, rectangle r,
                        int64_t width, bnc_real *cols)
{
    const bnc_conv *g = s->g;
    const int64_t columns = r.j1 - r.j0, count = (r.i1 - r.i0) * columns;
    for (int64_t k = 0; k < g->kh; k++) {
        const int64_t down = k * g->dh - g->ph;
        int64_t i0 = r.i0, i1 = r.i1;
        inside(g->sh, down, g->h, &i0, &i1);
        for (int64_t l = 0; l < g->kw; l++) {
            const int64_t right = l * g->dw - g->pw;
            int64_t j0 = r.j0, j1 = r.j1;
            inside(g->sw, right, g->w, &j0, &j1);
            const int64_t rows = i1 - i0, n = j1 - j0;
            bnc_real *plane = x + (r.image * g->ci + group * s->cin) * g->h * g->w;
            bnc_real *row = cols + (k * g->kw + l) * width + r.at;
            for (int64_t c = 0; c < s->cin; c++, plane += g->h * g->w, row += s->kernel * width) {
                if (!back && rows * n < count) memset(row, 0, (size_t)count * sizeof(bnc_real));
                if (rows * n == 0) continue;
                bnc_real *image = plane + (i0 * g->sh + down) * g->w + j0 * g->sw + right;
                bnc_real *patch = row + (i0 - r.i0) * columns + j0 - r.j0;
                if (back)
                    KERNELS->add_rows(patch, columns, image, g->sh * g->w, g->sw, rows, n);
                else
                    KERNELS->copy_rows(image, g->sh * g->w, g->sw, patch, columns, rows, n);
            }
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

/* Kernel rows [k0, k1) by columns [l0, l1) of one patch; a points at the image's first tap of
 * these, b at the patch's. */
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

/* Channels last: row (pixel) of the matrix holds its whole patch. */
static void visit_last(const conv_sizes *s, int back, bnc_real *x, int64_t group, rectangle r,
                       int64_t width, bnc_real *cols)
{
    const bnc_conv *g = s->g;
    bnc_real *image = x + r.image * g->h * g->w * g->ci + group * s->cin;
    bnc_real *patch = cols + r.at * s->taps;
    (void)width;
    for (int64_t i = r.i0; i < r.i1; i++) {
        const int64_t y = i * g->sh - g->ph;
        int64_t k0 = 0, k1 = g->kh;
        inside(g->dh, y, g->h, &k0, &k1);
        for (int64_t j = r.j0; j < r.j1; j++, patch += s->taps) {
            const int64_t left = j * g->sw - g->pw;
            int64_t l0 = 0, l1 = g->kw;
            inside(g->dw, left, g->w, &l0, &l1);
            const int64_t rows = k1 - k0, columns = l1 - l0;
            if (!back && rows * columns < s->kernel)
                memset(patch, 0, (size_t)s->taps * sizeof(bnc_real));
            if (rows && columns)
                move_taps(s, back, image + ((y + k0 * g->dh) * g->w + left + l0 * g->dw) * g->ci,
                          patch + (k0 * g->kw + l0) * s->cin, rows, columns);
        }
    }
}

void conv_gather(const conv_sizes *s, const bnc_real *x, int64_t group, int64_t first, int64_t last,
                 bnc_real *cols)
{
    /* walk() is one for both directions, so it takes the image as writable; this direction only
     * reads it. */
    walk(s, 0, (bnc_real *)(uintptr_t)x, group, first, last, cols,
         s->g->channels_last ? visit_last : visit_first);
}

void conv_scatter(const conv_sizes *s, bnc_real *x, int64_t group, int64_t first, int64_t last,
                  const bnc_real *cols)
{
    walk(s, 1, x, group, first, last, (bnc_real *)(uintptr_t)cols,
         s->g->channels_last ? visit_last : visit_first);
}

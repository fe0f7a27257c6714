/* The gradient of a convolution's bias: dy summed over all pixels of all images, in parts that depend on sizes alone. */
#include "op.h"

enum { MAX_PARTS = 16 };
enum { BIAS_PART_WORK = 1 << 16 };

typedef struct {
    int64_t n, channels, pixels, parts;
    int channels_last;
    const bnc_real *dy;
    bnc_real *sums; /* parts x channels */
} bias_call;

/* Some images: a product with a vector of ones, which sums in blocks as all products do. */
static void sum_bias_part(int64_t part, void *arg)
{
    const bias_call *a = arg;
    const bnc_real one = 1;
    const int64_t begin = a->n * part / a->parts, end = a->n * (part + 1) / a->parts,
                  size = a->channels * a->pixels;
    bnc_real *sums = a->sums + part * a->channels;
    if (a->channels_last || begin == end) {
        KERNELS->gemm(1, &one, 0, a->dy + begin * size, a->channels, sums, a->channels, 1,
                      a->channels, (end - begin) * a->pixels, 0);
        return;
    }
    for (int64_t i = begin; i < end; i++)
        KERNELS->gemm(0, a->dy + i * size, a->pixels, &one, 0, sums, 1, a->channels, 1, a->pixels,
                      i > begin);
}

/* dbias[c] = sum of dy over all images and pixels: dy (n, channels, pixels), or (n, pixels,
 * channels) if channels_last */
int BNC_OP(conv_bias_gradient)(int64_t n, int64_t channels, int64_t pixels, int channels_last,
                               const void *dy, void *dbias)
{
    const int64_t work = n * channels * pixels;
    bias_call a = {n, channels, pixels, 1, channels_last, dy, dbias};
    a.parts = bnc_max(1, bnc_min(bnc_min(MAX_PARTS, n), work / BIAS_PART_WORK));
    bnc_real *scratch = NULL;
    if (a.parts > 1 && !(scratch = bnc_pool_get((size_t)(a.parts * channels) * sizeof(bnc_real))))
        return BNC_NO_MEMORY;
    if (scratch) a.sums = scratch;
    bnc_run(sum_bias_part, &a, a.parts, bnc_threads(work, BIAS_PART_WORK));
    if (scratch) {
        memcpy(dbias, scratch, (size_t)channels * sizeof(bnc_real));
        for (int64_t part = 1; part < a.parts; part++)
            KERNELS->add(scratch + part * channels, dbias, channels);
    }
    bnc_pool_put(scratch);
    return 0;
}

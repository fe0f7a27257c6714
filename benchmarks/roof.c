/* How fast memory is: the traffic of a normalization and next to no arithmetic, on threads and pages of its own.
 * Compiled by peers/roof.py. Arrays are of floats, whatever the type of the case: bytes are what counts. */
#include <stddef.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif

enum { LINE = 16 };   /* floats of a cache line */
enum { FEW = 16384 }; /* below this many floats a second thread costs more than it brings */
typedef float line_t __attribute__((vector_size(64), aligned(4), may_alias));

static size_t border(size_t n, int part, int parts)
{ return part == parts ? n : n / LINE * (size_t)part / (size_t)parts * LINE; }

int roof_can_stream(void)
{
#if defined(__AVX__)
    return 1;
#else
    return 0;
#endif
}

static inline void put(float *out, line_t value, int streaming)
{
#if defined(__AVX512F__)
    if (streaming) {
        _mm512_stream_ps(out, (__m512)value);
        return;
    }
#elif defined(__AVX__)
    if (streaming) {
        _mm256_stream_ps(out, _mm256_loadu_ps((const float *)&value));
        _mm256_stream_ps(out + 8, _mm256_loadu_ps((const float *)&value + 8));
        return;
    }
#endif
    (void)streaming;
    *(line_t *)out = value;
}

static inline void fence(void)
{
#if defined(__AVX__)
    _mm_sfence();
#endif
}

/* y = x/2 + 1/2, or x/2 + z */
static inline void part(const float *x, const float *z, float *y, size_t i, size_t end,
                        int streaming)
{
    for (; i + LINE <= end; i += LINE) {
        line_t value = *(const line_t *)(x + i) * 0.5f;
        put(y + i, z ? value + *(const line_t *)(z + i) : value + 0.5f, streaming);
    }
    for (; i < end; i++) y[i] = 0.5f * x[i] + (z ? z[i] : 0.5f);
    if (streaming) fence();
}

/* Every thread its piece. */
static inline void pieces(const float *x, const float *z, float *y, size_t n, int threads,
                          int streaming)
{
#pragma omp parallel for num_threads(threads) if (n > FEW) schedule(static, 1)
    for (int t = 0; t < threads; t++) {
        size_t from = border(n, t, threads), to = border(n, t + 1, threads);
        if (streaming)
            part(x, z, y, from, to, 1);
        else
            part(x, z, y, from, to, 0);
    }
}

void roof_affine(const float *x, float *y, size_t n, int threads, int streaming)
{ pieces(x, NULL, y, n, threads, streaming); }

void roof_triad(const float *x, const float *z, float *y, size_t n, int threads, int streaming)
{ pieces(x, z, y, n, threads, streaming); }

float roof_read(const float *x, size_t n, int threads)
{
    float total = 0;
#pragma omp parallel for num_threads(threads) if (n > FEW) schedule(static, 1) reduction(+ : total)
    for (int t = 0; t < threads; t++) {
        size_t i = border(n, t, threads), end = border(n, t + 1, threads);
        line_t sums[8] = {{0}};
        for (; i + 8 * LINE <= end; i += 8 * LINE)
            for (int k = 0; k < 8; k++) sums[k] += *(const line_t *)(x + i + k * LINE);
        for (; i < end; i++) sums[0][0] += x[i];
        for (int k = 0; k < 8 * LINE; k++) total += sums[k / LINE][k % LINE];
    }
    return total;
}

/* The integer engine: runs a network's layers on int16 activations (docs/FORMAT.md, "The integer networks").
 *
 * Every sum fits in int32, whatever the input, because `vaecodec.engine.network` refuses networks
 * for which it cannot prove that. Sums of integers are exact in any order, so all kernels agree.
 *
 *   1. data        what the caller passes: buffers, layers, packed weights
 *   2. kernels     linear and depthwise: portable C, then one section per instruction set
 *   3. layers      the loops over stages, bands of rows and layers; how threads share them
 *   4. Python      the module vaecodec.engine._engine; left out with -DVAECODEC_ENGINE_ONLY
 */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-coalesce-vars")  /* else GCC 12 copies every sum of a tile twice per iteration */
#endif

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define TARGET(features) __attribute__((target(features)))
#define UNROLL _Pragma("GCC unroll 16")
#else
#define INLINE static __forceinline
#define TARGET(features)
#define UNROLL
#endif

_Static_assert((-3 >> 1) == -2, "shifts of negative numbers must be arithmetic");

/* ---- 1. data -------------------------------------------------------------------------------- */

enum { LIMIT = 16383 };  /* activations lie within +-LIMIT */
enum { PANEL = 16 };  /* outputs whose weights are stored together */
enum { MAX_BUFFERS = 33 };  /* those of a network, and what the caller gives */
enum { LINEAR, DEPTHWISE, GAIN, SHUFFLE, UNSHUFFLE, CLAMP };
enum { ADD = 1, RELU = 2 };

/* An array of int16 (rows, columns, channels), followed by room for one more value, since inputs are read in
 * pairs. The other input of an odd last one may be in use by another thread; its weight is 0. `n` rows of the
 * network are n * scale rows of the buffer. A local buffer holds one band of rows. Buffer 0 is what
 * the caller gives. It has no such room, and only the layer CLAMP reads it. */
typedef struct {
    int64_t channels, scale, local;
} Shape;

typedef struct {
    int64_t kind, flags;
    int64_t source, source_channel;  /* buffer, first channel */
    int64_t target, target_channel;
    int64_t inputs, outputs;         /* channels */
    int64_t factor;                  /* of shuffle and unshuffle */
    int64_t weight, bias, shift;     /* byte offsets in the constants, or for a gain in the gains */
} Layer;

/* What a kernel needs to know about a linear, depthwise or gain layer. `bias` includes 2^(shift - 1). Weights,
 * and their bias and shift, are padded with zeros to whole panels of outputs.
 *   linear     weight[outputs / 16][inputs / 2][16][2], so that a vector holds pairs of inputs
 *   depthwise  weight[10][outputs], tap by tap, in row-major order; the tenth tap is 0 */
typedef struct {
    const int16_t *weight;
    const int32_t *gain, *bias, *shift;
    ptrdiff_t inputs, outputs, padded;  /* linear: inputs is even; padded: outputs in whole panels */
    ptrdiff_t source_pitch, target_pitch;
    int low, add;
} Weights;

typedef void Linear(const Weights *l, const int16_t *x, int16_t *y, ptrdiff_t pixels);
typedef Linear Gain;
/* x: the rows above, at and below the output. step: from a pixel to the next in each, 0 for a row of zeros. */
typedef void Depthwise(const Weights *l, const int16_t *const x[3], const ptrdiff_t step[3], int16_t *y,
                       ptrdiff_t pixels);

static const int16_t zeros[32];

/* ---- 2. kernels ----------------------------------------------------------------------------- */

INLINE int32_t clamp(int32_t v, int32_t low)
{
    return v < low ? low : v > LIMIT ? LIMIT : v;
}

INLINE int16_t finished(int32_t sum, int32_t shift, int low, int add, int16_t before)
{
    int32_t v = clamp(sum >> shift, -LIMIT);
    return (int16_t)clamp(add ? v + before : v, low);
}

static void linear_portable(const Weights *l, const int16_t *x, int16_t *y, ptrdiff_t pixels)
{
    for (ptrdiff_t o = 0; o < l->outputs; o += PANEL) {
        const int16_t *w = l->weight + o * l->inputs;
        ptrdiff_t count = l->outputs - o < PANEL ? l->outputs - o : PANEL;
        for (ptrdiff_t p = 0; p < pixels; p++) {
            const int16_t *xp = x + p * l->source_pitch;
            int16_t *yp = y + p * l->target_pitch + o;
            int32_t sum[PANEL];
            memcpy(sum, l->bias + o, sizeof sum);
            for (ptrdiff_t i = 0; i < l->inputs; i += 2)
                for (int j = 0; j < PANEL; j++)
                    sum[j] += xp[i] * w[i * PANEL + 2 * j] + xp[i + 1] * w[i * PANEL + 2 * j + 1];
            for (ptrdiff_t j = 0; j < count; j++)
                yp[j] = finished(sum[j], l->shift[o + j], l->low, l->add, yp[j]);
        }
    }
}

/* Multiplies by the gain, adds the bias, rounds and saturates. The compiler makes vectors of it for each kernel. */
INLINE void gain_any(const Weights *l, const int16_t *x, int16_t *y, ptrdiff_t pixels)
{
    for (ptrdiff_t p = 0; p < pixels; p++, x += l->source_pitch, y += l->target_pitch)
        for (ptrdiff_t c = 0; c < l->outputs; c++)
            y[c] = finished(x[c] * l->gain[c] + l->bias[c], l->shift[c], l->low, l->add, y[c]);
}

static void gain_portable(const Weights *l, const int16_t *x, int16_t *y, ptrdiff_t pixels)
{
    gain_any(l, x, y, pixels);
}

/* Points `tap` to the nine inputs of an output, in row-major order, and to zeros for the tenth weight. */
INLINE void taps(const int16_t *tap[10], const int16_t *const x[3], const ptrdiff_t step[3], ptrdiff_t p,
                 ptrdiff_t pixels, ptrdiff_t channel)
{
    for (int r = 0; r < 3; r++) {
        const int16_t *at = x[r] + p * step[r] + (step[r] ? channel : 0);
        tap[3 * r] = p ? at - step[r] : zeros;
        tap[3 * r + 1] = at;
        tap[3 * r + 2] = p + 1 < pixels ? at + step[r] : zeros;
    }
    tap[9] = zeros;
}

static void depthwise_from(const Weights *l, const int16_t *const x[3], const ptrdiff_t step[3], int16_t *y,
                           ptrdiff_t pixels, ptrdiff_t first)
{
    for (ptrdiff_t p = 0; p < pixels; p++)
        for (ptrdiff_t c = first; c < l->outputs; c++) {
            const int16_t *tap[10];
            int32_t sum = l->bias[c];
            taps(tap, x, step, p, pixels, c);
            for (int t = 0; t < 9; t++) sum += *tap[t] * l->weight[t * l->padded + c];
            y[p * l->target_pitch + c] = finished(sum, l->shift[c], l->low, 0, 0);
        }
}

static void depthwise_portable(const Weights *l, const int16_t *const x[3], const ptrdiff_t step[3], int16_t *y,
                               ptrdiff_t pixels)
{
    depthwise_from(l, x, step, y, pixels, 0);
}

/* The kernels of an instruction set ISA. The section before each use defines, with VECTORS int32
 * vectors (ISA_v32) for a panel of 16 outputs, and CHANNELS channels in an int16 vector (ISA_v16):
 *
 *   ISA_pair(x)                 the inputs x[0] and x[1], in all lanes (ISA_p)
 *   ISA_weights(p)              the weights of an int32 vector of outputs for a pair of inputs (ISA_w)
 *   ISA_dot(sum, w, pair)       sum plus the products of both inputs
 *   ISA_load32(p)               loads an int32 vector
 *   ISA_panel(sum, shift, low, add, y)     finishes a panel of sums and writes 16 outputs
 *   ISA_load16(p)               loads an int16 vector
 *   ISA_taps(sum, x0, x1, w0, w1)          adds x0 * w0 + x1 * w1 to sum[2], in the order below
 *   ISA_channels(sum, shift, low, y)       finishes CHANNELS sums and writes them
 *
 * Of every 8 consecutive channels, ISA_taps adds the first 4 to sum[0] and the last 4 to sum[1].
 * A tile, which is summed at once, has ROWS pixels and PANELS panels. */
#define KERNELS(ISA, ATTRIBUTES, VECTORS, CHANNELS, ROWS, PANELS)                                                      \
    ATTRIBUTES INLINE void ISA##_tile(const Weights *l, const int16_t *x, int16_t *y, ptrdiff_t o,                     \
                                      const int rows, const int panels)                                                \
    {                                                                                                                  \
        const int16_t *weight = l->weight + o * l->inputs;                                                             \
        ISA##_v32 sum[ROWS][PANELS * VECTORS];                                                                         \
        UNROLL for (int r = 0; r < rows; r++)                                                                          \
            UNROLL for (int v = 0; v < panels * VECTORS; v++)                                                          \
                sum[r][v] = ISA##_load32(l->bias + o + PANEL / VECTORS * v);                                           \
        ptrdiff_t i = 0;                                                                                               \
        do {                                                                                                           \
            ISA##_w w[PANELS * VECTORS];                                                                               \
            UNROLL for (int v = 0; v < panels * VECTORS; v++)                                                          \
                w[v] = ISA##_weights(weight + PANEL * (i + v / VECTORS * l->inputs) + 32 / VECTORS * (v % VECTORS));   \
            UNROLL for (int r = 0; r < rows; r++) {                                                                    \
                ISA##_p x2 = ISA##_pair(x + r * l->source_pitch + i);                                                  \
                UNROLL for (int v = 0; v < panels * VECTORS; v++) sum[r][v] = ISA##_dot(sum[r][v], w[v], x2);          \
            }                                                                                                          \
            i += 2;                                                                                                    \
        } while (i < l->inputs);                                                                                       \
        UNROLL for (int r = 0; r < rows; r++)                                                                          \
            UNROLL for (int t = 0; t < panels; t++) {                                                                  \
                ptrdiff_t first = o + PANEL * t, count = l->outputs - first;                                           \
                int16_t *out = y + r * l->target_pitch + first;                                                        \
                if (count >= PANEL) {                                                                                  \
                    ISA##_panel(sum[r] + t * VECTORS, l->shift + first, l->low, l->add, out);                          \
                } else {                                                                                               \
                    int16_t part[PANEL] = {0};                                                                         \
                    memcpy(part, out, (size_t)count * sizeof *out);                                                    \
                    ISA##_panel(sum[r] + t * VECTORS, l->shift + first, l->low, l->add, part);                         \
                    memcpy(out, part, (size_t)count * sizeof *out);                                                    \
                }                                                                                                      \
            }                                                                                                          \
    }                                                                                                                  \
                                                                                                                       \
    ATTRIBUTES INLINE void ISA##_panels(const Weights *l, const int16_t *x, int16_t *y, ptrdiff_t pixels,              \
                                        ptrdiff_t o, const int panels)                                                 \
    {                                                                                                                  \
        ptrdiff_t p = 0;                                                                                               \
        for (; p + ROWS <= pixels; p += ROWS)                                                                          \
            ISA##_tile(l, x + p * l->source_pitch, y + p * l->target_pitch, o, ROWS, panels);                          \
        for (; p < pixels; p++)                                                                                        \
            ISA##_tile(l, x + p * l->source_pitch, y + p * l->target_pitch, o, 1, panels);                             \
    }                                                                                                                  \
                                                                                                                       \
    ATTRIBUTES static void linear_##ISA(const Weights *l, const int16_t *x, int16_t *y, ptrdiff_t pixels)              \
    {                                                                                                                  \
        ptrdiff_t left = l->padded / PANEL;                                                                            \
        for (ptrdiff_t o = 0; left > 0;) {                                                                             \
            /* 5 panels are 3 and 2, not 4 and 1: narrow tiles are slow. */                                            \
            ptrdiff_t groups = (left + PANELS - 1) / PANELS;                                                           \
            ptrdiff_t panels = (left + groups - 1) / groups;                                                           \
            switch (PANELS > 1 ? panels : 1) {                                                                         \
            case 1: ISA##_panels(l, x, y, pixels, o, 1); break;                                                        \
            case 2: ISA##_panels(l, x, y, pixels, o, PANELS < 2 ? 1 : 2); break;                                       \
            case 3: ISA##_panels(l, x, y, pixels, o, PANELS < 3 ? 1 : 3); break;                                       \
            default: ISA##_panels(l, x, y, pixels, o, PANELS < 4 ? 1 : 4); break;                                      \
            }                                                                                                          \
            o += PANEL * panels;                                                                                       \
            left -= panels;                                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
                                                                                                                       \
    ATTRIBUTES static void gain_##ISA(const Weights *l, const int16_t *x, int16_t *y, ptrdiff_t pixels)                \
    {                                                                                                                  \
        gain_any(l, x, y, pixels);                                                                                     \
    }                                                                                                                  \
                                                                                                                       \
    ATTRIBUTES static void depthwise_##ISA(const Weights *l, const int16_t *const x[3],                                \
                                           const ptrdiff_t step[3], int16_t *y, ptrdiff_t pixels)                      \
    {                                                                                                                  \
        ptrdiff_t c = 0;                                                                                               \
        for (; c + CHANNELS <= l->outputs; c += CHANNELS) {                                                            \
            int32_t bias[CHANNELS], shift[CHANNELS];                                                                   \
            for (int i = 0; i < CHANNELS; i++) {                                                                       \
                int to = i / 8 * 4 + i % 4 + i / 4 % 2 * (CHANNELS / 2);                                               \
                bias[to] = l->bias[c + i];                                                                             \
                shift[to] = l->shift[c + i];                                                                           \
            }                                                                                                          \
            ISA##_v16 w[10];                                                                                           \
            for (int t = 0; t < 10; t++) w[t] = ISA##_load16(l->weight + t * l->padded + c);                           \
            for (ptrdiff_t p = 0; p < pixels; p++) {                                                                   \
                const int16_t *tap[10];                                                                                \
                taps(tap, x, step, p, pixels, c);                                                                      \
                ISA##_v32 sum[2] = {ISA##_load32(bias), ISA##_load32(bias + CHANNELS / 2)};                            \
                UNROLL for (int t = 0; t < 10; t += 2)                                                                 \
                    ISA##_taps(sum, ISA##_load16(tap[t]), ISA##_load16(tap[t + 1]), w[t], w[t + 1]);                   \
                ISA##_channels(sum, shift, l->low, y + p * l->target_pitch + c);                                       \
            }                                                                                                          \
        }                                                                                                              \
        depthwise_from(l, x, step, y, pixels, c);                                                                      \
    }

/* Instruction sets with 128-bit vectors finish panels and channels by ISA_eight, which finishes eight sums. */
#define EIGHTS(ISA)                                                                                                    \
    INLINE void ISA##_panel(const ISA##_v32 *sum, const int32_t *shift, int low, int add, int16_t *y)                  \
    {                                                                                                                  \
        ISA##_eight(sum, shift, low, add, y);                                                                          \
        ISA##_eight(sum + 2, shift + 8, low, add, y + 8);                                                              \
    }                                                                                                                  \
                                                                                                                       \
    INLINE void ISA##_channels(const ISA##_v32 *sum, const int32_t *shift, int low, int16_t *y)                        \
    {                                                                                                                  \
        ISA##_eight(sum, shift, low, 0, y);                                                                            \
    }

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

INLINE int32_t pair(const int16_t *x)
{
    int32_t p;
    memcpy(&p, x, sizeof p);
    return p;
}

/* SSE2, which every x86-64 processor has. It cannot shift each lane by its own count. */
typedef __m128i sse2_v16, sse2_v32, sse2_w, sse2_p;

INLINE sse2_v16 sse2_load16(const int16_t *p) { return _mm_loadu_si128((const void *)p); }
INLINE sse2_v32 sse2_load32(const int32_t *p) { return _mm_loadu_si128((const void *)p); }

INLINE sse2_w sse2_weights(const int16_t *p) { return sse2_load16(p); }
INLINE sse2_p sse2_pair(const int16_t *x) { return _mm_set1_epi32(pair(x)); }
INLINE sse2_v32 sse2_dot(sse2_v32 sum, sse2_w w, sse2_p x) { return _mm_add_epi32(sum, _mm_madd_epi16(x, w)); }

INLINE __m128i sse2_shifted(__m128i v, const int32_t *shift)
{
    int32_t lane[4];
    _mm_storeu_si128((void *)lane, v);
    for (int i = 0; i < 4; i++) lane[i] >>= shift[i];
    return sse2_load32(lane);
}

INLINE void sse2_eight(const sse2_v32 *sum, const int32_t *shift, int low, int add, int16_t *y)
{
    __m128i high = _mm_set1_epi16(LIMIT);
    __m128i v = _mm_packs_epi32(sse2_shifted(sum[0], shift), sse2_shifted(sum[1], shift + 4));
    v = _mm_min_epi16(_mm_max_epi16(v, _mm_set1_epi16(-LIMIT)), high);
    if (add) v = _mm_adds_epi16(v, sse2_load16(y));
    v = _mm_min_epi16(_mm_max_epi16(v, _mm_set1_epi16((short)low)), high);
    _mm_storeu_si128((void *)y, v);
}

INLINE void sse2_taps(sse2_v32 *sum, __m128i x0, __m128i x1, __m128i w0, __m128i w1)
{
    sum[0] = _mm_add_epi32(sum[0], _mm_madd_epi16(_mm_unpacklo_epi16(x0, x1), _mm_unpacklo_epi16(w0, w1)));
    sum[1] = _mm_add_epi32(sum[1], _mm_madd_epi16(_mm_unpackhi_epi16(x0, x1), _mm_unpackhi_epi16(w0, w1)));
}

EIGHTS(sse2)
KERNELS(sse2, , 4, 8, 2, 1)

/* AVX2, and the same with the products of AVX-VNNI. */
#define AVX2 TARGET("avx2")
#define AVXVNNI TARGET("avx2,avxvnni")
typedef __m256i avx2_v16, avx2_v32, avx2_w, avx2_p, avxvnni_v16, avxvnni_v32, avxvnni_w, avxvnni_p;

AVX2 INLINE avx2_v16 avx2_load16(const int16_t *p) { return _mm256_loadu_si256((const void *)p); }
AVX2 INLINE avx2_v32 avx2_load32(const int32_t *p) { return _mm256_loadu_si256((const void *)p); }
AVX2 INLINE avx2_w avx2_weights(const int16_t *p) { return avx2_load16(p); }
AVX2 INLINE avx2_p avx2_pair(const int16_t *x) { return _mm256_set1_epi32(pair(x)); }

AVX2 INLINE avx2_v32 avx2_dot(avx2_v32 sum, avx2_w w, avx2_p x)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
}

AVX2 INLINE void avx2_store(__m256i v, int low, int add, int16_t *y)
{
    __m256i high = _mm256_set1_epi16(LIMIT);
    v = _mm256_min_epi16(_mm256_max_epi16(v, _mm256_set1_epi16(-LIMIT)), high);
    if (add) v = _mm256_adds_epi16(v, avx2_load16(y));
    v = _mm256_min_epi16(_mm256_max_epi16(v, _mm256_set1_epi16((short)low)), high);
    _mm256_storeu_si256((void *)y, v);
}

/* Shifts two vectors of sums and packs them, within each 128-bit half. */
AVX2 INLINE __m256i avx2_packed(const avx2_v32 *sum, const int32_t *shift)
{
    return _mm256_packs_epi32(_mm256_srav_epi32(sum[0], avx2_load32(shift)),
                              _mm256_srav_epi32(sum[1], avx2_load32(shift + 8)));
}

AVX2 INLINE void avx2_panel(const avx2_v32 *sum, const int32_t *shift, int low, int add, int16_t *y)
{
    avx2_store(_mm256_permute4x64_epi64(avx2_packed(sum, shift), 0xD8), low, add, y);
}

AVX2 INLINE void avx2_taps(avx2_v32 *sum, __m256i x0, __m256i x1, __m256i w0, __m256i w1)
{
    __m256i x = _mm256_unpacklo_epi16(x0, x1), w = _mm256_unpacklo_epi16(w0, w1);
    sum[0] = _mm256_add_epi32(sum[0], _mm256_madd_epi16(x, w));
    x = _mm256_unpackhi_epi16(x0, x1), w = _mm256_unpackhi_epi16(w0, w1);
    sum[1] = _mm256_add_epi32(sum[1], _mm256_madd_epi16(x, w));
}

AVX2 INLINE void avx2_channels(const avx2_v32 *sum, const int32_t *shift, int low, int16_t *y)
{
    avx2_store(avx2_packed(sum, shift), low, 0, y);
}

KERNELS(avx2, AVX2, 2, 16, 4, 1)

#if defined(__clang__) ? __clang_major__ >= 13 : defined(__GNUC__) ? __GNUC__ >= 11 : _MSC_VER >= 1930
#define KNOWS_AVXVNNI  /* the compiler; the build must not fail for older ones */
#define avxvnni_pair avx2_pair
#define avxvnni_weights avx2_weights
#define avxvnni_load16 avx2_load16
#define avxvnni_load32 avx2_load32
#define avxvnni_panel avx2_panel
#define avxvnni_taps avx2_taps
#define avxvnni_channels avx2_channels

AVXVNNI INLINE avxvnni_v32 avxvnni_dot(avxvnni_v32 sum, avxvnni_w w, avxvnni_p x)
{
    return _mm256_dpwssd_avx_epi32(sum, x, w);
}

KERNELS(avxvnni, AVXVNNI, 2, 16, 6, 1)
#endif

/* AVX-512 with VNNI. */
#define VNNI TARGET("avx512f,avx512bw,avx512vl,avx512vnni")
typedef __m512i vnni_v16, vnni_v32, vnni_w, vnni_p;

VNNI INLINE vnni_v16 vnni_load16(const int16_t *p) { return _mm512_loadu_si512(p); }
VNNI INLINE vnni_v32 vnni_load32(const int32_t *p) { return _mm512_loadu_si512(p); }
VNNI INLINE vnni_w vnni_weights(const int16_t *p) { return _mm512_loadu_si512(p); }
VNNI INLINE vnni_p vnni_pair(const int16_t *x) { return _mm512_set1_epi32(pair(x)); }
VNNI INLINE vnni_v32 vnni_dot(vnni_v32 sum, vnni_w w, vnni_p x) { return _mm512_dpwssd_epi32(sum, x, w); }

VNNI INLINE void vnni_panel(const vnni_v32 *sum, const int32_t *shift, int low, int add, int16_t *y)
{
    avx2_store(_mm512_cvtsepi32_epi16(_mm512_srav_epi32(*sum, vnni_load32(shift))), low, add, y);
}

VNNI INLINE void vnni_taps(vnni_v32 *sum, __m512i x0, __m512i x1, __m512i w0, __m512i w1)
{
    sum[0] = _mm512_dpwssd_epi32(sum[0], _mm512_unpacklo_epi16(x0, x1), _mm512_unpacklo_epi16(w0, w1));
    sum[1] = _mm512_dpwssd_epi32(sum[1], _mm512_unpackhi_epi16(x0, x1), _mm512_unpackhi_epi16(w0, w1));
}

VNNI INLINE void vnni_channels(const vnni_v32 *sum, const int32_t *shift, int low, int16_t *y)
{
    __m512i v = _mm512_packs_epi32(_mm512_srav_epi32(sum[0], vnni_load32(shift)),
                                   _mm512_srav_epi32(sum[1], vnni_load32(shift + 16)));
    v = _mm512_min_epi16(_mm512_max_epi16(v, _mm512_set1_epi16((short)low)), _mm512_set1_epi16(LIMIT));
    _mm512_storeu_si512(y, v);
}

KERNELS(vnni, VNNI, 1, 32, 4, 4)

#if defined(_MSC_VER)
#include <intrin.h>
static void cpuid(int leaf, int subleaf, unsigned r[4]) { __cpuidex((int *)r, leaf, subleaf); }
static uint64_t enabled_state(void) { return _xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(int leaf, int subleaf, unsigned r[4]) { __cpuid_count(leaf, subleaf, r[0], r[1], r[2], r[3]); }
static uint64_t enabled_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}
#endif

enum { HAS_AVX2 = 1, HAS_AVXVNNI = 2, HAS_VNNI = 4 };

/* Returns the instruction sets that the processor has and whose registers the operating system saves. */
static int read_features(void)
{
    unsigned r[4], most;
    cpuid(0, 0, r);
    most = r[0];
    cpuid(1, 0, r);
    if (most < 7 || !(r[2] >> 27 & 1)) return 0;
    uint64_t state = enabled_state();
    if ((state & 0x06) != 0x06) return 0;
    cpuid(7, 0, r);
    int found = r[1] >> 5 & 1 ? HAS_AVX2 : 0;
    int wide = (r[1] >> 16 & 1) && (r[1] >> 30 & 1) && (r[1] >> 31 & 1) && (r[2] >> 11 & 1);
    if (wide && (state & 0xE6) == 0xE6) found |= HAS_VNNI;
    if (r[0] >= 1) {
        cpuid(7, 1, r);
        if (found & HAS_AVX2 && r[0] >> 4 & 1) found |= HAS_AVXVNNI;
    }
    return found;
}

static int features(void)
{
    static volatile int found = -1;  /* racing threads write the same value */
    if (found < 0) found = read_features();
    return found;
}

#elif defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>

typedef int16x8_t neon_v16;
typedef int32x4_t neon_v32;
typedef int16x4x2_t neon_w, neon_p;  /* .val[0] belongs to the first input of the pair */

INLINE neon_v16 neon_load16(const int16_t *p) { return vld1q_s16(p); }
INLINE neon_v32 neon_load32(const int32_t *p) { return vld1q_s32(p); }
INLINE neon_w neon_weights(const int16_t *p) { return vld2_s16(p); }
INLINE neon_p neon_pair(const int16_t *x) { return (neon_p){{vdup_n_s16(x[0]), vdup_n_s16(x[1])}}; }

INLINE neon_v32 neon_dot(neon_v32 sum, neon_w w, neon_p x)
{
    return vmlal_s16(vmlal_s16(sum, w.val[0], x.val[0]), w.val[1], x.val[1]);
}

INLINE void neon_eight(const neon_v32 *sum, const int32_t *shift, int low, int add, int16_t *y)
{
    int16x4_t first = vqmovn_s32(vshlq_s32(sum[0], vnegq_s32(vld1q_s32(shift))));
    int16x4_t second = vqmovn_s32(vshlq_s32(sum[1], vnegq_s32(vld1q_s32(shift + 4))));
    int16x8_t high = vdupq_n_s16(LIMIT), v = vcombine_s16(first, second);
    v = vminq_s16(vmaxq_s16(v, vdupq_n_s16(-LIMIT)), high);
    if (add) v = vqaddq_s16(v, vld1q_s16(y));
    vst1q_s16(y, vminq_s16(vmaxq_s16(v, vdupq_n_s16((int16_t)low)), high));
}

INLINE void neon_taps(neon_v32 *sum, int16x8_t x0, int16x8_t x1, int16x8_t w0, int16x8_t w1)
{
    sum[0] = vmlal_s16(vmlal_s16(sum[0], vget_low_s16(x0), vget_low_s16(w0)), vget_low_s16(x1), vget_low_s16(w1));
    sum[1] = vmlal_s16(vmlal_s16(sum[1], vget_high_s16(x0), vget_high_s16(w0)), vget_high_s16(x1), vget_high_s16(w1));
}

EIGHTS(neon)
KERNELS(neon, , 4, 8, 4, 1)

#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>

typedef v128_t wasm_v16, wasm_v32, wasm_w, wasm_p;

INLINE wasm_v16 wasm_load16(const int16_t *p) { return wasm_v128_load(p); }
INLINE wasm_v32 wasm_load32(const int32_t *p) { return wasm_v128_load(p); }

INLINE wasm_w wasm_weights(const int16_t *p) { return wasm_v128_load(p); }
INLINE wasm_p wasm_pair(const int16_t *x) { return wasm_v128_load32_splat(x); }

INLINE wasm_v32 wasm_dot(wasm_v32 sum, wasm_w w, wasm_p x)
{
    return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(x, w));
}

INLINE v128_t wasm_shifted(v128_t v, const int32_t *shift)
{
    int32_t lane[4];
    wasm_v128_store(lane, v);
    for (int i = 0; i < 4; i++) lane[i] >>= shift[i];
    return wasm_v128_load(lane);
}

INLINE void wasm_eight(const wasm_v32 *sum, const int32_t *shift, int low, int add, int16_t *y)
{
    v128_t high = wasm_i16x8_splat(LIMIT);
    v128_t v = wasm_i16x8_narrow_i32x4(wasm_shifted(sum[0], shift), wasm_shifted(sum[1], shift + 4));
    v = wasm_i16x8_min(wasm_i16x8_max(v, wasm_i16x8_splat(-LIMIT)), high);
    if (add) v = wasm_i16x8_add_sat(v, wasm_v128_load(y));
    wasm_v128_store(y, wasm_i16x8_min(wasm_i16x8_max(v, wasm_i16x8_splat((int16_t)low)), high));
}

INLINE void wasm_taps(wasm_v32 *sum, v128_t x0, v128_t x1, v128_t w0, v128_t w1)
{
    sum[0] = wasm_i32x4_add(sum[0], wasm_i32x4_extmul_low_i16x8(x0, w0));
    sum[0] = wasm_i32x4_add(sum[0], wasm_i32x4_extmul_low_i16x8(x1, w1));
    sum[1] = wasm_i32x4_add(sum[1], wasm_i32x4_extmul_high_i16x8(x0, w0));
    sum[1] = wasm_i32x4_add(sum[1], wasm_i32x4_extmul_high_i16x8(x1, w1));
}

EIGHTS(wasm)
KERNELS(wasm, , 4, 8, 2, 1)

#endif

#if !defined(__x86_64__) && !defined(_M_X64)
static int features(void) { return 0; }
#endif

typedef struct {
    const char *name;
    Linear *linear;
    Depthwise *depthwise;
    Gain *gain;
    int needs;  /* features */
} Kernel;

/* Best first. */
static const Kernel kernels[] = {
#if defined(__x86_64__) || defined(_M_X64)
    {"vnni", linear_vnni, depthwise_vnni, gain_vnni, HAS_VNNI},
#ifdef KNOWS_AVXVNNI
    {"avxvnni", linear_avxvnni, depthwise_avxvnni, gain_avxvnni, HAS_AVXVNNI},
#endif
    {"avx2", linear_avx2, depthwise_avx2, gain_avx2, HAS_AVX2},
    {"sse2", linear_sse2, depthwise_sse2, gain_sse2, 0},
#elif defined(__aarch64__) || defined(_M_ARM64)
    {"neon", linear_neon, depthwise_neon, gain_neon, 0},
#elif defined(__wasm_simd128__)
    {"wasm", linear_wasm, depthwise_wasm, gain_wasm, 0},
#endif
    {"portable", linear_portable, depthwise_portable, gain_portable, 0},
};
enum { KERNEL_COUNT = sizeof kernels / sizeof *kernels };

/* Returns the kernel of this name, or the best one if the name is empty. NULL if it cannot run here. */
static const Kernel *find_kernel(const char *name)
{
    int found = features();
    for (const Kernel *k = kernels; k < kernels + KERNEL_COUNT; k++)
        if ((found & k->needs) == k->needs && (!*name || !strcmp(k->name, name))) return k;
    return NULL;
}

/* ---- 3. layers ------------------------------------------------------------------------------ */

enum { SPINS = 4000 };  /* how often a waiting thread polls before it yields */

#if defined(_MSC_VER)
#include <intrin.h>
INLINE int64_t fetch_add(int64_t *p) { return _InterlockedExchangeAdd64((volatile __int64 *)p, 1); }
INLINE int64_t load(int64_t *p) { return _InterlockedExchangeAdd64((volatile __int64 *)p, 0); }
#else
INLINE int64_t fetch_add(int64_t *p) { return __atomic_fetch_add(p, 1, __ATOMIC_ACQ_REL); }
INLINE int64_t load(int64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
#endif

#if defined(_WIN32)
__declspec(dllimport) int __stdcall SwitchToThread(void);
INLINE void give_way(void) { SwitchToThread(); }
#elif defined(__unix__) || defined(__APPLE__)
#include <sched.h>
INLINE void give_way(void) { sched_yield(); }
#else
INLINE void give_way(void) {}  /* WebAssembly, with one thread */
#endif

typedef struct {
    const Kernel *kernel;
    const Layer *layers;
    const Shape *shapes;
    int16_t *const *buffers;
    const char *constants, *gains;
    ptrdiff_t rows, columns;  /* of the network, at scale 1 */
} Run;

/* Copies between `rows` x `columns` wide pixels and the narrow ones, `factor` times as many in rows and columns. */
static void reshuffle(const Layer *l, const int16_t *x, ptrdiff_t source_pitch, int16_t *y, ptrdiff_t target_pitch,
                      ptrdiff_t rows, ptrdiff_t columns)
{
    ptrdiff_t f = l->factor, narrow = l->kind == SHUFFLE ? l->outputs : l->inputs;
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t a = 0; a < f; a++)
            for (ptrdiff_t j = 0; j < columns; j++)
                for (ptrdiff_t b = 0; b < f; b++) {
                    ptrdiff_t wide_pixel = i * columns + j, channel = (a * f + b) * narrow;
                    ptrdiff_t narrow_pixel = ((i * f + a) * columns + j) * f + b;
                    if (l->kind == SHUFFLE)
                        memcpy(y + narrow_pixel * target_pitch, x + wide_pixel * source_pitch + channel,
                               (size_t)narrow * sizeof *y);
                    else
                        memcpy(y + wide_pixel * target_pitch + channel, x + narrow_pixel * source_pitch,
                               (size_t)narrow * sizeof *y);
                }
}

static void clamp_given(const int16_t *x, int16_t *y, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) y[i] = (int16_t)clamp(x[i], -LIMIT);
}

/* Runs a layer on a band: rows `first` to `last` - 1 of the network. */
static void run_layer(const Run *run, const Layer *l, ptrdiff_t first, ptrdiff_t last)
{
    const Shape *from = run->shapes + l->source, *to = run->shapes + l->target;
    ptrdiff_t source_width = run->columns * from->scale * from->channels;
    ptrdiff_t target_width = run->columns * to->scale * to->channels;
    ptrdiff_t source_row = from->local ? 0 : first * from->scale, target_row = to->local ? 0 : first * to->scale;
    ptrdiff_t rows = (last - first) * to->scale, columns = run->columns * to->scale;
    const int16_t *x = run->buffers[l->source] + source_row * source_width + l->source_channel;
    int16_t *y = run->buffers[l->target] + target_row * target_width + l->target_channel;
    const char *constants = l->kind == GAIN ? run->gains : run->constants;
    Weights w = {
        .weight = (const void *)(constants + l->weight),
        .gain = (const void *)(constants + l->weight),
        .bias = (const void *)(constants + l->bias),
        .shift = (const void *)(constants + l->shift),
        .inputs = (l->inputs + 1) / 2 * 2,
        .outputs = l->outputs,
        .padded = (l->outputs + PANEL - 1) / PANEL * PANEL,
        .source_pitch = from->channels,
        .target_pitch = to->channels,
        .low = l->flags & RELU ? 0 : -LIMIT,
        .add = (int)(l->flags & ADD),
    };
    switch (l->kind) {
    case LINEAR:
        run->kernel->linear(&w, x, y, rows * columns);
        break;
    case DEPTHWISE:
        for (ptrdiff_t i = 0; i < rows; i++, x += source_width, y += target_width) {
            ptrdiff_t row = first * to->scale + i, height = run->rows * to->scale;
            const int16_t *around[3] = {row ? x - source_width : zeros, x, row + 1 < height ? x + source_width : zeros};
            ptrdiff_t step[3] = {row ? from->channels : 0, from->channels, row + 1 < height ? from->channels : 0};
            run->kernel->depthwise(&w, around, step, y, columns);
        }
        break;
    case GAIN:
        run->kernel->gain(&w, x, y, rows * columns);
        break;
    case SHUFFLE:
        reshuffle(l, x, from->channels, y, to->channels, rows / l->factor, columns / l->factor);
        break;
    case UNSHUFFLE:
        reshuffle(l, x, from->channels, y, to->channels, rows, columns);
        break;
    case CLAMP:
        clamp_given(x, y, rows * target_width);
        break;
    }
}

/* Layers `first` to `last` - 1, within which the rows of the network are independent. */
typedef struct {
    int64_t first, last, band;  /* band: how many rows pass through all layers together */
} Stage;

static void run_stage(const Run *run, const Stage *stage, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t row = first; row < last; row += stage->band) {
        ptrdiff_t end = last - row < stage->band ? last : row + stage->band;
        for (int64_t i = stage->first; i < stage->last; i++) run_layer(run, run->layers + i, row, end);
    }
}

/* Waits until `count` shares are finished. */
static void wait_for(int64_t *progress, int64_t count)
{
    for (int tries = 0; load(progress + 1) < count;)
        if (tries < SPINS)
            tries++;
        else
            give_way();
}

/* Takes and runs shares until all are finished. All threads call this with the same `progress`. A share
 * is a range of rows of one stage. progress[0] is the next share to take, progress[1] the number of
 * finished ones. A share waits until those of all earlier stages are finished. No share of its own
 * stage can finish before that, so it is enough to count them. No thread waits for one that has
 * taken no share. */
static void run_shares(const Run *run, const Stage *stages, ptrdiff_t stage_count, ptrdiff_t share, int64_t *progress)
{
    int64_t shares = (run->rows + share - 1) / share, count = stage_count * shares;
    for (int64_t taken; (taken = fetch_add(progress)) < count; fetch_add(progress + 1)) {
        int64_t stage = taken / shares;
        ptrdiff_t first = (ptrdiff_t)(taken % shares) * share, end = run->rows;
        wait_for(progress, stage * shares);
        run_stage(run, stages + stage, first, end - first < share ? end : first + share);
    }
    wait_for(progress, count);
}

/* ---- 4. Python ------------------------------------------------------------------------------ */
#ifndef VAECODEC_ENGINE_ONLY
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *kernel_names(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    PyObject *names = PyList_New(0);
    for (int k = 0; names && k < KERNEL_COUNT; k++) {
        if (!find_kernel(kernels[k].name)) continue;
        PyObject *name = PyUnicode_FromString(kernels[k].name);
        if (!name || PyList_Append(names, name)) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

/* Returns whether all indices are in range and every buffer is as large as its shape says. */
static int arguments_fit(const Run *run, ptrdiff_t layer_count, const Stage *stages, ptrdiff_t stage_count,
                         const Py_buffer *views, ptrdiff_t count)
{
    int64_t band = 1;
    for (const Stage *s = stages; s < stages + stage_count; s++) {
        if (s->band <= 0 || s->first < 0 || s->first > s->last || s->last > layer_count) return 0;
        band = s->band > band ? s->band : band;
    }
    for (const Layer *l = run->layers; l < run->layers + layer_count; l++)
        if (l->source < 0 || l->source >= count || l->target < 0 || l->target >= count) return 0;
    for (ptrdiff_t b = 0; b < count; b++) {
        const Shape *s = run->shapes + b;
        int64_t rows = s->local && band < run->rows ? band : run->rows;
        int64_t needed = rows * run->columns * s->scale * s->scale * s->channels + (b > 0);
        if (views[b].len / (Py_ssize_t)sizeof(int16_t) < needed) return 0;
    }
    return 1;
}

static PyObject *run_network(PyObject *self, PyObject *args)
{
    enum { STAGES, LAYERS, SHAPES, CONSTANTS, GAINS, PROGRESS, GIVEN };
    const char *name;
    Py_buffer given[GIVEN], views[MAX_BUFFERS];
    int16_t *buffers[MAX_BUFFERS];
    PyObject *arrays;
    Py_ssize_t rows, columns, share, held = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "sy*y*y*y*y*w*O!nnn", &name, given + STAGES, given + LAYERS, given + SHAPES,
                          given + CONSTANTS, given + GAINS, given + PROGRESS, &PyTuple_Type, &arrays, &rows, &columns,
                          &share))
        return NULL;
    const Stage *stages = given[STAGES].buf;
    Py_ssize_t count = PyTuple_Size(arrays), stage_count = given[STAGES].len / (Py_ssize_t)sizeof(Stage);
    Py_ssize_t layer_count = given[LAYERS].len / (Py_ssize_t)sizeof(Layer);
    Run run = {find_kernel(name), given[LAYERS].buf, given[SHAPES].buf, buffers, given[CONSTANTS].buf,
               given[GAINS].buf, rows, columns};
    int sensible = run.kernel && count <= MAX_BUFFERS && given[SHAPES].len == count * (Py_ssize_t)sizeof(Shape)
                   && given[PROGRESS].len >= 2 * (Py_ssize_t)sizeof(int64_t) && rows > 0 && columns > 0 && share > 0;
    while (sensible && held < count
           && !PyObject_GetBuffer(PyTuple_GetItem(arrays, held), views + held, held ? PyBUF_WRITABLE : PyBUF_SIMPLE)) {
        buffers[held] = views[held].buf;
        held++;
    }
    if (!sensible || (held == count && !arguments_fit(&run, layer_count, stages, stage_count, views, count)))
        PyErr_SetString(PyExc_ValueError, "the arguments do not fit together");
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        run_shares(&run, stages, stage_count, share, given[PROGRESS].buf);
        Py_END_ALLOW_THREADS
    }
    while (held) PyBuffer_Release(views + --held);
    for (int i = 0; i < GIVEN; i++) PyBuffer_Release(given + i);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"kernels", kernel_names, METH_NOARGS, "Return the names of the kernels that this processor can run, the best first."},
    {"run", run_network, METH_VARARGS,
     "run(kernel, stages, layers, shapes, constants, gains, progress, buffers, rows, columns, share)\n\n"
     "Run the shares of the stages that no other call with this `progress` has taken, without the GIL."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_engine", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__engine(void) { return PyModuleDef_Init(&module); }
#endif

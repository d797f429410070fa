/* word.c: the checksum of message contents, alone and fused with the copy.
 *
 * Fletcher's scheme (J. Fletcher, 1982) over 64-bit words in LANES independent lanes, so that the compiler can keep
 * them in vector registers: per word, a += w and b += a. A changed byte changes its word, hence a; a moved
 * word changes b. Additions only: the sum costs less than the memory traffic of the copy it rides on.
 */
#include "word.h"

#include <string.h>

#define LANES 8
#define STRIDE (LANES * sizeof(uint64_t))

typedef struct {
    uint64_t a[LANES], b[LANES];
} lanes;

static inline uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ (h >> 29);
}

/* The words that do not fill a stride, then the bytes that do not fill a word. */
static inline uint64_t tail_sum(uint64_t h, const unsigned char *p, uint64_t n) {
    uint64_t w;
    while (n >= sizeof w) {
        memcpy(&w, p, sizeof w);
        h = mix(h, w);
        p += sizeof w;
        n -= sizeof w;
    }
    if (n) {
        w = 0;
        memcpy(&w, p, n);
        h = mix(h, w);
    }
    return h;
}

static inline uint64_t fold_lanes(const lanes *l, uint64_t h) {
    for (int i = 0; i < LANES; i++) h = mix(mix(h, l->a[i]), l->b[i]);
    return h;
}

uint64_t ip_sum(const void *data, uint64_t n, uint64_t seed) {
    const unsigned char *p = data;
    uint64_t h = mix(seed, n);
    if (n >= STRIDE) {
        lanes l = {{0}, {0}};
        for (; n >= STRIDE; n -= STRIDE, p += STRIDE) {
            uint64_t w[LANES];
            memcpy(w, p, STRIDE);
            for (int i = 0; i < LANES; i++) {
                l.a[i] += w[i];
                l.b[i] += l.a[i];
            }
        }
        h = fold_lanes(&l, h);
    }
    return tail_sum(h, p, n);
}

uint64_t ip_copy_sum(void *restrict to, const void *restrict from, uint64_t n, uint64_t seed) {
    const unsigned char *p = from;
    unsigned char *q = to;
    uint64_t h = mix(seed, n);
    if (n >= STRIDE) {
        lanes l = {{0}, {0}};
        for (; n >= STRIDE; n -= STRIDE, p += STRIDE, q += STRIDE) {
            uint64_t w[LANES];
            memcpy(w, p, STRIDE);
            memcpy(q, w, STRIDE);
            for (int i = 0; i < LANES; i++) {
                l.a[i] += w[i];
                l.b[i] += l.a[i];
            }
        }
        h = fold_lanes(&l, h);
    }
    memcpy(q, p, n);
    return tail_sum(h, q, n);
}

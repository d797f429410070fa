/* word.h: sealed words, the unit in which the arena stores anything it will read again.
 *
 * A sealed word is 64 bits: a payload of 56 bits above a check byte, chosen so that the XOR of all eight
 * bytes is IP_SEAL. Changing any one byte of a sealed word, in any way, breaks the seal; so does a page of
 * zeroes. Damage is therefore found at the read, before the value is used as an offset, size or index.
 *
 *      63                                              8 7        0
 *     +-------------------------------------------------+----------+
 *     |                  payload (56 bits)              |  check   |
 *     +-------------------------------------------------+----------+
 *
 * Message contents are covered by ip_sum(), which any single changed byte changes too.
 */
#ifndef IP_WORD_H
#define IP_WORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IP_SEAL 0x5Au
#define IP_PAYLOAD_MAX ((UINT64_C(1) << 56) - 1)
#define IP_CACHE_LINE 64

typedef _Atomic uint64_t ip_word;

static inline uint64_t ip_fold(uint64_t x) {
    x ^= x >> 32;
    x ^= x >> 16;
    x ^= x >> 8;
    return x & 0xFF;
}

static inline uint64_t ip_seal(uint64_t payload) {
    uint64_t x = payload << 8;
    return x | (ip_fold(x) ^ IP_SEAL);
}

static inline bool ip_sealed(uint64_t raw) { return ip_fold(raw) == IP_SEAL; }

static inline uint64_t ip_payload(uint64_t raw) { return raw >> 8; }

/* Reads a sealed word; false when the seal is broken. */
static inline bool ip_get(const ip_word *w, uint64_t *payload) {
    uint64_t raw = atomic_load_explicit((ip_word *)w, memory_order_acquire);
    *payload = raw >> 8;
    return ip_sealed(raw);
}

static inline void ip_set(ip_word *w, uint64_t payload) {
    atomic_store_explicit(w, ip_seal(payload), memory_order_release);
}

/* Replaces one payload by another; false when the word holds something else. */
static inline bool ip_swap(ip_word *w, uint64_t expected, uint64_t payload) {
    uint64_t raw = ip_seal(expected);
    return atomic_compare_exchange_strong(w, &raw, ip_seal(payload));
}

/* A checksum of n bytes, seeded; detects any single changed byte, and reordered or missing words. */
uint64_t ip_sum(const void *data, uint64_t n, uint64_t seed);

/* Copies n bytes and returns what ip_sum() of them is, in one pass. */
uint64_t ip_copy_sum(void *restrict to, const void *restrict from, uint64_t n, uint64_t seed);

#endif

/* test_word.c: no single changed byte goes unseen, in a sealed word or in what a checksum covers. */
#include "check.h"
#include "word.h"

#include <stdint.h>
#include <string.h>

#define MAX_SIZE 300
#define GUARD 16

/* Small multiplicative generator (Steele and Vigna's splitmix64): the same data in each run. */
static uint64_t random_state = 1;
static uint64_t next_random(void) {
    uint64_t z = (random_state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static void fill(unsigned char *data, size_t n) {
    for (size_t i = 0; i < n; i++) data[i] = (unsigned char)next_random();
}

static const uint64_t payloads[] = {
    0, 1, 2, 0xFF, 0x100, 0x5A, 0x123456789ABCDE, UINT64_C(1) << 55, IP_PAYLOAD_MAX - 1, IP_PAYLOAD_MAX,
};
#define PAYLOADS (sizeof payloads / sizeof *payloads)

/* The byte of a sealed word that is XOR of the others, worked out here without ip_fold. */
static uint64_t seal_by_hand(uint64_t payload) {
    unsigned check = IP_SEAL;
    for (int i = 0; i < 7; i++) check ^= (unsigned)(payload >> (8 * i)) & 0xFF;
    return payload << 8 | check;
}

static void seal_known_answers(void) {
    CHECK_EQ(ip_seal(0), 0x5A);
    CHECK_EQ(ip_seal(1), 0x15B);
    CHECK_EQ(ip_seal(0x5A), 0x5A00);
    CHECK_EQ(ip_seal(IP_PAYLOAD_MAX), UINT64_C(0xFFFFFFFFFFFFFFA5));
    for (size_t i = 0; i < PAYLOADS; i++) CHECK_EQ(ip_seal(payloads[i]), seal_by_hand(payloads[i]));
}

static void seal_returns_payload(void) {
    for (size_t i = 0; i < PAYLOADS; i++) {
        CHECK(ip_sealed(ip_seal(payloads[i])));
        CHECK_EQ(ip_payload(ip_seal(payloads[i])), payloads[i]);
    }
    CHECK(!ip_sealed(0));
}

static void seal_breaks_with_any_byte(void) {
    for (size_t i = 0; i < PAYLOADS + 100; i++) {
        uint64_t payload = i < PAYLOADS ? payloads[i] : next_random() & IP_PAYLOAD_MAX;
        uint64_t raw = ip_seal(payload);
        for (int byte = 0; byte < 8; byte++)
            for (uint64_t change = 1; change < 256; change++) CHECK(!ip_sealed(raw ^ change << (8 * byte)));
    }
}

static void words_get_set_swap(void) {
    ip_word word = 0;
    uint64_t payload;
    CHECK(!ip_get(&word, &payload));
    ip_set(&word, 42);
    CHECK(ip_get(&word, &payload));
    CHECK_EQ(payload, 42);
    CHECK(!ip_swap(&word, 41, 7));
    CHECK(ip_get(&word, &payload));
    CHECK_EQ(payload, 42);
    CHECK(ip_swap(&word, 42, IP_PAYLOAD_MAX));
    CHECK(ip_get(&word, &payload));
    CHECK_EQ(payload, IP_PAYLOAD_MAX);
    atomic_fetch_xor(&word, UINT64_C(0x100)); /* damage */
    CHECK(!ip_get(&word, &payload));
    CHECK(!ip_swap(&word, payload, 1)); /* a broken word matches no payload */
}

/* ip_sum by its definition, a byte at a time: what the checksum of these bytes is on any machine. */
static uint64_t mix_by_hand(uint64_t h, uint64_t v) {
    h = (h ^ v) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ (h >> 29);
}

static uint64_t word_at(const unsigned char *data, size_t n, size_t at) {
    uint64_t w = 0;
    for (size_t i = 0; i < 8 && at + i < n; i++) w |= (uint64_t)data[at + i] << (8 * i);
    return w;
}

static uint64_t sum_by_hand(const unsigned char *data, size_t n, uint64_t seed) {
    uint64_t h = mix_by_hand(seed, n), a[8] = {0}, b[8] = {0};
    size_t at = 0;
    for (; n - at >= 64; at += 64)
        for (size_t i = 0; i < 8; i++) {
            a[i] += word_at(data, n, at + 8 * i);
            b[i] += a[i];
        }
    for (size_t i = 0; at && i < 8; i++) h = mix_by_hand(mix_by_hand(h, a[i]), b[i]);
    for (; at < n; at += 8) h = mix_by_hand(h, word_at(data, n, at));
    return h;
}

static void sum_known_answers(void) {
    unsigned char data[MAX_SIZE] = {0};
    CHECK_EQ(ip_sum("", 0, 0), 0);
    CHECK_EQ(ip_sum("", 0, 1), UINT64_C(0x9e3779bd8ef1b1de));
    CHECK_EQ(ip_sum("hello world", 11, 7), UINT64_C(0xa6235dd8315f4020));
    for (size_t i = 0; i < 200; i++) data[i] = (unsigned char)i;
    CHECK_EQ(ip_sum(data, 200, 7), UINT64_C(0x2495d061f64657f3));
    for (size_t n = 0; n <= MAX_SIZE; n++) {
        fill(data, n);
        uint64_t seed = next_random();
        CHECK_EQ(ip_sum(data, n, seed), sum_by_hand(data, n, seed));
    }
}

static void sum_depends_on_size_and_seed(void) {
    unsigned char zeroes[MAX_SIZE] = {0};
    for (size_t n = 0; n < MAX_SIZE; n++) {
        CHECK(ip_sum(zeroes, n, 1) != ip_sum(zeroes, n + 1, 1));
        CHECK(ip_sum(zeroes, n, 1) != ip_sum(zeroes, n, 2));
    }
}

static void sum_detects_any_changed_byte(void) {
    unsigned char data[MAX_SIZE] = {0};
    for (size_t n = 0; n <= MAX_SIZE; n++) {
        fill(data, n);
        uint64_t sum = ip_sum(data, n, n);
        for (size_t at = 0; at < n; at++)
            for (unsigned change = 1; change < 256; change++) {
                data[at] ^= (unsigned char)change;
                CHECK(ip_sum(data, n, n) != sum);
                data[at] ^= (unsigned char)change;
            }
        CHECK_EQ(ip_sum(data, n, n), sum);
    }
}

static void sum_detects_swapped_words(void) {
    unsigned char data[MAX_SIZE], swapped[MAX_SIZE];
    const size_t n = 296; /* four strides, then five words */
    fill(data, n);
    uint64_t sum = ip_sum(data, n, 0);
    for (size_t i = 0; i < n; i += 8)
        for (size_t j = i + 8; j < n; j += 8) {
            memcpy(swapped, data, n);
            memcpy(swapped + i, data + j, 8);
            memcpy(swapped + j, data + i, 8);
            CHECK(ip_sum(swapped, n, 0) != sum);
        }
}

static void copy_sum_is_memcpy_and_sum(void) {
    unsigned char from[MAX_SIZE + 8], to[GUARD + MAX_SIZE + 8 + GUARD], before[sizeof to];
    for (size_t n = 0; n <= MAX_SIZE; n++)
        for (size_t shift = 0; shift < 8; shift++) { /* both sides at every alignment */
            fill(from, sizeof from);
            memset(to, 0xEE, sizeof to);
            memcpy(before, to, sizeof to);
            unsigned char *target = to + GUARD + (7 - shift);
            CHECK_EQ(ip_copy_sum(target, from + shift, n, shift), ip_sum(from + shift, n, shift));
            memcpy(before + (target - to), from + shift, n);
            CHECK(memcmp(to, before, sizeof to) == 0); /* the copy, and not a byte around it */
        }
}

int main(void) {
    RUN(seal_known_answers);
    RUN(seal_returns_payload);
    RUN(seal_breaks_with_any_byte);
    RUN(words_get_set_swap);
    RUN(sum_known_answers);
    RUN(sum_depends_on_size_and_seed);
    RUN(sum_detects_any_changed_byte);
    RUN(sum_detects_swapped_words);
    RUN(copy_sum_is_memcpy_and_sum);
    return 0;
}

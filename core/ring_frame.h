/* ring_frame.h: the shape of segments and frames, for the files that make up the ring. */
#ifndef IP_RING_FRAME_H
#define IP_RING_FRAME_H

#include "ring.h"

#define FRAME 16u     /* header word and checksum */
#define JUMP_ROOM 16u /* kept free for a jump */
#define FIRST_CAPACITY 2048u
#define LAST_CAPACITY (64u << 10)

enum { PAD = 1, JUMP = 2, BLOCK = 4, HANDLES = 8 };

typedef struct {
    ip_word capacity, spare[7];
    unsigned char data[];
} segment;

typedef struct { /* a place, read */
    uint64_t segment, position, limit, bytes;
} spot;

#define COUNT(x) ((x) >> 1)
#define SLOT(x) ((x)&1)

static inline uint64_t padded(uint64_t size) { return (size + 7) & ~UINT64_C(7); }

static inline uint64_t frame_word(uint64_t length, uint64_t kind, uint64_t flags) {
    return length | kind << 32 | flags << 40;
}

static inline void write_place(ip_place *place, const spot *s) {
    ip_set(&place->segment, s->segment);
    ip_set(&place->position, s->position);
    ip_set(&place->limit, s->limit);
    ip_set(&place->bytes, s->bytes);
}

static inline ip_status read_place(const ip_place *place, spot *s) {
    IP_READ(&place->segment, s->segment);
    IP_READ(&place->position, s->position);
    IP_READ(&place->limit, s->limit);
    IP_READ(&place->bytes, s->bytes);
    return IP_OK;
}

/* A side's count and place, read without its lock: the count, the place, and the count again. */
static inline ip_status read_side(ip_word *count_and_slot, const ip_place places[2], uint64_t *count, spot *s) {
    for (int tries = 0; tries < 10000; tries++) {
        uint64_t before, after;
        IP_READ(count_and_slot, before);
        ip_status status = read_place(&places[SLOT(before)], s);
        IP_READ(count_and_slot, after);
        if (before != after) continue;
        *count = COUNT(before);
        return status;
    }
    return IP_CORRUPT;
}

/* The checked segment. Its block is checked only by its capacity, which is sealed: this is the hot path. */
static inline ip_status find_segment(ip_arena *arena, uint64_t at, segment **s, uint64_t *capacity) {
    if (at % IP_CACHE_LINE || at < arena->heap || !ip_within(arena, at, sizeof(segment))) return IP_CORRUPT;
    *s = (segment *)ip_at(arena, at);
    IP_READ(&(*s)->capacity, *capacity);
    if (*capacity < FIRST_CAPACITY || *capacity > LAST_CAPACITY || (*capacity & (*capacity - 1)) ||
        !ip_within(arena, at, sizeof(segment) + *capacity))
        return IP_CORRUPT;
    return IP_OK;
}

static inline ip_status end_vacated(ip_object *object, int end, bool *vacated) {
    uint64_t word;
    *vacated = false;
    if (end < 0) return IP_OK;
    IP_READ(&object->vacated, word);
    *vacated = word >> end & 1;
    return IP_OK;
}

/* Allocates a segment; under the arena lock, within a change. */
ip_status ip_segment_new(ip_arena *arena, uint64_t capacity, uint64_t *at);
/* Does the ring's bound admit `size` more bytes, and one more message, after `put` messages and `bytes` bytes? */
ip_status ip_ring_bounds(ip_ring *ring, uint64_t put, uint64_t bytes, uint64_t size, bool *room);
/* Takes one message off and frees what it has, or follows one jump; under the get lock (or without holders) and the
 * arena lock. IP_AGAIN: nothing is left. */
ip_status ip_ring_drop_one(ip_arena *arena, ip_ring *ring);

#endif

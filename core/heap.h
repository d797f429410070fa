/* heap.h: blocks of the arena: object bodies, segments of rings, contents of large messages.
 *
 * A block: a header of one cache line, then the contents, aligned to a cache line:
 *
 *     size    bytes with the header, a multiple of 64 | state in bit 0 (1: used)
 *     before  offset of the block that lies just before, or 0
 *     owner   0, or the member (index + 1 | generation << 12) whose death frees it; 0: an object holds it
 *     next, previous   in the list of its size class, when free
 *
 * Segregated fits, four size classes a doubling, last in first out, since a block just freed is warm; neighbours that are free are one block.
 * Above heap_top the heap is virgin. Invariants: blocks tile [heap, heap_top); no two free ones are neighbours; the last
 * one is used; used sizes add up to heap_used.
 *
 * Memory is committed in chunks; a table has each chunk's state: 0 (also raw zero) none, COMMITTED, or PUNCHING, which counts as
 * none and tells that pages may be left there. All chunks under headers and used blocks are committed. When more
 * than IP_WARM_MAX committed bytes are unused, whole chunks inside the block being freed go back to the system.
 *
 * All of it changes under the arena lock, journaled there.
 */
#ifndef IP_HEAP_H
#define IP_HEAP_H

#include "arena.h"

#ifndef IP_WARM_MAX /* tests make it smaller */
#define IP_WARM_MAX (UINT64_C(64) << 20)
#endif

typedef struct {
    ip_word size, before, owner, next, previous, spare[3];
} ip_block;

typedef struct {
    uint64_t from, to; /* offsets */
} ip_range;

/* The owner word for this process: the block is freed if it dies. */
uint64_t ip_heap_owner(const ip_arena *arena);
uint64_t ip_heap_owner_of(uint32_t member, uint32_t generation);

/* Under the arena lock, within a change: *at is the offset of `size` bytes of contents (not zeroed). */
ip_status ip_heap_alloc(ip_arena *arena, uint64_t size, uint64_t owner, uint64_t *at);
/* Under the arena lock, within a change; `at` as ip_heap_alloc gave it. *freed is the free range that results. */
ip_status ip_heap_free(ip_arena *arena, uint64_t at, ip_range *freed);
/* Under the arena lock, after the change: gives whole chunks of the range back, if too much lies idle. */
ip_status ip_heap_trim(ip_arena *arena, const ip_range *freed);

/* The checked header of a used block. */
ip_status ip_heap_block(ip_arena *arena, uint64_t at, ip_block **block, uint64_t *contents_size);

/* Takes the arena lock: allocates a block owned by this process (IP_BUSY: call again) / frees one if this process owns it. */
ip_status ip_block_new(ip_arena *arena, uint64_t size, uint64_t *at);
ip_status ip_block_drop(ip_arena *arena, uint64_t at);

/* Takes the arena lock: frees all blocks that a dead member owned. */
ip_status ip_heap_free_owned(ip_arena *arena, uint32_t index, uint32_t generation);

/* Takes the arena lock: checks every invariant above. For tests and tools. */
ip_status ip_heap_check(ip_arena *arena);

#endif

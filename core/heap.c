/* heap.c: allocation of blocks, commitment of chunks. */
#define _GNU_SOURCE
#include "heap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>

#include "fault.h"
#include "member.h"

#define HEADER sizeof(ip_block)
#define SMALLEST 128u
#define USED 1u
enum { NONE = 0, COMMITTED = 1, PUNCHING = 2 };

#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))

uint64_t ip_heap_owner_of(uint32_t index, uint32_t generation) { return (uint64_t)(index + 1) | (uint64_t)generation << 12; }

uint64_t ip_heap_owner(const ip_arena *arena) { return ip_heap_owner_of(arena->self, arena->generation); }

static ip_word *chunk_word(const ip_arena *arena, uint64_t chunk) {
    return (ip_word *)ip_at(arena, arena->chunks) + chunk;
}

static ip_status chunk_state(const ip_arena *arena, uint64_t chunk, uint64_t *state) {
    uint64_t raw = atomic_load_explicit(chunk_word(arena, chunk), memory_order_acquire);
    *state = ip_payload(raw);
    return raw == 0 || (ip_sealed(raw) && *state <= PUNCHING) ? IP_OK : IP_CORRUPT;
}

/* Commits the chunks under [from, to). */
static ip_status commit(ip_arena *arena, uint64_t from, uint64_t to) {
    uint64_t first = (from - arena->heap) >> arena->chunk_shift, last = (to - 1 - arena->heap) >> arena->chunk_shift;
    uint64_t state, committed;
    IP_TRY(ip_arena_commit(arena, arena->chunks, &arena->header->committed_chunk_table, (last + 1) * sizeof(ip_word)));
    for (uint64_t chunk = first; chunk <= last; chunk++) {
        IP_TRY(chunk_state(arena, chunk, &state));
        if (state == COMMITTED) continue;
        uint64_t run = 1; /* neighbours that lack too are committed by one call */
        for (; chunk + run <= last; run++) {
            uint64_t next;
            IP_TRY(chunk_state(arena, chunk + run, &next));
            if (next == COMMITTED) break;
        }
        uint64_t bytes = run << arena->chunk_shift;
        int result;
        do {
            result = fallocate(arena->fd, 0, (off_t)(arena->heap + (chunk << arena->chunk_shift)), (off_t)bytes);
        } while (result != 0 && errno == EINTR);
        if (result != 0) return IP_NO_MEMORY;
        FAULT("heap.fallocated");
        for (uint64_t i = chunk; i < chunk + run; i++) {
            /* Not journaled: a committed chunk may stay so when the change is undone. Dying in between leaves the
             * sum short by a chunk; it is counted anew when the dead are buried. */
            ip_set(chunk_word(arena, i), COMMITTED);
            FAULT("heap.committed");
            IP_READ(&arena->header->heap_committed, committed);
            ip_set(&arena->header->heap_committed, committed + (UINT64_C(1) << arena->chunk_shift));
        }
        chunk += run - 1;
    }
    return IP_OK;
}

ip_status ip_heap_trim(ip_arena *arena, const ip_range *freed) {
    uint64_t size = UINT64_C(1) << arena->chunk_shift, used, committed, state, table;
    IP_READ(&arena->header->heap_used, used);
    IP_READ(&arena->header->heap_committed, committed);
    IP_READ(&arena->header->committed_chunk_table, table);
    if (committed <= used + IP_WARM_MAX) return IP_OK;
    uint64_t first = (freed->from - arena->heap + size - 1) >> arena->chunk_shift, end = (freed->to - arena->heap) >> arena->chunk_shift;
    if (end > table / sizeof(ip_word)) end = table / sizeof(ip_word);
    for (uint64_t chunk = end; chunk-- > first && committed > used + IP_WARM_MAX / 2;) {
        IP_TRY(chunk_state(arena, chunk, &state));
        if (state == NONE) continue;
        if (state == COMMITTED) {
            SET(chunk_word(arena, chunk), PUNCHING);
            SET(&arena->header->heap_committed, committed - size);
            ip_journal_commit(arena);
            committed -= size;
        }
        FAULT("heap.punching");
        fallocate(arena->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)(arena->heap + (chunk << arena->chunk_shift)), (off_t)size);
        FAULT("heap.punched");
        ip_set(chunk_word(arena, chunk), NONE);
    }
    return IP_OK;
}

static unsigned bin_of(uint64_t size) {
    unsigned log = 63 - (unsigned)__builtin_clzll(size);
    return (log - 7) * 4 + (unsigned)(size >> (log - 2) & 3);
}

/* The checked header at an offset, which must be below heap_top. */
static ip_status header_at(ip_arena *arena, uint64_t at, ip_block **block, uint64_t *size, bool *used) {
    uint64_t top, word;
    IP_READ(&arena->header->heap_top, top);
    if (top > arena->heap_end || at < arena->heap || at >= top || at % IP_CACHE_LINE) return IP_CORRUPT;
    *block = ip_at(arena, at);
    IP_READ(&(*block)->size, word);
    *used = word & USED;
    *size = word & ~(uint64_t)USED;
    if (*size < SMALLEST || *size % IP_CACHE_LINE || *size > top - at) return IP_CORRUPT;
    return IP_OK;
}

static ip_status bin_head(ip_arena *arena, unsigned bin, uint64_t *at) {
    IP_READ(&arena->header->bins[bin], *at);
    return IP_OK;
}

static ip_status unlink_free(ip_arena *arena, ip_block *block, uint64_t size) {
    uint64_t next, previous, map, size2;
    ip_block *other;
    bool used;
    unsigned bin = bin_of(size);
    IP_READ(&block->next, next);
    IP_READ(&block->previous, previous);
    if (next) {
        IP_TRY(header_at(arena, next, &other, &size2, &used));
        SET(&other->previous, previous);
    }
    if (previous) {
        IP_TRY(header_at(arena, previous, &other, &size2, &used));
        SET(&other->next, next);
        return IP_OK;
    }
    SET(&arena->header->bins[bin], next);
    if (next) return IP_OK;
    IP_READ(&arena->header->bin_map[bin / 48], map);
    SET(&arena->header->bin_map[bin / 48], map & ~(UINT64_C(1) << bin % 48));
    return IP_OK;
}

/* The words of a block that nobody can see yet need no journal, but may hold anything: they are written whole. */
static void write_header(ip_block *block, uint64_t size, uint64_t before, uint64_t owner, uint64_t next) {
    ip_set(&block->size, size);
    ip_set(&block->before, before);
    ip_set(&block->owner, owner);
    ip_set(&block->next, next);
    ip_set(&block->previous, 0);
    for (unsigned i = 0; i < 3; i++) ip_set(&block->spare[i], 0);
}

/* Links a free block, whose size word is in place, into its bin. */
static ip_status link_free(ip_arena *arena, uint64_t at, uint64_t size) {
    uint64_t head, map, size2;
    ip_block *block = ip_at(arena, at), *other;
    bool used;
    unsigned bin = bin_of(size);
    IP_TRY(bin_head(arena, bin, &head));
    SET(&block->next, head);
    SET(&block->previous, 0);
    if (head) {
        IP_TRY(header_at(arena, head, &other, &size2, &used));
        SET(&other->previous, at);
    } else {
        IP_READ(&arena->header->bin_map[bin / 48], map);
        SET(&arena->header->bin_map[bin / 48], map | UINT64_C(1) << bin % 48);
    }
    SET(&arena->header->bins[bin], at);
    return IP_OK;
}

/* Finds a free block of at least this size; *at = 0 if there is none. */
static ip_status find(ip_arena *arena, uint64_t need, uint64_t *at) {
    ip_block *block;
    uint64_t size, map;
    bool used;
    unsigned bin = bin_of(need);
    IP_TRY(bin_head(arena, bin, at));
    for (int looks = 0; *at && looks < 4; looks++) { /* those of the same class may fit or not */
        IP_TRY(header_at(arena, *at, &block, &size, &used));
        if (used || bin_of(size) != bin) return IP_CORRUPT;
        if (size >= need) return IP_OK;
        IP_READ(&block->next, *at);
    }
    for (bin++; bin < IP_BINS; bin = (bin / 48 + 1) * 48) {
        IP_READ(&arena->header->bin_map[bin / 48], map);
        map &= ~UINT64_C(0) << bin % 48;
        if (!map) continue;
        bin = bin / 48 * 48 + (unsigned)__builtin_ctzll(map);
        if (bin >= IP_BINS) return IP_CORRUPT;
        IP_TRY(bin_head(arena, bin, at));
        if (!*at) return IP_CORRUPT;
        IP_TRY(header_at(arena, *at, &block, &size, &used));
        return used || size < need ? IP_CORRUPT : IP_OK;
    }
    *at = 0;
    return IP_OK;
}

ip_status ip_heap_alloc(ip_arena *arena, uint64_t size, uint64_t owner, uint64_t *at) {
    ip_header *header = arena->header;
    uint64_t found, have, used_bytes, top, last, after;
    ip_block *block, *next;
    bool used;
    if (size > arena->limit) return IP_NO_MEMORY;
    uint64_t need = (size + HEADER + IP_CACHE_LINE - 1) & ~(uint64_t)(IP_CACHE_LINE - 1);
    if (need < SMALLEST) need = SMALLEST;
    IP_TRY(find(arena, need, &found));
    IP_READ(&header->heap_top, top);
    IP_READ(&header->heap_last, last);
    if (found) {
        IP_TRY(header_at(arena, found, &block, &have, &used));
        bool split = have - need >= 2 * SMALLEST;
        IP_TRY(commit(arena, found, found + (split ? need + HEADER : have)));
        IP_TRY(unlink_free(arena, block, have));
        if (split) {
            uint64_t rest = found + need, rest_size = have - need;
            write_header(ip_at(arena, rest), rest_size, found, 0, 0);
            IP_TRY(link_free(arena, rest, rest_size));
            after = found + have;
            if (after >= top) return IP_CORRUPT; /* the last block is used */
            IP_TRY(header_at(arena, after, &next, &size, &used));
            SET(&next->before, rest);
            have = need;
        }
        SET(&block->size, have | USED);
        SET(&block->owner, owner);
    } else {
        if (arena->heap_end - top < need) return IP_NO_MEMORY;
        IP_TRY(commit(arena, top, top + need));
        found = top;
        have = need;
        write_header(ip_at(arena, found), need | USED, last, owner, 0);
        SET(&header->heap_top, top + need);
        SET(&header->heap_last, found);
    }
    IP_READ(&header->heap_used, used_bytes);
    SET(&header->heap_used, used_bytes + have);
    *at = found + HEADER;
    return IP_OK;
}

ip_status ip_heap_free(ip_arena *arena, uint64_t at, ip_range *freed) {
    ip_header *header = arena->header;
    uint64_t size, other_size, before, top, used_bytes, start = at - HEADER;
    ip_block *block, *other;
    bool used;
    IP_TRY(header_at(arena, start, &block, &size, &used));
    if (!used) return IP_CORRUPT;
    IP_READ(&header->heap_used, used_bytes);
    if (used_bytes < size) return IP_CORRUPT;
    SET(&header->heap_used, used_bytes - size);
    IP_READ(&header->heap_top, top);
    IP_READ(&block->before, before);
    uint64_t end = start + size;
    if (end < top) {
        IP_TRY(header_at(arena, end, &other, &other_size, &used));
        if (!used) {
            IP_TRY(unlink_free(arena, other, other_size));
            end += other_size;
        }
    }
    if (before) {
        IP_TRY(header_at(arena, before, &other, &other_size, &used));
        if (before + other_size != start) return IP_CORRUPT;
        if (!used) {
            IP_TRY(unlink_free(arena, other, other_size));
            start = before;
            block = other;
            IP_READ(&block->before, before);
        }
    }
    if (end >= top) { /* nothing used lies above: it is virgin again */
        SET(&header->heap_top, start);
        SET(&header->heap_last, before);
        *freed = (ip_range){start, arena->heap_end};
        return IP_OK;
    }
    SET(&block->size, end - start);
    SET(&block->owner, 0);
    IP_TRY(link_free(arena, start, end - start));
    IP_TRY(header_at(arena, end, &other, &other_size, &used));
    SET(&other->before, start);
    *freed = (ip_range){start + HEADER, end};
    return IP_OK;
}

ip_status ip_heap_block(ip_arena *arena, uint64_t at, ip_block **block, uint64_t *contents_size) {
    uint64_t size;
    bool used;
    if (at < HEADER) return IP_CORRUPT;
    IP_TRY(header_at(arena, at - HEADER, block, &size, &used));
    *contents_size = size - HEADER;
    return used ? IP_OK : IP_CORRUPT;
}

static ip_status take(ip_arena *arena) { return ip_lock_take(arena, &arena->header->lock, IP_PATIENT); }

ip_status ip_block_new(ip_arena *arena, uint64_t size, uint64_t *at) {
    IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_BRIEFLY));
    return ip_journal_conclude(arena, ip_heap_alloc(arena, size, ip_heap_owner(arena), at));
}

/* Frees a block in a change of its own and gives idle memory back. Under the arena lock. */
static ip_status free_and_trim(ip_arena *arena, uint64_t at) {
    ip_range freed;
    IP_TRY(ip_heap_free(arena, at, &freed));
    ip_journal_commit(arena);
    return ip_heap_trim(arena, &freed);
}

/* Counts the committed chunks anew: who died while it committed one may have left it out of the sum. */
static ip_status recount(ip_arena *arena) {
    uint64_t table, state, sum = 0;
    IP_READ(&arena->header->committed_chunk_table, table);
    if (table > arena->heap - arena->chunks) return IP_CORRUPT;
    for (uint64_t chunk = 0; chunk < table / sizeof(ip_word); chunk++) {
        IP_TRY(chunk_state(arena, chunk, &state));
        if (state == COMMITTED) sum += UINT64_C(1) << arena->chunk_shift;
    }
    ip_set(&arena->header->heap_committed, sum);
    return IP_OK;
}

ip_status ip_block_drop(ip_arena *arena, uint64_t at) {
    ip_block *block;
    uint64_t size, owner;
    IP_TRY(take(arena));
    ip_status status = ip_heap_block(arena, at, &block, &size);
    if (status == IP_OK && !ip_get(&block->owner, &owner)) status = IP_CORRUPT;
    if (status == IP_OK && owner == ip_heap_owner(arena)) status = free_and_trim(arena, at);
    return ip_journal_conclude(arena, status);
}

static ip_status free_owned(ip_arena *arena, uint64_t owner) {
    uint64_t top, size, owner_now;
    ip_block *block;
    bool used;
    IP_READ(&arena->header->heap_top, top);
    for (uint64_t at = arena->heap; at < top;) {
        IP_TRY(header_at(arena, at, &block, &size, &used));
        IP_READ(&block->owner, owner_now);
        if (used && owner_now == owner) {
            uint64_t before, before_size;
            ip_block *other;
            IP_READ(&block->before, before);
            bool joins = false;
            if (before) {
                IP_TRY(header_at(arena, before, &other, &before_size, &used));
                joins = !used;
            }
            IP_TRY(free_and_trim(arena, at + HEADER));
            FAULT("heap.owned");
            IP_READ(&arena->header->heap_top, top);
            if (joins) at = before; /* where the free block that took it in begins */
            if (at >= top) break;
            IP_TRY(header_at(arena, at, &block, &size, &used));
        }
        at += size;
    }
    return IP_OK;
}

ip_status ip_heap_free_owned(ip_arena *arena, uint32_t index, uint32_t generation) {
    IP_TRY(take(arena));
    ip_status status = IP_OK;
    if (ip_member_may_clear(arena, index, generation)) status = free_owned(arena, ip_heap_owner_of(index, generation));
    if (status == IP_OK) status = recount(arena);
    return ip_journal_conclude(arena, status);
}

static ip_status check(ip_arena *arena) {
    ip_header *header = arena->header;
    uint64_t top, last, size, before, sum = 0, previous = 0, used_bytes, free_blocks = 0, map, at, state;
    ip_block *block;
    bool used, previous_used = true;
    IP_READ(&header->heap_top, top);
    IP_READ(&header->heap_last, last);
    for (at = arena->heap; at < top; at += size) {
        IP_TRY(header_at(arena, at, &block, &size, &used));
        IP_READ(&block->before, before);
        if (before != previous || (!used && !previous_used)) return IP_CORRUPT;
        uint64_t needs_to = used ? at + size : at + HEADER;
        for (uint64_t c = (at - arena->heap) >> arena->chunk_shift; c <= (needs_to - 1 - arena->heap) >> arena->chunk_shift; c++) {
            IP_TRY(chunk_state(arena, c, &state));
            if (state != COMMITTED) return IP_CORRUPT;
        }
        previous = at;
        previous_used = used;
        if (used) sum += size;
        else free_blocks++;
    }
    IP_READ(&header->heap_used, used_bytes);
    if (at != top || previous != last || !previous_used || sum != used_bytes) return IP_CORRUPT;
    for (unsigned bin = 0; bin < IP_BINS; bin++) {
        IP_READ(&header->bins[bin], at);
        IP_READ(&header->bin_map[bin / 48], map);
        if ((map >> bin % 48 & 1) != (at != 0)) return IP_CORRUPT;
        for (previous = 0; at; free_blocks--) {
            IP_TRY(header_at(arena, at, &block, &size, &used));
            IP_READ(&block->previous, before);
            if (used || bin_of(size) != bin || before != previous || !free_blocks) return IP_CORRUPT;
            previous = at;
            IP_READ(&block->next, at);
        }
    }
    return free_blocks ? IP_CORRUPT : IP_OK;
}

ip_status ip_heap_check(ip_arena *arena) {
    IP_TRY(take(arena));
    return ip_journal_conclude(arena, check(arena));
}

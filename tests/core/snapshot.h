/* snapshot.h: what an arena was like before damage, to be put back after each change. */
#ifndef IP_SNAPSHOT_H
#define IP_SNAPSHOT_H

#include <stdlib.h>

#include "world.h"

/* The regions, as far as they are in use, and as they were: reading beyond would commit what is sparse. */
static struct {
    uint64_t from, size;
    unsigned char *copy;
} regions[4];

static void save(const ip_arena *arena, unsigned i, uint64_t from, uint64_t to) {
    regions[i].from = from;
    regions[i].size = to - from;
    regions[i].copy = malloc(to - from);
    CHECK(regions[i].copy);
    memcpy(regions[i].copy, arena->base + from, to - from);
}

/* The last of the regions is the heap's, up to its top. */
static void take_snapshot(ip_arena *arena) {
    save(arena, 0, 0, arena->directory);
    save(arena, 1, arena->directory, arena->directory + IP_PAGE);
    save(arena, 2, arena->chunks, arena->chunks + IP_PAGE);
    save(arena, 3, arena->heap, word_of(&arena->header->heap_top));
}

static void restore_snapshot(const ip_arena *arena) {
    for (unsigned i = 0; i < 4; i++) memcpy(arena->base + regions[i].from, regions[i].copy, regions[i].size);
}

static void free_snapshot(void) {
    for (unsigned i = 0; i < 4; i++) free(regions[i].copy);
}

#endif

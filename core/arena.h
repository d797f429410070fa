/* arena.h: the one piece of shared memory that a tree of processes shares, as this process has it mapped.
 *
 * Layout, by offset; every region is sparse, and committed with fallocate() before it is touched:
 *
 *     header     magic, version, size, limit, identity, the counters of the tables, the arena lock
 *     journal    undo entries of the arena lock
 *     members    a slot a member                                   (member.h)
 *     directory  an entry an object                                (directory.h)
 *     chunks     which chunks of the heap are committed            (heap.h)
 *     heap       blocks: object bodies, segments of rings, message contents
 *
 * Offsets of regions follow from the size alone and are computed at attach; nothing read from the arena is trusted
 * before it was checked (word.h). Everything inside refers to everything else by offset.
 *
 * Lock order: a lock of an object (put before get) -> the arena lock. Nothing else is taken under the arena lock.
 */
#ifndef IP_ARENA_H
#define IP_ARENA_H

#include <stdint.h>
#include <sys/types.h>

#include "lock.h"
#include "status.h"
#include "word.h"

#define IP_PAGE 4096u
#define IP_MEMBERS_MAX 2016u      /* 36 words of 56 bits in a holders' bitmap */
#define IP_OBJECTS_MAX (1u << 20)
#define IP_JOURNAL_ENTRIES 4096u
#define IP_BINS 192u
#define IP_BIN_WORDS 4u /* 48 bins a word */

typedef struct {
    ip_word magic, version, size, limit;
    ip_word identity[3];          /* 3 x 48 random bits */
    ip_word members_used;         /* slots ever used: the high-water mark */
    ip_word directory_used;       /* entries ever used */
    ip_word directory_free;       /* index + 1 of the first free entry, or 0 */
    ip_word directory_doomed;     /* how many objects are doomed, and not yet freed */
    ip_word committed_members, committed_directory, committed_chunk_table; /* bytes of each region that are committed */
    ip_word heap_top;             /* offset: the heap is virgin from here on */
    ip_word heap_last;            /* offset of the last block below the top, or 0 */
    ip_word heap_used;            /* bytes in used blocks */
    ip_word heap_committed;       /* bytes in committed chunks */
    ip_word last_reap;            /* seconds, CLOCK_MONOTONIC */
    ip_word last_look;            /* for deadlocks: tenths of a second */
    ip_word bin_map[IP_BIN_WORDS];/* which bins have free blocks */
    ip_word bins[IP_BINS];        /* offset of the first free block of each size class, or 0 */
    _Alignas(IP_CACHE_LINE) ip_lock lock;
    ip_journal journal;
    ip_word looked; /* ip_ticks() when somebody last looked for the dead; here, as who reads it takes the lock next */
} ip_header;

typedef struct ip_arena {
    unsigned char *base;
    ip_header *header;
    uint64_t size, limit;
    uint64_t journal, members, directory, chunks, heap, heap_end; /* offsets of the regions */
    unsigned chunk_shift;
    int fd;
    uint32_t self, generation; /* this process's member slot; generation 0: not a member */
    pid_t pid;
    uint64_t identity[3];
    const ip_word *state;  /* of the slot, and what it has to be: else others take this process for dead */
    uint64_t alive;
    dev_t device;          /* of the file */
    ino_t inode;
    int life_fd;           /* carries the file lock that tells that this member lives (member.h), or -1 */
    struct ip_arena *next; /* in the list of the process's arenas (fork.h) */
} ip_arena;

/* Creates an anonymous arena (fd < 0), or makes one in the given empty file; this process is its first member. */
ip_status ip_arena_create(ip_arena *arena, int fd, uint64_t limit);

/* Maps the arena that fd refers to; the caller then becomes a member (member.h). Takes over fd only on success. */
ip_status ip_arena_attach(ip_arena *arena, int fd);

/* Unmaps; the caller has left before. */
void ip_arena_detach(ip_arena *arena);

/* Commits the bytes of a region up to `need`, remembering in `word` how far that went. Under the arena lock. */
ip_status ip_arena_commit(ip_arena *arena, uint64_t region, ip_word *word, uint64_t need);

static inline void *ip_at(const ip_arena *arena, uint64_t offset) { return arena->base + offset; }

static inline uint64_t ip_offset_of(const ip_arena *arena, const void *p) {
    return (uint64_t)((const unsigned char *)p - arena->base);
}

static inline bool ip_within(const ip_arena *arena, uint64_t offset, uint64_t size) {
    return offset < arena->size && size <= arena->size - offset;
}

/* Reads a sealed word or returns IP_CORRUPT from the enclosing function. */
#define IP_READ(word, variable)                              \
    do {                                                     \
        if (!ip_get((word), &(variable))) return IP_CORRUPT; \
    } while (0)

#define IP_TRY(call)                                   \
    do {                                               \
        ip_status status_ = (call);                    \
        if (status_ != IP_OK) return status_;          \
    } while (0)

#endif

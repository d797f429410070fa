/* ring.h: first-in first-out queues of framed messages, between a producer side and a consumer side.
 *
 *     ring      put lock | tail | tail place [2] | get lock | head | head place [2] | events | settings
 *     place     segment, position in it, limit (how far the producer may write), bytes (message bytes so far)
 *     segment   capacity (a power of two), then a circular buffer of frames; positions count on, modulo the capacity
 *     frame     word: length | kind << 32 | flags << 40;  checksum;  contents, padded to 8 bytes
 *
 * tail and head are (count << 1 | slot): how many messages were ever put (taken), and which of the two places is
 * in force. A side prepares the other place, then makes it and the new count visible by one store: publish. So count
 * and place cannot disagree, wherever a process is killed, and qsize() is exact: tail count - head count.
 *
 * When a segment is full the producer writes a JUMP frame to a new one, which is allocated, linked and entered in one
 * change; the consumer that follows the jump frees the old segment in the change that moves its place. So an
 * unbounded queue is a chain of segments, and a steady one a single, warm ring.
 *
 * A message longer than IP_INLINE_MAX lies in a block of its own; the frame refers to it. The block is
 * owned by its writer until the change that publishes the frame, by no member while it is queued, and from the change that
 * takes it by the taker: so it is freed whoever dies, exactly once. A message that carries handles counts them as in transit likewise.
 *
 * Invariants: head count <= tail count; between the head place and the tail place lie exactly that many frames,
 * besides padding and jumps. Lock order: put lock -> get lock -> arena lock.
 * The producer reads the consumer's place without its lock: it reads head, the place, and head again.
 */
#ifndef IP_RING_H
#define IP_RING_H

#include "directory.h"

#define IP_INLINE_MAX (UINT64_C(16) << 10)
#define IP_PIECES_MAX 1024u  /* pieces of one message in a block */
#define IP_HANDLES_MAX 1000u /* handles that one message can carry */
#define IP_SCRATCH_MIN (IP_INLINE_MAX + 8)

typedef struct {
    ip_word segment, position, limit, bytes;
} ip_place;

/* A process that keeps a descriptor in step with the ring (watch.h). */
typedef struct {
    ip_word who;              /* the member, as the owner of a lock is named, or 0 */
    _Atomic uint32_t raised;  /* 1: its descriptor is readable; 2: it was late once, do not wait for it */
    uint32_t unused;
} ip_watcher;

#define IP_WATCHERS 4u /* more may watch, but are not waited for */

typedef struct {
    _Alignas(IP_CACHE_LINE) ip_lock put_lock;
    _Alignas(IP_CACHE_LINE) ip_word tail;
    ip_place tail_place[2];
    _Alignas(IP_CACHE_LINE) ip_lock get_lock;
    _Alignas(IP_CACHE_LINE) ip_word head;
    ip_place head_place[2];
    _Alignas(IP_CACHE_LINE) ip_event items; /* consumers wait here */
    ip_event space;                         /* producers wait here */
    ip_event done;                          /* join() waits here */
    _Atomic uint32_t watched, unused;       /* 1: there are, or were, watchers */
    ip_word max_count, max_bytes;           /* 0: no bound */
    ip_word done_count;                     /* task_done() */
    ip_word dropped;                        /* messages that shutting down threw away: done, too */
    ip_word shut;                           /* 1: nothing more can be put */
    ip_event raised;                        /* producers wait here for watchers */
    ip_watcher watchers[IP_WATCHERS];
} ip_ring;

typedef struct {
    const void *data;
    uint64_t size;
} ip_piece;

typedef struct {
    ip_id id;
    unsigned end;
} ip_handle_ref;

/* As it lies in a message, in two words: index 20 | end 29, generation. */
static inline void ip_handle_write(ip_word words[2], const ip_handle_ref *handle) {
    ip_set(&words[0], handle->id.index | (uint64_t)handle->end << 20);
    ip_set(&words[1], handle->id.generation);
}
static inline ip_status ip_handle_read(const ip_word words[2], ip_handle_ref *handle) {
    uint64_t what, generation;
    IP_READ(&words[0], what);
    IP_READ(&words[1], generation);
    *handle = (ip_handle_ref){{(uint32_t)(what & (IP_OBJECTS_MAX - 1)), (uint32_t)generation}, (unsigned)(what >> 20)};
    return IP_OK;
}

/* A message to be put: either contents (one piece of at most IP_INLINE_MAX bytes) or a block from ip_block_fill. */
typedef struct {
    uint8_t kind;
    const void *data;
    uint64_t size;
    uint64_t block; /* 0: inline */
    uint64_t block_sum;
    const ip_piece *pieces; /* the sizes of the block's pieces, each summed by itself in turn */
    unsigned n_pieces;
    const ip_handle_ref *handles;
    unsigned n_handles;
} ip_outgoing;

/* A message that was taken. Inline: data lies in the scratch memory given. Else: a block that this process now owns. */
typedef struct {
    uint8_t kind;
    unsigned char *data;
    uint64_t size;
    uint64_t block;
    uint64_t block_sum;
    unsigned n_pieces;
    const ip_word *piece_sizes; /* in the scratch memory */
    unsigned n_handles;
    ip_handle_ref *handles; /* this process holds them now; in the scratch memory */
} ip_incoming;

typedef struct {
    uint64_t max_count, max_bytes;
} ip_ring_settings;

/* The maker of a queue's or pipe's body (context: ip_ring_settings), its size, and the rings in it. */
ip_status ip_ring_make(ip_arena *arena, ip_object *object, void *settings);
uint64_t ip_ring_body_size(int kind);
/* The same for one ring, wherever it lies. */
ip_status ip_ring_make_one(ip_arena *arena, ip_ring *ring, const ip_ring_settings *settings);
/* A queue has ring 0; the end e of a pipe reads ring e and writes ring 1 - e. */
ip_ring *ip_ring_of(ip_object *object, int kind, unsigned which);

/* Copies the pieces into a new block that this process owns; IP_BUSY: call again. */
ip_status ip_block_fill(ip_arena *arena, const ip_piece *pieces, unsigned n, uint64_t *block, uint64_t *sum);
/* Does the block's contents match the sum? The pieces' sizes as they were given. */
ip_status ip_block_verify(ip_arena *arena, const ip_incoming *message);

/* Puts up to n messages, as many as there is room for; *put tells how many. IP_AGAIN: there was room
 * for none. readers_end: the end whose vacancy makes it IP_BROKEN, or -1. */
ip_status ip_ring_put(ip_arena *arena, ip_object *object, ip_ring *ring, int readers_end, const ip_outgoing *messages,
                      unsigned n, ip_patience patience, unsigned *put);

/* Takes up to max messages, as many as are there and fit the scratch memory (at least IP_SCRATCH_MIN bytes, aligned
 * to 8); *taken tells how many. writers_end: the end whose vacancy makes an empty ring IP_EOF, or -1. */
ip_status ip_ring_take(ip_arena *arena, ip_object *object, ip_ring *ring, int writers_end, unsigned char *scratch,
                       uint64_t scratch_size, ip_patience patience, ip_incoming *messages, unsigned max, unsigned *taken);

/* One slice of waiting; see ip_event_wait. True: look again. */
bool ip_ring_wait_items(ip_object *object, ip_ring *ring, int writers_end, uint64_t deadline_ns, bool *slept);
bool ip_ring_wait_space(ip_object *object, ip_ring *ring, int readers_end, uint64_t size, uint64_t deadline_ns, bool *slept);
bool ip_ring_wait_done(ip_ring *ring, uint64_t deadline_ns, bool *slept);

static inline bool ip_ring_is_watched(const ip_ring *ring) {
    return atomic_load_explicit(&ring->watched, memory_order_seq_cst);
}

/* Is there something to take, or the certainty that nothing will come? */
bool ip_ring_readable(ip_object *object, ip_ring *ring, int writers_end);

/* This process watches the ring: its place among the watchers, or NULL if there is none left. */
ip_watcher *ip_ring_watch(ip_arena *arena, ip_ring *ring);
void ip_ring_unwatch(ip_watcher *watcher);
/* After a put: waits, for at most a moment, until each watcher has seen that there is something to take (or it is taken).
 * So who learns of a later event, such as the end of this process, finds the descriptor readable by then. */
void ip_ring_await_watchers(ip_arena *arena, ip_ring *ring);

ip_status ip_ring_counts(ip_ring *ring, uint64_t *put, uint64_t *taken, uint64_t *done, uint64_t *bytes, bool *shut);
/* IP_OVERFLOW: more done than put. */
ip_status ip_ring_task_done(ip_ring *ring);
/* Drops what is queued. Takes the put lock, the get lock, then the arena lock; IP_BUSY, unless IP_PATIENT. */
ip_status ip_ring_clear(ip_arena *arena, ip_ring *ring, ip_patience patience);
/* Nothing more can be put; `immediate` also drops what is queued. */
ip_status ip_ring_shut_down(ip_arena *arena, ip_object *object, ip_ring *ring, bool immediate);

void ip_ring_wake_all(ip_arena *arena, ip_object *object, int kind);
/* One step towards freeing the contents of an object without holders; IP_AGAIN while there is more to do. */
ip_status ip_ring_dismantle(ip_arena *arena, ip_object *object, int kind);
/* The same for one ring, in two parts: IP_AGAIN while there is more to take off; then, in the change that frees its body, the last segment. */
ip_status ip_ring_empty_step(ip_arena *arena, ip_ring *ring);
ip_status ip_ring_free_segment(ip_arena *arena, ip_ring *ring);
/* Takes the ring's locks: checks the invariants above. For tests and tools. */
ip_status ip_ring_check(ip_arena *arena, ip_ring *ring);

#endif

/* ring_put.c: putting messages into a ring. */
#include <limits.h>
#include <string.h>

#include "fault.h"
#include "heap.h"
#include "ring_frame.h"

ip_status ip_block_fill(ip_arena *arena, const ip_piece *pieces, unsigned n, uint64_t *block, uint64_t *sum) {
    uint64_t size = 0, at;
    for (unsigned i = 0; i < n; i++) size += pieces[i].size;
    IP_TRY(ip_block_new(arena, size, block));
    FAULT("block.new");
    at = *block;
    *sum = size;
    for (unsigned i = 0; i < n; i++) {
        *sum = ip_copy_sum(ip_at(arena, at), pieces[i].data, pieces[i].size, *sum);
        at += pieces[i].size;
    }
    FAULT("block.filled");
    *sum &= IP_PAYLOAD_MAX;
    return IP_OK;
}

/* The words of a frame's contents that come before the data: handles, then a block's description. */
static uint64_t prefix_words(const ip_outgoing *m) {
    return (m->n_handles ? 1 + 2 * (uint64_t)m->n_handles : 0) + (m->block ? 4 + (uint64_t)m->n_pieces : 0);
}

static uint64_t contents_size(const ip_outgoing *m) { return prefix_words(m) * 8 + (m->block ? 0 : m->size); }

static void write_frame(unsigned char *at, const ip_outgoing *m) {
    ip_word *words = (ip_word *)(at + FRAME);
    uint64_t n = 0, sum;
    if (m->n_handles) {
        ip_set(&words[n++], m->n_handles);
        for (unsigned i = 0; i < m->n_handles; i++, n += 2) ip_handle_write(&words[n], &m->handles[i]);
    }
    if (m->block) {
        ip_set(&words[n++], m->block);
        ip_set(&words[n++], m->size);
        ip_set(&words[n++], m->block_sum);
        ip_set(&words[n++], m->n_pieces);
        for (unsigned i = 0; i < m->n_pieces; i++) ip_set(&words[n++], m->pieces[i].size);
    }
    uint64_t word = frame_word(contents_size(m), m->kind, (m->block ? BLOCK : 0) | (m->n_handles ? HANDLES : 0));
    if (m->block)
        sum = ip_sum(words, n * 8, word);
    else if (n)
        sum = ip_copy_sum(words + n, m->data, m->size, ip_sum(words, n * 8, word));
    else
        sum = ip_copy_sum(words, m->data, m->size, word);
    ip_set((ip_word *)at + 1, sum & IP_PAYLOAD_MAX);
    ip_set((ip_word *)at, word);
    FAULT("ring.framed");
}

/* Moves the producer to a new segment: no message yet, only the place. */
static ip_status jump(ip_arena *arena, ip_ring *ring, uint64_t tail, spot *s, uint64_t need) {
    ip_lock *lock = &arena->header->lock;
    segment *old;
    uint64_t capacity, at, wanted;
    IP_TRY(find_segment(arena, s->segment, &old, &capacity));
    wanted = capacity < LAST_CAPACITY ? capacity * 2 : LAST_CAPACITY;
    while (wanted < (need + JUMP_ROOM) * 2 && wanted < LAST_CAPACITY) wanted *= 2;
    IP_TRY(ip_lock_take(arena, lock, IP_BRIEFLY));
    ip_status status = ip_segment_new(arena, wanted, &at);
    if (status != IP_OK) {
        ip_journal_rollback(arena);
        ip_lock_release(lock);
        return status;
    }
    ip_word *frame = (ip_word *)(old->data + (s->position & (capacity - 1)));
    ip_set(frame + 1, at);
    ip_set(frame, frame_word(0, 0, JUMP)); /* its target lies where others have the checksum */
    FAULT("ring.jump");
    *s = (spot){at, 0, wanted, s->bytes};
    write_place(&ring->tail_place[!SLOT(tail)], s);
    FAULT("ring.jump.placed");
    ip_journal_publish(arena, &ring->tail, tail ^ 1);
    ip_lock_release(lock);
    return IP_OK;
}

/* Finds room for a frame at the spot, padding to the start of the segment if need be, and jumping if there is none.
 * *jumped: tail was published anew. */
static ip_status make_room(ip_arena *arena, ip_ring *ring, uint64_t tail, spot *s, uint64_t need, bool may_jump,
                           unsigned char **at, bool *jumped) {
    segment *seg;
    uint64_t capacity, count;
    *jumped = false;
    IP_TRY(find_segment(arena, s->segment, &seg, &capacity));
    for (int round = 0; round < 2; round++) {
        uint64_t offset = s->position & (capacity - 1), until_end = capacity - offset;
        /* a jump must fit behind, in one piece, so a frame ends at least JUMP_ROOM before the end, or exactly there */
        uint64_t skip = need + JUMP_ROOM <= until_end || need == until_end ? 0 : until_end;
        if (s->position % 8 || s->limit < s->position || s->limit - s->position > capacity) return IP_CORRUPT;
        if (need + JUMP_ROOM <= capacity / 2 && s->position + skip + need + JUMP_ROOM <= s->limit) {
            if (skip) {
                ip_set((ip_word *)(seg->data + offset), frame_word(skip - 8, 0, PAD));
                FAULT("ring.padded");
                s->position += skip;
            }
            *at = seg->data + (s->position & (capacity - 1));
            s->position += need;
            return IP_OK;
        }
        if (round == 0) {
            spot c;
            IP_TRY(read_side(&ring->head, ring->head_place, &count, &c));
            s->limit = c.segment == s->segment ? c.position + capacity : capacity;
            if (s->limit < s->position) return IP_CORRUPT;
        }
    }
    if (!may_jump) return IP_AGAIN;
    IP_TRY(jump(arena, ring, tail, s, need));
    *jumped = true;
    bool again;
    return make_room(arena, ring, tail ^ 1, s, need, false, at, &again);
}

/* Publishes the count of messages framed so far. */
static void publish(ip_ring *ring, uint64_t *tail, uint64_t count, const spot *s) {
    uint64_t next = count << 1 | !SLOT(*tail);
    write_place(&ring->tail_place[!SLOT(*tail)], s);
    FAULT("ring.placed");
    atomic_exchange_explicit(&ring->tail, ip_seal(next), memory_order_seq_cst);
    FAULT("ring.published");
    *tail = next;
}

/* The same for one message that has a block or handles: their owners change with it. */
static ip_status publish_with(ip_arena *arena, ip_ring *ring, uint64_t *tail, uint64_t count, const spot *s,
                              const ip_outgoing *m) {
    ip_lock *lock = &arena->header->lock;
    uint64_t next = count << 1 | !SLOT(*tail), size;
    ip_status status = IP_OK;
    ip_block *block;
    IP_TRY(ip_lock_take(arena, lock, IP_BRIEFLY));
    if (m->block) {
        status = ip_heap_block(arena, m->block, &block, &size);
        if (status == IP_OK) status = ip_journal_set(arena, &block->owner, 0);
    }
    for (unsigned i = 0; i < m->n_handles && status == IP_OK; i++)
        status = ip_object_depart(arena, m->handles[i].id, m->handles[i].end);
    if (status == IP_OK) {
        write_place(&ring->tail_place[!SLOT(*tail)], s);
        FAULT("ring.placed");
        ip_journal_publish(arena, &ring->tail, next);
        *tail = next;
    } else {
        ip_journal_rollback(arena);
    }
    ip_lock_release(lock);
    return status;
}

static ip_status put_locked(ip_arena *arena, ip_object *object, ip_ring *ring, int readers_end,
                            const ip_outgoing *messages, unsigned n, unsigned *put) {
    uint64_t tail, count, shut, framed = 0;
    bool vacated;
    spot s;
    IP_READ(&ring->shut, shut);
    if (shut) return IP_SHUT_DOWN;
    IP_TRY(end_vacated(object, readers_end, &vacated));
    if (vacated) return IP_BROKEN;
    IP_READ(&ring->tail, tail);
    count = COUNT(tail);
    IP_TRY(read_place(&ring->tail_place[SLOT(tail)], &s));
    ip_status status = IP_OK;
    for (unsigned i = 0; i < n; i++) {
        const ip_outgoing *m = &messages[i];
        uint64_t contents = contents_size(m), need = FRAME + padded(contents);
        bool special = m->block || m->n_handles, room, jumped;
        unsigned char *at;
        if (contents > IP_INLINE_MAX) {
            status = IP_TOO_LONG;
            break;
        }
        status = ip_ring_bounds(ring, count, s.bytes, m->size, &room);
        if (status != IP_OK) break;
        if (!room) {
            status = IP_AGAIN;
            break;
        }
        if (special && framed) { /* what was framed goes out by itself first */
            publish(ring, &tail, count, &s);
            framed = 0;
        }
        spot before = s;
        status = make_room(arena, ring, tail, &s, need, !framed, &at, &jumped);
        if (status == IP_AGAIN && framed) {
            publish(ring, &tail, count, &before);
            s = before;
            framed = 0;
            status = make_room(arena, ring, tail, &s, need, true, &at, &jumped);
        }
        if (status != IP_OK) {
            s = before;
            break;
        }
        if (jumped) tail ^= 1;
        write_frame(at, m);
        s.bytes += m->size;
        if (special) {
            status = publish_with(arena, ring, &tail, count + 1, &s, m);
            if (status != IP_OK) break;
        } else {
            framed++;
        }
        count++;
        ++*put;
    }
    if (framed) publish(ring, &tail, count, &s);
    return *put ? IP_OK : status;
}

ip_status ip_ring_put(ip_arena *arena, ip_object *object, ip_ring *ring, int readers_end, const ip_outgoing *messages,
                      unsigned n, ip_patience patience, unsigned *put) {
    *put = 0;
    IP_TRY(ip_lock_take(arena, &ring->put_lock, patience));
    ip_status status = put_locked(arena, object, ring, readers_end, messages, n, put);
    ip_lock_release(&ring->put_lock);
    /* watchers sleep there too, and each is to raise its descriptor */
    if (*put) ip_event_notify(&ring->items, *put > 1 || ip_ring_is_watched(ring) ? INT_MAX : 1);
    return status;
}


/* ring_take.c: taking messages out of a ring. */
#include <limits.h>
#include <string.h>

#include "fault.h"
#include "heap.h"
#include "ring_frame.h"

ip_status ip_block_verify(ip_arena *arena, const ip_incoming *message) {
    ip_block *header;
    uint64_t at = message->block, room, size, sum = message->size, left = message->size;
    IP_TRY(ip_heap_block(arena, at, &header, &room));
    if (message->size > room) return IP_CORRUPT;
    for (unsigned i = 0; i < message->n_pieces; i++) {
        IP_READ(&message->piece_sizes[i], size);
        if (size > left) return IP_CORRUPT;
        sum = ip_sum(ip_at(arena, at), size, sum);
        at += size;
        left -= size;
    }
    return left == 0 && (sum & IP_PAYLOAD_MAX) == message->block_sum ? IP_OK : IP_CORRUPT;
}

/* Follows the jump at the consumer's spot and frees the segment that it leaves. Under the arena lock. */
static ip_status follow_jump(ip_arena *arena, ip_ring *ring, uint64_t *head, spot *s, uint64_t next_segment) {
    segment *seg;
    uint64_t capacity;
    ip_range freed;
    IP_TRY(find_segment(arena, next_segment, &seg, &capacity));
    ip_status status = ip_heap_free(arena, s->segment, &freed);
    if (status != IP_OK) {
        ip_journal_rollback(arena);
        return status;
    }
    spot moved = {next_segment, 0, 0, s->bytes};
    write_place(&ring->head_place[!SLOT(*head)], &moved);
    FAULT("ring.follow");
    ip_journal_publish(arena, &ring->head, *head ^ 1);
    *head ^= 1;
    *s = moved;
    return ip_heap_trim(arena, &freed);
}

typedef struct { /* a frame, located and checked */
    unsigned char *at;
    uint64_t length, kind, flags, word;
} frame;

/* The frame at the consumer's spot, past padding; *jump_to is set instead if it is a jump. */
static ip_status next_frame(ip_arena *arena, spot *s, frame *f, uint64_t *jump_to) {
    segment *seg;
    uint64_t capacity;
    *jump_to = 0;
    IP_TRY(find_segment(arena, s->segment, &seg, &capacity));
    for (int round = 0; round < 2; round++) {
        uint64_t offset = s->position & (capacity - 1), until_end = capacity - offset;
        if (offset % 8) return IP_CORRUPT;
        f->at = seg->data + offset;
        IP_READ((ip_word *)f->at, f->word);
        f->length = f->word & 0xFFFFFFFF;
        f->kind = f->word >> 32 & 0xFF;
        f->flags = f->word >> 40;
        if (f->flags == PAD) {
            if (f->length + 8 != until_end) return IP_CORRUPT;
            s->position += until_end;
            continue;
        }
        if (until_end < FRAME || padded(f->length) > until_end - FRAME) return IP_CORRUPT;
        if (f->flags == JUMP) IP_READ((ip_word *)f->at + 1, *jump_to);
        return f->flags == JUMP || !(f->flags & (PAD | JUMP)) ? IP_OK : IP_CORRUPT;
    }
    return IP_CORRUPT;
}

/* Copies a frame's contents out, verifies them, and describes the message. Needs padded(length) bytes of scratch. */
static ip_status read_frame(const frame *f, unsigned char *scratch, ip_incoming *m) {
    uint64_t sum, n = 0, value, words = f->length / 8;
    IP_READ((ip_word *)f->at + 1, sum);
    const ip_word *in = (const ip_word *)scratch;
    *m = (ip_incoming){.kind = (uint8_t)f->kind, .data = scratch, .size = f->length};
    if (!f->flags) {
        uint64_t got = ip_copy_sum(scratch, f->at + FRAME, f->length, f->word);
        return (got & IP_PAYLOAD_MAX) == sum ? IP_OK : IP_CORRUPT;
    }
    /* the prefix is summed by itself when data follow it: its length has to be found first, so nothing is believed before the sum */
    memcpy(scratch, f->at + FRAME, f->length);
    if (f->flags & HANDLES) {
        if (n >= words) return IP_CORRUPT;
        IP_READ(&in[n], value);
        n++;
        if (value > IP_HANDLES_MAX || 2 * value > words - n) return IP_CORRUPT;
        m->n_handles = (unsigned)value;
        n += 2 * value;
    }
    if (f->flags & BLOCK) {
        if (words - n < 4) return IP_CORRUPT;
        IP_READ(&in[n], m->block);
        IP_READ(&in[n + 1], m->size);
        IP_READ(&in[n + 2], m->block_sum);
        IP_READ(&in[n + 3], value);
        n += 4;
        if (value > IP_PIECES_MAX || value != words - n || !m->block) return IP_CORRUPT;
        m->n_pieces = (unsigned)value;
        m->piece_sizes = &in[n];
        n += value;
        if ((ip_sum(scratch, n * 8, f->word) & IP_PAYLOAD_MAX) != sum) return IP_CORRUPT;
    } else {
        m->data = scratch + n * 8;
        m->size = f->length - n * 8;
        uint64_t got = ip_sum(m->data, m->size, ip_sum(scratch, n * 8, f->word));
        if ((got & IP_PAYLOAD_MAX) != sum) return IP_CORRUPT;
    }
    if (m->n_handles) { /* in place, front to back: a reference is no larger than the two words it comes from */
        ip_handle_ref *handles = (ip_handle_ref *)(void *)scratch;
        for (unsigned i = 0; i < m->n_handles; i++) IP_TRY(ip_handle_read(&in[1 + 2 * i], &handles[i]));
        m->handles = handles;
    }
    return IP_OK;
}

/* Publishes that all up to `count` is taken. */
static void publish_taken(ip_ring *ring, uint64_t *head, uint64_t count, const spot *s) {
    uint64_t next = count << 1 | !SLOT(*head);
    write_place(&ring->head_place[!SLOT(*head)], s);
    FAULT("ring.taking");
    atomic_exchange_explicit(&ring->head, ip_seal(next), memory_order_seq_cst);
    FAULT("ring.taken");
    *head = next;
}

/* The same for one message with a block or handles; `keep`: they become this process's, else they are freed, let go,
 * and the message counts as dropped. Under the arena lock. */
static ip_status publish_taken_with(ip_arena *arena, ip_ring *ring, uint64_t *head, uint64_t count, const spot *s,
                                    const ip_incoming *m, bool keep, ip_range *freed) {
    ip_status status = IP_OK;
    ip_block *block;
    uint64_t size, dropped;
    *freed = (ip_range){0, 0};
    if (m->block) {
        status = ip_heap_block(arena, m->block, &block, &size);
        if (status == IP_OK && m->size > size) status = IP_CORRUPT;
        if (status == IP_OK)
            status = keep ? ip_journal_set(arena, &block->owner, ip_heap_owner(arena))
                          : ip_heap_free(arena, m->block, freed);
    }
    for (unsigned i = 0; i < m->n_handles && status == IP_OK; i++) {
        status = ip_object_arrive(arena, m->handles[i].id, m->handles[i].end, keep);
        if (status == IP_FREED) status = IP_CORRUPT; /* a handle in transit keeps its object */
    }
    if (status == IP_OK && !keep)
        status = ip_get(&ring->dropped, &dropped) ? ip_journal_set(arena, &ring->dropped, dropped + 1) : IP_CORRUPT;
    if (status != IP_OK) {
        ip_journal_rollback(arena);
        return status;
    }
    uint64_t next = count << 1 | !SLOT(*head);
    write_place(&ring->head_place[!SLOT(*head)], s);
    FAULT("ring.taking");
    ip_journal_publish(arena, &ring->head, next);
    *head = next;
    return IP_OK;
}

static ip_status take_locked(ip_arena *arena, ip_object *object, ip_ring *ring, int writers_end, unsigned char *scratch,
                             uint64_t scratch_size, ip_incoming *messages, unsigned max, unsigned *taken) {
    uint64_t head, tail, count, jump_to, used = 0, unpublished = 0;
    ip_lock *arena_lock = &arena->header->lock;
    spot s;
    IP_READ(&ring->head, head);
    IP_READ(&ring->tail, tail);
    count = COUNT(head);
    if (COUNT(tail) < count) return IP_CORRUPT;
    if (COUNT(tail) == count) {
        uint64_t shut;
        bool vacated;
        IP_READ(&ring->shut, shut);
        IP_TRY(end_vacated(object, writers_end, &vacated));
        if (!shut && !vacated) return IP_AGAIN;
        IP_READ(&ring->tail, tail); /* what was put before the end was vacated is seen now */
        if (COUNT(tail) == count) return shut ? IP_SHUT_DOWN : IP_EOF;
    }
    IP_TRY(read_place(&ring->head_place[SLOT(head)], &s));
    ip_status status = IP_OK;
    while (*taken < max && count < COUNT(tail)) {
        frame f;
        ip_incoming *m = &messages[*taken];
        spot before = s;
        ip_range freed;
        status = next_frame(arena, &s, &f, &jump_to);
        if (status == IP_OK && f.length > IP_INLINE_MAX) status = IP_CORRUPT;
        if (status != IP_OK) {
            s = before;
            break;
        }
        if (jump_to) {
            if (unpublished) publish_taken(ring, &head, count, &before);
            unpublished = 0;
            status = ip_lock_take(arena, arena_lock, IP_BRIEFLY);
            if (status != IP_OK) break;
            status = follow_jump(arena, ring, &head, &s, jump_to);
            ip_lock_release(arena_lock);
            if (status != IP_OK) break;
            continue;
        }
        bool special = f.flags != 0;
        if (padded(f.length) > scratch_size - used || (special && *taken)) { /* a special one is taken by itself */
            s = before;
            if (!*taken) status = IP_TOO_LONG;
            break;
        }
        status = read_frame(&f, scratch + used, m);
        if (status != IP_OK) {
            s = before;
            break;
        }
        s.position += FRAME + padded(f.length);
        s.bytes += m->size;
        count++;
        if (!special) {
            used += padded(f.length);
            ++*taken;
            unpublished++;
            continue;
        }
        status = ip_lock_take(arena, arena_lock, IP_BRIEFLY);
        if (status != IP_OK) break;
        status = publish_taken_with(arena, ring, &head, count, &s, m, true, &freed);
        ip_lock_release(arena_lock);
        if (status == IP_OK) ++*taken;
        break;
    }
    if (unpublished) publish_taken(ring, &head, count, &s);
    return *taken ? IP_OK : status;
}

ip_status ip_ring_take(ip_arena *arena, ip_object *object, ip_ring *ring, int writers_end, unsigned char *scratch,
                       uint64_t scratch_size, ip_patience patience, ip_incoming *messages, unsigned max, unsigned *taken) {
    *taken = 0;
    IP_TRY(ip_lock_take(arena, &ring->get_lock, patience));
    ip_status status =
        take_locked(arena, object, ring, writers_end, scratch, scratch_size, messages, max, taken);
    ip_lock_release(&ring->get_lock);
    if (*taken) {
        ip_event_notify(&ring->space, *taken > 1 ? INT_MAX : 1);
        if (ip_ring_is_watched(ring)) ip_event_notify(&ring->raised, INT_MAX); /* it may be empty: nothing to wait for */
    }
    return status;
}

/* Walks from the head place to the tail place; under all three locks. */
static ip_status walk(ip_arena *arena, ip_ring *ring) {
    _Alignas(8) unsigned char scratch[IP_SCRATCH_MIN];
    uint64_t head, tail, jump_to, capacity, owner, size;
    spot s, first, end;
    segment *seg;
    frame f;
    ip_incoming m;
    ip_block *block;
    IP_READ(&ring->head, head);
    IP_READ(&ring->tail, tail);
    IP_TRY(read_place(&ring->head_place[SLOT(head)], &s));
    first = s;
    IP_TRY(read_place(&ring->tail_place[SLOT(tail)], &end));
    for (uint64_t count = COUNT(head); count != COUNT(tail) || s.segment != end.segment;) {
        IP_TRY(find_segment(arena, s.segment, &seg, &capacity));
        IP_TRY(ip_heap_block(arena, s.segment, &block, &size));
        if (size < sizeof(segment) + capacity) return IP_CORRUPT;
        IP_TRY(next_frame(arena, &s, &f, &jump_to));
        if (jump_to) {
            s = (spot){jump_to, 0, 0, s.bytes};
            continue;
        }
        if (count >= COUNT(tail) || f.length > IP_INLINE_MAX) return IP_CORRUPT;
        IP_TRY(read_frame(&f, scratch, &m));
        if (m.block) { /* no member owns what is queued */
            IP_TRY(ip_block_verify(arena, &m));
            IP_TRY(ip_heap_block(arena, m.block, &block, &size));
            IP_READ(&block->owner, owner);
            if (owner) return IP_CORRUPT;
        }
        s.position += FRAME + padded(f.length);
        s.bytes += m.size;
        count++;
    }
    IP_TRY(find_segment(arena, end.segment, &seg, &capacity));
    uint64_t free_to = (first.segment == end.segment ? first.position : 0) + capacity;
    if (s.position != end.position || s.bytes != end.bytes || end.position > end.limit || end.limit > free_to)
        return IP_CORRUPT;
    return IP_OK;
}

ip_status ip_ring_check(ip_arena *arena, ip_ring *ring) {
    ip_status status;
    IP_TRY(ip_lock_take(arena, &ring->put_lock, IP_PATIENT));
    status = ip_lock_take(arena, &ring->get_lock, IP_PATIENT);
    if (status == IP_OK) {
        status = ip_lock_take(arena, &arena->header->lock, IP_PATIENT);
        if (status == IP_OK) {
            status = walk(arena, ring);
            ip_lock_release(&arena->header->lock);
        }
        ip_lock_release(&ring->get_lock);
    }
    ip_lock_release(&ring->put_lock);
    return status;
}

ip_status ip_ring_drop_one(ip_arena *arena, ip_ring *ring) {
    _Alignas(8) unsigned char scratch[IP_SCRATCH_MIN];
    uint64_t head, tail, jump_to;
    spot s, end;
    frame f;
    ip_incoming m;
    ip_range freed;
    IP_READ(&ring->head, head);
    IP_READ(&ring->tail, tail);
    IP_TRY(read_place(&ring->head_place[SLOT(head)], &s));
    IP_TRY(read_place(&ring->tail_place[SLOT(tail)], &end));
    if (COUNT(head) > COUNT(tail)) return IP_CORRUPT;
    if (COUNT(head) == COUNT(tail) && s.segment == end.segment) return IP_AGAIN;
    IP_TRY(next_frame(arena, &s, &f, &jump_to));
    if (jump_to) return follow_jump(arena, ring, &head, &s, jump_to);
    if (f.length > IP_INLINE_MAX || COUNT(head) == COUNT(tail)) return IP_CORRUPT;
    IP_TRY(read_frame(&f, scratch, &m));
    s.position += FRAME + padded(f.length);
    s.bytes += m.size;
    IP_TRY(publish_taken_with(arena, ring, &head, COUNT(head) + 1, &s, &m, false, &freed));
    return freed.to ? ip_heap_trim(arena, &freed) : IP_OK;
}

/* channel.c: making channels, their state, poison, poking, freeing. How parties meet at them: choice.c. */
#include "channel.h"

#include <string.h>

#include "fault.h"
#include "ring_frame.h"

enum { POISONED = 1 };

uint64_t ip_channel_body_size(uint64_t capacity) {
    return ip_object_size(IP_ENDS_MAX) + sizeof(ip_channel) + (capacity ? sizeof(ip_ring) : 0);
}

static ip_channel *channel_at(ip_object *object) {
    return (ip_channel *)(void *)((unsigned char *)object + ip_object_size(IP_ENDS_MAX));
}

void ip_label_set(ip_label *label, const char *text, uint64_t size) {
    if (size > IP_LABEL_MAX) size = IP_LABEL_MAX;
    if (!size) text = ""; /* there may be none */
    ip_set(&label->size, size);
    ip_set(&label->sum, ip_copy_sum(label->text, text, size, size) & IP_PAYLOAD_MAX);
}

ip_status ip_label_get(const ip_label *label, char *text) {
    uint64_t size, sum;
    IP_READ(&label->size, size);
    IP_READ(&label->sum, sum);
    if (size > IP_LABEL_MAX || (ip_copy_sum(text, label->text, size, size) & IP_PAYLOAD_MAX) != sum) return IP_CORRUPT;
    text[size] = 0;
    return IP_OK;
}

ip_status ip_channel_make(ip_arena *arena, ip_object *object, void *context) {
    const ip_channel_settings *settings = context;
    ip_channel *channel = channel_at(object);
    memset(channel, 0, sizeof *channel);
    ip_set(&channel->flags, 0);
    ip_set(&channel->policy, settings->policy);
    ip_set(&channel->capacity, settings->capacity);
    ip_set(&channel->passed, 0);
    ip_set(&channel->lost, 0);
    ip_label_set(&channel->label, settings->label, settings->label_size);
    for (int side = 0; side < 2; side++) ip_offers_init(&channel->offers[side]);
    if (!settings->capacity) return IP_OK;
    ip_ring_settings ring = {settings->capacity == IP_UNBOUNDED ? 0 : settings->capacity, 0};
    return ip_ring_make_one(arena, ip_channel_ring(channel), &ring);
}

ip_status ip_channel_of(ip_arena *arena, ip_object *object, ip_channel **channel) {
    uint64_t room, kind, capacity;
    ip_block *block;
    IP_TRY(ip_heap_block(arena, ip_offset_of(arena, object), &block, &room));
    IP_READ(&object->kind, kind);
    if ((kind & 0xFF) != IP_CHANNEL || kind >> 8 != IP_ENDS_MAX || room < ip_channel_body_size(0)) return IP_CORRUPT;
    *channel = channel_at(object);
    IP_READ(&(*channel)->capacity, capacity);
    return room >= ip_channel_body_size(capacity) ? IP_OK : IP_CORRUPT;
}

/* ---- its state ---- */

ip_status ip_channel_open_for(ip_object *object, ip_channel *channel, unsigned side) {
    uint64_t flags, vacated, capacity;
    IP_READ(&channel->flags, flags);
    if (flags & POISONED) return IP_POISONED;
    IP_READ(&object->vacated, vacated);
    if (!(vacated >> !side & 1)) return IP_OK;
    IP_READ(&channel->capacity, capacity);
    if (side == IP_READS && capacity) { /* what was sent is read first; nothing can be added now */
        uint64_t head, tail;
        IP_READ(&ip_channel_ring(channel)->head, head);
        IP_READ(&ip_channel_ring(channel)->tail, tail);
        if (COUNT(head) < COUNT(tail)) return IP_OK;
    }
    return IP_RETIRED;
}

bool ip_channel_ready(ip_object *object, ip_channel *channel, unsigned side) {
    uint64_t capacity, put, taken, policy;
    ip_ring *ring = ip_channel_ring(channel);
    if (ip_channel_open_for(object, channel, side) != IP_OK) return true;
    if (!ip_get(&channel->capacity, &capacity)) return true;
    if (!capacity) return false;
    /* what is written by one side is read first, as the other may go on */
    if (side == IP_READS) return !ip_get(&ring->head, &taken) || !ip_get(&ring->tail, &put) || COUNT(taken) < COUNT(put);
    if (!ip_get(&channel->policy, &policy) || policy != IP_BLOCKING || capacity == IP_UNBOUNDED) return true;
    return !ip_get(&ring->tail, &put) || !ip_get(&ring->head, &taken) || COUNT(put) < COUNT(taken) + capacity;
}

static ip_status look(ip_arena *arena, ip_object *object, ip_channel *channel, ip_channel_info *info) {
    uint64_t flags, vacated, head, tail, dropped;
    ip_id id;
    memset(info, 0, sizeof *info);
    IP_TRY(ip_object_id(arena, object, &id));
    IP_READ(&channel->flags, flags);
    IP_READ(&object->vacated, vacated);
    IP_READ(&channel->capacity, info->capacity);
    IP_READ(&channel->policy, info->policy);
    IP_READ(&channel->passed, info->passed);
    IP_READ(&channel->lost, info->lost);
    info->poisoned = flags & POISONED;
    for (int side = 0; side < 2; side++) {
        info->retired[side] = vacated >> side & 1;
        IP_TRY(ip_offers_count(arena, &channel->offers[side], ip_where(id, side), &info->waiting[side]));
    }
    if (info->capacity) {
        IP_READ(&ip_channel_ring(channel)->head, head);
        IP_READ(&ip_channel_ring(channel)->tail, tail);
        IP_READ(&ip_channel_ring(channel)->dropped, dropped); /* when it was poisoned */
        info->passed = COUNT(head) - dropped;
        info->lost += dropped;
        info->buffered = COUNT(head) < COUNT(tail) ? COUNT(tail) - COUNT(head) : 0;
    }
    return ip_label_get(&channel->label, info->label);
}

ip_status ip_channel_look(ip_arena *arena, ip_object *object, ip_channel *channel, ip_channel_info *info) {
    IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_PATIENT));
    ip_status status = look(arena, object, channel, info);
    ip_lock_release(&arena->header->lock);
    return status;
}

void ip_channel_note_lost(ip_channel *channel) {
    uint64_t lost;
    while (ip_get(&channel->lost, &lost) && !ip_swap(&channel->lost, lost, lost + 1)) {}
}

/* ---- poking, poison ---- */

void ip_channel_poke_all(ip_arena *arena, ip_object *object) {
    ip_channel *channel;
    ip_id id;
    if (ip_channel_of(arena, object, &channel) != IP_OK || ip_object_id(arena, object, &id) != IP_OK) return;
    for (unsigned side = 0; side < 2; side++) ip_offers_poke(arena, &channel->offers[side], ip_where(id, side));
}

static ip_status poke_one(ip_arena *arena, ip_id id, unsigned side) {
    int kind;
    ip_object *object;
    ip_channel *channel;
    ip_party *party;
    unsigned guard;
    IP_TRY(ip_object_find(arena, id, &kind, &object));
    IP_TRY(ip_channel_of(arena, object, &channel));
    IP_TRY(ip_offers_first(arena, &channel->offers[side], ip_where(id, side), &party, &guard));
    /* poked before its offer is taken out: else nobody would find it any more, should this process die in between */
    IP_TRY(ip_party_poke_locked(arena, party));
    return ip_offers_taken(arena, &channel->offers[side], party, guard, ip_where(id, side));
}

ip_status ip_channel_poke_one(ip_arena *arena, ip_id id, unsigned side) {
    IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_BRIEFLY));
    ip_status status = poke_one(arena, id, side);
    ip_lock_release(&arena->header->lock);
    return status == IP_AGAIN || status == IP_FREED ? IP_OK : status;
}

ip_status ip_channel_bereave(ip_arena *arena, ip_object *object) {
    ip_channel *channel;
    uint64_t flags;
    IP_TRY(ip_channel_of(arena, object, &channel));
    IP_READ(&channel->flags, flags);
    return flags & POISONED ? IP_OK : ip_journal_set(arena, &channel->flags, flags | POISONED);
}

ip_status ip_channel_clear(ip_arena *arena, ip_channel *channel) {
    uint64_t flags, capacity, put, taken;
    IP_READ(&channel->flags, flags);
    IP_READ(&channel->capacity, capacity);
    if (!(flags & POISONED) || !capacity) return IP_OK;
    IP_READ(&ip_channel_ring(channel)->head, taken);
    IP_READ(&ip_channel_ring(channel)->tail, put);
    if (COUNT(taken) == COUNT(put)) return IP_OK;
    ip_status status = ip_ring_clear(arena, ip_channel_ring(channel), IP_BRIEFLY);
    return status == IP_BUSY ? IP_OK : status; /* somebody was stopped in there; the next who is told will do it */
}

ip_status ip_channel_poison(ip_arena *arena, ip_object *object) {
    ip_channel *channel;
    IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_PATIENT));
    ip_status status = ip_channel_bereave(arena, object);
    if (status == IP_OK) { /* poked first: they take the lock before they look, and nobody is left asleep should this process die now */
        ip_channel_poke_all(arena, object);
        FAULT("channel.poisoned");
        ip_journal_commit(arena);
    } else {
        ip_journal_rollback(arena);
    }
    ip_lock_release(&arena->header->lock);
    IP_TRY(status);
    IP_TRY(ip_channel_of(arena, object, &channel));
    return ip_channel_clear(arena, channel);
}

/* ---- the end ---- */

ip_status ip_channel_dismantle(ip_arena *arena, ip_object *object) {
    ip_channel *channel;
    uint64_t capacity;
    IP_TRY(ip_channel_of(arena, object, &channel));
    IP_READ(&channel->capacity, capacity);
    if (capacity) IP_TRY(ip_ring_empty_step(arena, ip_channel_ring(channel)));
    for (int side = 0; side < 2; side++) IP_TRY(ip_offers_free(arena, &channel->offers[side]));
    return capacity ? ip_ring_free_segment(arena, ip_channel_ring(channel)) : IP_OK;
}

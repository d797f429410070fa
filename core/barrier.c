/* barrier.c: who is enrolled at a barrier; the meeting itself takes place in choice.c. */
#include "barrier.h"

#include <string.h>

#include "fault.h"
#include "member.h"

/* enrolment: owner 28 | serial 28 */
#define SERIAL_MAX ((UINT64_C(1) << 28) - 1)

static uint64_t pack(uint64_t owner, uint64_t serial) { return owner | serial << 28; }
static uint64_t serial_of(uint64_t enrolment) { return enrolment >> 28; }

uint64_t ip_barrier_body_size(void) { return ip_object_size(1) + sizeof(ip_barrier); }

static ip_barrier *barrier_at(ip_object *object) { return (ip_barrier *)(void *)((unsigned char *)object + ip_object_size(1)); }

ip_status ip_barrier_make(ip_arena *arena, ip_object *object, void *context) {
    const ip_channel_settings *settings = context;
    ip_barrier *barrier = barrier_at(object);
    (void)arena;
    memset(barrier, 0, sizeof *barrier);
    ip_set(&barrier->serial, 0);
    ip_set(&barrier->met, 0);
    ip_label_set(&barrier->label, settings->label, settings->label_size);
    ip_offers_init(&barrier->enrolled);
    ip_offers_init(&barrier->offers);
    return IP_OK;
}

ip_status ip_barrier_of(ip_arena *arena, ip_object *object, ip_barrier **barrier) {
    uint64_t room, kind;
    ip_block *block;
    IP_TRY(ip_heap_block(arena, ip_offset_of(arena, object), &block, &room));
    IP_READ(&object->kind, kind);
    if ((kind & 0xFF) != IP_BARRIER || kind >> 8 != 1 || room < ip_barrier_body_size()) return IP_CORRUPT;
    *barrier = barrier_at(object);
    return IP_OK;
}

static ip_status locked(ip_arena *arena, ip_object *object, ip_barrier **barrier) {
    IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_PATIENT));
    ip_status status = ip_barrier_of(arena, object, barrier);
    if (status != IP_OK) ip_lock_release(&arena->header->lock);
    return status;
}

static ip_status find(ip_arena *arena, ip_barrier *barrier, uint64_t serial, ip_word **word) {
    uint64_t head, tail, enrolment;
    IP_TRY(ip_offers_span(&barrier->enrolled, &head, &tail));
    for (; head < tail; head++) {
        IP_TRY(ip_offers_at(arena, &barrier->enrolled, head, word));
        IP_READ(*word, enrolment);
        if (enrolment && serial_of(enrolment) == serial) return IP_OK;
    }
    return IP_FREED;
}

static ip_status always(ip_arena *arena, uint64_t enrolment, const void *context) {
    (void)arena, (void)enrolment, (void)context;
    return IP_OK;
}

static ip_status enrol(ip_arena *arena, ip_barrier *barrier, uint64_t *serial) {
    uint64_t enrolled;
    bool owned;
    ip_word *word;
    IP_TRY(ip_barrier_count(arena, barrier, 0, &enrolled, &owned));
    if (enrolled >= IP_ENROLLED_MAX) return IP_CROWDED;
    IP_READ(&barrier->serial, *serial);
    do {
        *serial = (*serial + 1) & SERIAL_MAX;
    } while (*serial == 0 || find(arena, barrier, *serial, &word) == IP_OK); /* they have gone round, and that one is still there */
    ip_set(&barrier->serial, *serial);
    return ip_offers_add(arena, &barrier->enrolled, pack(ip_heap_owner(arena), *serial), always, NULL);
}

ip_status ip_barrier_enrol(ip_arena *arena, ip_object *object, uint64_t *serial) {
    ip_barrier *barrier;
    IP_TRY(locked(arena, object, &barrier));
    ip_status status = enrol(arena, barrier, serial);
    ip_lock_release(&arena->header->lock);
    return status;
}

/* The word of an enrolment that the owner has. */
static ip_status find_owned(ip_arena *arena, ip_object *object, unsigned end, uint64_t owner, ip_barrier **barrier, ip_word **word) {
    uint64_t enrolment;
    IP_TRY(ip_barrier_of(arena, object, barrier));
    IP_TRY(find(arena, *barrier, end & SERIAL_MAX, word));
    IP_READ(*word, enrolment);
    return enrolment == pack(owner, end & SERIAL_MAX) ? IP_OK : IP_FREED;
}

ip_status ip_barrier_move(ip_arena *arena, ip_object *object, unsigned end, uint64_t from, uint64_t to) {
    ip_barrier *barrier;
    ip_word *word;
    IP_TRY(find_owned(arena, object, end, from, &barrier, &word));
    IP_TRY(ip_journal_set(arena, word, pack(to, end & SERIAL_MAX)));
    FAULT("enrolment.moved");
    return IP_OK;
}

ip_status ip_barrier_end(ip_arena *arena, ip_object *object, unsigned end, uint64_t owner) {
    ip_barrier *barrier;
    ip_word *word;
    IP_TRY(find_owned(arena, object, end, owner, &barrier, &word));
    ip_barrier_poke_all(arena, object); /* first, as in bereave */
    IP_TRY(ip_journal_set(arena, word, 0));
    FAULT("enrolment.ended");
    return IP_OK;
}

ip_status ip_barrier_count(ip_arena *arena, ip_barrier *barrier, uint64_t serial, uint64_t *enrolled, bool *owned) {
    uint64_t head, tail, room, enrolment, mine = pack(ip_heap_owner(arena), serial);
    ip_word *words;
    *enrolled = 0;
    *owned = false;
    IP_TRY(ip_offers_span(&barrier->enrolled, &head, &tail));
    IP_TRY(ip_offers_words(arena, &barrier->enrolled, &words, &room));
    for (uint64_t i = head % room; head < tail; head++, i = i + 1 == room ? 0 : i + 1) {
        IP_READ(&words[i], enrolment);
        *enrolled += enrolment != 0;
        *owned |= enrolment == mine;
    }
    return IP_OK;
}

ip_status ip_barrier_member(ip_arena *arena, ip_barrier *barrier, uint64_t *position, uint32_t *member) {
    uint64_t head, tail, enrolment;
    ip_word *word;
    IP_TRY(ip_offers_span(&barrier->enrolled, &head, &tail));
    if (*position < head) *position = head;
    for (; *position < tail; ++*position) {
        IP_TRY(ip_offers_at(arena, &barrier->enrolled, *position, &word));
        IP_READ(word, enrolment);
        if (!enrolment) continue;
        ++*position;
        *member = (uint32_t)(enrolment & 0xFFF) - 1;
        return IP_OK;
    }
    return IP_AGAIN;
}

ip_status ip_barrier_look(ip_arena *arena, ip_object *object, uint64_t *enrolled, uint64_t *waiting, uint64_t *met) {
    ip_barrier *barrier;
    ip_id id;
    IP_TRY(locked(arena, object, &barrier));
    bool owned;
    ip_status status = ip_barrier_count(arena, barrier, 0, enrolled, &owned);
    if (status == IP_OK) status = ip_object_id(arena, object, &id);
    if (status == IP_OK) status = ip_offers_count(arena, &barrier->offers, ip_where(id, IP_SYNCS), waiting);
    if (status == IP_OK && !ip_get(&barrier->met, met)) status = IP_CORRUPT;
    ip_lock_release(&arena->header->lock);
    return status;
}

void ip_barrier_poke_all(ip_arena *arena, ip_object *object) {
    ip_barrier *barrier;
    ip_id id;
    if (ip_barrier_of(arena, object, &barrier) != IP_OK || ip_object_id(arena, object, &id) != IP_OK) return;
    ip_offers_poke(arena, &barrier->offers, ip_where(id, IP_SYNCS));
}

ip_status ip_barrier_bereave(ip_arena *arena, ip_object *object, uint32_t member) {
    ip_barrier *barrier;
    uint64_t head, tail, enrolment;
    ip_word *word;
    bool poked = false;
    IP_TRY(ip_barrier_of(arena, object, &barrier));
    IP_TRY(ip_offers_span(&barrier->enrolled, &head, &tail));
    for (; head < tail; head++) { /* each is a change by itself, and can be repeated */
        IP_TRY(ip_offers_at(arena, &barrier->enrolled, head, &word));
        IP_READ(word, enrolment);
        if (!enrolment || (enrolment & 0xFFF) != member + 1) continue;
        /* Before the first ends: the dead one's own parties do not wait any more then, which would be counted as if they were
         * enrolled, and the others are sure to look again, should this process die. */
        if (!poked) ip_barrier_poke_all(arena, object);
        poked = true;
        ip_set(word, 0);
        FAULT("barrier.bereaved");
    }
    return IP_OK;
}

ip_status ip_barrier_dismantle(ip_arena *arena, ip_object *object) {
    ip_barrier *barrier;
    IP_TRY(ip_barrier_of(arena, object, &barrier));
    IP_TRY(ip_offers_free(arena, &barrier->enrolled));
    return ip_offers_free(arena, &barrier->offers);
}

/* party.c: parties: making them, their states, waiting, texts about them. */
#include "party.h"

#include <limits.h>
#include <string.h>

#include "fault.h"
#include "member.h"

#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))

uint64_t ip_party_body_size(void) { return ip_object_size(1) + sizeof(ip_party); }

static ip_party *party_at(ip_object *object) { return (ip_party *)(void *)((unsigned char *)object + ip_object_size(1)); }

ip_status ip_party_make(ip_arena *arena, ip_object *object, void *context) {
    ip_party *party = party_at(object);
    (void)context;
    memset(party, 0, sizeof *party);
    ip_word *words[] = {&party->state,    &party->bell,   &party->rung,       &party->mode, &party->since, &party->parent,
                        &party->children, &party->stalls, &party->guards,     &party->table, &party->table_room, &party->card,
                        &party->card_size, &party->card_sum, &party->note_size, &party->note_sum};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) ip_set(words[i], 0);
    for (unsigned i = 0; i < IP_GUARDS_FEW; i++) {
        ip_set(&party->few[i].where, 0);
        ip_set(&party->few[i].parcel, 0);
    }
    ip_box_init(&party->inbox);
    ip_box_init(&party->outbox);
    ip_set(&party->member, ip_heap_owner(arena));
    return IP_OK;
}

ip_status ip_party_of(ip_arena *arena, ip_object *object, ip_party **party) {
    uint64_t room, kind;
    ip_block *block;
    IP_TRY(ip_heap_block(arena, ip_offset_of(arena, object), &block, &room));
    IP_READ(&object->kind, kind);
    if ((kind & 0xFF) != IP_PARTY || kind >> 8 != 1 || room < ip_party_body_size()) return IP_CORRUPT;
    *party = party_at(object);
    return IP_OK;
}

ip_status ip_party_find(ip_arena *arena, uint32_t index, uint32_t generation, ip_party **party) {
    ip_id id;
    int kind;
    ip_object *object;
    *party = NULL;
    ip_status status = ip_object_at(arena, index, &id, &kind, &object);
    if (status == IP_FREED || status == IP_AGAIN) return IP_OK;
    if (status != IP_OK) return status;
    if (kind != IP_PARTY || (id.generation ^ generation) & 0xFFFFFF) return IP_OK; /* an offer names the low bits */
    return ip_party_of(arena, object, party);
}

/* ---- guards ---- */

ip_party_guard *ip_party_guard_at(ip_arena *arena, ip_party *party, uint64_t number) {
    uint64_t table, room, size;
    ip_block *block;
    if (!ip_get(&party->table, &table)) return NULL;
    if (!table) return number < IP_GUARDS_FEW ? &party->few[number] : NULL;
    if (!ip_get(&party->table_room, &room) || number >= room || ip_heap_block(arena, table, &block, &size) != IP_OK ||
        room > size / sizeof(ip_party_guard))
        return NULL;
    return (ip_party_guard *)ip_at(arena, table) + number;
}

static ip_status move_guards(ip_arena *arena, ip_party *party, uint64_t from, uint64_t had, uint64_t room) {
    uint64_t at;
    ip_range freed;
    ip_party_guard *guards;
    IP_TRY(ip_heap_alloc(arena, room * sizeof *guards, 0, &at));
    guards = ip_at(arena, at);
    for (uint64_t i = 0; i < room; i++) {
        ip_party_guard *old = i < had ? ip_party_guard_at(arena, party, i) : NULL;
        uint64_t where = 0, parcel = 0;
        if (i < had && (!old || !ip_get(&old->where, &where) || !ip_get(&old->parcel, &parcel))) return IP_CORRUPT;
        ip_set(&guards[i].where, where);
        ip_set(&guards[i].parcel, parcel);
    }
    SET(&party->table, at);
    SET(&party->table_room, room);
    return from ? ip_heap_free(arena, from, &freed) : IP_OK;
}

ip_status ip_party_make_room(ip_arena *arena, ip_party *party, unsigned n) {
    uint64_t table, had = IP_GUARDS_FEW, room = 2 * IP_GUARDS_FEW;
    IP_READ(&party->table, table);
    if (table) IP_READ(&party->table_room, had);
    if (n <= had) return IP_OK;
    if (n > IP_GUARDS_MAX) return IP_TOO_LONG;
    while (room < n) room *= 2;
    ip_status status = move_guards(arena, party, table, had, room);
    if (status == IP_OK)
        ip_journal_commit(arena);
    else
        ip_journal_rollback(arena);
    return status;
}

/* ---- states ---- */

ip_status ip_party_state(const ip_party *party, int *phase, unsigned *guard) {
    uint64_t state;
    IP_READ(&party->state, state);
    *phase = ip_party_phase(state);
    *guard = ip_party_chosen(state);
    return IP_OK;
}

static bool waits_no_more(const void *context) {
    const ip_party *party = context;
    uint64_t state;
    return !ip_get(&party->state, &state) || ip_party_phase(state) != IP_PARTY_WAITING;
}

bool ip_party_wait(ip_party *party, uint64_t deadline_ns, bool *slept) {
    return ip_event_wait(&party->event, waits_no_more, party, deadline_ns, slept);
}

typedef struct {
    const ip_party *party;
    uint64_t seen;
} bell;

static bool has_rung(const void *context) {
    const bell *b = context;
    uint64_t rung;
    return !ip_get(&b->party->rung, &rung) || rung != b->seen;
}

bool ip_party_wait_bell(ip_party *party, uint64_t seen, uint64_t deadline_ns, bool *slept) {
    bell b = {party, seen};
    ip_set(&party->mode, IP_LOOP);
    return ip_event_wait(&party->event, has_rung, &b, deadline_ns, slept);
}

void ip_party_call(ip_arena *arena, ip_party *party, ip_event **wake, uint32_t *task) {
    uint64_t name, member, index, rung;
    const ip_object *object = (const ip_object *)(const void *)((const unsigned char *)party - ip_object_size(1));
    ip_party *loop;
    *wake = NULL;
    if (!ip_get(&party->bell, &name) || !name) {
        if (ip_event_announce(&party->event)) *wake = &party->event;
    } else if (task && ip_get(&party->member, &member) && member == ip_heap_owner(arena)) {
        if (ip_get(&object->index, &index)) *task = (uint32_t)index + 1;
    } else if (ip_party_find(arena, (uint32_t)(name & 0x1FFFFF) - 1, (uint32_t)(name >> 21), &loop) == IP_OK && loop) {
        if (ip_get(&loop->rung, &rung))
            atomic_exchange_explicit(&loop->rung, ip_seal((rung + 1) & IP_PAYLOAD_MAX), memory_order_seq_cst);
        if (ip_event_announce(&loop->event)) *wake = &loop->event;
    } /* else its loop has ended */
}

ip_status ip_party_poke_locked(ip_arena *arena, ip_party *party) {
    uint64_t state;
    ip_event *wake;
    IP_READ(&party->state, state);
    if (ip_party_phase(state) != IP_PARTY_WAITING) return IP_OK;
    uint64_t poked = ip_party_pack(IP_PARTY_POKED, 0, ip_party_ticket(state));
    atomic_exchange_explicit(&party->state, ip_seal(poked), memory_order_seq_cst);
    FAULT("party.poked");
    ip_party_call(arena, party, &wake, NULL);
    if (wake) ip_event_wake(wake);
    return IP_OK;
}

ip_status ip_party_poke(ip_arena *arena, ip_id id) {
    IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_PATIENT));
    ip_party *party;
    ip_status status = ip_party_find(arena, id.index, id.generation, &party);
    if (status == IP_OK && party) status = ip_party_poke_locked(arena, party);
    ip_lock_release(&arena->header->lock);
    return status;
}

ip_status ip_party_join(ip_arena *arena, ip_party *party, uint64_t children) {
    uint64_t state, mode;
    IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_PATIENT));
    ip_status status = ip_get(&party->state, &state) && ip_get(&party->mode, &mode) ? IP_OK : IP_CORRUPT;
    if (status == IP_OK) {
        ip_set(&party->mode, IP_JOINING | (mode & IP_CROWD));
        ip_set(&party->children, children);
        ip_set(&party->guards, 0);
        ip_set(&party->state, ip_party_pack(IP_PARTY_WAITING, 0, ip_party_ticket(state) + 1));
    }
    ip_lock_release(&arena->header->lock);
    return status;
}

/* ---- texts ---- */

ip_status ip_party_set_note(ip_party *party, const void *text, uint64_t size) {
    if (size > IP_NOTE_MAX) return IP_TOO_LONG;
    ip_set(&party->note_size, 0); /* who reads in between finds no note, or one that fails its sum: none, too */
    ip_set(&party->note_sum, ip_copy_sum(party->note, text, size, size) & IP_PAYLOAD_MAX);
    ip_set(&party->note_size, size);
    return IP_OK;
}

ip_status ip_party_read_note(const ip_party *party, void *text, uint64_t room, uint64_t *size) {
    uint64_t sum;
    IP_READ(&party->note_size, *size);
    IP_READ(&party->note_sum, sum);
    if (*size > IP_NOTE_MAX || *size > room) return IP_TOO_LONG;
    if ((ip_copy_sum(text, party->note, *size, *size) & IP_PAYLOAD_MAX) != sum) *size = 0; /* it is just being written */
    return IP_OK;
}

static ip_status set_card(ip_arena *arena, ip_party *party, const void *text, uint64_t size) {
    uint64_t old, at = 0;
    ip_range freed;
    IP_READ(&party->card, old);
    if (size) {
        IP_TRY(ip_heap_alloc(arena, size, 0, &at));
        SET(&party->card_sum, ip_copy_sum(ip_at(arena, at), text, size, size) & IP_PAYLOAD_MAX);
    }
    SET(&party->card, at);
    SET(&party->card_size, size);
    return old ? ip_heap_free(arena, old, &freed) : IP_OK;
}

ip_status ip_party_set_card(ip_arena *arena, ip_party *party, const void *text, uint64_t size) {
    if (size > IP_CARD_MAX) return IP_TOO_LONG;
    IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_PATIENT));
    return ip_journal_conclude(arena, set_card(arena, party, text, size));
}

ip_status ip_party_read_card(ip_arena *arena, const ip_party *party, void *text, uint64_t room, uint64_t *size) {
    uint64_t at, sum, has;
    ip_block *block;
    IP_READ(&party->card, at);
    IP_READ(&party->card_size, *size);
    IP_READ(&party->card_sum, sum);
    if (!at) {
        *size = 0;
        return IP_OK;
    }
    IP_TRY(ip_heap_block(arena, at, &block, &has));
    if (*size > has || *size > IP_CARD_MAX) return IP_CORRUPT;
    if (*size > room) return IP_TOO_LONG;
    return (ip_copy_sum(text, ip_at(arena, at), *size, *size) & IP_PAYLOAD_MAX) == sum ? IP_OK : IP_CORRUPT;
}

/* ---- the end ---- */

ip_status ip_party_dismantle(ip_arena *arena, ip_object *object) {
    ip_party *party;
    uint64_t at, state;
    ip_range freed;
    ip_incoming message;
    _Alignas(8) unsigned char scratch[IP_PARCEL_SCRATCH];
    IP_TRY(ip_party_of(arena, object, &party));
    IP_READ(&party->state, state);
    if (ip_party_phase(state) == IP_PARTY_DONE) { /* what it was given and has not looked at: its block goes with its process */
        ip_party_guard *guard = ip_party_guard_at(arena, party, ip_party_chosen(state));
        uint64_t where, room;
        ip_word *inbox;
        bool there;
        if (!guard) return IP_CORRUPT;
        IP_READ(&guard->where, where);
        IP_TRY(ip_box_words(arena, &party->inbox, &inbox, &room));
        IP_TRY(ip_parcel_is_there(inbox, &there));
        if (there && ip_where_side(where) == IP_READS) {
            IP_TRY(ip_parcel_read(inbox, room, scratch, &message));
            for (unsigned i = 0; i < message.n_handles; i++)
                IP_TRY(ip_object_arrive(arena, message.handles[i].id, message.handles[i].end, false));
        }
    }
    IP_READ(&party->card, at);
    if (at) IP_TRY(ip_heap_free(arena, at, &freed));
    IP_TRY(ip_box_free(arena, &party->inbox));
    IP_TRY(ip_box_free(arena, &party->outbox));
    IP_READ(&party->table, at);
    return at ? ip_heap_free(arena, at, &freed) : IP_OK;
}

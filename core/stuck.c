/* stuck.c: deadlock: telling those whose waits can never end (waits.h), and describing parties. */
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "member.h"
#include "waits.h"

#define TENTH 100000000u /* of a second, in ns */

bool ip_stuck_due(ip_arena *arena) {
    uint64_t last, now = ip_now_ns() / TENTH;
    return ip_get(&arena->header->last_look, &last) && last != now && ip_swap(&arena->header->last_look, last, now);
}

static ip_status describe(ip_arena *arena, const ip_wait *x, ip_stuck_party *out) {
    uint64_t n, where;
    memset(out, 0, offsetof(ip_stuck_party, note));
    out->id = x->id;
    out->ticket = ip_party_ticket(x->state);
    out->parent = x->parent;
    out->mode = (unsigned)x->mode;
    out->member = x->member;
    IP_READ(&x->party->guards, n);
    out->n_guards = (unsigned)n;
    for (uint64_t i = 0; i < n && i < IP_GUARDS_SHOWN; i++) {
        ip_party_guard *guard = ip_party_guard_at(arena, x->party, i);
        if (!guard) return IP_CORRUPT;
        IP_READ(&guard->where, where);
        ip_object *object;
        int kind;
        ip_id id;
        ip_status status = ip_object_at(arena, (uint32_t)(where & 0xFFFFF), &id, &kind, &object);
        if (status == IP_FREED || status == IP_AGAIN) continue;
        if (status != IP_OK) return status;
        if ((ip_where(id, ip_where_side(where)) ^ where) & ~IP_QUEUED) continue; /* it is no more; another has its place */
        out->guards[out->guards_shown].object = id;
        out->guards[out->guards_shown++].side = ip_where_side(where);
    }
    IP_TRY(ip_party_read_note(x->party, out->note, sizeof out->note, &out->note_size));
    return ip_party_read_card(arena, x->party, out->card, sizeof out->card, &out->card_size);
}

static void fill_in_pids(ip_arena *arena, ip_stuck_party *found, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        uint32_t generation = ip_member_incarnation(arena, found[i].member);
        found[i].pid = generation ? ip_member_pid(arena, found[i].member, generation) : 0;
    }
}

/* Fills in those that are stuck, if each waits as it did when it was read; else nobody is. */
static ip_status describe_stuck(const ip_waits *w, ip_stuck_party *found, unsigned room, unsigned *n) {
    ip_arena *arena = w->arena;
    for (unsigned i = 0; i < w->n; i++) {
        const ip_wait *x = &w->waits[i];
        ip_party *party;
        uint64_t state;
        if (!x->in) continue;
        IP_TRY(ip_party_find(arena, x->id.index, x->id.generation, &party));
        if (party != x->party) break;
        IP_READ(&x->party->state, state);
        if (state != x->state) break;
        if (*n < room) IP_TRY(describe(arena, x, &found[*n]));
        if (++*n == w->n_stuck) return IP_OK;
    }
    *n = 0;
    return IP_OK;
}

ip_status ip_stuck_find(ip_arena *arena, ip_stuck_party *found, unsigned room, unsigned *n) {
    ip_waits w;
    *n = 0;
    IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_PATIENT));
    ip_status status = ip_waits_read(arena, &w);
    ip_lock_release(&arena->header->lock);
    FAULT("stuck.read");
    if (status == IP_OK) status = ip_waits_reduce(&w);
    if (status == IP_OK && w.n_stuck && (status = ip_lock_take(arena, &arena->header->lock, IP_PATIENT)) == IP_OK) {
        status = describe_stuck(&w, found, room, n);
        ip_lock_release(&arena->header->lock);
    }
    ip_waits_free(&w);
    if (status == IP_OK) fill_in_pids(arena, found, *n < room ? *n : room);
    return status;
}

/* Gives one party the text and ends its wait. */
static ip_status tell(ip_arena *arena, const ip_wait *x, const void *text, uint64_t size) {
    ip_outgoing message = {.data = text, .size = size};
    ip_piece piece = {text, size};
    uint64_t room, used, owner, sum = size;
    ip_word *inbox;
    ip_event *wake;
    IP_TRY(ip_box_words(arena, &x->party->inbox, &inbox, &room));
    if (ip_parcel_size(&message) > 8 * room) {
        IP_READ(&x->party->member, owner);
        IP_TRY(ip_heap_alloc(arena, size, owner, &message.block));
        sum = ip_copy_sum(ip_at(arena, message.block), text, size, sum);
        message.block_sum = sum & IP_PAYLOAD_MAX;
        message.pieces = &piece;
        message.n_pieces = 1;
    }
    IP_TRY(ip_parcel_write(inbox, room, &message, &used));
    uint64_t stuck = ip_party_pack(IP_PARTY_STUCK, 0, ip_party_ticket(x->state));
    if (message.block) /* in the change that makes it the party's: who is not told has no block either */
        ip_journal_publish(arena, &x->party->state, stuck);
    else
        atomic_exchange_explicit(&x->party->state, ip_seal(stuck), memory_order_seq_cst);
    FAULT("stuck.told");
    ip_party_call(arena, x->party, &wake, NULL);
    if (wake) ip_event_wake(wake);
    return IP_OK;
}

/* Are all of these stuck, in the very waits that they were found in? */
static bool are_stuck(const ip_waits *w, const ip_stuck_party *found, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        const ip_wait *x = ip_waits_find(w, found[i].id);
        if (!x || !x->in || ip_party_ticket(x->state) != found[i].ticket) return false;
    }
    return true;
}

ip_status ip_stuck_declare(ip_arena *arena, const ip_stuck_party *found, unsigned n, const void *text, uint64_t size) {
    ip_waits w;
    IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_PATIENT));
    ip_status status = ip_waits_read(arena, &w);
    if (status == IP_OK) status = ip_waits_reduce(&w); /* under the lock: nobody may move until all are told */
    if (status == IP_OK && !are_stuck(&w, found, n)) status = IP_AGAIN;
    for (unsigned i = 0; i < w.n && status == IP_OK; i++) {
        if (!w.waits[i].in || w.waits[i].mode & IP_JOINING) continue; /* who joins learns it from those it has started */
        status = tell(arena, &w.waits[i], text, size);
        if (status != IP_OK) ip_journal_rollback(arena);
    }
    ip_lock_release(&arena->header->lock);
    ip_waits_free(&w);
    return status;
}

ip_status ip_party_next(ip_arena *arena, uint32_t *index, int *phase, ip_stuck_party *party) {
    ip_id id;
    int kind;
    ip_object *object;
    ip_status status;
    IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_PATIENT));
    do {
        status = ip_object_at(arena, (*index)++, &id, &kind, &object);
    } while (status == IP_FREED || (status == IP_OK && kind != IP_PARTY));
    if (status == IP_OK) {
        ip_wait x;
        status = ip_wait_read(arena, id, object, &x);
        if (status == IP_OK) status = describe(arena, &x, party);
        *phase = ip_party_phase(x.state);
    } else {
        --*index;
    }
    ip_lock_release(&arena->header->lock);
    if (status == IP_OK) fill_in_pids(arena, party, 1);
    return status;
}

/* choice.c: looking for partners, completing a communication for both, leaving offers, and what becomes of them. */
#include "choice.h"

#include <string.h>

#include "fault.h"
#include "member.h"

#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))

/* Commits what was set, with the partner's state as the word that others look at. */
static void decide(ip_arena *arena, ip_party *partner, unsigned guard, uint64_t state) {
    uint64_t count, done = ip_party_pack(IP_PARTY_DONE, guard, ip_party_ticket(state));
    FAULT("choice.deciding");
    if (ip_get(&arena->header->journal.count, &count) && count == 0)
        atomic_exchange_explicit(&partner->state, ip_seal(done), memory_order_seq_cst);
    else
        ip_journal_publish(arena, &partner->state, done);
    FAULT("choice.decided");
}

static void count_passed(ip_channel *channel) {
    uint64_t passed;
    if (ip_get(&channel->passed, &passed)) ip_set(&channel->passed, (passed + 1) & IP_PAYLOAD_MAX);
}

/* Takes what a waiting writer offers. IP_FREED: it can be carried out no more. */
static ip_status take_offer(ip_arena *arena, ip_party *writer, unsigned guard, unsigned char *scratch, ip_incoming *message) {
    uint64_t at, state, size, room, owner;
    ip_block *block;
    ip_word *outbox, *inbox;
    ip_party_guard *g = ip_party_guard_at(arena, writer, guard);
    if (!g) return IP_CORRUPT;
    IP_READ(&g->parcel, at);
    IP_TRY(ip_box_words(arena, &writer->outbox, &outbox, &room));
    if (at >= room) return IP_CORRUPT;
    IP_TRY(ip_parcel_read(outbox + at, room - at, scratch, message));
    IP_TRY(ip_box_words(arena, &writer->inbox, &inbox, &room));
    IP_READ(&writer->state, state);
    IP_READ(&writer->member, owner);
    if (message->block) {
        IP_TRY(ip_heap_block(arena, message->block, &block, &size));
        if (size < message->size) return IP_CORRUPT;
        SET(&block->owner, ip_heap_owner(arena));
    }
    for (unsigned i = 0; i < message->n_handles; i++)
        IP_TRY(ip_object_hold_locked(arena, message->handles[i].id, message->handles[i].end, owner));
    /* What it was given before is not its inbox's any more: should it die between two offers, nothing is taken for fresh. */
    ip_parcel_remove(inbox);
    decide(arena, writer, guard, state);
    return IP_OK;
}

/* Gives a message to a waiting reader. */
static ip_status fill_inbox(ip_arena *arena, ip_party *reader, unsigned guard, const ip_outgoing *message) {
    uint64_t room, used, state, owner, size;
    ip_word *inbox;
    ip_block *block;
    if (ip_parcel_size(message) > 8 * IP_PARCEL_WORDS) return IP_TOO_LONG;
    IP_TRY(ip_box_make_room(arena, &reader->inbox, ip_parcel_size(message) / sizeof(ip_word)));
    IP_TRY(ip_box_words(arena, &reader->inbox, &inbox, &room));
    IP_TRY(ip_parcel_write(inbox, room, message, &used));
    IP_READ(&reader->state, state);
    if (message->block) {
        IP_READ(&reader->member, owner);
        IP_TRY(ip_heap_block(arena, message->block, &block, &size));
        SET(&block->owner, owner);
    }
    for (unsigned i = 0; i < message->n_handles; i++)
        IP_TRY(ip_object_depart(arena, message->handles[i].id, message->handles[i].end));
    decide(arena, reader, guard, state);
    return IP_OK;
}

/* ---- one guard ---- */

typedef struct {
    ip_arena *arena;
    ip_party *me;
    ip_id my_id;
    const ip_guard *guards;
    unsigned n;
    unsigned char *scratch;
    ip_choice *choice;
    uint64_t now;   /* ip_ticks() */
    ip_event *wake; /* whom to wake once the lock is free */
} attempt;

/* Does the partner's process live? IP_DIED, with choice->dead: it does not, though its offer is out. */
static ip_status check_lives(attempt *a, const ip_party *partner) {
    uint64_t since, owner;
    IP_READ(&partner->since, since);
    IP_READ(&partner->member, owner);
    if (since == a->now) return IP_OK;
    a->choice->dead = (uint32_t)(owner & 0xFFF) - 1;
    return ip_member_has_died(a->arena, a->choice->dead, (uint32_t)(owner >> 12)) ? IP_DIED : IP_OK;
}

static ip_status try_channel(attempt *a, const ip_guard *guard) {
    ip_arena *arena = a->arena;
    ip_channel *channel;
    ip_party *partner;
    unsigned its;
    uint64_t capacity, where = ip_where(guard->id, !guard->side);
    IP_TRY(ip_channel_of(arena, guard->object, &channel));
    IP_TRY(ip_channel_open_for(guard->object, channel, guard->side));
    IP_READ(&channel->capacity, capacity);
    if (capacity) return IP_AGAIN; /* its ring decides */
    ip_offers *offers = &channel->offers[!guard->side];
    for (;;) {
        IP_TRY(ip_offers_first(arena, offers, where, &partner, &its));
        IP_TRY(check_lives(a, partner));
        ip_status status = guard->side == IP_READS
                               ? take_offer(arena, partner, its, a->scratch, &a->choice->incoming)
                               : fill_inbox(arena, partner, its, guard->message);
        if (status != IP_OK) {
            ip_journal_rollback(arena);
            if (status != IP_FREED || guard->side == IP_WRITES) return status;
        }
        /* a handle in its message is closed, or it is being buried: it finds out by itself; poked as long as its offer is there */
        if (status == IP_FREED) IP_TRY(ip_party_poke_locked(arena, partner));
        ip_offers_taken(arena, offers, partner, its, where);
        if (status == IP_FREED) continue;
        count_passed(channel);
        a->choice->delivered = guard->side == IP_WRITES;
        ip_party_call(arena, partner, &a->wake, &a->choice->woken);
        return IP_OK;
    }
}

/* All who wait at the barrier have met; one journaled change. */
static ip_status meet(attempt *a, ip_barrier *barrier, uint64_t where) {
    ip_arena *arena = a->arena;
    uint64_t head, tail, offer, state, met;
    unsigned its;
    ip_party *party;
    ip_word *word;
    IP_TRY(ip_offers_span(&barrier->offers, &head, &tail));
    for (uint64_t i = head; i < tail; i++) {
        IP_TRY(ip_offers_at(arena, &barrier->offers, i, &word));
        IP_READ(word, offer);
        ip_status status = ip_offer_is_out(arena, offer, where, &party, &its);
        if (status == IP_AGAIN) continue;
        if (status != IP_OK) return status;
        IP_TRY(check_lives(a, party));
        IP_READ(&party->state, state);
        SET(&party->state, ip_party_pack(IP_PARTY_MET, its, ip_party_ticket(state)));
        FAULT("barrier.told");
    }
    IP_READ(&barrier->met, met);
    SET(&barrier->met, (met + 1) & IP_PAYLOAD_MAX);
    return IP_OK;
}

/* They have: wakes them. */
static void wake_who_met(ip_arena *arena, ip_barrier *barrier) {
    uint64_t head, tail, offer, state;
    unsigned its;
    ip_party *party;
    ip_word *word;
    ip_event *wake;
    if (ip_offers_span(&barrier->offers, &head, &tail) != IP_OK) return;
    for (; head < tail; head++) {
        if (ip_offers_at(arena, &barrier->offers, head, &word) != IP_OK || !ip_get(word, &offer) || !offer) continue;
        if (ip_offer_party(arena, offer, &party, &its) != IP_OK || !party) continue;
        if (!ip_get(&party->state, &state) || ip_party_phase(state) != IP_PARTY_MET || ip_party_chosen(state) != its) continue;
        ip_party_call(arena, party, &wake, NULL);
        if (wake) ip_event_wake(wake);
    }
}

static ip_status try_barrier(attempt *a, const ip_guard *guard) {
    ip_arena *arena = a->arena;
    ip_barrier *barrier;
    ip_party *party;
    unsigned its;
    bool owned;
    ip_word *word;
    ip_status status;
    uint64_t head, tail, offer, enrolled, waiting, where = ip_where(guard->id, IP_SYNCS);
    IP_TRY(ip_barrier_of(arena, guard->object, &barrier));
    IP_TRY(ip_barrier_count(arena, barrier, guard->enrolment, &enrolled, &owned));
    if (!owned) return IP_FREED;
    IP_TRY(ip_offers_span(&barrier->offers, &head, &tail));
    waiting = 1 + tail - head; /* at most: I, and whose offers are out */
    for (; tail > head && waiting >= enrolled; tail--) { /* who comes last is often the last there */
        IP_TRY(ip_offers_at(arena, &barrier->offers, tail - 1, &word));
        IP_READ(word, offer);
        status = ip_offer_is_out(arena, offer, where, &party, &its);
        if (status != IP_OK && status != IP_AGAIN) return status;
        waiting -= status != IP_OK;
    }
    if (waiting < enrolled) return IP_AGAIN;
    status = meet(a, barrier, where);
    if (status != IP_OK) {
        ip_journal_rollback(arena);
        return status;
    }
    ip_journal_commit(arena);
    FAULT("barrier.met");
    wake_who_met(arena, barrier);
    return IP_OK;
}

/* ---- offers ---- */

static ip_status offers_of(ip_arena *arena, ip_object *object, unsigned side, ip_offers **offers) {
    ip_channel *channel;
    ip_barrier *barrier;
    if (side == IP_SYNCS) {
        IP_TRY(ip_barrier_of(arena, object, &barrier));
        *offers = &barrier->offers;
        return IP_OK;
    }
    IP_TRY(ip_channel_of(arena, object, &channel));
    *offers = &channel->offers[side];
    return IP_OK;
}

/* The guard named another object before, in whose queue its offer still is. */
static ip_status leave_queue(ip_arena *arena, uint64_t where, uint64_t offer) {
    ip_id id;
    int kind;
    ip_object *object;
    ip_offers *offers;
    ip_status status = ip_object_at(arena, (uint32_t)(where & 0xFFFFF), &id, &kind, &object);
    if (status == IP_FREED || status == IP_AGAIN) return IP_OK;
    if (status != IP_OK) return status;
    if (id.generation != (uint32_t)(where >> 20) || (kind != IP_CHANNEL && kind != IP_BARRIER)) return IP_OK;
    IP_TRY(offers_of(arena, object, ip_where_side(where), &offers));
    return ip_offers_remove(arena, offers, offer);
}

static ip_status enter_queue(attempt *a, unsigned i) {
    ip_arena *arena = a->arena;
    const ip_guard *guard = &a->guards[i];
    ip_party_guard *mine = ip_party_guard_at(arena, a->me, i);
    uint64_t now, where = ip_where(guard->id, guard->side), offer = ip_offer_of(a->my_id, i);
    ip_offers *offers;
    if (!mine) return IP_CORRUPT;
    IP_READ(&mine->where, now);
    if (now == (where | IP_QUEUED)) return IP_OK;
    IP_TRY(offers_of(arena, guard->object, guard->side, &offers));
    if (now & IP_QUEUED) IP_TRY(leave_queue(arena, now, offer));
    ip_set(&mine->where, where);
    IP_TRY(ip_offers_add(arena, offers, offer, ip_offer_is_good, &where));
    ip_set(&mine->where, where | IP_QUEUED);
    return IP_OK;
}

/* Does the guard, as an offer, carry a message? Of a buffered channel it only waits for room. */
static ip_status carries(ip_arena *arena, const ip_guard *guard, bool *does) {
    ip_channel *channel;
    uint64_t capacity;
    *does = false;
    if (guard->side != IP_WRITES) return IP_OK;
    IP_TRY(ip_channel_of(arena, guard->object, &channel));
    IP_READ(&channel->capacity, capacity);
    *does = !capacity;
    return IP_OK;
}

static ip_status write_outbox(attempt *a) {
    ip_arena *arena = a->arena;
    uint64_t room, used, at = 0, need = 0;
    ip_word *outbox;
    bool does;
    for (unsigned i = 0; i < a->n; i++) {
        IP_TRY(carries(arena, &a->guards[i], &does));
        if (!does) continue;
        used = ip_parcel_size(a->guards[i].message) / sizeof(ip_word);
        if (used > IP_PARCEL_WORDS) return IP_TOO_LONG;
        need += used;
    }
    if (!need) return IP_OK;
    IP_TRY(ip_box_make_room(arena, &a->me->outbox, need));
    IP_TRY(ip_box_words(arena, &a->me->outbox, &outbox, &room));
    for (unsigned i = 0; i < a->n; i++) {
        ip_party_guard *mine = ip_party_guard_at(arena, a->me, i);
        if (!mine) return IP_CORRUPT;
        IP_TRY(carries(arena, &a->guards[i], &does));
        if (!does) continue;
        if (at > room) return IP_CORRUPT;
        IP_TRY(ip_parcel_write(outbox + at, room - at, a->guards[i].message, &used));
        ip_set(&mine->parcel, at);
        at += used;
    }
    return IP_OK;
}

static ip_status offer_all(attempt *a) {
    ip_arena *arena = a->arena;
    uint64_t state;
    IP_TRY(ip_party_make_room(arena, a->me, a->n));
    IP_TRY(write_outbox(a));
    for (unsigned i = 0; i < a->n; i++) IP_TRY(enter_queue(a, i));
    FAULT("choice.entered");
    ip_set(&a->me->guards, a->n);
    ip_set(&a->me->since, a->now);
    IP_READ(&a->me->state, state);
    uint64_t waiting = ip_party_pack(IP_PARTY_WAITING, 0, ip_party_ticket(state) + 1);
    atomic_exchange_explicit(&a->me->state, ip_seal(waiting), memory_order_seq_cst);
    FAULT("choice.offered");
    return IP_OK;
}

/* ---- the calls ---- */

/* Is what the guard names still that? The caller may have let go of it, in another thread, while this one waited for the lock. */
static ip_status check_there(ip_arena *arena, const ip_guard *guard) {
    int kind;
    ip_object *object;
    IP_TRY(ip_object_find(arena, guard->id, &kind, &object));
    return object == guard->object ? IP_OK : IP_CORRUPT;
}

static ip_status search(attempt *a, unsigned first, bool offer) {
    uint64_t state;
    for (unsigned k = 0; k < a->n; k++) {
        unsigned i = (first + k) % a->n;
        const ip_guard *guard = &a->guards[i];
        ip_status status = check_there(a->arena, guard);
        if (status == IP_OK) status = guard->side == IP_SYNCS ? try_barrier(a, guard) : try_channel(a, guard);
        if (status == IP_AGAIN) continue;
        a->choice->guard = i;
        return status;
    }
    if (!offer) return IP_AGAIN;
    IP_TRY(offer_all(a));
    IP_READ(&a->me->state, state);
    return ip_party_phase(state) == IP_PARTY_WAITING ? IP_AGAIN : IP_CORRUPT;
}

ip_status ip_choice_try(ip_arena *arena, ip_party *me, ip_id my_id, const ip_guard *guards, unsigned n, unsigned first,
                        bool offer, ip_patience patience, unsigned char *scratch, ip_choice *choice) {
    attempt a = {arena, me, my_id, guards, n, scratch, choice, ip_ticks(), NULL};
    memset(choice, 0, sizeof *choice);
    if (n > IP_GUARDS_MAX) return IP_TOO_LONG;
    IP_TRY(ip_member_look(arena, a.now, &choice->dead));
    IP_TRY(ip_lock_take(arena, &arena->header->lock, patience));
    ip_status status = search(&a, first, offer);
    ip_lock_release(&arena->header->lock);
    if (a.wake) ip_event_wake(a.wake);
    return status;
}

/* The inbox has brought handles: this process holds them now. */
static ip_status arrive(ip_arena *arena, ip_party *me, const ip_incoming *message, ip_patience patience) {
    uint64_t state;
    IP_TRY(ip_lock_take(arena, &arena->header->lock, patience));
    ip_status status = ip_get(&me->state, &state) ? IP_OK : IP_CORRUPT;
    for (unsigned i = 0; i < message->n_handles && status == IP_OK; i++)
        status = ip_object_arrive(arena, message->handles[i].id, message->handles[i].end, true);
    if (status == IP_OK)
        ip_journal_publish(arena, &me->state, ip_party_pack(IP_PARTY_IDLE, 0, ip_party_ticket(state)));
    else
        ip_journal_rollback(arena);
    ip_lock_release(&arena->header->lock);
    return status;
}

/* A meeting is several stores: whoever made it may have died before all of them held. */
static ip_status confirm_met(ip_arena *arena, ip_party *me, ip_patience patience) {
    uint64_t state;
    IP_TRY(ip_lock_take(arena, &arena->header->lock, patience));
    ip_status status = ip_get(&me->state, &state) ? IP_OK : IP_CORRUPT;
    if (status == IP_OK && ip_party_phase(state) != IP_PARTY_MET) status = IP_BUSY;
    ip_lock_release(&arena->header->lock);
    return status;
}

static ip_status read_inbox(ip_arena *arena, ip_party *me, unsigned char *scratch, ip_incoming *message) {
    uint64_t room;
    ip_word *inbox;
    IP_TRY(ip_box_words(arena, &me->inbox, &inbox, &room));
    return ip_parcel_read(inbox, room, scratch, message);
}

ip_status ip_choice_settle(ip_arena *arena, ip_party *me, const ip_guard *guards, unsigned n, ip_patience patience,
                           unsigned char *scratch, ip_choice *choice) {
    int phase;
    memset(choice, 0, sizeof *choice);
    IP_TRY(ip_party_state(me, &phase, &choice->guard));
    switch (phase) {
    case IP_PARTY_WAITING:
        return IP_BUSY;
    case IP_PARTY_MET:
        return confirm_met(arena, me, patience);
    case IP_PARTY_STUCK:
        IP_TRY(read_inbox(arena, me, scratch, &choice->incoming));
        return IP_STUCK;
    case IP_PARTY_DONE:
        break;
    default:
        return IP_AGAIN;
    }
    if (choice->guard >= n) return IP_CORRUPT;
    choice->delivered = guards[choice->guard].side == IP_WRITES;
    if (guards[choice->guard].side != IP_READS) return IP_OK;
    IP_TRY(read_inbox(arena, me, scratch, &choice->incoming));
    return choice->incoming.n_handles ? arrive(arena, me, &choice->incoming, patience) : IP_OK;
}

ip_status ip_choice_withdraw(ip_arena *arena, ip_party *me, const ip_guard *guards, unsigned n, ip_patience patience,
                             unsigned char *scratch, ip_choice *choice) {
    uint64_t state;
    IP_TRY(ip_lock_take(arena, &arena->header->lock, patience));
    ip_status status = ip_get(&me->state, &state) ? IP_OK : IP_CORRUPT;
    bool waiting = status == IP_OK && ip_party_phase(state) == IP_PARTY_WAITING;
    if (waiting) {
        atomic_exchange_explicit(&me->state, ip_seal(ip_party_pack(IP_PARTY_IDLE, 0, ip_party_ticket(state))), memory_order_seq_cst);
        FAULT("choice.withdrawn");
    }
    ip_lock_release(&arena->header->lock);
    if (waiting) memset(choice, 0, sizeof *choice);
    return status != IP_OK ? status : waiting ? IP_AGAIN : ip_choice_settle(arena, me, guards, n, patience, scratch, choice);
}

/* channel_world.h: channels, parties and barriers as core tests use them: deals, which are choices with what they offer, tried,
 * waited for and settled as the binding does it. */
#ifndef IP_CHANNEL_WORLD_H
#define IP_CHANNEL_WORLD_H

#include "choice.h"
#include "world.h"

static ip_arena arena; /* the same as trial.h's */

typedef struct {
    ip_id id;
    ip_object *object;
    ip_channel *channel;
    uint64_t capacity;
} conduit;

typedef struct {
    ip_id id;
    ip_object *object;
    ip_party *party;
} person;

typedef struct {
    ip_id id;
    ip_object *object;
    ip_barrier *barrier;
} meeting;

enum { READERS = 1, WRITERS = 2, BOTH = 3, KEEPERS = 4, ALL = 7 }; /* masks of a channel's ends */

MAYBE_UNUSED static conduit conduit_new(uint64_t capacity, uint64_t policy, const char *label, unsigned hold) {
    ip_channel_settings settings = {capacity, policy, label, label ? strlen(label) : 0};
    conduit c = {.capacity = capacity};
    bool created;
    OK(ip_object_open(&arena, IP_CHANNEL, 3, hold, ip_channel_body_size(capacity), NULL, 0, ip_channel_make, &settings,
                      &c.id, &c.object, &created));
    OK(ip_channel_of(&arena, c.object, &c.channel));
    return c;
}

MAYBE_UNUSED static person person_new(void) {
    person p;
    bool created;
    OK(ip_object_open(&arena, IP_PARTY, 1, 1, ip_party_body_size(), NULL, 0, ip_party_make, NULL, &p.id, &p.object, &created));
    OK(ip_party_of(&arena, p.object, &p.party));
    return p;
}

MAYBE_UNUSED static meeting meeting_new(const char *label) {
    ip_channel_settings settings = {0, 0, label, label ? strlen(label) : 0};
    meeting m;
    bool created;
    OK(ip_object_open(&arena, IP_BARRIER, 1, 1, ip_barrier_body_size(), NULL, 0, ip_barrier_make, &settings, &m.id, &m.object,
                      &created));
    OK(ip_barrier_of(&arena, m.object, &m.barrier));
    return m;
}

/* An enrolment as a handle in a message; the barrier's own comes behind it. */
MAYBE_UNUSED static ip_handle_ref enrolment_ref(const meeting *m, uint64_t serial) {
    return (ip_handle_ref){m->id, ip_enrolment_end(serial)};
}

/* It sets out, as with a message that is published, and arrives, or is dropped on the way. */
MAYBE_UNUSED static ip_status depart(const meeting *m, uint64_t serial) {
    OK(ip_lock_take(&arena, &arena.header->lock, IP_PATIENT));
    return ip_journal_conclude(&arena, ip_object_depart(&arena, m->id, ip_enrolment_end(serial)));
}
MAYBE_UNUSED static ip_status arrive(const meeting *m, uint64_t serial, bool hold) {
    OK(ip_lock_take(&arena, &arena.header->lock, IP_PATIENT));
    return ip_journal_conclude(&arena, ip_object_arrive(&arena, m->id, ip_enrolment_end(serial), hold));
}
MAYBE_UNUSED static ip_status bequeath(const meeting *m, uint64_t serial, uint32_t slot) {
    return ip_object_hold(&arena, m->id, ip_enrolment_end(serial), slot);
}
MAYBE_UNUSED static ip_status resign(const meeting *m, uint64_t serial) {
    return ip_object_release(&arena, m->id, ip_enrolment_end(serial));
}

/* This process takes, or lets go of, the ends of a mask. */
MAYBE_UNUSED static void take_ends(const conduit *c, unsigned mask) {
    for (unsigned end = 0; end < 3; end++)
        if (mask >> end & 1) OK(ip_object_hold(&arena, c->id, end, arena.self));
}
MAYBE_UNUSED static void drop_ends(const conduit *c, unsigned mask) {
    for (unsigned end = 0; end < 3; end++)
        if (mask >> end & 1) OK(ip_object_release(&arena, c->id, end));
}
MAYBE_UNUSED static void dismiss(const person *p) { OK(ip_object_release(&arena, p->id, 0)); }

MAYBE_UNUSED static ip_channel_info look_at(const conduit *c) {
    ip_channel_info info;
    OK(ip_channel_look(&arena, c->object, c->channel, &info));
    return info;
}

MAYBE_UNUSED static int phase_of_person(const person *p) {
    int phase;
    unsigned guard;
    OK(ip_party_state(p->party, &phase, &guard));
    return phase;
}

MAYBE_UNUSED static uint64_t handles_in_transit(const port *q) {
    ip_object_info info;
    uint32_t index = q->id.index;
    OK(ip_object_next(&arena, &index, &info));
    CHECK_EQ(info.id.index, q->id.index);
    return info.transit[0];
}

/* ---- deals ---- */

#define CHANNEL_BLOCK 700u /* messages of that size and longer go into a block, of two pieces */

typedef struct {
    unsigned n, room;
    ip_guard *guards;
    uint64_t *capacities; /* of the guards' channels */
    ip_outgoing *messages;
    ip_piece (*pieces)[2];
    unsigned char **data;
    ip_choice choice; /* what came of it */
    message got;      /* what was read */
} deal;

MAYBE_UNUSED static deal deal_of(unsigned room) {
    deal d = {.room = room};
    d.guards = calloc(room, sizeof *d.guards);
    d.capacities = calloc(room, sizeof *d.capacities);
    d.messages = calloc(room, sizeof *d.messages);
    d.pieces = calloc(room, sizeof *d.pieces);
    d.data = calloc(room, sizeof *d.data);
    CHECK(d.guards && d.capacities && d.messages && d.pieces && d.data);
    return d;
}

MAYBE_UNUSED static unsigned add_guard(deal *d, const ip_guard *guard, uint64_t capacity) {
    CHECK(d->n < d->room);
    d->guards[d->n] = *guard;
    d->capacities[d->n] = capacity;
    return d->n++;
}

MAYBE_UNUSED static unsigned reading(deal *d, const conduit *c) {
    return add_guard(d, &(ip_guard){.object = c->object, .id = c->id, .side = IP_READS}, c->capacity);
}

MAYBE_UNUSED static unsigned writing_with(deal *d, const conduit *c, uint64_t number, uint64_t size, const ip_handle_ref *handles,
                                          unsigned n_handles) {
    unsigned i = add_guard(d, &(ip_guard){.object = c->object, .id = c->id, .side = IP_WRITES, .message = &d->messages[d->n]}, c->capacity);
    unsigned char *data = malloc(size ? size : 1);
    CHECK(data);
    d->data[i] = data;
    fill_message(data, size, number);
    d->pieces[i][0] = (ip_piece){data, size / 3};
    d->pieces[i][1] = (ip_piece){data + size / 3, size - size / 3};
    ip_outgoing *m = &d->messages[i];
    *m = (ip_outgoing){.kind = (uint8_t)number, .data = data, .size = size, .handles = handles, .n_handles = n_handles};
    if (size >= CHANNEL_BLOCK) {
        ip_status status;
        m->data = NULL;
        m->pieces = d->pieces[i];
        m->n_pieces = 2;
        UNTIL_NOT_BUSY(status, ip_block_fill(&arena, m->pieces, 2, &m->block, &m->block_sum));
        CHECK_EQ(status, IP_OK);
    }
    return i;
}

MAYBE_UNUSED static unsigned writing(deal *d, const conduit *c, uint64_t number, uint64_t size) {
    return writing_with(d, c, number, size, NULL, 0);
}

MAYBE_UNUSED static unsigned syncing(deal *d, const meeting *m, uint64_t serial) {
    return add_guard(d, &(ip_guard){.object = m->object, .id = m->id, .side = IP_SYNCS, .enrolment = serial}, 0);
}

/* Drops what it has, but for blocks that others have now. It can be filled anew. */
MAYBE_UNUSED static void clear_deal(deal *d) {
    for (unsigned i = 0; i < d->n; i++) {
        if (d->messages[i].block) OK(ip_block_drop(&arena, d->messages[i].block));
        free(d->data[i]);
        d->data[i] = NULL;
        d->messages[i] = (ip_outgoing){0};
    }
    d->n = 0;
}

MAYBE_UNUSED static void end_deal(deal *d) {
    clear_deal(d);
    free(d->guards);
    free(d->capacities);
    free(d->messages);
    free(d->pieces);
    free(d->data);
}

static _Thread_local _Alignas(8) unsigned char deal_scratch[IP_SCRATCH_MIN + IP_PARCEL_SCRATCH];

/* Notes what came of a call: reads the message, forgets the block that is another's. */
MAYBE_UNUSED static ip_status note_answer(deal *d, ip_status status) {
    port p = {.arena = &arena};
    if (status == IP_OK || status == IP_POISONED || status == IP_RETIRED) CHECK(d->choice.guard < d->n);
    if (status == IP_OK && d->guards[d->choice.guard].side == IP_READS) status = examine(&p, &d->choice.incoming, &d->got);
    if (status == IP_OK && d->guards[d->choice.guard].side == IP_WRITES) {
        CHECK(d->choice.delivered);
        d->messages[d->choice.guard].block = 0;
    }
    return status;
}

MAYBE_UNUSED static void poke_who_waits(ip_id id, ip_channel *channel, unsigned side) {
    ip_status status;
    if (!ip_channel_awaited(channel, side)) return;
    UNTIL_NOT_BUSY(status, ip_channel_poke_one(&arena, id, side));
    CHECK_EQ(status, IP_OK);
}

MAYBE_UNUSED static ip_status put_buffered(deal *d, unsigned i) {
    ip_guard *g = &d->guards[i];
    ip_channel *channel;
    unsigned put;
    OK(ip_channel_of(&arena, g->object, &channel));
    ip_status status = ip_channel_open_for(g->object, channel, IP_WRITES);
    if (status != IP_OK) return status;
    UNTIL_NOT_BUSY(status, ip_ring_put(&arena, g->object, ip_channel_ring(channel), IP_READS, g->message, 1, IP_PATIENT, &put));
    if (status == IP_BROKEN) return IP_RETIRED;
    if (status != IP_OK) return status;
    poke_who_waits(g->id, channel, IP_READS);
    d->choice.delivered = true;
    return IP_OK;
}

MAYBE_UNUSED static ip_status take_buffered(deal *d, unsigned i) {
    ip_guard *g = &d->guards[i];
    ip_channel *channel;
    unsigned taken;
    OK(ip_channel_of(&arena, g->object, &channel));
    ip_status status = ip_channel_open_for(g->object, channel, IP_READS);
    if (status != IP_OK) return status;
    UNTIL_NOT_BUSY(status, ip_ring_take(&arena, g->object, ip_channel_ring(channel), IP_WRITES, deal_scratch, sizeof deal_scratch, IP_PATIENT,
                                        &d->choice.incoming, 1, &taken));
    if (status == IP_EOF) return IP_RETIRED;
    if (status == IP_OK) poke_who_waits(g->id, channel, IP_WRITES);
    return status;
}

/* Buffered guards by their rings, then all by the core's choice. */
MAYBE_UNUSED static ip_status try_deal(deal *d, const person *p, unsigned first, bool offer) {
    ip_status status;
    for (unsigned k = 0; k < d->n; k++) {
        unsigned i = (first + k) % d->n;
        if (!d->capacities[i]) continue;
        memset(&d->choice, 0, sizeof d->choice);
        d->choice.guard = i;
        status = d->guards[i].side == IP_WRITES ? put_buffered(d, i) : take_buffered(d, i);
        if (status != IP_AGAIN) return note_answer(d, status);
    }
    memset(&d->choice, 0xEE, sizeof d->choice);
    for (;;) {
        UNTIL_NOT_BUSY(status, ip_choice_try(&arena, p->party, p->id, d->guards, d->n, first, offer, IP_PATIENT, deal_scratch, &d->choice));
        if (status != IP_DIED) return note_answer(d, status);
        OK(ip_member_bury_if_dead(&arena, d->choice.dead));
    }
}

/* IP_BUSY: still waiting. */
MAYBE_UNUSED static ip_status settle_deal(deal *d, const person *p) {
    memset(&d->choice, 0xEE, sizeof d->choice);
    return note_answer(d, ip_choice_settle(&arena, p->party, d->guards, d->n, IP_PATIENT, deal_scratch, &d->choice));
}

MAYBE_UNUSED static ip_status withdraw_deal(deal *d, const person *p) {
    ip_status status;
    memset(&d->choice, 0xEE, sizeof d->choice);
    UNTIL_NOT_BUSY(status, ip_choice_withdraw(&arena, p->party, d->guards, d->n, IP_PATIENT, deal_scratch, &d->choice));
    return note_answer(d, status);
}

/* What a waiter does at the end of each slice: does somebody still hold the other ends? Is there something in a buffer? */
MAYBE_UNUSED static bool look_around(deal *d) {
    bool ready = false;
    for (unsigned i = 0; i < d->n; i++) {
        ip_guard *g = &d->guards[i];
        OK(ip_object_watch_holders(&arena, g->object, g->side == IP_SYNCS ? 0 : 1 - g->side, ip_now_ns()));
        if (!d->capacities[i]) continue;
        ip_channel *channel;
        OK(ip_channel_of(&arena, g->object, &channel));
        ready = ready || ip_channel_ready(g->object, channel, g->side);
    }
    uint32_t dead;
    if (ip_member_look(&arena, ip_ticks(), &dead) == IP_DIED) OK(ip_member_bury_if_dead(&arena, dead));
    return ready;
}

MAYBE_UNUSED static bool has_buffers(const deal *d) {
    for (unsigned i = 0; i < d->n; i++)
        if (d->capacities[i]) return true;
    return false;
}

/* Its offers are out. Waits until they are answered, or till the deadline: IP_AGAIN if there was no answer, and none are out any more. */
MAYBE_UNUSED static ip_status await_deal(deal *d, const person *p, uint64_t deadline_ns) {
    bool ready = has_buffers(d) && look_around(d);
    for (;;) {
        bool slept = false;
        if (ready || ip_now_ns() >= deadline_ns) return withdraw_deal(d, p);
        if (!ip_party_wait(p->party, deadline_ns, &slept)) {
            ready = look_around(d);
            continue;
        }
        ip_status status = settle_deal(d, p);
        if (status != IP_BUSY) return status;
    }
}

/* Until it is answered, or the deadline: IP_AGAIN. */
MAYBE_UNUSED static ip_status conclude(deal *d, const person *p, unsigned first, uint64_t deadline_ns) {
    for (;;) {
        ip_status status = try_deal(d, p, first, true);
        if (status != IP_AGAIN) return status;
        status = await_deal(d, p, deadline_ns);
        if (status != IP_AGAIN || ip_now_ns() >= deadline_ns) return status;
    }
}

/* ---- one guard ---- */

MAYBE_UNUSED static ip_status send_with(const person *p, const conduit *c, uint64_t number, uint64_t size, const ip_handle_ref *handles, unsigned n) {
    deal d = deal_of(1);
    writing_with(&d, c, number, size, handles, n);
    ip_status status = conclude(&d, p, 0, UINT64_MAX);
    end_deal(&d);
    return status;
}

MAYBE_UNUSED static ip_status send_to(const person *p, const conduit *c, uint64_t number, uint64_t size) {
    return send_with(p, c, number, size, NULL, 0);
}

MAYBE_UNUSED static ip_status receive_from(const person *p, const conduit *c, message *m) {
    deal d = deal_of(1);
    reading(&d, c);
    ip_status status = conclude(&d, p, 0, UINT64_MAX);
    *m = d.got;
    end_deal(&d);
    return status;
}

#define IS_MESSAGE(m, number_, size_)                                                  \
    do {                                                                               \
        CHECK_EQ((m).size, (size_));                                                   \
        CHECK_EQ((m).number, (m).size >= 8 ? (uint64_t)(number_) : (uint8_t)(number_)); \
        CHECK((m).whole);                                                              \
    } while (0)

/* ---- an arena for a case, which gets all its memory back ---- */

MAYBE_UNUSED static void begin(void) { OK(ip_arena_create(&arena, -1, UINT64_C(64) << 20)); }

MAYBE_UNUSED static void end(void) {
    uint32_t buried, index = 0;
    ip_object_info info;
    OK(ip_member_reap(&arena, &buried));
    CHECK_EQ(ip_object_next(&arena, &index, &info), IP_AGAIN);
    OK(ip_heap_check(&arena));
    CHECK_EQ(heap_used(&arena), 0);
    CHECK_EQ(word_of(&arena.header->heap_top), arena.heap);
    OK(ip_member_leave(&arena));
    ip_arena_detach(&arena);
}

#endif

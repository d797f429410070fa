/* offers.c: queues of offers. */
#include "offers.h"

#include "fault.h"

#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))

void ip_offers_init(ip_offers *offers) {
    ip_set(&offers->head, 0);
    ip_set(&offers->tail, 0);
    ip_set(&offers->room, IP_OFFERS_FEW);
    ip_set(&offers->block, 0);
    for (unsigned i = 0; i < IP_OFFERS_FEW; i++) ip_set(&offers->few[i], 0);
}

ip_status ip_offers_span(const ip_offers *offers, uint64_t *head, uint64_t *tail) {
    uint64_t room;
    IP_READ(&offers->head, *head);
    IP_READ(&offers->tail, *tail);
    IP_READ(&offers->room, room);
    return *head <= *tail && *tail - *head <= room ? IP_OK : IP_CORRUPT;
}

ip_status ip_offers_words(ip_arena *arena, ip_offers *offers, ip_word **words, uint64_t *room) {
    uint64_t at, size;
    ip_block *block;
    IP_READ(&offers->room, *room);
    IP_READ(&offers->block, at);
    *words = offers->few;
    if (!at) return *room == IP_OFFERS_FEW ? IP_OK : IP_CORRUPT;
    IP_TRY(ip_heap_block(arena, at, &block, &size));
    *words = ip_at(arena, at);
    return *room && *room <= size / sizeof(ip_word) ? IP_OK : IP_CORRUPT;
}

ip_status ip_offers_at(ip_arena *arena, ip_offers *offers, uint64_t position, ip_word **word) {
    uint64_t room;
    ip_word *words;
    IP_TRY(ip_offers_words(arena, offers, &words, &room));
    *word = words + position % room;
    return IP_OK;
}

static ip_status move(ip_arena *arena, ip_offers *offers, uint64_t room, ip_offer_keeper keep, const void *context) {
    uint64_t head, tail, old, at, offer, n = 0;
    ip_range freed;
    ip_word *word, *words;
    ip_status status;
    IP_TRY(ip_offers_span(offers, &head, &tail));
    IP_READ(&offers->block, old);
    IP_TRY(ip_heap_alloc(arena, room * sizeof(ip_word), 0, &at));
    words = ip_at(arena, at);
    for (uint64_t i = head; i < tail; i++) {
        IP_TRY(ip_offers_at(arena, offers, i, &word));
        IP_READ(word, offer);
        status = offer ? keep(arena, offer, context) : IP_AGAIN;
        if (status == IP_OK) ip_set(&words[n++], offer);
        else if (status != IP_AGAIN) return status;
    }
    for (uint64_t i = n; i < room; i++) ip_set(&words[i], 0);
    SET(&offers->head, 0);
    SET(&offers->tail, n);
    SET(&offers->room, room);
    SET(&offers->block, at);
    return old ? ip_heap_free(arena, old, &freed) : IP_OK;
}

/* How many in the queue are good. */
static ip_status count_good(ip_arena *arena, ip_offers *offers, ip_offer_keeper keep, const void *context, uint64_t *good) {
    uint64_t head, tail, offer;
    ip_word *word;
    ip_status status;
    *good = 0;
    IP_TRY(ip_offers_span(offers, &head, &tail));
    for (uint64_t i = head; i < tail; i++) {
        IP_TRY(ip_offers_at(arena, offers, i, &word));
        IP_READ(word, offer);
        status = offer ? keep(arena, offer, context) : IP_AGAIN;
        if (status == IP_OK) ++*good;
        else if (status != IP_AGAIN) return status;
    }
    return IP_OK;
}

ip_status ip_offers_add(ip_arena *arena, ip_offers *offers, uint64_t offer, ip_offer_keeper keep, const void *context) {
    uint64_t head, tail, room, good;
    ip_word *word;
    IP_TRY(ip_offers_span(offers, &head, &tail));
    IP_READ(&offers->room, room);
    if (tail - head == room) {
        IP_TRY(count_good(arena, offers, keep, context, &good));
        uint64_t wanted = 4 * IP_OFFERS_FEW;
        while (wanted < 2 * (good + 1)) wanted *= 2;
        ip_status status = move(arena, offers, wanted, keep, context);
        FAULT("offers.moved");
        if (status != IP_OK) {
            ip_journal_rollback(arena);
            return status;
        }
        ip_journal_commit(arena);
        IP_READ(&offers->tail, tail);
    }
    IP_TRY(ip_offers_at(arena, offers, tail, &word));
    ip_set(word, offer);
    FAULT("offers.written");
    ip_set(&offers->tail, tail + 1);
    FAULT("offers.added");
    return IP_OK;
}

ip_status ip_offers_remove(ip_arena *arena, ip_offers *offers, uint64_t offer) {
    uint64_t head, tail, now;
    ip_word *word;
    IP_TRY(ip_offers_span(offers, &head, &tail));
    for (uint64_t i = tail; i > head; i--) {
        IP_TRY(ip_offers_at(arena, offers, i - 1, &word));
        IP_READ(word, now);
        if (now != offer) continue;
        if (i == tail)
            ip_set(&offers->tail, tail - 1);
        else if (i - 1 == head)
            ip_set(&offers->head, head + 1);
        else
            ip_set(word, 0);
        FAULT("offers.removed");
        return IP_OK;
    }
    return IP_OK;
}

ip_status ip_offers_free(ip_arena *arena, ip_offers *offers) {
    uint64_t at;
    ip_range freed;
    IP_READ(&offers->block, at);
    return at ? ip_heap_free(arena, at, &freed) : IP_OK;
}

/* ---- whose they are ---- */

ip_status ip_offer_party(ip_arena *arena, uint64_t offer, ip_party **party, unsigned *guard) {
    *guard = (unsigned)(offer >> 20 & 0xFFF);
    return ip_party_find(arena, (uint32_t)(offer & 0xFFFFF), (uint32_t)(offer >> 32 & 0xFFFFFF), party);
}

static ip_status named_by(ip_arena *arena, ip_party *party, unsigned guard, uint64_t *where) {
    ip_party_guard *g = ip_party_guard_at(arena, party, guard);
    if (!g) return IP_CORRUPT;
    IP_READ(&g->where, *where);
    return IP_OK;
}

/* Does the guard, of a party that waits, name this object and side? */
static ip_status is_out(ip_arena *arena, ip_party *party, unsigned guard, uint64_t where) {
    uint64_t state, n, named;
    IP_READ(&party->state, state);
    if (ip_party_phase(state) != IP_PARTY_WAITING) return IP_AGAIN;
    IP_READ(&party->guards, n);
    if (guard >= n) return IP_AGAIN;
    IP_TRY(named_by(arena, party, guard, &named));
    return (named & ~IP_QUEUED) == where ? IP_OK : IP_AGAIN;
}

ip_status ip_offer_is_out(ip_arena *arena, uint64_t offer, uint64_t where, ip_party **party, unsigned *guard) {
    *party = NULL;
    if (!offer) return IP_AGAIN;
    IP_TRY(ip_offer_party(arena, offer, party, guard));
    return *party ? is_out(arena, *party, *guard, where) : IP_AGAIN;
}

ip_status ip_offer_is_good(ip_arena *arena, uint64_t offer, const void *context) {
    unsigned guard;
    ip_party *party;
    uint64_t named;
    IP_TRY(ip_offer_party(arena, offer, &party, &guard));
    if (!party) return IP_AGAIN;
    IP_TRY(named_by(arena, party, guard, &named));
    /* Of one that does not wait just now: its guard says that it is entered, so it has to stay. */
    return named == (*(const uint64_t *)context | IP_QUEUED) ? IP_OK : IP_AGAIN;
}

/* Notes in the guard that its offer is not in the queue any more: before it is so, as a second entry does no harm. */
static void forget(ip_arena *arena, ip_party *party, unsigned guard, uint64_t where) {
    ip_party_guard *g = ip_party_guard_at(arena, party, guard);
    uint64_t named;
    if (g && ip_get(&g->where, &named) && named == (where | IP_QUEUED)) ip_set(&g->where, where);
    FAULT("offers.forgotten");
}

ip_status ip_offers_first(ip_arena *arena, ip_offers *offers, uint64_t where, ip_party **party, unsigned *guard) {
    uint64_t head, tail, offer;
    ip_word *word;
    IP_TRY(ip_offers_span(offers, &head, &tail));
    for (; head < tail; head++) {
        IP_TRY(ip_offers_at(arena, offers, head, &word));
        IP_READ(word, offer);
        ip_status status = ip_offer_is_out(arena, offer, where, party, guard);
        if (status != IP_AGAIN) return status;
        if (*party) forget(arena, *party, *guard, where);
        ip_set(&offers->head, head + 1);
        FAULT("offers.stale");
    }
    return IP_AGAIN;
}

ip_status ip_offers_taken(ip_arena *arena, ip_offers *offers, ip_party *party, unsigned guard, uint64_t where) {
    uint64_t head;
    IP_READ(&offers->head, head);
    forget(arena, party, guard, where);
    ip_set(&offers->head, head + 1);
    FAULT("offers.taken");
    return IP_OK;
}

ip_status ip_offers_count(ip_arena *arena, ip_offers *offers, uint64_t where, uint64_t *out) {
    uint64_t head, tail, offer;
    unsigned guard;
    ip_party *party;
    ip_word *word;
    *out = 0;
    IP_TRY(ip_offers_span(offers, &head, &tail));
    for (; head < tail; head++) {
        IP_TRY(ip_offers_at(arena, offers, head, &word));
        IP_READ(word, offer);
        ip_status status = ip_offer_is_out(arena, offer, where, &party, &guard);
        if (status == IP_OK) ++*out;
        else if (status != IP_AGAIN) return status;
    }
    return IP_OK;
}

void ip_offers_poke(ip_arena *arena, ip_offers *offers, uint64_t where) {
    uint64_t head, tail, offer;
    unsigned guard;
    ip_party *party;
    ip_word *word;
    if (ip_offers_span(offers, &head, &tail) != IP_OK) return;
    for (; head < tail; head++) {
        if (ip_offers_at(arena, offers, head, &word) != IP_OK || !ip_get(word, &offer)) continue;
        if (ip_offer_is_out(arena, offer, where, &party, &guard) != IP_AGAIN && party) ip_party_poke_locked(arena, party);
    }
}

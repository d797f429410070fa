/* offers.h: queues of words that stand for offers, of a channel or a barrier; all under the arena lock.
 *
 *     head, tail   positions, which count on; the word of one lies at position modulo room
 *     room, block  where the words are: a block, or `few`
 *
 * 0 is a word that was taken out of the middle. A queue changes by single stores of its head, its tail or a word; when it moves, with
 * what is still good in it, that is one journaled change. Invariant: head <= tail <= head + room.
 *
 *     offer        index of the party 20 | guard 12 | generation of the party 24
 */
#ifndef IP_OFFERS_H
#define IP_OFFERS_H

#include "party.h"

#define IP_OFFERS_FEW 6u

typedef struct {
    ip_word head, tail;
    ip_word room;
    ip_word block; /* offset, or 0: few */
    ip_word few[IP_OFFERS_FEW];
} ip_offers;

/* Is an offer still good? IP_AGAIN: it is not. */
typedef ip_status (*ip_offer_keeper)(ip_arena *arena, uint64_t offer, const void *context);

void ip_offers_init(ip_offers *offers);
/* Adds a word at the tail; without room, moves what is good to where there is. Commits. */
ip_status ip_offers_add(ip_arena *arena, ip_offers *offers, uint64_t offer, ip_offer_keeper keep, const void *context);
ip_status ip_offers_span(const ip_offers *offers, uint64_t *head, uint64_t *tail);
/* Where the words are: that of a position is words[position % room]. */
ip_status ip_offers_words(ip_arena *arena, ip_offers *offers, ip_word **words, uint64_t *room);
/* The word at a position between head and tail. */
ip_status ip_offers_at(ip_arena *arena, ip_offers *offers, uint64_t position, ip_word **word);
/* Takes a word out, wherever it is. */
ip_status ip_offers_remove(ip_arena *arena, ip_offers *offers, uint64_t offer);
/* Within a change. */
ip_status ip_offers_free(ip_arena *arena, ip_offers *offers);

/* Under the arena lock: the first at this side who waits, whose offer is good: its party and guard; others before it are taken out.
 * IP_AGAIN: nobody. ip_offers_taken then takes that one out. */
ip_status ip_offers_first(ip_arena *arena, ip_offers *offers, uint64_t where, ip_party **party, unsigned *guard);
ip_status ip_offers_taken(ip_arena *arena, ip_offers *offers, ip_party *party, unsigned guard, uint64_t where);
/* Does the guard that this offer stands for still name the object and side of `context` (a where), and count on being entered? */
ip_status ip_offer_is_good(ip_arena *arena, uint64_t offer, const void *context);
static inline uint64_t ip_offer_of(ip_id party, unsigned guard) {
    return (uint64_t)party.index | (uint64_t)guard << 20 | (uint64_t)(party.generation & 0xFFFFFF) << 32;
}
/* Whose it is, or NULL, and of which of its guards. */
ip_status ip_offer_party(ip_arena *arena, uint64_t offer, ip_party **party, unsigned *guard);
/* Is the offer out: does its party wait, and its guard name this object and side? IP_AGAIN: no. *party: whose it is, or NULL. */
ip_status ip_offer_is_out(ip_arena *arena, uint64_t offer, uint64_t where, ip_party **party, unsigned *guard);
/* How many are out. */
ip_status ip_offers_count(ip_arena *arena, ip_offers *offers, uint64_t where, uint64_t *out);
/* Pokes all whose offers are out, or may be: past damage, too, as who is told nothing might wait for ever. */
void ip_offers_poke(ip_arena *arena, ip_offers *offers, uint64_t where);

#endif

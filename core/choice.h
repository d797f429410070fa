/* choice.h: communications, and choices among several: the meeting of parties at channels and barriers.
 *
 * See party.h for what a party is, channel.h for how a rendezvous takes place. A single send or receive is a choice with one guard.
 *
 * A party, between two calls, has offers out (after IP_AGAIN with `offer`) or none. The owner's cycle:
 *
 *     ip_choice_try(offer) -> IP_AGAIN -> ip_party_wait ... -> ip_choice_settle -> IP_AGAIN (poked): try again
 *                                        time is over:        ip_choice_withdraw -> IP_AGAIN, or it was chosen after all
 *
 * Who has died, and is not buried yet, has its offers out. So whoever would complete with an offer of another process looks first
 * whether that lives, unless it was made within the same tick of the coarse clock (ip_ticks): the look is a system call, and most
 * offers are taken sooner. Within a tick a death is as if it had come just after the communication. As those who communicate all
 * the time wait for nobody, and so look for nobody, ip_choice_try looks now and then for all who have died (ip_member_look).
 *
 * Guards of buffered channels are not completed here but by the ring: the caller tries those before, and, once its offers are out,
 * looks again with ip_channel_ready.
 */
#ifndef IP_CHOICE_H
#define IP_CHOICE_H

#include "barrier.h"
#include "channel.h"

typedef struct {
    ip_object *object;
    ip_id id;
    unsigned side;
    const ip_outgoing *message; /* IP_WRITES; a block is this process's, and of at most IP_PARCEL_PIECES_MAX pieces */
    uint64_t enrolment;         /* IP_SYNCS */
} ip_guard;

typedef struct {
    unsigned guard;       /* which came true, or is poisoned or retired */
    bool delivered;       /* of IP_WRITES: the message's block is no longer this process's */
    ip_incoming incoming; /* of IP_READS, if IP_OK; its contents lie in the scratch memory, of at least IP_PARCEL_SCRATCH bytes, aligned to 8 */
    uint32_t dead;        /* of IP_DIED: the member */
    uint32_t woken;       /* index + 1 of a party of this process with a bell that has to be told, or 0 */
} ip_choice;

/* Looks for a partner for each guard, beginning with `first` and going round. IP_OK, IP_POISONED, IP_RETIRED: of choice->guard.
 * IP_AGAIN: there is none; with `offer` the offers are out. IP_FREED: choice->guard names what is no more. IP_BUSY: call again.
 * IP_DIED: ip_member_bury_if_dead(choice->dead), then call again. IP_TOO_LONG: a message that is neither in a block
 * nor fits into a parcel (ip_parcel_size: at most 8 * IP_PARCEL_WORDS), or too many handles or guards. */
ip_status ip_choice_try(ip_arena *arena, ip_party *me, ip_id my_id, const ip_guard *guards, unsigned n, unsigned first,
                        bool offer, ip_patience patience, unsigned char *scratch, ip_choice *choice);
/* After waiting: IP_OK: chosen. IP_AGAIN: poked; no offers are out. IP_BUSY: still waiting, or call again. IP_STUCK: deadlock; the
 * incoming message is its description. `guards` as they were tried. */
ip_status ip_choice_settle(ip_arena *arena, ip_party *me, const ip_guard *guards, unsigned n, ip_patience patience,
                           unsigned char *scratch, ip_choice *choice);
/* Takes the offers back: IP_AGAIN; or it was too late: as ip_choice_settle. */
ip_status ip_choice_withdraw(ip_arena *arena, ip_party *me, const ip_guard *guards, unsigned n, ip_patience patience,
                             unsigned char *scratch, ip_choice *choice);

/* ---- deadlock (stuck.c) ---- */

#define IP_GUARDS_SHOWN 8u /* of one party */

typedef struct {
    ip_id id;
    uint64_t ticket;
    uint64_t parent; /* named as ip_party_name */
    unsigned mode, n_guards, guards_shown;
    struct {
        ip_id object;
        unsigned side;
    } guards[IP_GUARDS_SHOWN];
    pid_t pid;
    uint32_t member;
    uint64_t note_size, card_size;
    char note[IP_NOTE_MAX];
    char card[IP_CARD_MAX];
} ip_stuck_party;

/* Is it time to look for deadlocks? Somebody is told so ten times a second, among all processes of the arena: one look is for all. */
bool ip_stuck_due(ip_arena *arena);
/* The parties, among those that wait, whose wait can never end, as nobody who runs, or whose wait may end by itself, could bring
 * it about, even through others. Fills in up to `room`; *n: how many there are. Takes the arena lock, but not while it thinks. */
ip_status ip_stuck_find(ip_arena *arena, ip_stuck_party *found, unsigned room, unsigned *n);
/* Ends the waits of those that are found again: IP_STUCK, with this text (a str's bytes). IP_AGAIN: it is not so any more. */
ip_status ip_stuck_declare(ip_arena *arena, const ip_stuck_party *found, unsigned n, const void *text, uint64_t size);
/* All parties, waiting or not: the same description, for pictures. *index: 0 first. IP_AGAIN: no more. Takes the arena lock. */
ip_status ip_party_next(ip_arena *arena, uint32_t *index, int *phase, ip_stuck_party *party);

#endif

/* party.h: parties: who waits at channels and barriers, and what offers they have out.
 *
 *     party     state | event | member | bell | rung | mode | since | parent, children | stalls | guards | table | card | note | inbox | outbox
 *     state     phase 4 | guard 12 | ticket 40          the ticket goes up with each wait
 *     guard     where: index of the object 20 | generation 32 | side 2 | queued 1;  parcel: where in the outbox what it offers begins
 *
 * A guard is `queued` while there is a word for it in the queue of its object, so it is not entered twice.
 *
 * A thread or a task that takes part in CSP has a party, an object of its own, which only its process holds. It runs (IDLE), or has
 * offers out (WAITING): one for each guard. An offer is also a word in the queue of its channel (channel.h), which may go stale;
 * it is good if the party is WAITING and its guard of that number still names that channel and side.
 *
 * Whoever finds a partner WAITING completes the communication for both, in one change under the arena lock, by one store of
 * the partner's state: DONE, with the number of the guard that came true. So exactly one guard of a party does. What a
 * reader is given lies in its inbox, from then on; what a writer offers lies in its outbox, or in blocks that it owns, until then.
 * Its owner reads a party's DONE without a lock; it leaves that state only under the arena lock, since a recovering process
 * looks at it to see whether the change was made. A MET of a barrier is looked at again under the arena lock: it is one of several stores.
 *
 * POKED: look again (poison, a message in a buffer, the end of a partner). It may come at any time and means nothing else.
 *
 * bell: the party of an event loop, whose thread waits for all tasks of the loop; rung counts.
 * stalls: of a thread that runs an event loop and waits itself, within a task: the loop's bell. Until that wait ends none of the
 * loop's tasks acts, whatever has become of their waits.
 */
#ifndef IP_PARTY_H
#define IP_PARTY_H

#include "directory.h"
#include "parcel.h"

#define IP_GUARDS_MAX 4096u
#define IP_GUARDS_FEW 4u
#define IP_NOTE_MAX 232u
#define IP_CARD_MAX 4096u

enum { IP_PARTY_IDLE = 0, IP_PARTY_WAITING, IP_PARTY_DONE, IP_PARTY_POKED, IP_PARTY_MET, IP_PARTY_STUCK };
enum { IP_READS = 0, IP_WRITES = 1, IP_SYNCS = 2 }; /* sides; the first two are the ends of a channel, too */

/* mode: why a wait may end without any party's doing */
enum {
    IP_TIMED = 1,   /* it has a time limit */
    IP_OUTSIDE = 2, /* it waits for other things, too */
    IP_CROWD = 4,   /* its process has threads that are no parties */
    IP_JOINING = 8, /* it waits for parties that it has started */
    IP_LOOP = 16,   /* a bell: it does nothing by itself */
    IP_STALLS = 32  /* its thread runs an event loop, which this wait holds up */
};

typedef struct {
    ip_word where, parcel;
} ip_party_guard;

typedef struct {
    _Alignas(IP_CACHE_LINE) ip_word state;
    ip_event event;
    ip_word member;   /* its process, as the owner of a block is named */
    ip_word bell;     /* index + 1 | generation << 21 of a party, or 0 */
    ip_word rung;
    ip_word mode;
    ip_word since;    /* ip_ticks() when its offers were made */
    ip_word parent;   /* who started it, named as bell is, or 0 */
    ip_word children; /* JOINING: for how many it waits */
    ip_word stalls;   /* the bell of the loop whose tasks its wait keeps from acting, named as bell is, or 0 */
    ip_word guards;   /* how many are in force */
    ip_word table;    /* offset of a block with the guards, or 0: few */
    ip_word table_room;
    ip_word card, card_size, card_sum; /* a block of text about it */
    ip_word note_size, note_sum;
    unsigned char note[IP_NOTE_MAX]; /* text: what it does just now */
    ip_party_guard few[IP_GUARDS_FEW];
    ip_box inbox, outbox;
} ip_party;

ip_status ip_party_make(ip_arena *arena, ip_object *object, void *context);
uint64_t ip_party_body_size(void);
ip_status ip_party_of(ip_arena *arena, ip_object *object, ip_party **party);
/* The party of an id in a queue or a bell; *party is NULL if it is no more. Under the arena lock. */
ip_status ip_party_find(ip_arena *arena, uint32_t index, uint32_t generation, ip_party **party);
/* Under the arena lock: the guard of that number, or NULL: there is damage. */
ip_party_guard *ip_party_guard_at(ip_arena *arena, ip_party *party, uint64_t number);
/* Under the arena lock: sees to it that there is room for n guards. Commits. */
ip_status ip_party_make_room(ip_arena *arena, ip_party *party, unsigned n);

/* state: phase 4 | guard 12 | ticket 40 */
static inline uint64_t ip_party_pack(int phase, unsigned guard, uint64_t ticket) {
    return (uint64_t)phase | (uint64_t)guard << 4 | (ticket & ((UINT64_C(1) << 40) - 1)) << 16;
}
static inline int ip_party_phase(uint64_t state) { return (int)(state & 0xF); }
static inline unsigned ip_party_chosen(uint64_t state) { return (unsigned)(state >> 4 & 0xFFF); }
static inline uint64_t ip_party_ticket(uint64_t state) { return state >> 16; }

/* where: index 20 | generation 32 | side 2 | queued 1 */
#define IP_QUEUED (UINT64_C(1) << 54)
static inline uint64_t ip_where(ip_id id, unsigned side) {
    return (uint64_t)id.index | (uint64_t)id.generation << 20 | (uint64_t)side << 52;
}
static inline unsigned ip_where_side(uint64_t where) { return (unsigned)(where >> 52 & 3); }

static inline uint64_t ip_party_name(ip_id id) { return (uint64_t)(id.index + 1) | (uint64_t)id.generation << 21; }

/* The phase now, and the guard that came true. */
ip_status ip_party_state(const ip_party *party, int *phase, unsigned *guard);
/* One slice of waiting until it is not WAITING any more; see ip_event_wait. */
bool ip_party_wait(ip_party *party, uint64_t deadline_ns, bool *slept);
/* One slice of waiting until `rung` is no longer what was seen; makes it a bell. */
bool ip_party_wait_bell(ip_party *party, uint64_t seen, uint64_t deadline_ns, bool *slept);

/* WAITING -> POKED, and wakes it. Takes the arena lock. */
ip_status ip_party_poke(ip_arena *arena, ip_id id);
/* The same under the arena lock. */
ip_status ip_party_poke_locked(ip_arena *arena, ip_party *party);

/* WAITING for the end of `children` parties that it has started; ends by ip_choice_withdraw. Of its mode IP_CROWD stays. */
ip_status ip_party_join(ip_arena *arena, ip_party *party, uint64_t children);

/* Text about the party, written by its process; reading copies and checks. IP_TOO_LONG. card: takes the arena lock. */
ip_status ip_party_set_card(ip_arena *arena, ip_party *party, const void *text, uint64_t size);
ip_status ip_party_set_note(ip_party *party, const void *text, uint64_t size);
/* Under the arena lock. */
ip_status ip_party_read_card(ip_arena *arena, const ip_party *party, void *text, uint64_t room, uint64_t *size);
ip_status ip_party_read_note(const ip_party *party, void *text, uint64_t room, uint64_t *size);

/* Under the arena lock: has its owner, or its loop, look, once the lock is free: *wake is what ip_event_wake is then called for, or
 * NULL. A task of this very process is left to the caller, in *task (its index + 1), unless that is NULL. Damage delays it by a slice. */
void ip_party_call(ip_arena *arena, ip_party *party, ip_event **wake, uint32_t *task);

/* Under the arena lock, when nobody holds it any more. */
ip_status ip_party_dismantle(ip_arena *arena, ip_object *object);

#endif

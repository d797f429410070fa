/* barrier.h: alting barriers: all who are enrolled meet; to wait there can be one guard of a choice.
 *
 *     barrier   enrolled: queue of enrolments | offers | serial | met       (queues as in channel.h)
 *     enrolment owner 28 | serial 28      (an owner as a block has it: member + 1 12 | generation 16; 0: it is on its way)
 *
 * They have met when each enrolment has an offer out; then all are told so (MET) in one journaled change. An enrolment of
 * a process that dies ends when it is buried. Who waits looks again whenever one ends, and may then complete the meeting.
 *
 * To the directory an enrolment is an end of its barrier, with one holder, its owner: a handle on it moves. It goes along in
 * a message like any handle: the sender's until the change that publishes the message, the taker's from the change that takes it,
 * in between nobody's; in the change that drops the message it ends. So whoever dies, there is one who ends it. A handle on the
 * barrier itself comes behind it in the message: who has an enrolment holds that, too.
 */
#ifndef IP_BARRIER_H
#define IP_BARRIER_H

#include "channel.h"

#define IP_ENROLLED_MAX (IP_JOURNAL_ENTRIES - 96u) /* a meeting is one change: an entry of the journal for each who waits, and few more */

#define IP_ENROLMENT (1u << 28) /* an end of a barrier is that | serial, or 0: the barrier itself */
static inline unsigned ip_enrolment_end(uint64_t serial) { return IP_ENROLMENT | (unsigned)serial; }

typedef struct {
    _Alignas(IP_CACHE_LINE) ip_word serial; /* of the last enrolment */
    ip_word met;                            /* how often they have met */
    ip_label label;
    ip_offers enrolled;
    ip_offers offers;
} ip_barrier;

ip_status ip_barrier_make(ip_arena *arena, ip_object *object, void *settings); /* ip_channel_settings */
uint64_t ip_barrier_body_size(void);
ip_status ip_barrier_of(ip_arena *arena, ip_object *object, ip_barrier **barrier);
/* A new enrolment of this process; *serial names it. IP_CROWDED: there are too many. Takes the arena lock. It ends when its end of
 * the barrier is released: the others do not wait for it any more. */
ip_status ip_barrier_enrol(ip_arena *arena, ip_object *object, uint64_t *serial);
/* Takes the arena lock. */
ip_status ip_barrier_look(ip_arena *arena, ip_object *object, uint64_t *enrolled, uint64_t *waiting, uint64_t *met);

/* Under the arena lock, within a change: an enrolment, named as an end, changes hands (0: nobody's), or ends. IP_FREED: `from` (the
 * owner) does not have it. */
ip_status ip_barrier_move(ip_arena *arena, ip_object *object, unsigned end, uint64_t from, uint64_t to);
ip_status ip_barrier_end(ip_arena *arena, ip_object *object, unsigned end, uint64_t owner);

/* Under the arena lock. count: of all who are enrolled; *owned: the one of that serial is there, and this process's. member: the next
 * enrolment's from *position (0 first) on; its member is UINT32_MAX while it is on its way. IP_AGAIN: no more. */
ip_status ip_barrier_count(ip_arena *arena, ip_barrier *barrier, uint64_t serial, uint64_t *enrolled, bool *owned);
ip_status ip_barrier_member(ip_arena *arena, ip_barrier *barrier, uint64_t *position, uint32_t *member);
void ip_barrier_poke_all(ip_arena *arena, ip_object *object);
ip_status ip_barrier_bereave(ip_arena *arena, ip_object *object, uint32_t member);
ip_status ip_barrier_dismantle(ip_arena *arena, ip_object *object);

#endif

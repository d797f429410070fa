/* barrier.h: alting barriers: all who are enrolled meet; to wait there can be one guard of a choice.
 *
 *     barrier   enrolled: queue of enrolments | offers | serial | met       (queues as in channel.h)
 *     enrolment member + 1 12 | generation 16 | serial 28; member 0: on its way to another process
 *
 * They have met when each enrolment has an offer out; then all are told so (MET) in one journaled change. An enrolment of
 * a process that dies ends when it is buried. Who waits looks again whenever one ends, and may then complete the meeting.
 */
#ifndef IP_BARRIER_H
#define IP_BARRIER_H

#include "channel.h"

#define IP_ENROLLED_MAX (IP_JOURNAL_ENTRIES - 96u) /* a meeting is one change: an entry of the journal for each who waits, and few more */

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
/* A new enrolment of this process; *serial names it. IP_CROWDED: there are too many. Takes the arena lock, as all below. */
ip_status ip_barrier_enrol(ip_arena *arena, ip_object *object, uint64_t *serial);
/* It is this process's now (adopt), or nobody's until it arrives (depart). IP_FREED: it has ended. */
ip_status ip_barrier_adopt(ip_arena *arena, ip_object *object, uint64_t serial);
ip_status ip_barrier_depart(ip_arena *arena, ip_object *object, uint64_t serial);
/* To a place that is reserved for a child. */
ip_status ip_barrier_bequeath(ip_arena *arena, ip_object *object, uint64_t serial, uint32_t member, uint32_t generation);
ip_status ip_barrier_resign(ip_arena *arena, ip_object *object, uint64_t serial);
ip_status ip_barrier_look(ip_arena *arena, ip_object *object, uint64_t *enrolled, uint64_t *waiting, uint64_t *met);

/* Under the arena lock. count: of all who are enrolled; *owned: the one of that serial is there, and this process's. member: the next
 * enrolment's from *position (0 first) on; its member is UINT32_MAX while it is on its way. IP_AGAIN: no more. */
ip_status ip_barrier_count(ip_arena *arena, ip_barrier *barrier, uint64_t serial, uint64_t *enrolled, bool *owned);
ip_status ip_barrier_member(ip_arena *arena, ip_barrier *barrier, uint64_t *position, uint32_t *member);
void ip_barrier_poke_all(ip_arena *arena, ip_object *object);
ip_status ip_barrier_bereave(ip_arena *arena, ip_object *object, uint32_t member);
ip_status ip_barrier_dismantle(ip_arena *arena, ip_object *object);

#endif

/* channel.h: channels: conduits between writers and readers, which meet (rendezvous) or pass messages on by a buffer.
 *
 *     channel   flags | policy, capacity | counters | label | offers of readers, offers of writers (offers.h) | ring (if it has a buffer)
 *
 * Three ends: 0 the readers, 1 the writers, 2 those who keep the channel without taking a side. A process holds a side as long as
 * it has an end of it that has not retired; a side that once had a holder and has none any more has retired (directory.h). When
 * a process dies with a side in its hands, whoever buries it poisons the channel.
 *
 * A rendezvous takes place under the arena lock: who comes second finds the first one's offer, completes the
 * communication for both, and goes on; who comes first leaves an offer and waits. Offers out of one choice are all made within one
 * holding of the lock, and so is the search before them; so no two parties can miss each other, or both wait, whatever they choose
 * among; and since only a party that runs completes, for one that waits, nobody waits in the middle of a decision.
 *
 * A buffered channel is a ring with its own locks; parties wait for it as for others, are poked when there is something to look
 * at, and try again.
 *
 * Invariant: the offer of a party that waits, as its guards say, is in the queue of each of its guards' channels.
 * Lock order: a ring's locks -> the arena lock.
 */
#ifndef IP_CHANNEL_H
#define IP_CHANNEL_H

#include "offers.h"

#define IP_LABEL_MAX 64u
#define IP_KEEPS 2u /* the end of those who keep a channel */
#define IP_UNBOUNDED IP_PAYLOAD_MAX /* as a capacity */

enum { IP_BLOCKING = 0, IP_SLIDING, IP_DROPPING, IP_OVERWRITING }; /* what a writer does when the buffer is full */

typedef struct {
    ip_word size, sum;
    unsigned char text[IP_LABEL_MAX];
} ip_label;

typedef struct {
    _Alignas(IP_CACHE_LINE) ip_word flags; /* bit 0: poisoned */
    ip_word policy;   /* of a full buffer */
    ip_word capacity; /* messages in the buffer; 0: none, a rendezvous; or IP_UNBOUNDED */
    ip_word passed;   /* communications completed by rendezvous; a buffer's are counted by its ring */
    ip_word lost;     /* messages that a full buffer has dropped */
    ip_label label;
    ip_offers offers[2]; /* of readers, of writers */
    ip_ring ring[];
} ip_channel;

typedef struct {
    uint64_t capacity, policy;
    const char *label;
    uint64_t label_size;
} ip_channel_settings;

typedef struct {
    bool poisoned, retired[2];
    uint64_t capacity, policy, passed, lost, buffered;
    uint64_t waiting[2]; /* offers that are out */
    char label[IP_LABEL_MAX + 1];
} ip_channel_info;

/* What users call it; a longer text is cut. `text` has room for IP_LABEL_MAX + 1 bytes. */
void ip_label_set(ip_label *label, const char *text, uint64_t size);
ip_status ip_label_get(const ip_label *label, char *text);

ip_status ip_channel_make(ip_arena *arena, ip_object *object, void *settings);
uint64_t ip_channel_body_size(uint64_t capacity);
ip_status ip_channel_of(ip_arena *arena, ip_object *object, ip_channel **channel);
static inline ip_ring *ip_channel_ring(ip_channel *channel) { return channel->ring; }

/* From now on all who use the channel are told so. What lies in its buffer is dropped. */
ip_status ip_channel_poison(ip_arena *arena, ip_object *object);
/* What lies in the buffer of a poisoned channel is dropped: by whoever poisons it, or who is told so, as an undertaker does not, and a
 * poisoner may die; and by a writer that was just adding to it. So handles in it do not pass for ones that may yet arrive. */
ip_status ip_channel_clear(ip_arena *arena, ip_channel *channel);
/* IP_POISONED; IP_RETIRED: the other side has (of a buffer that is read: and it is empty); IP_OK. No lock. */
ip_status ip_channel_open_for(ip_object *object, ip_channel *channel, unsigned side);
/* A buffered channel: can `side` go on, or is it told something? No lock. */
bool ip_channel_ready(ip_object *object, ip_channel *channel, unsigned side);
/* Has somebody of this side an offer out, perhaps? No lock. */
static inline bool ip_channel_awaited(ip_channel *channel, unsigned side) {
    uint64_t head = atomic_load_explicit(&channel->offers[side].head, memory_order_seq_cst);
    return head != atomic_load_explicit(&channel->offers[side].tail, memory_order_seq_cst);
}
/* Pokes the first who waits at this side of a buffered channel, if there still is one. Takes the arena lock. */
ip_status ip_channel_poke_one(ip_arena *arena, ip_id id, unsigned side);
/* One message more that a full buffer has dropped. */
void ip_channel_note_lost(ip_channel *channel);
/* Takes the arena lock. */
ip_status ip_channel_look(ip_arena *arena, ip_object *object, ip_channel *channel, ip_channel_info *info);

/* Under the arena lock: pokes all who wait there. */
void ip_channel_poke_all(ip_arena *arena, ip_object *object);
/* Under the arena lock, within a change: a member has died with a side in its hands. */
ip_status ip_channel_bereave(ip_arena *arena, ip_object *object);
ip_status ip_channel_dismantle(ip_arena *arena, ip_object *object);

#endif

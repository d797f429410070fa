/* directory.h: the objects of an arena, who holds them, and when they are freed.
 *
 * An entry:  state   kind | doomed << 7 | generation << 8     (kind 0: free)
 *            body    offset of the body
 *            next    index + 1 of the next free entry
 *            name    hash of the name, or 0
 *
 * A body starts with an ip_object, then its ends, then what its kind adds. A queue has one end, a pipe two, a channel three. Each end
 * has a bitmap of the members that hold it, and a count of the messages in transit that carry a handle on it:
 * a handle that is sent keeps its object alive while nobody holds it. That count changes in the same change that
 * publishes or takes the message, so it cannot drift; the bits are idempotent. An enrolment at a barrier is an end that one member
 * holds, and that moves with its handle (barrier.h).
 *
 * An id is (entry index, generation). When no end of an object has a holder or a handle in transit, the object is doomed:
 * nobody can find it any more; its contents are freed step by step, by whoever sweeps, and then its entry. Each step can be repeated.
 * An end that is empty while another is not stays so: `vacated` says it to those who look on the hot path. Only an end that is
 * `unborn`, as a side of a fresh channel, may yet have its first holder, as long as the last end (its keepers') has one.
 *
 * All of it changes under the arena lock.
 */
#ifndef IP_DIRECTORY_H
#define IP_DIRECTORY_H

#include "arena.h"

enum {
    IP_QUEUE = 1, IP_PIPE = 2, IP_MEMORY = 3, IP_TABLE = 4, IP_LIST = 5, IP_CHANNEL = 6, IP_BARRIER = 7, IP_PARTY = 8,
    IP_KINDS = 9
};
#define IP_ENDS_MAX 3u

#define IP_HOLDER_BITS 56u
#define IP_HOLDER_WORDS (IP_MEMBERS_MAX / IP_HOLDER_BITS)
#define IP_NAME_MAX 200u

typedef struct {
    ip_word state, body, next, name;
} ip_entry;

typedef struct {
    ip_word transit;
    ip_word holders[IP_HOLDER_WORDS];
} ip_end;

typedef struct {
    ip_word index;   /* of its entry */
    ip_word kind;    /* kind | ends << 8 */
    ip_word vacated; /* bit i: end i has no holder any more */
    ip_word name;    /* offset of a block with the name, or 0 */
    ip_word name_size, name_sum;
    ip_word unborn;  /* bit i: end i has had no holder yet, and is not vacated for it */
    ip_word spare;
    ip_end ends[];
} ip_object;

typedef struct {
    uint32_t index;
    uint32_t generation;
} ip_id;

/* Makes the fresh contents of an object's body, which nobody else sees yet; under the arena lock. */
typedef ip_status (*ip_maker)(ip_arena *arena, ip_object *object, void *context);

/* Creates an object, or opens the one of that name (*created tells which), as a holder of the ends in the mask.
 * body_size: bytes of the whole body. IP_EXISTS: the name is taken by an object of another kind. */
ip_status ip_object_open(ip_arena *arena, int kind, unsigned ends, unsigned hold_mask, uint64_t body_size,
                         const char *name, uint64_t name_size, ip_maker make, void *context, ip_id *id,
                         ip_object **object, bool *created);

/* The object behind an id, for one who holds it: IP_FREED if it is no more. */
ip_status ip_object_find(ip_arena *arena, ip_id id, int *kind, ip_object **object);

/* Makes a member a holder of an end. An enrolment of this process becomes that member's. */
ip_status ip_object_hold(ip_arena *arena, ip_id id, unsigned end, uint32_t member);
/* This process lets go of an end; the object is freed if it was the last. Others who wait on it are woken. */
ip_status ip_object_release(ip_arena *arena, ip_id id, unsigned end);

/* Within a change, under the arena lock: this process becomes a holder of an end that another has, or an enrolment's owner, named
 * as that of a block, instead of it. */
ip_status ip_object_hold_locked(ip_arena *arena, ip_id id, unsigned end, uint64_t other);
/* For messages that carry handles: within a change, under the arena lock. */
ip_status ip_object_depart(ip_arena *arena, ip_id id, unsigned end);
ip_status ip_object_arrive(ip_arena *arena, ip_id id, unsigned end, bool hold);

/* Makes the member (a reserved slot) a holder of all that this process holds, but for sides of channels, parties and enrolments: a
 * process has those by itself. */
ip_status ip_directory_share_all(ip_arena *arena, uint32_t member);
/* Clears a member's bits everywhere, or on queues and pipes only, and frees what nobody holds any more. */
ip_status ip_directory_release_all(ip_arena *arena, uint32_t member, uint32_t generation, bool rings_only);
/* Frees the doomed. */
ip_status ip_directory_sweep(ip_arena *arena);

/* Does somebody other than the dead hold the end? Buries the dead among its holders. *held: 0 or 1. */
ip_status ip_object_check_holders(ip_arena *arena, ip_object *object, unsigned end, bool *held);
/* The same, for who waits and looks every slice: see ip_member_watch. */
ip_status ip_object_watch_holders(ip_arena *arena, ip_object *object, unsigned end, uint64_t now);

typedef struct {
    ip_id id;
    int kind;
    unsigned ends;
    unsigned holders[IP_ENDS_MAX];
    bool mine[IP_ENDS_MAX]; /* this process is among the holders */
    uint64_t transit[IP_ENDS_MAX];
    uint64_t body;
    char name[IP_NAME_MAX + 1];
} ip_object_info;

/* The first object at or after *index; *index becomes one past it. IP_AGAIN: there are no more. */
ip_status ip_object_next(ip_arena *arena, uint32_t *index, ip_object_info *info);

/* Under the arena lock: the object of an entry. IP_FREED: it has none that lives. IP_AGAIN: it is beyond the last. */
ip_status ip_object_at(ip_arena *arena, uint32_t index, ip_id *id, int *kind, ip_object **object);

/* Under the arena lock: the id of an object that lives. */
ip_status ip_object_id(ip_arena *arena, ip_object *object, ip_id *id);

uint64_t ip_object_size(unsigned ends); /* bytes of an ip_object with its ends */

#endif

/* waits.h: who waits for what in an arena, as of one moment, and which of these waits can never end.
 *
 * Stuck is the largest set of waiting parties such that nobody outside of it could end a wait inside: for a guard, the holders of the
 * other side of its channel (or who is enrolled at its barrier) are processes all of whose parties are in the set; for one that joins,
 * all it has started are. It is found by beginning with all who wait for nothing else, and taking out whoever could be helped until
 * nobody is left to take out. A process of which no party is known counts as one that runs.
 *
 * The tasks of an event loop whose thread waits itself are in for as long as that thread is, whatever they do, since none of them can
 * act: such a task is stalled. When all is reckoned, only the thread counts as stuck: once its wait has ended the tasks may go on.
 *
 * What is read is a copy in private memory, so the arena lock is held for as long as it takes to copy, and not while it is thought
 * about. Each wait is taken out once, each process begins to run once, each thing waited for is found to come once: of n waits at
 * r channels among m processes that is a matter of n + r * m steps, whatever the order.
 */
#ifndef IP_WAITS_H
#define IP_WAITS_H

#include "choice.h"

typedef struct {
    ip_id id;
    ip_party *party;
    uint32_t member;
    uint64_t state, mode, parent, children, bell;
    uint64_t stuck_children; /* JOINING: of those it has started, how many are in */
    uint32_t stalled_by;     /* the place + 1 of the thread that keeps it from acting; of a bell, its tasks; or 0 */
    uint32_t stalled, next_stalled; /* of such a thread: those, a list of places + 1 */
    bool in;                 /* the set */
} ip_wait;

typedef struct ip_awaited ip_awaited;
typedef struct ip_waiter ip_waiter;

typedef struct {
    ip_arena *arena;
    ip_wait *waits;
    unsigned n, room, n_stuck; /* n_stuck: how many are in, in the end */
    ip_awaited *awaited; /* what is waited for: a side of a channel, or a barrier */
    unsigned n_awaited, awaited_room;
    ip_waiter *waiters; /* who waits for it */
    unsigned n_waiters, waiters_room;
    uint64_t objects;       /* how many entries the directory has */
    uint32_t *wait_of;      /* of a party, by the index of its object: its place in waits + 1, or 0 */
    uint32_t *awaited_of;   /* the same of what is waited for: three sides an object */
    uint32_t *gone, n_gone; /* waits that are out, and whose processes and parents have not been told */
    uint32_t running[IP_MEMBERS_MAX], n_running; /* processes that run, each once */
    uint64_t runs[IP_HOLDER_WORDS];              /* the same as a bitmap */
    bool known[IP_MEMBERS_MAX];                  /* processes with a party */
} ip_waits;

/* Under the arena lock: reads all parties, and what they wait for. */
ip_status ip_waits_read(ip_arena *arena, ip_waits *w);
/* Without it: `in` are those that are stuck. */
ip_status ip_waits_reduce(ip_waits *w);
/* The wait of a party, or NULL. */
ip_wait *ip_waits_find(const ip_waits *w, ip_id party);
void ip_waits_free(ip_waits *w);

/* Under the arena lock: one party. */
ip_status ip_wait_read(ip_arena *arena, ip_id id, ip_object *object, ip_wait *wait);

#endif

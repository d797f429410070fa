/* container.h: what objects that have values share, tables and lists: their lock, their gate, transactions.
 *
 *     container  lock | changes, shape, count | gate, its depth | transaction, log | changed | flavour | slabs, partial
 *
 * It is the first member of an ip_table and of an ip_list, whose bodies it begins. Values lie in cells (cell.h), small ones in slabs:
 * `slabs` is the newest slab, `partial` the first slab with room of each class.
 *
 * lock: held for nanoseconds, by who reads or changes the container. `changes` is the word that publishes each change: a watcher who
 * sees it move sees what is committed. `shape` moves when keys, positions or indices do.
 *
 * gate: what a user's thread holds from one call to another, so that others' calls wait. It is looked at, and taken, under the lock:
 * no call is under way while it changes hands, and a call that holds the lock need not fear it. Recursive by thread. If its
 * owner has died, who wants it settles the transaction first and takes it over then.
 *
 * transaction: the offset of the record of the transaction that the container is in, or 0 (transaction.h). Then the gate has an
 * owner, alive or dead, and changes also push onto the log how they are undone.
 *
 * Lock order: a container's lock -> the arena lock. The gate is no lock of the core: nobody waits for one in it.
 */
#ifndef IP_CONTAINER_H
#define IP_CONTAINER_H

#include "directory.h"
#include "heap.h"
#include "ring.h"

#define IP_CELL_CLASSES 17u       /* sizes of small cells */
#define IP_VALUE_HANDLES_MAX 255u /* in one value: so that replacing one fits the journal */

typedef struct {
    _Alignas(IP_CACHE_LINE) ip_lock lock;
    ip_word changes; /* how many changes were ever made */
    ip_word shape;
    ip_word count;
    ip_lock gate;
    ip_word transaction; /* offset of its record, or 0 */
    ip_word log;         /* offset of the newest block of its log, or 0 */
    ip_word depth;       /* how often its owner has taken the gate */
    ip_word flavour;     /* what it is to its users */
    ip_event changed;    /* watchers wait here */
    ip_word slabs;       /* offset of the newest, or 0 */
    ip_word partial[IP_CELL_CLASSES]; /* offset of the first slab with room, or 0 */
} ip_container;

typedef struct {
    uint8_t kind;
    const void *data;
    uint64_t size;
    const ip_handle_ref *handles; /* this process holds them */
    unsigned n_handles;
} ip_value;

/* Where a key or value is to be copied: `room` bytes at data. size, kind and n_handles are answered, also if IP_TOO_LONG says that
 * the room is too small. The process becomes a holder of the handles. A key has neither kind nor handles. data NULL: only size and
 * kind are asked for; n_handles is 0 then, and nothing is ever too long. */
typedef struct {
    void *data;
    uint64_t room;
    ip_handle_ref *handles;
    unsigned handles_room;
    uint64_t size;
    unsigned n_handles;
    uint8_t kind;
} ip_value_out;

typedef struct {
    uint64_t count, changes, shape;
} ip_container_state;

/* The checked container of an object that is a table or a list. */
ip_status ip_container_of(ip_arena *arena, ip_object *object, ip_container **container);
ip_status ip_container_flavour(const ip_container *container, uint64_t *flavour);
/* IP_BUSY, IP_HELD: as of any call on a container (table.h). */
ip_status ip_container_look(ip_arena *arena, ip_container *container, ip_patience patience, ip_container_state *state);
/* One slice of waiting until `changes` is no longer what was seen; see ip_event_wait. */
bool ip_container_wait(ip_container *container, uint64_t seen, uint64_t deadline_ns, bool *slept);
/* The lock to wait for after IP_BUSY. */
static inline ip_lock *ip_container_lock(ip_container *container) { return &container->lock; }

/* ---- the gate ---- */

/* Takes the gate, once more if this thread has it. IP_BUSY: call again. IP_HELD: another has it; ip_gate_wait, then call again.
 * Unless patience is IP_NOW: if its owner has died, settles what that has left of a transaction and takes it over. */
ip_status ip_gate_acquire(ip_arena *arena, ip_container *container, ip_patience patience);
/* Lets go of it once. IP_NOT_OWNER: this thread does not have it, or has it only for a transaction that is not settled. */
ip_status ip_gate_release(ip_arena *arena, ip_container *container);
bool ip_gate_mine(ip_arena *arena, const ip_container *container);
/* One slice of waiting until nobody has it; see ip_event_wait. */
bool ip_gate_wait(ip_arena *arena, ip_container *container, uint64_t deadline_ns, bool *slept);

/* ---- transactions: what is done to several containers between join and commit is done to all of them or to none ---- */

/* A new record. IP_BUSY: call again; IP_NO_MEMORY. If this process dies before a container has joined it, it is freed. */
ip_status ip_transaction_begin(ip_arena *arena, uint64_t *record);
/* From now on changes of the container belong to the transaction. IP_NOT_OWNER: this thread has not got its gate; IP_EXISTS: it is
 * in a transaction already. IP_BUSY: call again. */
ip_status ip_transaction_join(ip_arena *arena, uint64_t record, ip_container *container);
/* The decision, one store: whoever is killed after it, all that was done stands; before it, nothing. container: one that has joined.
 * IP_BUSY: call again. IP_NOT_OWNER, IP_LEFT: this process was given up for dead meanwhile, and the transaction undone. */
ip_status ip_transaction_commit(ip_arena *arena, uint64_t record, ip_container *container);
/* Ends the transaction for a container: if it was committed frees what the log has kept, else undoes all. Needs no memory.
 * IP_OK also if the container is not in this transaction. IP_BUSY: call again. The last container's frees the record. */
ip_status ip_transaction_settle(ip_arena *arena, uint64_t record, ip_container *container);
/* Frees a record that no container has joined, or else does nothing: not to be called once one was settled. */
ip_status ip_transaction_end(ip_arena *arena, uint64_t record);
/* Is the container in a transaction whose gate this thread has? */
bool ip_transaction_mine(ip_arena *arena, const ip_container *container);

/* ---- for the files that make up tables and lists ---- */

/* In the maker of an object's body. flavour: NULL for 0. */
void ip_container_init(ip_container *container, const uint64_t *flavour);
/* Looks at the gate under the lock: IP_HELD if another has it; then, as after any error, the lock was released. */
ip_status ip_container_look_at_gate(ip_arena *arena, ip_container *container);
/* Under both locks, within a change. */
ip_status ip_container_bump_shape(ip_arena *arena, ip_container *container);
/* Waits for the arena lock, at most for a moment: IP_BUSY. */
ip_status ip_container_take_arena(ip_arena *arena);
/* Ends a change under the arena lock, which it releases: undoes it unless the status is IP_OK; else commits, or, if `container` is
 * not NULL, publishes one more in its `changes`. Then gives idle memory back. */
ip_status ip_container_conclude(ip_arena *arena, ip_status status, ip_container *container, const ip_range *freed);
/* After a change, without a lock: wakes watchers; let_go: frees what the handles that were let go had kept. */
ip_status ip_container_after_change(ip_arena *arena, ip_container *container, bool let_go);

/* Takes the container's lock for a call on it. */
static inline ip_status ip_container_take(ip_arena *arena, ip_container *container, ip_patience patience) {
    IP_TRY(ip_lock_take(arena, &container->lock, patience));
    if (atomic_load_explicit(&container->gate.owner, memory_order_relaxed) == ip_seal(0)) return IP_OK;
    return ip_container_look_at_gate(arena, container);
}

static inline void ip_container_release(ip_container *container) { ip_lock_release(&container->lock); }

#endif

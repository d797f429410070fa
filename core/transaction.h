/* transaction.h: the record of a transaction, and the log of how to undo what was done to a container in it.
 *
 *     record   state (OPEN, COMMITTED) | refs: how many containers are in it          a block of the heap
 *     log      older, room, used | entries of four words: op, a, b, c                  blocks, the newest is the container's `log`
 *
 * A change of a container in a transaction pushes, within itself, an entry that says how it is undone, and leaves to the log what it
 * would else have freed. Committing is one store of the record's state, for all containers at once. Then, or instead, each container
 * is settled by itself, entry by entry from the newest: undone if the record is OPEN, or what the entry keeps is freed if
 * it is COMMITTED. Each step is one journaled change, which pops the entry too; the last one takes the container out of the
 * transaction, and frees the record with the last container. So whoever is killed wherever, and whoever goes on, the transaction is
 * done in all containers or in none.
 *
 * Settling only overwrites and frees: it needs no memory. Entries beyond `used` mean nothing: they are written before they count.
 *
 * Invariants: refs is how many containers name the record; a record that none names belongs to the member that has begun it.
 * A container in a transaction has a gate with an owner; who settles is that one, or, after its death, who holds the container's lock.
 *
 * What an op means is the affair of the kind of the container: a table's are undone in table_undo.c, a list's in list_undo.c.
 */
#ifndef IP_TRANSACTION_H
#define IP_TRANSACTION_H

#include "container.h"

/* Ops, the low byte of the first word: of tables from 1 on, of lists from IP_LOG_LISTS on. */
enum { IP_LOG_OP = 0xFF, IP_LOG_LISTS = 32 };

typedef struct {
    ip_word op, a, b, c;
} ip_log_entry;

/* Under the container's lock: is it in a transaction? Then, in a change, nothing may be freed, and an entry has to be pushed. */
static inline ip_status ip_transaction_of(const ip_container *container, bool *within) {
    uint64_t record;
    IP_READ(&container->transaction, record);
    *within = record != 0;
    return IP_OK;
}

/* Under both locks, within a change, before it frees anything: adds an entry to the log of a container that is in a transaction.
 * IP_NO_MEMORY. */
ip_status ip_log_push(ip_arena *arena, ip_container *container, uint64_t op, uint64_t a, uint64_t b, uint64_t c);

/* Under the container's lock: the log's entries from the newest on. *block and *left begin as 0; IP_EOF: there are no more. */
ip_status ip_log_next(ip_arena *arena, const ip_container *container, uint64_t *block, uint64_t *left, ip_log_entry **entry);

/* What settling does with one entry, under both locks, within a change of at most some 1500 journal entries; *freed is set if a block
 * was freed. Popping it is not theirs. IP_AGAIN: it is not done yet, commit and call again: they keep in the entry how far they are.
 * undo: puts things as they were before. forget: frees what the entry keeps. Neither may need memory. */
typedef ip_status (*ip_log_step)(ip_arena *arena, ip_container *container, ip_log_entry *entry, ip_range *freed);

ip_status ip_table_undo(ip_arena *arena, ip_container *container, ip_log_entry *entry, ip_range *freed);
ip_status ip_table_forget(ip_arena *arena, ip_container *container, ip_log_entry *entry, ip_range *freed);
/* Under its lock, before a table is in a transaction, in which its arrays can lose no hole: builds them anew if most of them is holes,
 * so that a table that changes in transactions only does not grow for ever. */
ip_status ip_table_compact(ip_arena *arena, ip_container *container);
ip_status ip_list_undo(ip_arena *arena, ip_container *container, ip_log_entry *entry, ip_range *freed);
ip_status ip_list_forget(ip_arena *arena, ip_container *container, ip_log_entry *entry, ip_range *freed);

/* Under the container's lock: settles all there is; takes the arena lock for each step. IP_BUSY: call again. */
ip_status ip_transaction_settle_locked(ip_arena *arena, ip_container *container);
/* Under the arena lock, for a container without holders that is freed: one step of forgetting its log and of leaving its
 * transaction; commits. IP_AGAIN: there is more. */
ip_status ip_transaction_dismantle_step(ip_arena *arena, ip_container *container);

#endif

/* table.h: hash tables in the arena, in order of insertion: what shared dicts and sets are.
 *
 *     table    container (container.h) | live store | dropped store and slabs
 *     store    arrays, log of the slots, fill (positions used, end)
 *     arrays   one block: the index (slots, a power of two), then the entries (3/4 as many)
 *     slot     0, or position + 1 in 28 bits | 28 bits of the hash
 *     entry    0 (a hole), or the offset of a cell | its flags
 *     cell     word | sums of key and value | handles, key, value                       (cell.h)
 *
 * Entries are appended, so their positions are the order of insertion; replacing a value swaps the cell and keeps the
 * position. Removing leaves a hole, and the slot that leads to it. When the positions are used up, arrays without holes, of a size
 * that fits the count, are built in a block of this process's that nobody sees, and swapped in by one change, which frees the old
 * ones; cells do not move. The hash in a slot is enough to place it anew. Clearing moves all to the dropped store in
 * one change; that is freed step by step, by whoever changes the table next, should the first one die.
 *
 * An entry whose key and value are small lies in a slab of cells of its size; a larger one in a block of its own, written before
 * the lock is taken. Both have the same form, so a value is copied once, from the caller to where it stays.
 *
 * Invariants: end <= used <= capacity; no entry lies at or beyond end; count entries lie before it; exactly one slot leads to each,
 * and no more than `used` slots are taken. `changes` is the word that publishes each change: a watcher who sees it move
 * sees what is committed. `shape` moves when positions do. A handle in a value counts as in transit: the table keeps its object.
 *
 * In a transaction (transaction.h) the log keeps the cells that are replaced, removed or cleared, and names positions: so a rebuild
 * keeps them then, holes too, and undoing finds the slot of each position still there.
 *
 * A change takes some 60 journal entries at most, however large the table is, and five for each handle.
 *
 * Lock order: the container's lock -> the arena lock. Readers take the second only to become holders of handles.
 */
#ifndef IP_TABLE_H
#define IP_TABLE_H

#include "container.h"

#define IP_TABLE_KEY_MAX UINT32_MAX

typedef struct {
    ip_word arrays; /* offset of the block, or 0 */
    ip_word slots;  /* log2 */
    ip_word fill;   /* positions used | end << 28 */
} ip_table_store;

typedef struct {
    ip_container container;
    ip_table_store live, dropped;
    ip_word dropped_slabs;
} ip_table;

/* Keys are equal if their bytes are. The hash, up to 56 bits, has to follow from the bytes. */
typedef struct {
    const void *data;
    uint64_t size, hash;
} ip_table_key;

typedef enum { IP_TABLE_ALWAYS, IP_TABLE_IF_ABSENT, IP_TABLE_IF_PRESENT, IP_TABLE_IF_EQUAL } ip_table_when;
typedef enum { IP_TABLE_REFUSED, IP_TABLE_INSERTED, IP_TABLE_REPLACED } ip_table_outcome;

/* The maker of a table's body (context: const uint64_t *flavour, NULL for 0), its size, and the checked table of an object. */
ip_status ip_table_make(ip_arena *arena, ip_object *object, void *context);
uint64_t ip_table_body_size(void);
ip_status ip_table_of(ip_arena *arena, ip_object *object, ip_table **table);

/* All of these: IP_BUSY: a lock is held by another, nothing was done, call again; IP_HELD: another has the gate, nothing was done,
 * ip_gate_wait and call again; IP_CORRUPT: damage. */

/* Inserts or replaces; *outcome tells. IP_TABLE_IF_EQUAL: only if the key has this kind and these bytes (`expected`, whose handles do
 * not matter). With IP_NO_MEMORY, IP_CROWDED (2^27 keys and more), IP_TOO_LONG (the key, the number of handles) and IP_FREED (what a
 * handle refers to) the contents are as before. An error beside an outcome was met afterwards, freeing what the old value's handles kept. */
ip_status ip_table_set(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key,
                       const ip_value *value, ip_table_when when, const ip_value *expected,
                       ip_table_outcome *outcome);
/* IP_AGAIN: there is no such key. out may be NULL: is it there? */
ip_status ip_table_get(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key, ip_value_out *out);
/* Is the key there at this moment, though another has the gate, and may be about to change it? IP_OK, or IP_AGAIN: no. */
ip_status ip_table_peek(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key);
/* Removes the key; out (or NULL) receives its value. IP_AGAIN: there is no such key. With IP_TOO_LONG it stays. */
ip_status ip_table_pop(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key, ip_value_out *out);
/* Removes the last; each out may be NULL. IP_AGAIN: the table is empty. */
ip_status ip_table_pop_last(ip_arena *arena, ip_table *table, ip_patience patience, ip_value_out *key, ip_value_out *value);
ip_status ip_table_clear(ip_arena *arena, ip_table *table, ip_patience patience);

/* The first entry at or after *position (from 0 on), which becomes one past it. IP_EOF: there are no more; IP_AGAIN: the shape is not
 * this one any more. Each out may be NULL. */
ip_status ip_table_next(ip_arena *arena, ip_table *table, ip_patience patience, uint64_t shape, uint64_t *position,
                        ip_value_out *key, ip_value_out *value);
/* The same for up to max of them, one after the other into the room that values[0] has; *n: how many. IP_TOO_LONG: the first has handles,
 * or does not fit: ip_table_next. */
ip_status ip_table_next_some(ip_arena *arena, ip_table *table, ip_patience patience, uint64_t shape, uint64_t *position,
                             ip_value_out *keys, ip_value_out *values, unsigned max, unsigned *n);
/* One step towards freeing the contents of a table without holders, under the arena lock; IP_AGAIN while there is more to do. */
ip_status ip_table_dismantle(ip_arena *arena, ip_object *object);
/* Takes the locks: checks the invariants above, and every sum. For tests and tools. */
ip_status ip_table_check(ip_arena *arena, ip_table *table);

#endif

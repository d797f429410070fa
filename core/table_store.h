/* table_store.h: the arrays of a table, for the files that make it up: an index that leads to entries in their order. */
#ifndef IP_TABLE_STORE_H
#define IP_TABLE_STORE_H

#include "cell.h"
#include "table.h"
#include "transaction.h"

/* What the log of a transaction says was done: inserted at position a; replaced or removed the entry b at position a; cleared, of
 * as many entries as the op's word says above its low byte, the store in a, b, c. */
enum { IP_LOG_INSERTED = 1, IP_LOG_REPLACED, IP_LOG_REMOVED, IP_LOG_CLEARED };

#define POSITION_BITS 28u
#define LOW28 ((UINT64_C(1) << POSITION_BITS) - 1)

typedef struct { /* a store, read and checked */
    uint64_t arrays, slots, capacity, used, end;
    ip_word *index, *entries;
} ip_store_view;

typedef struct {
    bool found;
    uint64_t slot;     /* where the key may be inserted, if it was not found */
    uint64_t position; /* of its entry, if it was */
    ip_cell cell;
} ip_table_place;

/* The 28 bits of a hash that a slot keeps. */
static inline uint64_t ip_store_tag(uint64_t hash) { return hash * UINT64_C(0x9E3779B97F4A7C15) >> 36; }

/* Under the table's lock. */

ip_status ip_store_read(ip_arena *arena, const ip_table_store *store, ip_store_view *s);
ip_status ip_store_find(ip_arena *arena, const ip_store_view *s, const ip_table_key *key, ip_table_place *p);
/* Swaps in arrays without holes, for the entries there are and half as many more. In a transaction all positions stay as they
 * are, since its log names them. IP_CROWDED: there is no larger size. */
ip_status ip_store_rebuild(ip_arena *arena, ip_table *table, const ip_store_view *s);
/* Frees what was cleared, by whomever. */
ip_status ip_store_tidy(ip_arena *arena, ip_table *table);

/* Under the arena lock: one step of freeing all that a store and these slabs have; commits. IP_AGAIN: there is more. */
ip_status ip_store_drop_step(ip_arena *arena, ip_table_store *store, ip_word *slabs);

/* Checks all entries and their sums; how many there are, and how many of them lie in slabs. */
ip_status ip_store_check_entries(ip_arena *arena, const ip_store_view *s, uint64_t *n, uint64_t *small);
/* Checks what the log keeps; *small goes up by how many of the cells lie in slabs. */
ip_status ip_table_check_log(ip_arena *arena, ip_table *table, uint64_t *small);
/* Checks the index; how many of its slots lead to entries. */
ip_status ip_store_check_index(const ip_store_view *s, uint64_t *leading);

#endif

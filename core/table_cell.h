/* table_cell.h: where the keys and values of a table lie: cells, in slabs or in blocks of their own.
 *
 *     cell    word    in a slab:     key size 10 bits | value size 10 | handles 8 | kind 8 | number in the slab 16
 *                     in a block:    key size 32 bits | handles 8 | kind 8
 *             sums    of handles and key 28 bits | of the value 28 bits; both cover the word
 *             size    of the value; in a block only
 *             handles two words each, then the key, then the value
 *     slab    shape   class | number of cells << 8
 *             state   number of the first free cell + 1 | cells ever used << 16 | cells used << 32
 *             newer, older   in the list of all slabs of a store
 *             next, previous in the list of those of its class with room
 *             cells
 *
 * A free cell's word is the number of the next free one + 1, or 0. All but the contents of a cell that nobody sees yet changes
 * under the journal: so a change that is rolled back leaves the free cells linked as they were. A slab whose cells
 * are all free goes back to the heap, unless it is the only one of its class with room.
 */
#ifndef IP_TABLE_CELL_H
#define IP_TABLE_CELL_H

#include "heap.h"
#include "table.h"

enum { CELL_OWN = 1, CELL_HANDLES = 2, CELL_FLAGS = 7 }; /* in an entry: a block of its own; has handles */

typedef struct { /* a cell, read */
    uint64_t at, entry, word, sums, key_size, value_size, number, total;
    unsigned n_handles;
    uint8_t kind;
    const ip_word *handles;
    const unsigned char *key, *value;
} ip_cell;

typedef struct {
    ip_word shape, state, newer, older, next, previous, spare[2];
    unsigned char cells[];
} ip_slab;

bool ip_cell_is_small(const ip_table_key *key, const ip_table_value *value);
/* Writes a cell into a new block, which this process owns. Takes the arena lock for a moment. */
ip_status ip_cell_build(ip_arena *arena, const ip_table_key *key, const ip_table_value *value, uint64_t *block);
/* The checked cell of an entry; its contents have still to be compared with its sums. */
ip_status ip_cell_read(ip_arena *arena, uint64_t entry, ip_cell *cell);
ip_status ip_cell_check_key(const ip_cell *cell);
ip_status ip_cell_check_value(const ip_cell *cell);
/* Copies a value out and checks it. */
ip_status ip_cell_copy_value(const ip_cell *cell, void *to);
ip_status ip_cell_handle(const ip_cell *cell, unsigned i, ip_handle_ref *handle);

/* Under the arena lock, within a change: the entry of a new cell, in a slab, or (block != 0) in that block. */
ip_status ip_cell_new(ip_arena *arena, ip_table *table, const ip_table_key *key, const ip_table_value *value,
                      uint64_t block, uint64_t *entry);
/* Under the arena lock, within a change: frees a cell and lets its handles go; `hold`: this process holds them now. *freed is set if a
 * block was freed. */
ip_status ip_cell_drop(ip_arena *arena, ip_table *table, const ip_cell *cell, bool hold, ip_range *freed);
/* Lets go of a cell's handles. */
ip_status ip_cell_let_go(ip_arena *arena, const ip_cell *cell, bool hold);
/* Under the arena lock, within a change: takes the newest slab off a dropped store and frees it. */
ip_status ip_slab_drop(ip_arena *arena, ip_table_store *store, ip_range *freed);
/* Checks the slabs of a table; *used: how many cells in use they have. */
ip_status ip_slab_check(ip_arena *arena, ip_table *table, uint64_t *used);

#endif

/* cell.h: where the values of containers, and the keys of tables, lie: cells, in slabs or in blocks of their own.
 *
 *     cell    word    in a slab:     key size 10 bits | value size 10 | handles 8 | kind 8 | number in the slab 16
 *                     in a block:    key size 32 bits | handles 8 | kind 8
 *             sums    of handles and key 28 bits | of the value 28 bits; both cover the word
 *             size    of the value; in a block only
 *             handles two words each, then the key, then the value
 *     slab    shape   class | number of cells << 8
 *             state   number of the first free cell + 1 | cells ever used << 16 | cells used << 32
 *             newer, older   in the list of all slabs of a container
 *             next, previous in the list of those of its class with room
 *             cells
 *
 * A free cell's word is the number of the next free one + 1, or 0. All but the contents of a cell that nobody sees yet changes
 * under the journal: so a change that is rolled back leaves the free cells linked as they were. A slab whose cells
 * are all free goes back to the heap, unless it is the only one of its class with room.
 */
#ifndef IP_CELL_H
#define IP_CELL_H

#include "container.h"

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

/* A key may be NULL: there is none, as in lists. */

bool ip_cell_is_small(const ip_piece *key, const ip_value *value);
/* Writes a cell into a new block, which this process owns. Takes the arena lock for a moment. */
ip_status ip_cell_build(ip_arena *arena, const ip_piece *key, const ip_value *value, uint64_t *block);
/* The checked cell of an entry; its contents have still to be compared with its sums. */
ip_status ip_cell_read(ip_arena *arena, uint64_t entry, ip_cell *cell);
ip_status ip_cell_check_key(const ip_cell *cell);
ip_status ip_cell_check_value(const ip_cell *cell);
/* Copies a value out and checks it. */
ip_status ip_cell_copy_value(const ip_cell *cell, void *to);
ip_status ip_cell_handle(const ip_cell *cell, unsigned i, ip_handle_ref *handle);

/* Fills in what is given of the two; with IP_TOO_LONG nothing was copied. Under the container's lock. */
ip_status ip_cell_copy_out(const ip_cell *cell, ip_value_out *key, ip_value_out *value);
/* The same, and makes this process a holder of the handles: the container keeps their objects until then. Takes the arena lock. */
ip_status ip_cell_read_out(ip_arena *arena, const ip_cell *cell, ip_value_out *key, ip_value_out *value);

/* Under the arena lock, within a change: the entry of a new cell, in a slab, or (block != 0) in that block. */
ip_status ip_cell_new(ip_arena *arena, ip_container *container, const ip_piece *key, const ip_value *value,
                      uint64_t block, uint64_t *entry);
/* Under the arena lock, within a change: frees a cell and lets its handles go; `hold`: this process holds them now. *freed is set if a
 * block was freed. */
ip_status ip_cell_drop(ip_arena *arena, ip_container *container, const ip_cell *cell, bool hold, ip_range *freed);
/* Makes this process a holder of a cell's handles, which the cell keeps. */
ip_status ip_cell_hold(ip_arena *arena, const ip_cell *cell);
/* Lets go of a cell's handles. */
ip_status ip_cell_let_go(ip_arena *arena, const ip_cell *cell, bool hold);
/* Under the arena lock, within a change: frees the newest slab of a list that nothing is taken from any more. */
ip_status ip_slab_drop(ip_arena *arena, ip_word *newest, ip_range *freed);
/* Checks the slabs of a container; *used: how many cells in use they have. */
ip_status ip_slab_check(ip_arena *arena, ip_container *container, uint64_t *used);

#endif

/* list_store.h: the arrays of a list, for the files that make it up: entries in a circle, with one gap. */
#ifndef IP_LIST_STORE_H
#define IP_LIST_STORE_H

#include "cell.h"
#include "list.h"
#include "transaction.h"

#define IP_ARRAY_LOG_MIN 3u
#define IP_ARRAY_LOG_MAX 27u
#define INDEX_BITS 28u
#define LOW28 ((UINT64_C(1) << INDEX_BITS) - 1)

typedef struct { /* a store, read and checked; the tail is empty or shorter than all */
    uint64_t array, log, capacity, count, first, tail;
    ip_word *entries;
    bool within; /* the list is in a transaction */
} ip_array;

/* Where the entry with an index lies, or may be put at that end of the gap. */
static inline ip_word *ip_array_at(const ip_array *a, uint64_t index) {
    uint64_t at = index < a->count - a->tail ? a->first + index : a->first - (a->count - index);
    return &a->entries[at & (a->capacity - 1)];
}

static inline uint64_t ip_array_place(const ip_array *a) { return a->first | a->tail << INDEX_BITS; }

/* Where to move the gap in order to remove an entry: to whichever side of it is nearer, also by way of the ends. */
static inline uint64_t ip_array_beside(const ip_array *a, uint64_t index) {
    uint64_t head = a->count - a->tail;
    return head <= index || (index == 0 && a->tail < head) ? index : index + 1;
}

/* Under the list's lock. */

ip_status ip_array_read(ip_arena *arena, uint64_t array, uint64_t log, uint64_t place, uint64_t count, ip_array *a);
ip_status ip_array_read_live(ip_arena *arena, const ip_list *list, ip_array *a);
/* *left: how many of its entries are still to be freed. */
ip_status ip_array_read_dropped(ip_arena *arena, const ip_list *list, ip_array *a, uint64_t *left);
ip_status ip_array_cell(ip_arena *arena, const ip_array *a, uint64_t index, ip_cell *cell);
/* Moves the gap of the live store to before an index, past so many entries at most; is it there? Then either the tail begins at the
 * index, or it is empty and the index is at an end. */
bool ip_array_move_gap(ip_list *list, ip_array *a, uint64_t index, uint64_t most);
/* An array in a block of this process's, with room for that many entries, and none yet. IP_CROWDED: there is no such size. */
ip_status ip_array_new(ip_arena *arena, uint64_t count, ip_array *a);
/* Under the arena lock, within a change: its block is no member's any more. */
ip_status ip_array_disown(ip_arena *arena, const ip_array *a);
/* Swaps in another array for the live one, with room for `room` entries and the gap before that index. *a becomes it. */
ip_status ip_array_resize(ip_arena *arena, ip_list *list, ip_array *a, uint64_t room, uint64_t index);

/* Under the arena lock, within a change, of the live store. *a is what it becomes. */

/* The gap is before the index. */
ip_status ip_array_insert(ip_arena *arena, ip_list *list, ip_array *a, uint64_t index, uint64_t entry);
/* The gap is beside the entry, which goes on existing. */
ip_status ip_array_remove(ip_arena *arena, ip_list *list, ip_array *a, uint64_t index);
ip_status ip_array_set_count(ip_arena *arena, ip_list *list, uint64_t count);
/* It becomes the live array, whose block nobody is to own then; the old one goes on existing. */
ip_status ip_array_put_live(ip_arena *arena, ip_list *list, const ip_array *a);
/* An array goes to the dropped store, which is empty, with its entries. */
ip_status ip_array_discard(ip_arena *arena, ip_list *list, const ip_array *a);
/* All that the list has goes to the dropped store, which is empty. */
ip_status ip_array_discard_all(ip_arena *arena, ip_list *list, const ip_array *a);
/* Frees some of the first *left entries of an array, from the last of them on, within a change. with_slabs: small cells go with theirs. */
ip_status ip_array_drop_some(ip_arena *arena, ip_list *list, const ip_array *a, bool with_slabs, uint64_t *left, ip_range *freed);
/* Under the arena lock: one step of freeing what was dropped; commits. IP_AGAIN: there is more. */
ip_status ip_array_drop_step(ip_arena *arena, ip_list *list);
/* Frees what was dropped, by whomever. */
ip_status ip_array_tidy(ip_arena *arena, ip_list *list);

/* Checks a cell and its sums; counts it if it lies in a slab. */
ip_status ip_array_check_entry(ip_arena *arena, uint64_t entry, uint64_t *small);
/* The first n entries of an array. */
ip_status ip_array_check(ip_arena *arena, const ip_array *a, uint64_t n, uint64_t *small);

/* In a transaction (list_undo.c): what the entries of the log mean. */
enum { LIST_SET = IP_LOG_LISTS, LIST_INSERT, LIST_POP, LIST_SWAP, LIST_CLEAR, LIST_REST };
/* Under the arena lock, within a change: the log keeps an array and what its op says of its entries. */
ip_status ip_list_log_array(ip_arena *arena, ip_list *list, uint64_t op, const ip_array *a);
/* Checks what the log keeps. */
ip_status ip_list_check_log(ip_arena *arena, const ip_list *list, uint64_t *small);

#endif

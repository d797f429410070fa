/* list.h: lists of values in the arena: what shared lists are.
 *
 *     list     container (lock, changes, shape, count, cells) | live store | dropped store
 *     store    array, log of its size, place (first | tail << 28), filled
 *     array    a block of entries, in a circle
 *     entry    offset of a cell | its flags                                        (cell.h)
 *
 * What is free of an array is one gap:
 *
 *     | head: count - tail entries, from first on | gap | tail: the other entries, up to first |      in a circle
 *
 * so both ends are at hand while the tail is empty, and elsewhere an entry comes or goes beside the gap, which is moved there
 * the shorter way round. Moving it copies entries into the gap, then stores `place`, which makes the copies count: one
 * store under the list's lock, which needs neither journal nor memory, and can be broken off after each. So a change is
 * a few journaled words however long the list is. An array that is full is replaced by one twice as large, one that is mostly empty
 * by a smaller one, built in a block of this process's that nobody sees.
 *
 * Clearing moves all to the dropped store in one change, rearranging moves there what is left out; that is freed step by step,
 * by whoever changes the list next, should the first one die. If the dropped store has slabs, small cells go with them.
 * In a transaction nothing is dropped and no array becomes smaller: what undoing wants is in the log (list_undo.c).
 *
 * Invariants: tail <= count <= capacity; the entries beside the gap are cells, each once; the words in the gap mean nothing.
 * `changes` is the word that publishes each change. `shape` moves when indexes do. A handle in a value counts as in transit: the
 * list keeps its object.
 *
 * Lock order: the list's lock -> the arena lock. Readers take the second only to become holders of handles.
 */
#ifndef IP_LIST_H
#define IP_LIST_H

#include "container.h"

typedef struct {
    ip_word array; /* offset of the block, or 0 */
    ip_word log;   /* of its entries */
    ip_word place; /* first | tail << 28 */
    ip_word count; /* of a dropped store; that of the live one is the container's */
    ip_word slabs; /* of a dropped store: offset of the newest, or 0 */
} ip_list_store;

typedef struct {
    ip_container container;
    ip_list_store live, dropped;
} ip_list;

/* The maker of a list's body (its context: const uint64_t *flavour, or NULL for 0), its size, and the checked list of an object. */
ip_status ip_list_make(ip_arena *arena, ip_object *object, void *context);
uint64_t ip_list_body_size(void);
ip_status ip_list_of(ip_arena *arena, ip_object *object, ip_list **list);

/* All of these: IP_BUSY: a lock is held by another, nothing was done, call again; IP_HELD: another has its gate; IP_CORRUPT: damage.
 * A negative index counts from the end, as of the call's moment. */

/* IP_AGAIN: out of range. */
ip_status ip_list_get(ip_arena *arena, ip_list *list, ip_patience patience, int64_t index, ip_value_out *out);
/* Replaces; with `expected` only what has that kind and these bytes (its handles do not matter); *done tells. IP_AGAIN: out of range.
 * With IP_NO_MEMORY, IP_TOO_LONG (the number of handles) and IP_FREED (what a handle refers to) the contents are as before. An error
 * beside *done was met afterwards, freeing what the old value's handles kept. */
ip_status ip_list_set(ip_arena *arena, ip_list *list, ip_patience patience, int64_t index, const ip_value *value,
                      const ip_value *expected, bool *done);
/* Inserts before the one with that index, or at that end that it lies beyond. Errors as above, and IP_CROWDED (2^27 entries). */
ip_status ip_list_insert(ip_arena *arena, ip_list *list, ip_patience patience, int64_t index, const ip_value *value);
/* Removes; out (or NULL) receives the value. IP_AGAIN: out of range. With IP_TOO_LONG it stays. */
ip_status ip_list_pop(ip_arena *arena, ip_list *list, ip_patience patience, int64_t index, ip_value_out *out);
/* The entry with *index, which becomes one more. IP_EOF: there are no more; IP_AGAIN: it was changed. */
ip_status ip_list_next(ip_arena *arena, ip_list *list, ip_patience patience, uint64_t changes, uint64_t *index, ip_value_out *out);
/* The same for up to max of them, one after the other into the room that outs[0] has; *n: how many. IP_TOO_LONG: the first has handles,
 * or does not fit: ip_list_next. */
ip_status ip_list_next_some(ip_arena *arena, ip_list *list, ip_patience patience, uint64_t changes, uint64_t *index,
                            ip_value_out *outs, unsigned max, unsigned *n);
/* In one change the list becomes [old[i] for i in order], each index at most once; the others are dropped. IP_AGAIN: the shape is
 * another; IP_TOO_LONG: an index is out of range, or there twice. */
ip_status ip_list_rearrange(ip_arena *arena, ip_list *list, ip_patience patience, uint64_t shape, const uint64_t *order, uint64_t n);
ip_status ip_list_clear(ip_arena *arena, ip_list *list, ip_patience patience);

/* One step towards freeing the contents of a list without holders, under the arena lock; IP_AGAIN while there is more to do. */
ip_status ip_list_dismantle(ip_arena *arena, ip_object *object);
/* Takes the locks: checks the invariants above, and every sum. For tests and tools. */
ip_status ip_list_check(ip_arena *arena, ip_list *list);

#endif

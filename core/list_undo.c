/* list_undo.c: how what was done to a list in a transaction is undone, or forgotten when it stands.
 *
 *     op       a            b       c               undone                       forgotten
 *     SET      index        entry                   put back, the new one freed  freed
 *     INSERT   index                                removed
 *     POP      index        entry                   inserted                     freed
 *     SWAP     array | log  place   count           put back for the live one    the array is freed
 *     CLEAR    array | log  place   count, left     put back for the live one    entries and array are freed
 *     REST     array | log  place   count, left     the array is freed           entries and array are freed
 *
 * Rearranging notes a SWAP, and a REST of what it leaves out. `left`: entries still to be freed, above the 28 bits of the count.
 * Entries are put back into an array that had room for them before, for none becomes smaller in a transaction.
 */
#include "list_store.h"

#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))
#define LOG_BITS ((uint64_t)IP_CACHE_LINE - 1) /* of the word with an array's offset */
#define MOVES 4096u /* entries that the gap passes in one step of undoing */

ip_status ip_list_log_array(ip_arena *arena, ip_list *list, uint64_t op, const ip_array *a) {
    IP_TRY(ip_array_disown(arena, a));
    return ip_log_push(arena, &list->container, op, a->array | a->log, ip_array_place(a), a->count | a->count << INDEX_BITS);
}

typedef struct { /* an entry of the log, read */
    uint64_t op, a, b, c;
} logged;

static ip_status read_entry(const ip_log_entry *entry, logged *e) {
    IP_READ(&entry->op, e->op);
    IP_READ(&entry->a, e->a);
    IP_READ(&entry->b, e->b);
    IP_READ(&entry->c, e->c);
    return IP_OK;
}

static ip_status read_array(ip_arena *arena, const logged *e, ip_array *a) {
    return ip_array_read(arena, e->a & ~LOG_BITS, e->a & LOG_BITS, e->b, e->c & LOW28, a);
}

/* ---- undoing ---- */

static ip_status undo_set(ip_arena *arena, ip_list *list, const ip_array *a, const logged *e, ip_range *freed) {
    ip_cell cell;
    if (e->a >= a->count) return IP_CORRUPT;
    IP_TRY(ip_array_cell(arena, a, e->a, &cell));
    SET(ip_array_at(a, e->a), e->b);
    return ip_cell_drop(arena, &list->container, &cell, false, freed);
}

static ip_status undo_insert(ip_arena *arena, ip_list *list, ip_array *a, const logged *e, ip_range *freed) {
    ip_cell cell;
    if (e->a >= a->count) return IP_CORRUPT;
    IP_TRY(ip_array_cell(arena, a, e->a, &cell));
    if (!ip_array_move_gap(list, a, ip_array_beside(a, e->a), MOVES)) return IP_AGAIN;
    IP_TRY(ip_array_remove(arena, list, a, e->a));
    return ip_cell_drop(arena, &list->container, &cell, false, freed);
}

static ip_status undo_pop(ip_arena *arena, ip_list *list, ip_array *a, const logged *e) {
    if (e->a > a->count || a->count == a->capacity) return IP_CORRUPT;
    if (!ip_array_move_gap(list, a, e->a, MOVES)) return IP_AGAIN;
    return ip_array_insert(arena, list, a, e->a, e->b);
}

static ip_status undo_swap(ip_arena *arena, ip_list *list, const ip_array *a, const logged *e, ip_range *freed) {
    ip_array old;
    IP_TRY(read_array(arena, e, &old));
    IP_TRY(ip_array_put_live(arena, list, &old));
    IP_TRY(ip_array_set_count(arena, list, old.count));
    return a->array ? ip_heap_free(arena, a->array, freed) : IP_OK;
}

/* Writes to the gap are not journaled: they must not go where a change that is not committed yet has made it. */
static ip_status begins_a_change(ip_arena *arena) {
    uint64_t noted;
    IP_READ(&arena->header->journal.count, noted);
    return noted ? IP_AGAIN : IP_OK;
}

ip_status ip_list_undo(ip_arena *arena, ip_container *container, ip_log_entry *entry, ip_range *freed) {
    ip_list *list = (ip_list *)container;
    ip_array a, rest;
    logged e;
    IP_TRY(read_entry(entry, &e));
    if (e.op == LIST_INSERT || e.op == LIST_POP) IP_TRY(begins_a_change(arena));
    IP_TRY(ip_array_read_live(arena, list, &a));
    switch (e.op) {
        case LIST_SET: return undo_set(arena, list, &a, &e, freed);
        case LIST_INSERT: return undo_insert(arena, list, &a, &e, freed);
        case LIST_POP: return undo_pop(arena, list, &a, &e);
        case LIST_SWAP:
        case LIST_CLEAR: return undo_swap(arena, list, &a, &e, freed);
        case LIST_REST: IP_TRY(read_array(arena, &e, &rest)); return ip_heap_free(arena, rest.array, freed);
        default: return IP_CORRUPT;
    }
}

/* ---- forgetting ---- */

static ip_status forget_array(ip_arena *arena, ip_list *list, ip_log_entry *entry, const logged *e, ip_range *freed) {
    uint64_t left = e->op == LIST_SWAP ? 0 : e->c >> INDEX_BITS;
    ip_array a;
    IP_TRY(read_array(arena, e, &a));
    if (left > a.count) return IP_CORRUPT;
    if (!left) return ip_heap_free(arena, a.array, freed);
    IP_TRY(ip_array_drop_some(arena, list, &a, false, &left, freed));
    SET(&entry->c, a.count | left << INDEX_BITS);
    return IP_AGAIN;
}

ip_status ip_list_forget(ip_arena *arena, ip_container *container, ip_log_entry *entry, ip_range *freed) {
    ip_cell cell;
    logged e;
    IP_TRY(read_entry(entry, &e));
    switch (e.op) {
        case LIST_SET:
        case LIST_POP: IP_TRY(ip_cell_read(arena, e.b, &cell)); return ip_cell_drop(arena, container, &cell, false, freed);
        case LIST_INSERT: return IP_OK;
        case LIST_SWAP:
        case LIST_CLEAR:
        case LIST_REST: return forget_array(arena, (ip_list *)container, entry, &e, freed);
        default: return IP_CORRUPT;
    }
}

/* ---- checking ---- */

ip_status ip_list_check_log(ip_arena *arena, const ip_list *list, uint64_t *small) {
    uint64_t block = 0, left = 0;
    ip_log_entry *entry;
    ip_array a;
    logged e;
    ip_status status;
    while ((status = ip_log_next(arena, &list->container, &block, &left, &entry)) == IP_OK) {
        IP_TRY(read_entry(entry, &e));
        if (e.op == LIST_SET || e.op == LIST_POP) IP_TRY(ip_array_check_entry(arena, e.b, small));
        if (e.op < LIST_SWAP) continue;
        IP_TRY(read_array(arena, &e, &a));
        if (e.c >> INDEX_BITS > a.count) return IP_CORRUPT;
        if (e.op != LIST_SWAP) IP_TRY(ip_array_check(arena, &a, e.c >> INDEX_BITS, small));
    }
    return status == IP_EOF ? IP_OK : status;
}

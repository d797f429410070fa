/* list.c: what is done to a list: get, set, insert, pop, walk, rearrange, clear, dismantle. */
#include "list.h"

#include <string.h>

#include "fault.h"
#include "list_store.h"

#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))
#define SPARSE 8u /* an array is replaced by a smaller one when fewer than one of so many are used */

uint64_t ip_list_body_size(void) { return ip_object_size(1) + sizeof(ip_list); }

static ip_list *list_at(ip_object *object) { return (ip_list *)(void *)((unsigned char *)object + ip_object_size(1)); }

ip_status ip_list_make(ip_arena *arena, ip_object *object, void *context) {
    ip_list *list = list_at(object);
    (void)arena;
    ip_container_init(&list->container, context);
    for (ip_word *w = (ip_word *)&list->live; w < (ip_word *)(&list->dropped + 1); w++) ip_set(w, 0);
    return IP_OK;
}

ip_status ip_list_of(ip_arena *arena, ip_object *object, ip_list **list) {
    uint64_t room, kind;
    ip_block *block;
    IP_TRY(ip_heap_block(arena, ip_offset_of(arena, object), &block, &room));
    IP_READ(&object->kind, kind);
    if ((kind & 0xFF) != IP_LIST || kind >> 8 != 1 || room < ip_list_body_size()) return IP_CORRUPT;
    *list = list_at(object);
    return IP_OK;
}

/* ---- reading ---- */

/* The index that counts from the start. IP_AGAIN: out of range. */
static ip_status resolve(const ip_array *a, int64_t index, uint64_t *resolved) {
    *resolved = (uint64_t)index + (index < 0 ? a->count : 0); /* wraps around if it is beyond the start */
    return *resolved < a->count ? IP_OK : IP_AGAIN;
}

static ip_status get_locked(ip_arena *arena, ip_list *list, int64_t index, ip_value_out *out) {
    uint64_t i;
    ip_array a;
    ip_cell cell;
    IP_TRY(ip_array_read_live(arena, list, &a));
    IP_TRY(resolve(&a, index, &i));
    IP_TRY(ip_array_cell(arena, &a, i, &cell));
    return ip_cell_read_out(arena, &cell, NULL, out);
}

ip_status ip_list_get(ip_arena *arena, ip_list *list, ip_patience patience, int64_t index, ip_value_out *out) {
    IP_TRY(ip_container_take(arena, &list->container, patience));
    ip_status status = get_locked(arena, list, index, out);
    ip_container_release(&list->container);
    return status;
}

static ip_status next_locked(ip_arena *arena, ip_list *list, uint64_t changes, uint64_t *index, ip_value_out *out) {
    uint64_t now;
    ip_array a;
    ip_cell cell;
    IP_READ(&list->container.changes, now);
    if (now != changes) return IP_AGAIN;
    IP_TRY(ip_array_read_live(arena, list, &a));
    if (*index >= a.count) return IP_EOF;
    IP_TRY(ip_array_cell(arena, &a, *index, &cell));
    IP_TRY(ip_cell_read_out(arena, &cell, NULL, out));
    ++*index;
    return IP_OK;
}

ip_status ip_list_next(ip_arena *arena, ip_list *list, ip_patience patience, uint64_t changes, uint64_t *index, ip_value_out *out) {
    IP_TRY(ip_container_take(arena, &list->container, patience));
    ip_status status = next_locked(arena, list, changes, index, out);
    ip_container_release(&list->container);
    return status;
}

/* The same for several, as long as they fit; *n: how many. */
static ip_status some_locked(ip_arena *arena, ip_list *list, uint64_t changes, uint64_t *index, ip_value_out *outs, unsigned max, unsigned *n) {
    unsigned char *room = outs[0].data, *end = room + outs[0].room;
    uint64_t now;
    ip_array a;
    ip_cell cell;
    IP_READ(&list->container.changes, now);
    if (now != changes) return IP_AGAIN;
    IP_TRY(ip_array_read_live(arena, list, &a));
    for (; *n < max; ++*n, ++*index) {
        if (*index >= a.count) return IP_EOF;
        outs[*n] = (ip_value_out){.data = room, .room = (uint64_t)(end - room)};
        IP_TRY(ip_array_cell(arena, &a, *index, &cell));
        IP_TRY(ip_cell_copy_out(&cell, NULL, &outs[*n]));
        room += outs[*n].size;
    }
    return IP_OK;
}

ip_status ip_list_next_some(ip_arena *arena, ip_list *list, ip_patience patience, uint64_t changes, uint64_t *index,
                            ip_value_out *outs, unsigned max, unsigned *n) {
    *n = 0;
    IP_TRY(ip_container_take(arena, &list->container, patience));
    ip_status status = some_locked(arena, list, changes, index, outs, max, n);
    ip_container_release(&list->container);
    return *n && (status == IP_EOF || status == IP_TOO_LONG) ? IP_OK : status;
}

/* ---- changing one entry ---- */

static ip_status set_change(ip_arena *arena, ip_list *list, const ip_array *a, uint64_t index, const ip_cell *old, const ip_value *value,
                            uint64_t block, ip_range *freed) {
    uint64_t entry;
    IP_TRY(ip_cell_new(arena, &list->container, NULL, value, block, &entry)); /* before anything is freed, whose memory it might get */
    if (a->within) IP_TRY(ip_log_push(arena, &list->container, LIST_SET, index, old->entry, 0));
    SET(ip_array_at(a, index), entry);
    return a->within ? IP_OK : ip_cell_drop(arena, &list->container, old, false, freed);
}

/* Whether a value is what is expected. */
static ip_status compare(const ip_cell *cell, const ip_value *expected, bool *equal) {
    *equal = cell->kind == expected->kind && cell->value_size == expected->size &&
             (!expected->size || memcmp(cell->value, expected->data, expected->size) == 0);
    return *equal ? IP_OK : ip_cell_check_value(cell); /* is it another value, or this one, damaged? */
}

static ip_status set_locked(ip_arena *arena, ip_list *list, int64_t index, const ip_value *value, const ip_value *expected,
                            uint64_t block, bool *done, bool *let_go) {
    uint64_t i;
    ip_array a;
    ip_cell old;
    ip_range freed = {0, 0};
    bool equal = true;
    IP_TRY(ip_array_tidy(arena, list));
    IP_TRY(ip_array_read_live(arena, list, &a));
    IP_TRY(resolve(&a, index, &i));
    IP_TRY(ip_array_cell(arena, &a, i, &old));
    if (expected) IP_TRY(compare(&old, expected, &equal));
    if (!equal) return IP_OK;
    IP_TRY(ip_container_take_arena(arena));
    IP_TRY(ip_container_conclude(arena, set_change(arena, list, &a, i, &old, value, block, &freed), &list->container, &freed));
    *done = true;
    *let_go = old.n_handles && !a.within;
    return IP_OK;
}

/* Before the lock is taken: a large value is written to a block of this process's. */
static ip_status prepare(ip_arena *arena, const ip_value *value, uint64_t *block) {
    *block = 0;
    if (value->n_handles > IP_VALUE_HANDLES_MAX) return IP_TOO_LONG;
    if (value->size > arena->limit) return IP_NO_MEMORY;
    return ip_cell_is_small(NULL, value) ? IP_OK : ip_cell_build(arena, NULL, value, block);
}

ip_status ip_list_set(ip_arena *arena, ip_list *list, ip_patience patience, int64_t index, const ip_value *value,
                      const ip_value *expected, bool *done) {
    uint64_t block;
    bool let_go = false;
    *done = false;
    IP_TRY(prepare(arena, value, &block));
    ip_status status = ip_container_take(arena, &list->container, patience);
    if (status == IP_OK) {
        status = set_locked(arena, list, index, value, expected, block, done, &let_go);
        ip_container_release(&list->container);
    }
    if (*done) return ip_container_after_change(arena, &list->container, let_go);
    if (block) ip_block_drop(arena, block);
    return status;
}

static ip_status insert_change(ip_arena *arena, ip_list *list, ip_array *a, uint64_t index, const ip_value *value, uint64_t block) {
    uint64_t entry;
    IP_TRY(ip_cell_new(arena, &list->container, NULL, value, block, &entry));
    if (a->within) IP_TRY(ip_log_push(arena, &list->container, LIST_INSERT, index, 0, 0));
    return ip_array_insert(arena, list, a, index, entry);
}

/* Room for one more before the index. */
static ip_status make_room(ip_arena *arena, ip_list *list, ip_array *a, uint64_t index) {
    if (a->count == a->capacity) return ip_array_resize(arena, list, a, a->count + 1, index);
    ip_array_move_gap(list, a, index, UINT64_MAX);
    return IP_OK;
}

static ip_status insert_locked(ip_arena *arena, ip_list *list, int64_t index, const ip_value *value, uint64_t block, bool *done) {
    uint64_t i;
    ip_array a;
    ip_range freed = {0, 0};
    IP_TRY(ip_array_tidy(arena, list));
    IP_TRY(ip_array_read_live(arena, list, &a));
    if (resolve(&a, index, &i) != IP_OK) i = index < 0 ? 0 : a.count;
    IP_TRY(make_room(arena, list, &a, i));
    IP_TRY(ip_container_take_arena(arena));
    IP_TRY(ip_container_conclude(arena, insert_change(arena, list, &a, i, value, block), &list->container, &freed));
    *done = true;
    return IP_OK;
}

ip_status ip_list_insert(ip_arena *arena, ip_list *list, ip_patience patience, int64_t index, const ip_value *value) {
    uint64_t block;
    bool done = false;
    IP_TRY(prepare(arena, value, &block));
    ip_status status = ip_container_take(arena, &list->container, patience);
    if (status == IP_OK) {
        status = insert_locked(arena, list, index, value, block, &done);
        ip_container_release(&list->container);
    }
    if (done) return ip_container_after_change(arena, &list->container, false);
    if (block) ip_block_drop(arena, block);
    return status;
}

static ip_status pop_change(ip_arena *arena, ip_list *list, ip_array *a, uint64_t index, const ip_cell *cell, bool hold, ip_range *freed) {
    if (a->within) IP_TRY(ip_log_push(arena, &list->container, LIST_POP, index, cell->entry, 0));
    IP_TRY(ip_array_remove(arena, list, a, index));
    if (!a->within) return ip_cell_drop(arena, &list->container, cell, hold, freed);
    return hold ? ip_cell_hold(arena, cell) : IP_OK;
}

static ip_status pop_locked(ip_arena *arena, ip_list *list, int64_t index, ip_value_out *out, bool *let_go) {
    uint64_t i;
    ip_array a;
    ip_cell cell;
    ip_range freed = {0, 0};
    IP_TRY(ip_array_tidy(arena, list));
    IP_TRY(ip_array_read_live(arena, list, &a));
    IP_TRY(resolve(&a, index, &i));
    IP_TRY(ip_array_cell(arena, &a, i, &cell));
    if (out) IP_TRY(ip_cell_copy_out(&cell, NULL, out));
    ip_array_move_gap(list, &a, ip_array_beside(&a, i), UINT64_MAX);
    IP_TRY(ip_container_take_arena(arena));
    bool hold = out && out->n_handles;
    IP_TRY(ip_container_conclude(arena, pop_change(arena, list, &a, i, &cell, hold, &freed), &list->container, &freed));
    *let_go = cell.n_handles && !a.within;
    if (!a.within && a.log > IP_ARRAY_LOG_MIN && a.count < a.capacity / SPARSE)
        ip_array_resize(arena, list, &a, 2 * a.count, a.count - a.tail); /* without memory it stays as it is */
    return IP_OK;
}

ip_status ip_list_pop(ip_arena *arena, ip_list *list, ip_patience patience, int64_t index, ip_value_out *out) {
    bool let_go = false;
    IP_TRY(ip_container_take(arena, &list->container, patience));
    ip_status status = pop_locked(arena, list, index, out, &let_go);
    ip_container_release(&list->container);
    return status == IP_OK ? ip_container_after_change(arena, &list->container, let_go) : status;
}

/* ---- changing many ---- */

/* Builds two arrays: the entries in that order, and those that are left out. */
static ip_status sort_out(ip_arena *arena, const ip_array *a, const uint64_t *order, uint64_t n, ip_array *kept, ip_array *rest) {
    uint64_t entry;
    IP_TRY(ip_array_new(arena, a->count, rest));
    IP_TRY(ip_array_new(arena, n, kept));
    FAULT("list.sorting");
    for (uint64_t i = 0; i < a->count; i++) {
        IP_READ(ip_array_at(a, i), entry);
        ip_set(&rest->entries[i], entry);
    }
    for (uint64_t i = 0; i < n; i++) {
        if (order[i] >= a->count) return IP_TOO_LONG;
        IP_READ(&rest->entries[order[i]], entry);
        if (!entry) return IP_TOO_LONG; /* it is there twice */
        ip_set(&kept->entries[i], entry);
        ip_set(&rest->entries[order[i]], 0);
    }
    for (uint64_t i = 0; i < a->count; i++) {
        IP_READ(&rest->entries[i], entry);
        if (entry) ip_set(&rest->entries[rest->count++], entry);
    }
    kept->count = n;
    return rest->count + n == a->count ? IP_OK : IP_CORRUPT;
}

/* In a transaction the log keeps the old array and the entries that are left out. */
static ip_status rearrange_change(ip_arena *arena, ip_list *list, const ip_array *a, const ip_array *kept, const ip_array *rest, ip_range *freed) {
    if (a->within) IP_TRY(ip_list_log_array(arena, list, LIST_SWAP, a));
    if (a->within && rest->count) IP_TRY(ip_list_log_array(arena, list, LIST_REST, rest));
    IP_TRY(ip_array_put_live(arena, list, kept));
    IP_TRY(ip_array_set_count(arena, list, kept->count));
    if (a->within) return IP_OK;
    if (rest->count) IP_TRY(ip_array_discard(arena, list, rest));
    return ip_heap_free(arena, a->array, freed);
}

static ip_status rearrange_locked(ip_arena *arena, ip_list *list, uint64_t shape, const uint64_t *order, uint64_t n, bool *done) {
    uint64_t now;
    ip_array a, kept = {0}, rest = {0};
    ip_range freed = {0, 0};
    IP_TRY(ip_array_tidy(arena, list));
    IP_READ(&list->container.shape, now);
    if (now != shape) return IP_AGAIN;
    IP_TRY(ip_array_read_live(arena, list, &a));
    if (n > a.count) return IP_TOO_LONG;
    if (!a.count) return IP_OK;
    ip_status status = sort_out(arena, &a, order, n, &kept, &rest);
    if (status == IP_OK) status = ip_container_take_arena(arena);
    if (status == IP_OK)
        status = ip_container_conclude(arena, rearrange_change(arena, list, &a, &kept, &rest, &freed), &list->container, &freed);
    *done = status == IP_OK;
    if (!*done && kept.array) ip_block_drop(arena, kept.array);
    if ((!*done || !rest.count) && rest.array) ip_block_drop(arena, rest.array);
    return status;
}

/* What was dropped is freed now, or, if the arena is busy, by who changes the list next. */
static ip_status after_dropping(ip_arena *arena, ip_list *list, ip_status status, bool done) {
    if (done) status = ip_array_tidy(arena, list);
    ip_container_release(&list->container);
    if (done && status == IP_BUSY) status = IP_OK;
    ip_status after = done ? ip_container_after_change(arena, &list->container, true) : IP_OK;
    return status == IP_OK ? after : status;
}

ip_status ip_list_rearrange(ip_arena *arena, ip_list *list, ip_patience patience, uint64_t shape, const uint64_t *order, uint64_t n) {
    bool done = false;
    IP_TRY(ip_container_take(arena, &list->container, patience));
    ip_status status = rearrange_locked(arena, list, shape, order, n, &done);
    return after_dropping(arena, list, status, done);
}

static ip_status clear_change(ip_arena *arena, ip_list *list, const ip_array *a) {
    if (!a->within) return ip_array_discard_all(arena, list, a);
    IP_TRY(ip_list_log_array(arena, list, LIST_CLEAR, a));
    IP_TRY(ip_array_put_live(arena, list, &(ip_array){.array = 0}));
    return ip_array_set_count(arena, list, 0);
}

static ip_status clear_locked(ip_arena *arena, ip_list *list, bool *done) {
    ip_array a;
    ip_range freed = {0, 0};
    IP_TRY(ip_array_tidy(arena, list));
    IP_TRY(ip_array_read_live(arena, list, &a));
    if (!a.array || (a.within && !a.count)) return IP_OK;
    IP_TRY(ip_container_take_arena(arena));
    IP_TRY(ip_container_conclude(arena, clear_change(arena, list, &a), &list->container, &freed));
    *done = true;
    return IP_OK;
}

ip_status ip_list_clear(ip_arena *arena, ip_list *list, ip_patience patience) {
    bool done = false;
    IP_TRY(ip_container_take(arena, &list->container, patience));
    ip_status status = clear_locked(arena, list, &done);
    return after_dropping(arena, list, status, done);
}

/* ---- the end ---- */

ip_status ip_list_dismantle(ip_arena *arena, ip_object *object) {
    ip_list *list;
    uint64_t slabs;
    ip_array a;
    IP_TRY(ip_list_of(arena, object, &list));
    for (int i = 0; i < 64; i++) {
        ip_status status = ip_transaction_dismantle_step(arena, &list->container);
        if (status == IP_OK) status = ip_array_drop_step(arena, list);
        if (status == IP_AGAIN) continue;
        if (status != IP_OK) return status;
        IP_TRY(ip_array_read_live(arena, list, &a));
        IP_READ(&list->container.slabs, slabs);
        if (!a.array && !slabs) return IP_OK;
        IP_TRY(ip_array_discard_all(arena, list, &a));
        ip_journal_commit(arena);
    }
    return IP_AGAIN;
}

static ip_status check(ip_arena *arena, ip_list *list) {
    uint64_t slabs, left, used, small = 0;
    ip_array a;
    IP_TRY(ip_array_read_live(arena, list, &a));
    IP_TRY(ip_array_check(arena, &a, a.count, &small));
    IP_READ(&list->dropped.slabs, slabs);
    IP_TRY(ip_array_read_dropped(arena, list, &a, &left));
    if (!slabs) IP_TRY(ip_array_check(arena, &a, left, &small));
    IP_TRY(ip_list_check_log(arena, list, &small));
    IP_TRY(ip_slab_check(arena, &list->container, &used));
    return used == small ? IP_OK : IP_CORRUPT;
}

ip_status ip_list_check(ip_arena *arena, ip_list *list) {
    IP_TRY(ip_container_take(arena, &list->container, IP_PATIENT));
    ip_status status = ip_lock_take(arena, &arena->header->lock, IP_PATIENT);
    if (status == IP_OK) {
        status = check(arena, list);
        ip_lock_release(&arena->header->lock);
    }
    ip_container_release(&list->container);
    return status;
}

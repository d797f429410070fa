/* list_store.c: the arrays of a list: reading them, moving the gap, replacing them, freeing and checking them. */
#include "list_store.h"

#include "fault.h"

#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))
#define SCAN 4096u /* entries looked at in one step of freeing */
#define CELLS 8u   /* cells freed in one */

/* An empty head is taken for an empty tail: the two ends of a list meet at the gap. */
static void normalise(ip_array *a) {
    if (a->tail != a->count) return;
    a->first = (a->first - a->tail) & (a->capacity - 1);
    a->tail = 0;
}

ip_status ip_array_read(ip_arena *arena, uint64_t array, uint64_t log, uint64_t place, uint64_t count, ip_array *a) {
    uint64_t room;
    ip_block *block;
    *a = (ip_array){.array = array, .log = log, .count = count, .first = place & LOW28, .tail = place >> INDEX_BITS};
    if (!array) return count || place ? IP_CORRUPT : IP_OK;
    if (log < IP_ARRAY_LOG_MIN || log > IP_ARRAY_LOG_MAX) return IP_CORRUPT;
    IP_TRY(ip_heap_block(arena, array, &block, &room));
    a->capacity = UINT64_C(1) << log;
    a->entries = ip_at(arena, array);
    if (a->capacity * sizeof(ip_word) > room || a->first >= a->capacity || a->tail > count || count > a->capacity) return IP_CORRUPT;
    normalise(a);
    return IP_OK;
}

static ip_status read_store(ip_arena *arena, const ip_list_store *store, uint64_t count, ip_array *a) {
    uint64_t array, log, place;
    IP_READ(&store->array, array);
    IP_READ(&store->log, log);
    IP_READ(&store->place, place);
    return ip_array_read(arena, array, log, place, count, a);
}

ip_status ip_array_read_live(ip_arena *arena, const ip_list *list, ip_array *a) {
    uint64_t count;
    IP_READ(&list->container.count, count);
    IP_TRY(read_store(arena, &list->live, count, a));
    return ip_transaction_of(&list->container, &a->within);
}

ip_status ip_array_read_dropped(ip_arena *arena, const ip_list *list, ip_array *a, uint64_t *left) {
    uint64_t word;
    IP_READ(&list->dropped.count, word);
    *left = word >> INDEX_BITS;
    IP_TRY(read_store(arena, &list->dropped, word & LOW28, a));
    return *left <= a->count ? IP_OK : IP_CORRUPT;
}

ip_status ip_array_cell(ip_arena *arena, const ip_array *a, uint64_t index, ip_cell *cell) {
    uint64_t entry;
    IP_READ(ip_array_at(a, index), entry);
    return ip_cell_read(arena, entry, cell);
}

/* Copies n entries, as they are: one that is damaged is found when it is used. */
static void copy(const ip_array *to, uint64_t at, const ip_array *from, uint64_t from_at, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        uint64_t raw = atomic_load_explicit(&from->entries[(from_at + i) & (from->capacity - 1)], memory_order_relaxed);
        atomic_store_explicit(&to->entries[(at + i) & (to->capacity - 1)], raw, memory_order_relaxed);
    }
}

bool ip_array_move_gap(ip_list *list, ip_array *a, uint64_t index, uint64_t most) {
    uint64_t mask = a->capacity - 1, gap = a->capacity - a->count, head = a->count - a->tail;
    bool up = head < index;
    uint64_t left = up ? index - head : head - index;
    if (left > a->count - left) { /* it is nearer past the ends */
        left = a->count - left;
        up = !up;
    }
    if (left && !gap) { /* it takes no room, so it may as well be there */
        a->tail = a->count - index;
        normalise(a);
        ip_set(&list->live.place, ip_array_place(a));
        return true;
    }
    while (left && most) {
        uint64_t n = left < gap ? left : gap;
        if (n > most) n = most;
        if (up) {
            if (!a->tail) {
                a->first = (a->first + a->count) & mask;
                a->tail = a->count;
            }
            if (n > a->tail) n = a->tail;
            copy(a, a->first + a->count - a->tail, a, a->first - a->tail, n);
            a->tail -= n;
        } else {
            if (n > a->count - a->tail) n = a->count - a->tail;
            copy(a, a->first - a->tail - n, a, a->first + a->count - a->tail - n, n);
            a->tail += n;
            normalise(a);
        }
        left -= n;
        most -= n;
        FAULT("list.moving");
        ip_set(&list->live.place, ip_array_place(a));
        FAULT("list.moved");
    }
    return !left;
}

/* ---- changes of the live store ---- */

static ip_status set_place(ip_arena *arena, ip_list *list, const ip_array *a) {
    uint64_t place;
    IP_READ(&list->live.place, place);
    return ip_array_place(a) == place ? IP_OK : ip_journal_set(arena, &list->live.place, ip_array_place(a));
}

ip_status ip_array_set_count(ip_arena *arena, ip_list *list, uint64_t count) {
    SET(&list->container.count, count);
    return ip_container_bump_shape(arena, &list->container);
}

ip_status ip_array_insert(ip_arena *arena, ip_list *list, ip_array *a, uint64_t index, uint64_t entry) {
    if (!a->tail && index < a->count) a->first = (a->first - 1) & (a->capacity - 1);
    a->count++;
    ip_set(ip_array_at(a, index), entry); /* in the gap, where nothing is read yet */
    FAULT("list.placed");
    IP_TRY(set_place(arena, list, a));
    return ip_array_set_count(arena, list, a->count);
}

ip_status ip_array_remove(ip_arena *arena, ip_list *list, ip_array *a, uint64_t index) {
    if (a->tail && index == a->count - a->tail)
        a->tail--;
    else if (!a->tail && index == 0)
        a->first = (a->first + 1) & (a->capacity - 1);
    a->count--;
    IP_TRY(set_place(arena, list, a));
    return ip_array_set_count(arena, list, a->count);
}

ip_status ip_array_new(ip_arena *arena, uint64_t count, ip_array *a) {
    uint64_t log = IP_ARRAY_LOG_MIN;
    while (log <= IP_ARRAY_LOG_MAX && UINT64_C(1) << log < count) log++;
    if (log > IP_ARRAY_LOG_MAX) return IP_CROWDED;
    *a = (ip_array){.log = log, .capacity = UINT64_C(1) << log};
    IP_TRY(ip_block_new(arena, a->capacity * sizeof(ip_word), &a->array));
    a->entries = ip_at(arena, a->array);
    return IP_OK;
}

ip_status ip_array_disown(ip_arena *arena, const ip_array *a) {
    uint64_t size;
    ip_block *block;
    IP_TRY(ip_heap_block(arena, a->array, &block, &size));
    return ip_journal_set(arena, &block->owner, 0);
}

ip_status ip_array_put_live(ip_arena *arena, ip_list *list, const ip_array *a) {
    if (a->array) IP_TRY(ip_array_disown(arena, a));
    SET(&list->live.array, a->array);
    SET(&list->live.log, a->log);
    SET(&list->live.place, ip_array_place(a));
    return IP_OK;
}

static ip_status swap_change(ip_arena *arena, ip_list *list, const ip_array *a, const ip_array *to, ip_range *freed) {
    IP_TRY(ip_array_put_live(arena, list, to));
    return a->array ? ip_heap_free(arena, a->array, freed) : IP_OK;
}

ip_status ip_array_resize(ip_arena *arena, ip_list *list, ip_array *a, uint64_t room, uint64_t index) {
    ip_range freed = {0, 0};
    ip_array to;
    IP_TRY(ip_array_new(arena, room, &to));
    FAULT("list.growing");
    to.count = a->count;
    to.within = a->within;
    to.tail = index ? a->count - index : 0;
    for (uint64_t i = 0; i < a->count; i++)
        atomic_store_explicit(ip_array_at(&to, i), atomic_load_explicit(ip_array_at(a, i), memory_order_relaxed), memory_order_relaxed);
    FAULT("list.grown");
    ip_status status = ip_container_take_arena(arena);
    if (status == IP_OK) status = ip_container_conclude(arena, swap_change(arena, list, a, &to, &freed), NULL, &freed);
    if (status == IP_OK)
        *a = to;
    else
        ip_block_drop(arena, to.array);
    return status;
}

/* ---- freeing what was dropped ---- */

ip_status ip_array_discard(ip_arena *arena, ip_list *list, const ip_array *a) {
    if (a->array) IP_TRY(ip_array_disown(arena, a));
    SET(&list->dropped.array, a->array);
    SET(&list->dropped.log, a->log);
    SET(&list->dropped.place, ip_array_place(a));
    SET(&list->dropped.count, a->count | a->count << INDEX_BITS);
    return IP_OK;
}

ip_status ip_array_discard_all(ip_arena *arena, ip_list *list, const ip_array *a) {
    uint64_t slabs;
    IP_TRY(ip_array_discard(arena, list, a));
    IP_READ(&list->container.slabs, slabs);
    SET(&list->dropped.slabs, slabs);
    SET(&list->container.slabs, 0);
    for (unsigned i = 0; i < IP_CELL_CLASSES; i++) SET(&list->container.partial[i], 0);
    IP_TRY(ip_array_put_live(arena, list, &(ip_array){.array = 0}));
    return ip_array_set_count(arena, list, 0);
}

ip_status ip_array_drop_some(ip_arena *arena, ip_list *list, const ip_array *a, bool with_slabs, uint64_t *left, ip_range *freed) {
    uint64_t stop = *left > SCAN ? *left - SCAN : 0, entry;
    unsigned cells = 0;
    ip_cell cell = {.n_handles = 0};
    while (*left > stop && cells < CELLS && !cell.n_handles) { /* the cell may have many handles */
        IP_READ(ip_array_at(a, *left - 1), entry);
        --*left;
        if (with_slabs && !(entry & (CELL_OWN | CELL_HANDLES))) continue; /* it goes with its slab */
        IP_TRY(ip_cell_read(arena, entry, &cell));
        if (with_slabs && !(entry & CELL_OWN))
            IP_TRY(ip_cell_let_go(arena, &cell, false));
        else
            IP_TRY(ip_cell_drop(arena, &list->container, &cell, false, freed));
        cells++;
        if (entry & CELL_OWN) break; /* one block, for its memory to go back */
    }
    return IP_OK;
}

ip_status ip_array_drop_step(ip_arena *arena, ip_list *list) {
    uint64_t slabs, left;
    ip_range freed = {0, 0};
    ip_array a;
    IP_READ(&list->dropped.slabs, slabs);
    IP_TRY(ip_array_read_dropped(arena, list, &a, &left));
    if (left) {
        IP_TRY(ip_array_drop_some(arena, list, &a, slabs, &left, &freed));
        SET(&list->dropped.count, a.count | left << INDEX_BITS);
    } else if (slabs) {
        IP_TRY(ip_slab_drop(arena, &list->dropped.slabs, &freed));
    } else if (a.array) {
        IP_TRY(ip_array_discard(arena, list, &(ip_array){.array = 0}));
        IP_TRY(ip_heap_free(arena, a.array, &freed));
    } else {
        return IP_OK;
    }
    ip_journal_commit(arena);
    FAULT("list.dropped");
    if (freed.to) IP_TRY(ip_heap_trim(arena, &freed));
    return IP_AGAIN;
}

ip_status ip_array_tidy(ip_arena *arena, ip_list *list) {
    uint64_t array, slabs;
    IP_READ(&list->dropped.array, array);
    IP_READ(&list->dropped.slabs, slabs);
    if (!array && !slabs) return IP_OK;
    ip_status status = IP_AGAIN;
    while (status == IP_AGAIN) {
        IP_TRY(ip_container_take_arena(arena));
        for (int i = 0; i < 16 && status == IP_AGAIN; i++) status = ip_array_drop_step(arena, list);
        if (status != IP_OK && status != IP_AGAIN) ip_journal_rollback(arena);
        ip_lock_release(&arena->header->lock);
    }
    return status;
}

/* ---- checking ---- */

ip_status ip_array_check_entry(ip_arena *arena, uint64_t entry, uint64_t *small) {
    uint64_t owner, size;
    ip_block *block;
    ip_cell cell;
    IP_TRY(ip_cell_read(arena, entry, &cell));
    if (cell.key_size) return IP_CORRUPT;
    IP_TRY(ip_cell_check_key(&cell));
    IP_TRY(ip_cell_check_value(&cell));
    *small += !(entry & CELL_OWN);
    if (!(entry & CELL_OWN)) return IP_OK;
    IP_TRY(ip_heap_block(arena, cell.at, &block, &size));
    IP_READ(&block->owner, owner);
    return owner ? IP_CORRUPT : IP_OK; /* no member owns what is in a list */
}

ip_status ip_array_check(ip_arena *arena, const ip_array *a, uint64_t n, uint64_t *small) {
    uint64_t entry;
    for (uint64_t i = 0; i < n; i++) {
        IP_READ(ip_array_at(a, i), entry);
        IP_TRY(ip_array_check_entry(arena, entry, small));
    }
    return IP_OK;
}

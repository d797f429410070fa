/* table_undo.c: how what was done to a table in a transaction is undone, and what the log keeps is freed. */
#include "table_store.h"

#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))
#define CELLS 24u   /* freed in one step; their journal entries fit one */
#define MANY 16u    /* holes */
#define SCAN 4096u  /* entries looked at in one step */

typedef struct { /* an entry of the log, read */
    uint64_t op, position, old, count;
    const ip_table_store *store; /* IP_LOG_CLEARED */
} undoing;

static ip_status read_entry(ip_log_entry *entry, undoing *u) {
    IP_READ(&entry->op, u->op);
    u->count = u->op >> 8;
    u->op &= IP_LOG_OP;
    IP_READ(&entry->a, u->position);
    IP_READ(&entry->b, u->old);
    u->store = (const ip_table_store *)(const void *)&entry->a;
    return u->op >= IP_LOG_INSERTED && u->op <= IP_LOG_CLEARED ? IP_OK : IP_CORRUPT;
}

ip_status ip_table_compact(ip_arena *arena, ip_container *container) {
    ip_table *table = (ip_table *)(void *)container;
    ip_store_view s;
    uint64_t count;
    IP_READ(&container->count, count);
    IP_TRY(ip_store_read(arena, &table->live, &s));
    if (s.used <= 2 * count + MANY) return IP_OK;
    ip_status status = ip_store_rebuild(arena, table, &s);
    return status == IP_NO_MEMORY ? IP_OK : status; /* it is but an economy */
}

/* Removes what was inserted. Its position and slot stay used. */
static ip_status undo_insert(ip_arena *arena, ip_table *table, const ip_store_view *s, uint64_t position, ip_range *freed) {
    uint64_t count, entry;
    ip_cell cell;
    IP_READ(&table->container.count, count);
    if (!count || position >= s->end) return IP_CORRUPT;
    IP_READ(&s->entries[position], entry);
    IP_TRY(ip_cell_read(arena, entry, &cell));
    SET(&s->entries[position], 0);
    SET(&table->container.count, count - 1);
    if (position + 1 == s->end) SET(&table->live.fill, s->used | position << POSITION_BITS);
    IP_TRY(ip_container_bump_shape(arena, &table->container));
    return ip_cell_drop(arena, &table->container, &cell, false, freed);
}

static ip_status undo_replace(ip_arena *arena, ip_table *table, const ip_store_view *s, const undoing *u, ip_range *freed) {
    uint64_t entry;
    ip_cell cell;
    if (u->position >= s->end || !u->old) return IP_CORRUPT;
    IP_READ(&s->entries[u->position], entry);
    IP_TRY(ip_cell_read(arena, entry, &cell));
    SET(&s->entries[u->position], u->old);
    return ip_cell_drop(arena, &table->container, &cell, false, freed);
}

/* The slot that leads to the position is still there. */
static ip_status undo_remove(ip_arena *arena, ip_table *table, const ip_store_view *s, const undoing *u) {
    uint64_t entry, count;
    if (u->position >= s->used || !u->old) return IP_CORRUPT;
    IP_READ(&s->entries[u->position], entry);
    IP_READ(&table->container.count, count);
    if (entry || count >= s->used) return IP_CORRUPT;
    SET(&s->entries[u->position], u->old);
    SET(&table->container.count, count + 1);
    if (u->position >= s->end) SET(&table->live.fill, s->used | (u->position + 1) << POSITION_BITS);
    return ip_container_bump_shape(arena, &table->container);
}

/* What was inserted since then is gone again: only holes are left. */
static ip_status undo_clear(ip_arena *arena, ip_table *table, const ip_store_view *s, const undoing *u, ip_range *freed) {
    uint64_t count, word;
    IP_READ(&table->container.count, count);
    if (count || s->end) return IP_CORRUPT;
    const ip_word *from = (const ip_word *)u->store;
    for (unsigned i = 0; i < sizeof(ip_table_store) / sizeof(ip_word); i++) {
        IP_READ(&from[i], word);
        SET((ip_word *)&table->live + i, word);
    }
    SET(&table->container.count, u->count);
    IP_TRY(ip_container_bump_shape(arena, &table->container));
    return s->arrays ? ip_heap_free(arena, s->arrays, freed) : IP_OK;
}

ip_status ip_table_undo(ip_arena *arena, ip_container *container, ip_log_entry *entry, ip_range *freed) {
    ip_table *table = (ip_table *)(void *)container;
    undoing u;
    ip_store_view s;
    IP_TRY(read_entry(entry, &u));
    IP_TRY(ip_store_read(arena, &table->live, &s));
    switch (u.op) {
        case IP_LOG_INSERTED: return undo_insert(arena, table, &s, u.position, freed);
        case IP_LOG_REPLACED: return undo_replace(arena, table, &s, &u, freed);
        case IP_LOG_REMOVED: return undo_remove(arena, table, &s, &u);
        default: return undo_clear(arena, table, &s, &u, freed);
    }
}

/* Frees some cells of what was cleared, from the end, which the entry's `fill` tells; then its arrays. */
static ip_status forget_cleared(ip_arena *arena, ip_container *container, ip_log_entry *entry, const undoing *u, ip_range *freed) {
    ip_store_view s;
    uint64_t word;
    IP_TRY(ip_store_read(arena, u->store, &s));
    uint64_t position = s.end, stop = s.end > SCAN ? s.end - SCAN : 0;
    for (unsigned n = 0; position > stop && n < CELLS; position--) {
        ip_cell cell;
        IP_READ(&s.entries[position - 1], word);
        if (!word) continue;
        IP_TRY(ip_cell_read(arena, word, &cell));
        IP_TRY(ip_cell_drop(arena, container, &cell, false, freed));
        n = cell.n_handles || freed->to ? CELLS : n + 1; /* then it may have been a large change */
    }
    if (position) {
        SET(&entry->c, s.used | position << POSITION_BITS);
        return IP_AGAIN;
    }
    return s.arrays ? ip_heap_free(arena, s.arrays, freed) : IP_OK;
}

ip_status ip_table_forget(ip_arena *arena, ip_container *container, ip_log_entry *entry, ip_range *freed) {
    undoing u;
    ip_cell cell;
    IP_TRY(read_entry(entry, &u));
    if (u.op == IP_LOG_INSERTED) return IP_OK;
    if (u.op == IP_LOG_CLEARED) return forget_cleared(arena, container, entry, &u, freed);
    IP_TRY(ip_cell_read(arena, u.old, &cell));
    return ip_cell_drop(arena, container, &cell, false, freed);
}

/* ---- checking ---- */

static ip_status check_kept(ip_arena *arena, const undoing *u, uint64_t *n, uint64_t *small) {
    ip_store_view s;
    ip_cell cell;
    if (u->op == IP_LOG_INSERTED) return IP_OK;
    if (u->op == IP_LOG_CLEARED) {
        IP_TRY(ip_store_read(arena, u->store, &s));
        return ip_store_check_entries(arena, &s, n, small);
    }
    IP_TRY(ip_cell_read(arena, u->old, &cell));
    IP_TRY(ip_cell_check_key(&cell));
    IP_TRY(ip_cell_check_value(&cell));
    *small += !(u->old & CELL_OWN);
    return IP_OK;
}

ip_status ip_table_check_log(ip_arena *arena, ip_table *table, uint64_t *small) {
    uint64_t block = 0, left = 0, n = 0;
    ip_log_entry *entry;
    ip_status status;
    undoing u;
    while ((status = ip_log_next(arena, &table->container, &block, &left, &entry)) == IP_OK) {
        IP_TRY(read_entry(entry, &u));
        IP_TRY(check_kept(arena, &u, &n, small));
    }
    return status == IP_EOF ? IP_OK : status;
}

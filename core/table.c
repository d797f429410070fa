/* table.c: what is done to a table: set, get, remove, clear, walk, wait, dismantle. */
#include "table.h"

#include <limits.h>
#include <string.h>

#include "fault.h"
#include "table_store.h"

#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))

uint64_t ip_table_body_size(void) { return ip_object_size(1) + sizeof(ip_table); }

static ip_table *table_at(ip_object *object) { return (ip_table *)(void *)((unsigned char *)object + ip_object_size(1)); }

ip_status ip_table_make(ip_arena *arena, ip_object *object, void *context) {
    ip_table *table = table_at(object);
    (void)arena;
    (void)context;
    memset(table, 0, sizeof *table);
    ip_lock_init(&table->lock);
    ip_set(&table->changes, 0);
    ip_set(&table->shape, 0);
    ip_set(&table->count, 0);
    for (ip_word *w = (ip_word *)&table->live; w < table->partial + IP_TABLE_CLASSES; w++) ip_set(w, 0);
    return IP_OK;
}

ip_status ip_table_of(ip_arena *arena, ip_object *object, ip_table **table) {
    uint64_t room, kind;
    ip_block *block;
    IP_TRY(ip_heap_block(arena, ip_offset_of(arena, object), &block, &room));
    IP_READ(&object->kind, kind);
    if ((kind & 0xFF) != IP_TABLE || kind >> 8 != 1 || room < ip_table_body_size()) return IP_CORRUPT;
    *table = table_at(object);
    return IP_OK;
}

ip_status ip_table_dismantle(ip_arena *arena, ip_object *object) {
    ip_table *table;
    IP_TRY(ip_table_of(arena, object, &table));
    ip_table_store *stores[2] = {&table->dropped, &table->live};
    for (int which = 0; which < 2; which++)
        for (int i = 0;; i++) {
            ip_status status = i < 64 ? ip_store_drop_step(arena, stores[which]) : IP_AGAIN;
            if (status == IP_OK) break;
            if (status != IP_AGAIN || i == 64) return status;
        }
    return IP_OK;
}

/* ---- copying out ---- */

/* Fills in what is given of the two; nothing is copied if the room of one is too small. */
static ip_status copy_out(const ip_cell *cell, ip_table_out *key, ip_table_out *value) {
    bool fits = true;
    if (key) {
        key->size = cell->key_size;
        key->kind = 0;
        key->n_handles = 0;
        fits = key->size <= key->room;
    }
    if (value) {
        value->size = cell->value_size;
        value->kind = cell->kind;
        value->n_handles = cell->n_handles;
        fits = fits && value->size <= value->room && value->n_handles <= value->handles_room;
    }
    if (!fits) return IP_TOO_LONG;
    if (key || (value && value->n_handles)) IP_TRY(ip_cell_check_key(cell));
    if (key && key->size) memcpy(key->data, cell->key, key->size);
    if (!value) return IP_OK;
    for (unsigned i = 0; i < cell->n_handles; i++) IP_TRY(ip_cell_handle(cell, i, &value->handles[i]));
    return ip_cell_copy_value(cell, value->data);
}

/* The same, and makes this process a holder of the handles. Under the table's lock: the table keeps their objects until then. */
static ip_status read_out(ip_arena *arena, const ip_cell *cell, ip_table_out *key, ip_table_out *value) {
    IP_TRY(copy_out(cell, key, value));
    for (unsigned i = 0; value && i < value->n_handles; i++) {
        ip_status status = ip_object_hold(arena, value->handles[i].id, value->handles[i].end, arena->self);
        if (status != IP_OK) return status == IP_FREED ? IP_CORRUPT : status;
        FAULT("table.held");
    }
    return IP_OK;
}

/* ---- operations ---- */

static ip_status take(ip_arena *arena, ip_table *table, ip_patience patience) {
    IP_TRY(ip_lock_take(arena, &table->lock, patience));
    FAULT("table.locked");
    return IP_OK;
}

static ip_status bump_shape(ip_arena *arena, ip_table *table) {
    uint64_t shape;
    IP_READ(&table->shape, shape);
    return ip_journal_set(arena, &table->shape, (shape + 1) & IP_PAYLOAD_MAX);
}

static ip_status refuses(const ip_table_place *p, ip_table_when when, const ip_table_value *expected, bool *refused) {
    *refused = when == IP_TABLE_IF_ABSENT ? p->found : when != IP_TABLE_ALWAYS && !p->found;
    if (*refused || when != IP_TABLE_IF_EQUAL) return IP_OK;
    *refused = p->cell.kind != expected->kind || p->cell.value_size != expected->size ||
               (expected->size && memcmp(p->cell.value, expected->data, expected->size) != 0);
    return *refused ? ip_cell_check_value(&p->cell) : IP_OK; /* is it another value, or this one, damaged? */
}

/* Under both locks: all of the change but its publication. */
static ip_status set_change(ip_arena *arena, ip_table *table, const ip_store_view *s, const ip_table_place *p, const ip_table_key *key,
                            const ip_table_value *value, uint64_t block, ip_range *freed) {
    uint64_t entry, count;
    IP_TRY(ip_cell_new(arena, table, key, value, block, &entry)); /* before anything is freed, whose memory it might get */
    if (p->found) {
        SET(&s->entries[p->position], entry);
        return ip_cell_drop(arena, table, &p->cell, false, freed);
    }
    IP_READ(&table->count, count);
    SET(&s->entries[s->used], entry);
    SET(&s->index[p->slot], (s->used + 1) | ip_store_tag(key->hash) << POSITION_BITS);
    SET(&table->live.fill, (s->used + 1) | (s->used + 1) << POSITION_BITS);
    SET(&table->count, count + 1);
    return bump_shape(arena, table);
}

static ip_status set_locked(ip_arena *arena, ip_table *table, const ip_table_key *key, const ip_table_value *value,
                            ip_table_when when, const ip_table_value *expected, uint64_t block,
                            ip_table_outcome *outcome, bool *let_go) {
    ip_store_view s;
    ip_table_place p;
    bool refused;
    ip_range freed = {0, 0};
    IP_TRY(ip_store_tidy(arena, table));
    IP_TRY(ip_store_read(arena, &table->live, &s));
    IP_TRY(ip_store_find(arena, &s, key, &p));
    IP_TRY(refuses(&p, when, expected, &refused));
    if (refused) return IP_OK;
    if (!p.found && s.used == s.capacity) {
        IP_TRY(ip_store_rebuild(arena, table, &s));
        IP_TRY(ip_store_read(arena, &table->live, &s));
        IP_TRY(ip_store_find(arena, &s, key, &p));
        if (p.found || s.used == s.capacity) return IP_CORRUPT;
    }
    IP_TRY(ip_store_take_arena(arena));
    IP_TRY(ip_store_conclude(arena, set_change(arena, table, &s, &p, key, value, block, &freed), &table->changes, &freed));
    *outcome = p.found ? IP_TABLE_REPLACED : IP_TABLE_INSERTED;
    *let_go = p.found && p.cell.n_handles;
    return IP_OK;
}

/* After a change: wakes watchers; frees what handles that were let go had kept. Without a lock. */
static ip_status after_change(ip_arena *arena, ip_table *table, bool let_go) {
    ip_event_notify(&table->changed, INT_MAX);
    return let_go ? ip_directory_sweep(arena) : IP_OK;
}

ip_status ip_table_set(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key,
                       const ip_table_value *value, ip_table_when when, const ip_table_value *expected,
                       ip_table_outcome *outcome) {
    uint64_t block = 0;
    bool let_go = false;
    *outcome = IP_TABLE_REFUSED;
    if (key->size > IP_TABLE_KEY_MAX || value->n_handles > IP_TABLE_HANDLES_MAX) return IP_TOO_LONG;
    if (value->size > arena->limit || key->size > arena->limit) return IP_NO_MEMORY;
    if (!ip_cell_is_small(key, value)) IP_TRY(ip_cell_build(arena, key, value, &block));
    ip_status status = take(arena, table, patience);
    if (status == IP_OK) {
        status = set_locked(arena, table, key, value, when, expected, block, outcome, &let_go);
        ip_lock_release(&table->lock);
    }
    if (*outcome == IP_TABLE_REFUSED) {
        if (block) ip_block_drop(arena, block);
        return status;
    }
    return after_change(arena, table, let_go);
}

/* Finds the key's entry. IP_AGAIN: there is none. */
static ip_status find(ip_arena *arena, ip_table *table, const ip_table_key *key, ip_store_view *s, ip_table_place *p) {
    IP_TRY(ip_store_read(arena, &table->live, s));
    IP_TRY(ip_store_find(arena, s, key, p));
    return p->found ? IP_OK : IP_AGAIN;
}

ip_status ip_table_get(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key, ip_table_out *out) {
    ip_store_view s;
    ip_table_place p;
    IP_TRY(take(arena, table, patience));
    ip_status status = find(arena, table, key, &s, &p);
    if (status == IP_OK) status = read_out(arena, &p.cell, NULL, out);
    ip_lock_release(&table->lock);
    return status;
}

static ip_status remove_change(ip_arena *arena, ip_table *table, const ip_store_view *s, const ip_table_place *p, bool hold, ip_range *freed) {
    uint64_t count;
    IP_READ(&table->count, count);
    if (!count) return IP_CORRUPT;
    SET(&s->entries[p->position], 0);
    SET(&table->count, count - 1);
    if (p->position + 1 == s->end) SET(&table->live.fill, s->used | p->position << POSITION_BITS);
    IP_TRY(bump_shape(arena, table));
    return ip_cell_drop(arena, table, &p->cell, hold, freed);
}

/* Copies out what is wanted of an entry, then removes it. */
static ip_status remove_locked(ip_arena *arena, ip_table *table, const ip_store_view *s, const ip_table_place *p,
                               ip_table_out *key, ip_table_out *value) {
    ip_range freed = {0, 0};
    IP_TRY(copy_out(&p->cell, key, value));
    IP_TRY(ip_store_take_arena(arena));
    return ip_store_conclude(arena, remove_change(arena, table, s, p, value != NULL, &freed), &table->changes, &freed);
}

ip_status ip_table_pop(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key, ip_table_out *out) {
    ip_store_view s;
    ip_table_place p = {0};
    IP_TRY(take(arena, table, patience));
    ip_status status = ip_store_tidy(arena, table);
    if (status == IP_OK) status = find(arena, table, key, &s, &p);
    if (status == IP_OK) status = remove_locked(arena, table, &s, &p, NULL, out);
    ip_lock_release(&table->lock);
    return status == IP_OK ? after_change(arena, table, p.cell.n_handles != 0) : status;
}

/* The last entry that is not a hole. IP_AGAIN: there is none. */
static ip_status find_last(ip_arena *arena, ip_table *table, ip_store_view *s, ip_table_place *p) {
    uint64_t entry = 0;
    IP_TRY(ip_store_read(arena, &table->live, s));
    for (p->position = s->end; p->position && !entry;) IP_READ(&s->entries[--p->position], entry);
    return entry ? ip_cell_read(arena, entry, &p->cell) : IP_AGAIN;
}

ip_status ip_table_pop_last(ip_arena *arena, ip_table *table, ip_patience patience, ip_table_out *key, ip_table_out *value) {
    ip_store_view s;
    ip_table_place p = {0};
    IP_TRY(take(arena, table, patience));
    ip_status status = ip_store_tidy(arena, table);
    if (status == IP_OK) status = find_last(arena, table, &s, &p);
    if (status == IP_OK) {
        s.end = p.position + 1; /* those behind it are holes */
        status = remove_locked(arena, table, &s, &p, key, value);
    }
    ip_lock_release(&table->lock);
    return status == IP_OK ? after_change(arena, table, p.cell.n_handles != 0) : status;
}

/* Moves all that the table has to the dropped store, which is empty. */
static ip_status clear_change(ip_arena *arena, ip_table *table) {
    ip_word *from = (ip_word *)&table->live, *to = (ip_word *)&table->dropped;
    uint64_t word;
    for (unsigned i = 0; i < sizeof(ip_table_store) / sizeof(ip_word); i++) {
        IP_READ(&from[i], word);
        SET(&to[i], word);
        SET(&from[i], 0);
    }
    for (unsigned i = 0; i < IP_TABLE_CLASSES; i++) SET(&table->partial[i], 0);
    SET(&table->count, 0);
    return bump_shape(arena, table);
}

ip_status ip_table_clear(ip_arena *arena, ip_table *table, ip_patience patience) {
    uint64_t arrays;
    ip_range freed = {0, 0};
    bool cleared = false;
    IP_TRY(take(arena, table, patience));
    ip_status status = ip_store_tidy(arena, table);
    if (status == IP_OK && !ip_get(&table->live.arrays, &arrays)) status = IP_CORRUPT;
    if (status == IP_OK && arrays) {
        status = ip_store_take_arena(arena);
        if (status == IP_OK) status = ip_store_conclude(arena, clear_change(arena, table), &table->changes, &freed);
        cleared = status == IP_OK;
        if (cleared) status = ip_store_tidy(arena, table);
        if (status == IP_BUSY && cleared) status = IP_OK; /* who changes the table next frees the rest */
    }
    ip_lock_release(&table->lock);
    ip_status after = cleared ? after_change(arena, table, true) : IP_OK;
    return status == IP_OK ? after : status;
}

ip_status ip_table_look(ip_arena *arena, ip_table *table, ip_patience patience, ip_table_state *state) {
    IP_TRY(take(arena, table, patience));
    ip_status status = IP_OK;
    if (!ip_get(&table->count, &state->count) || !ip_get(&table->changes, &state->changes) || !ip_get(&table->shape, &state->shape))
        status = IP_CORRUPT;
    ip_lock_release(&table->lock);
    return status;
}

static ip_status next_locked(ip_arena *arena, ip_table *table, uint64_t shape, uint64_t *position, ip_table_out *key, ip_table_out *value) {
    uint64_t now, entry;
    ip_store_view s;
    ip_cell cell;
    IP_READ(&table->shape, now);
    if (now != shape) return IP_AGAIN;
    IP_TRY(ip_store_read(arena, &table->live, &s));
    for (uint64_t i = *position; i < s.end; i++) {
        IP_READ(&s.entries[i], entry);
        if (!entry) continue;
        IP_TRY(ip_cell_read(arena, entry, &cell));
        IP_TRY(read_out(arena, &cell, key, value));
        *position = i + 1;
        return IP_OK;
    }
    return IP_EOF;
}

ip_status ip_table_next(ip_arena *arena, ip_table *table, ip_patience patience, uint64_t shape, uint64_t *position,
                        ip_table_out *key, ip_table_out *value) {
    IP_TRY(take(arena, table, patience));
    ip_status status = next_locked(arena, table, shape, position, key, value);
    ip_lock_release(&table->lock);
    return status;
}

typedef struct {
    const ip_table *table;
    uint64_t seen;
} watched;

static bool has_changed(const void *context) {
    const watched *w = context;
    uint64_t now;
    return !ip_get(&w->table->changes, &now) || now != w->seen;
}

bool ip_table_wait(ip_table *table, uint64_t seen, uint64_t deadline_ns, bool *slept) {
    watched w = {table, seen};
    return ip_event_wait(&table->changed, has_changed, &w, deadline_ns, slept);
}

/* ---- checking ---- */

static ip_status check(ip_arena *arena, ip_table *table) {
    uint64_t count, n = 0, small = 0, leading = 0, used;
    ip_store_view s;
    IP_READ(&table->count, count);
    IP_TRY(ip_store_read(arena, &table->live, &s));
    IP_TRY(ip_store_check_entries(arena, &s, &n, &small));
    IP_TRY(ip_store_check_index(&s, &leading));
    IP_TRY(ip_slab_check(arena, table, &used));
    if (n != count || leading != count || used != small) return IP_CORRUPT;
    return ip_store_read(arena, &table->dropped, &s);
}

ip_status ip_table_check(ip_arena *arena, ip_table *table) {
    IP_TRY(take(arena, table, IP_PATIENT));
    ip_status status = ip_lock_take(arena, &arena->header->lock, IP_PATIENT);
    if (status == IP_OK) {
        status = check(arena, table);
        ip_lock_release(&arena->header->lock);
    }
    ip_lock_release(&table->lock);
    return status;
}

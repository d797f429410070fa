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
    ip_container_init(&table->container, context);
    for (ip_word *w = (ip_word *)&table->live; w <= &table->dropped_slabs; w++) ip_set(w, 0);
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
    for (int i = 0;; i++) {
        ip_status status = i < 64 ? ip_transaction_dismantle_step(arena, &table->container) : IP_AGAIN;
        if (status == IP_OK) break;
        if (status != IP_AGAIN || i == 64) return status;
    }
    ip_table_store *stores[2] = {&table->dropped, &table->live};
    ip_word *slabs[2] = {&table->dropped_slabs, &table->container.slabs};
    for (int which = 0; which < 2; which++)
        for (int i = 0;; i++) {
            ip_status status = i < 64 ? ip_store_drop_step(arena, stores[which], slabs[which]) : IP_AGAIN;
            if (status == IP_OK) break;
            if (status != IP_AGAIN || i == 64) return status;
        }
    return IP_OK;
}

/* ---- operations ---- */

static ip_status refuses(const ip_table_place *p, ip_table_when when, const ip_value *expected, bool *refused) {
    *refused = when == IP_TABLE_IF_ABSENT ? p->found : when != IP_TABLE_ALWAYS && !p->found;
    if (*refused || when != IP_TABLE_IF_EQUAL) return IP_OK;
    *refused = p->cell.kind != expected->kind || p->cell.value_size != expected->size ||
               (expected->size && memcmp(p->cell.value, expected->data, expected->size) != 0);
    return *refused ? ip_cell_check_value(&p->cell) : IP_OK; /* is it another value, or this one, damaged? */
}

/* Under both locks: all of the change but its publication. within: in a transaction. */
static ip_status set_change(ip_arena *arena, ip_table *table, const ip_store_view *s, const ip_table_place *p, const ip_table_key *key,
                            const ip_value *value, uint64_t block, bool within, ip_range *freed) {
    uint64_t entry, count;
    ip_piece bytes = {key->data, key->size};
    IP_TRY(ip_cell_new(arena, &table->container, &bytes, value, block, &entry)); /* before anything is freed, whose memory it might get */
    if (p->found) {
        SET(&s->entries[p->position], entry);
        if (within) return ip_log_push(arena, &table->container, IP_LOG_REPLACED, p->position, p->cell.entry, 0);
        return ip_cell_drop(arena, &table->container, &p->cell, false, freed);
    }
    IP_READ(&table->container.count, count);
    SET(&s->entries[s->used], entry);
    SET(&s->index[p->slot], (s->used + 1) | ip_store_tag(key->hash) << POSITION_BITS);
    SET(&table->live.fill, (s->used + 1) | (s->used + 1) << POSITION_BITS);
    SET(&table->container.count, count + 1);
    if (within) IP_TRY(ip_log_push(arena, &table->container, IP_LOG_INSERTED, s->used, 0, 0));
    return ip_container_bump_shape(arena, &table->container);
}

static ip_status set_locked(ip_arena *arena, ip_table *table, const ip_table_key *key, const ip_value *value,
                            ip_table_when when, const ip_value *expected, uint64_t block,
                            ip_table_outcome *outcome, bool *let_go) {
    ip_store_view s;
    ip_table_place p;
    bool refused, within;
    ip_range freed = {0, 0};
    IP_TRY(ip_transaction_of(&table->container, &within));
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
    IP_TRY(ip_container_take_arena(arena));
    ip_status status = set_change(arena, table, &s, &p, key, value, block, within, &freed);
    IP_TRY(ip_container_conclude(arena, status, &table->container, &freed));
    *outcome = p.found ? IP_TABLE_REPLACED : IP_TABLE_INSERTED;
    *let_go = p.found && p.cell.n_handles && !within;
    return IP_OK;
}

ip_status ip_table_set(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key,
                       const ip_value *value, ip_table_when when, const ip_value *expected,
                       ip_table_outcome *outcome) {
    uint64_t block = 0;
    bool let_go = false;
    *outcome = IP_TABLE_REFUSED;
    if (key->size > IP_TABLE_KEY_MAX || value->n_handles > IP_VALUE_HANDLES_MAX) return IP_TOO_LONG;
    if (value->size > arena->limit || key->size > arena->limit) return IP_NO_MEMORY;
    ip_piece bytes = {key->data, key->size};
    if (!ip_cell_is_small(&bytes, value)) IP_TRY(ip_cell_build(arena, &bytes, value, &block));
    ip_status status = ip_container_take(arena, &table->container, patience);
    if (status == IP_OK) {
        status = set_locked(arena, table, key, value, when, expected, block, outcome, &let_go);
        ip_container_release(&table->container);
    }
    if (*outcome == IP_TABLE_REFUSED) {
        if (block) ip_block_drop(arena, block);
        return status;
    }
    return ip_container_after_change(arena, &table->container, let_go);
}

/* Finds the key's entry. IP_AGAIN: there is none. */
static ip_status find(ip_arena *arena, ip_table *table, const ip_table_key *key, ip_store_view *s, ip_table_place *p) {
    IP_TRY(ip_store_read(arena, &table->live, s));
    IP_TRY(ip_store_find(arena, s, key, p));
    return p->found ? IP_OK : IP_AGAIN;
}

ip_status ip_table_get(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key, ip_value_out *out) {
    ip_store_view s;
    ip_table_place p;
    IP_TRY(ip_container_take(arena, &table->container, patience));
    ip_status status = find(arena, table, key, &s, &p);
    if (status == IP_OK) status = ip_cell_read_out(arena, &p.cell, NULL, out);
    ip_container_release(&table->container);
    return status;
}

ip_status ip_table_peek(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key) {
    ip_store_view s;
    ip_table_place p;
    IP_TRY(ip_lock_take(arena, &table->container.lock, patience));
    ip_status status = find(arena, table, key, &s, &p);
    ip_container_release(&table->container);
    return status;
}

static ip_status remove_change(ip_arena *arena, ip_table *table, const ip_store_view *s, const ip_table_place *p, bool hold, ip_range *freed) {
    uint64_t count;
    bool within;
    IP_TRY(ip_transaction_of(&table->container, &within));
    IP_READ(&table->container.count, count);
    if (!count) return IP_CORRUPT;
    SET(&s->entries[p->position], 0);
    SET(&table->container.count, count - 1);
    if (p->position + 1 == s->end) SET(&table->live.fill, s->used | p->position << POSITION_BITS);
    IP_TRY(ip_container_bump_shape(arena, &table->container));
    if (!within) return ip_cell_drop(arena, &table->container, &p->cell, hold, freed);
    if (hold) IP_TRY(ip_cell_hold(arena, &p->cell));
    return ip_log_push(arena, &table->container, IP_LOG_REMOVED, p->position, p->cell.entry, 0);
}

/* Copies out what is wanted of an entry, then removes it. */
static ip_status remove_locked(ip_arena *arena, ip_table *table, const ip_store_view *s, const ip_table_place *p,
                               ip_value_out *key, ip_value_out *value) {
    ip_range freed = {0, 0};
    IP_TRY(ip_cell_copy_out(&p->cell, key, value));
    IP_TRY(ip_container_take_arena(arena));
    return ip_container_conclude(arena, remove_change(arena, table, s, p, value && value->data, &freed), &table->container, &freed);
}

ip_status ip_table_pop(ip_arena *arena, ip_table *table, ip_patience patience, const ip_table_key *key, ip_value_out *out) {
    ip_store_view s;
    ip_table_place p = {0};
    IP_TRY(ip_container_take(arena, &table->container, patience));
    ip_status status = ip_store_tidy(arena, table);
    if (status == IP_OK) status = find(arena, table, key, &s, &p);
    if (status == IP_OK) status = remove_locked(arena, table, &s, &p, NULL, out);
    ip_container_release(&table->container);
    return status == IP_OK ? ip_container_after_change(arena, &table->container, p.cell.n_handles != 0) : status;
}

/* The last entry that is not a hole. IP_AGAIN: there is none. */
static ip_status find_last(ip_arena *arena, ip_table *table, ip_store_view *s, ip_table_place *p) {
    uint64_t entry = 0;
    IP_TRY(ip_store_read(arena, &table->live, s));
    for (p->position = s->end; p->position && !entry;) IP_READ(&s->entries[--p->position], entry);
    return entry ? ip_cell_read(arena, entry, &p->cell) : IP_AGAIN;
}

ip_status ip_table_pop_last(ip_arena *arena, ip_table *table, ip_patience patience, ip_value_out *key, ip_value_out *value) {
    ip_store_view s;
    ip_table_place p = {0};
    IP_TRY(ip_container_take(arena, &table->container, patience));
    ip_status status = ip_store_tidy(arena, table);
    if (status == IP_OK) status = find_last(arena, table, &s, &p);
    if (status == IP_OK) {
        s.end = p.position + 1; /* those behind it are holes */
        status = remove_locked(arena, table, &s, &p, key, value);
    }
    ip_container_release(&table->container);
    return status == IP_OK ? ip_container_after_change(arena, &table->container, p.cell.n_handles != 0) : status;
}

/* Moves all that the table has to the dropped store, which is empty. In a transaction: to the log; the slabs stay. */
static ip_status clear_change(ip_arena *arena, ip_table *table, bool within) {
    ip_word *from = (ip_word *)&table->live, *to = (ip_word *)&table->dropped;
    uint64_t word, count, store[3];
    IP_READ(&table->container.count, count);
    if (within) {
        for (unsigned i = 0; i < 3; i++) {
            IP_READ(&from[i], store[i]);
            SET(&from[i], 0);
        }
        SET(&table->container.count, 0);
        IP_TRY(ip_log_push(arena, &table->container, IP_LOG_CLEARED | count << 8, store[0], store[1], store[2]));
        return ip_container_bump_shape(arena, &table->container);
    }
    for (unsigned i = 0; i < sizeof(ip_table_store) / sizeof(ip_word); i++) {
        IP_READ(&from[i], word);
        SET(&to[i], word);
        SET(&from[i], 0);
    }
    IP_READ(&table->container.slabs, word);
    SET(&table->dropped_slabs, word);
    SET(&table->container.slabs, 0);
    for (unsigned i = 0; i < IP_CELL_CLASSES; i++) SET(&table->container.partial[i], 0);
    SET(&table->container.count, 0);
    return ip_container_bump_shape(arena, &table->container);
}

ip_status ip_table_clear(ip_arena *arena, ip_table *table, ip_patience patience) {
    uint64_t arrays;
    ip_range freed = {0, 0};
    bool cleared = false, within = false;
    IP_TRY(ip_container_take(arena, &table->container, patience));
    ip_status status = ip_store_tidy(arena, table);
    if (status == IP_OK && !ip_get(&table->live.arrays, &arrays)) status = IP_CORRUPT;
    if (status == IP_OK) status = ip_transaction_of(&table->container, &within);
    if (status == IP_OK && arrays) {
        status = ip_container_take_arena(arena);
        if (status == IP_OK) status = ip_container_conclude(arena, clear_change(arena, table, within), &table->container, &freed);
        cleared = status == IP_OK;
        if (cleared) status = ip_store_tidy(arena, table);
        if (status == IP_BUSY && cleared) status = IP_OK; /* who changes the table next frees the rest */
    }
    ip_container_release(&table->container);
    ip_status after = cleared ? ip_container_after_change(arena, &table->container, true) : IP_OK;
    return status == IP_OK ? after : status;
}

static ip_status next_locked(ip_arena *arena, ip_table *table, uint64_t shape, uint64_t *position, ip_value_out *key, ip_value_out *value) {
    uint64_t now, entry;
    ip_store_view s;
    ip_cell cell;
    IP_READ(&table->container.shape, now);
    if (now != shape) return IP_AGAIN;
    IP_TRY(ip_store_read(arena, &table->live, &s));
    for (uint64_t i = *position; i < s.end; i++) {
        IP_READ(&s.entries[i], entry);
        if (!entry) continue;
        IP_TRY(ip_cell_read(arena, entry, &cell));
        IP_TRY(ip_cell_read_out(arena, &cell, key, value));
        *position = i + 1;
        return IP_OK;
    }
    return IP_EOF;
}

ip_status ip_table_next(ip_arena *arena, ip_table *table, ip_patience patience, uint64_t shape, uint64_t *position,
                        ip_value_out *key, ip_value_out *value) {
    IP_TRY(ip_container_take(arena, &table->container, patience));
    ip_status status = next_locked(arena, table, shape, position, key, value);
    ip_container_release(&table->container);
    return status;
}

/* The same for several, as long as they fit; *n: how many. */
static ip_status some_locked(ip_arena *arena, ip_table *table, uint64_t shape, uint64_t *position, ip_value_out *keys, ip_value_out *values,
                             unsigned max, unsigned *n) {
    unsigned char *room = values[0].data, *end = room + values[0].room;
    uint64_t now, entry;
    ip_store_view s;
    ip_cell cell;
    IP_READ(&table->container.shape, now);
    if (now != shape) return IP_AGAIN;
    IP_TRY(ip_store_read(arena, &table->live, &s));
    for (uint64_t i = *position; *n < max; i++) {
        if (i >= s.end) return IP_EOF;
        IP_READ(&s.entries[i], entry);
        if (!entry) continue;
        IP_TRY(ip_cell_read(arena, entry, &cell));
        if (cell.key_size + cell.value_size > (uint64_t)(end - room)) return IP_TOO_LONG;
        keys[*n] = (ip_value_out){.data = room, .room = cell.key_size};
        values[*n] = (ip_value_out){.data = room + cell.key_size, .room = cell.value_size};
        IP_TRY(ip_cell_copy_out(&cell, &keys[*n], &values[*n]));
        room += cell.key_size + cell.value_size;
        *position = i + 1;
        ++*n;
    }
    return IP_OK;
}

ip_status ip_table_next_some(ip_arena *arena, ip_table *table, ip_patience patience, uint64_t shape, uint64_t *position,
                             ip_value_out *keys, ip_value_out *values, unsigned max, unsigned *n) {
    *n = 0;
    IP_TRY(ip_container_take(arena, &table->container, patience));
    ip_status status = some_locked(arena, table, shape, position, keys, values, max, n);
    ip_container_release(&table->container);
    return *n && (status == IP_EOF || status == IP_TOO_LONG) ? IP_OK : status;
}

/* ---- checking ---- */

static ip_status check(ip_arena *arena, ip_table *table) {
    uint64_t count, n = 0, small = 0, leading = 0, used;
    ip_store_view s;
    IP_READ(&table->container.count, count);
    IP_TRY(ip_store_read(arena, &table->live, &s));
    IP_TRY(ip_store_check_entries(arena, &s, &n, &small));
    IP_TRY(ip_store_check_index(&s, &leading));
    IP_TRY(ip_slab_check(arena, &table->container, &used));
    IP_TRY(ip_table_check_log(arena, table, &small));
    if (n != count || leading != count || used != small) return IP_CORRUPT;
    return ip_store_read(arena, &table->dropped, &s);
}

ip_status ip_table_check(ip_arena *arena, ip_table *table) {
    IP_TRY(ip_lock_take(arena, &table->container.lock, IP_PATIENT));
    ip_status status = ip_lock_take(arena, &arena->header->lock, IP_PATIENT);
    if (status == IP_OK) {
        status = check(arena, table);
        ip_lock_release(&arena->header->lock);
    }
    ip_container_release(&table->container);
    return status;
}

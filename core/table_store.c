/* table_store.c: the arrays of a table: reading, searching, building anew, freeing and checking them. */
#include "table_store.h"

#include <string.h>

#include "fault.h"

#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))
#define LOG_MIN 3u
#define LOG_MAX 28u
#define NOWHERE UINT32_MAX
#define SCAN 4096u /* entries looked at in one step of freeing */

/* ---- the arrays ---- */

static uint64_t capacity_of(uint64_t slots) { return slots / 4 * 3; }

ip_status ip_store_read(ip_arena *arena, const ip_table_store *store, ip_store_view *s) {
    uint64_t log, fill, room;
    ip_block *block;
    *s = (ip_store_view){0};
    IP_READ(&store->arrays, s->arrays);
    IP_READ(&store->slots, log);
    IP_READ(&store->fill, fill);
    s->used = fill & LOW28;
    s->end = fill >> POSITION_BITS;
    if (s->arrays) {
        if (log < LOG_MIN || log > LOG_MAX) return IP_CORRUPT;
        IP_TRY(ip_heap_block(arena, s->arrays, &block, &room));
        s->slots = UINT64_C(1) << log;
        s->capacity = capacity_of(s->slots);
        if ((s->slots + s->capacity) * sizeof(ip_word) > room) return IP_CORRUPT;
        s->index = ip_at(arena, s->arrays);
        s->entries = s->index + s->slots;
    }
    return s->end <= s->used && s->used <= s->capacity ? IP_OK : IP_CORRUPT;
}

ip_status ip_store_find(ip_arena *arena, const ip_store_view *s, const ip_table_key *key, ip_table_place *p) {
    uint64_t tag = ip_store_tag(key->hash), slot = tag & (s->slots - 1), word, entry;
    p->found = false;
    for (uint64_t n = 0; n < s->slots; n++, slot = (slot + 1) & (s->slots - 1)) {
        IP_READ(&s->index[slot], word);
        if (!word) {
            p->slot = slot;
            return IP_OK;
        }
        if (word >> POSITION_BITS != tag) continue;
        p->position = (word & LOW28) - 1;
        if (p->position >= s->used) return IP_CORRUPT;
        IP_READ(&s->entries[p->position], entry);
        if (!entry) continue;
        IP_TRY(ip_cell_read(arena, entry, &p->cell));
        if (p->cell.key_size == key->size && (!key->size || memcmp(p->cell.key, key->data, key->size) == 0)) {
            p->found = true;
            return IP_OK;
        }
        IP_TRY(ip_cell_check_key(&p->cell)); /* is it another key, or this one, damaged? */
    }
    return s->slots ? IP_CORRUPT : IP_OK; /* some slots are always empty */
}

/* Writes the entries: as they are, or without holes; then `ranks` is room for the new position of each old one. */
static ip_status fill_entries(const ip_store_view *s, const ip_store_view *to, bool as_is, uint32_t *ranks) {
    uint64_t n = 0, word;
    for (uint64_t i = 0; i < (as_is ? s->used : s->end); i++) {
        IP_READ(&s->entries[i], word);
        if (ranks) ranks[i] = word ? (uint32_t)n : NOWHERE;
        if (!word && !as_is) continue;
        if (n == to->used) return IP_CORRUPT;
        ip_set(&to->entries[n++], word);
    }
    if (n != to->used) return IP_CORRUPT;
    while (n < to->capacity) ip_set(&to->entries[n++], 0);
    return IP_OK;
}

/* Writes an index that leads to the new entries. */
static ip_status fill_index(const ip_store_view *s, const ip_store_view *to, bool as_is, const uint32_t *ranks) {
    uint64_t placed = 0, word;
    for (uint64_t i = 0; i < to->slots; i++) ip_set(&to->index[i], 0);
    for (uint64_t i = 0; i < s->slots; i++) {
        IP_READ(&s->index[i], word);
        if (!word) continue;
        uint64_t position = (word & LOW28) - 1, tag = word >> POSITION_BITS, slot = tag & (to->slots - 1), there;
        if (position >= s->used) return IP_CORRUPT;
        if (position >= s->end && !as_is) continue; /* a hole */
        if (ranks) position = ranks[position];
        if (position == NOWHERE) continue;
        if (position >= to->used || ++placed > to->used) return IP_CORRUPT;
        for (;; slot = (slot + 1) & (to->slots - 1)) {
            IP_READ(&to->index[slot], there);
            if (!there) break;
        }
        ip_set(&to->index[slot], (position + 1) | tag << POSITION_BITS);
    }
    return placed == to->used ? IP_OK : IP_CORRUPT;
}

static ip_status swap_change(ip_arena *arena, ip_table *table, const ip_store_view *s, const ip_store_view *to, uint64_t log, ip_range *freed) {
    uint64_t size;
    ip_block *block;
    IP_TRY(ip_heap_block(arena, to->arrays, &block, &size));
    SET(&block->owner, 0);
    SET(&table->live.arrays, to->arrays);
    SET(&table->live.slots, log);
    SET(&table->live.fill, to->used | to->end << POSITION_BITS);
    IP_TRY(ip_container_bump_shape(arena, &table->container));
    return s->arrays ? ip_heap_free(arena, s->arrays, freed) : IP_OK;
}

ip_status ip_store_rebuild(ip_arena *arena, ip_table *table, const ip_store_view *s) {
    uint64_t log = LOG_MIN, count, ranks = 0;
    bool as_is;
    ip_store_view to = {0};
    ip_range freed = {0, 0};
    IP_READ(&table->container.count, count);
    if (count > s->end) return IP_CORRUPT;
    IP_TRY(ip_transaction_of(&table->container, &as_is));
    to.used = as_is ? s->used : count;
    to.end = as_is ? s->end : count;
    while (log <= LOG_MAX && capacity_of(UINT64_C(1) << log) < to.used + to.used / 2 + 1) log++;
    if (log > LOG_MAX) return IP_CROWDED;
    to.slots = UINT64_C(1) << log;
    to.capacity = capacity_of(to.slots);
    IP_TRY(ip_block_new(arena, (to.slots + to.capacity) * sizeof(ip_word), &to.arrays));
    FAULT("table.growing");
    to.index = ip_at(arena, to.arrays);
    to.entries = to.index + to.slots;
    ip_status status = !as_is && count < s->end ? ip_block_new(arena, s->end * sizeof(uint32_t), &ranks) : IP_OK;
    uint32_t *rank = ranks ? ip_at(arena, ranks) : NULL;
    if (status == IP_OK) status = fill_entries(s, &to, as_is, rank);
    if (status == IP_OK) status = fill_index(s, &to, as_is, rank);
    FAULT("table.grown");
    if (status == IP_OK) status = ip_container_take_arena(arena);
    if (status == IP_OK) status = ip_container_conclude(arena, swap_change(arena, table, s, &to, log, &freed), NULL, &freed);
    if (ranks) ip_block_drop(arena, ranks);
    if (status != IP_OK) ip_block_drop(arena, to.arrays);
    return status;
}

/* ---- freeing what was dropped ---- */

/* One step: a piece of the entries, some slabs, or the arrays; commits. Under the arena lock. IP_AGAIN: there is more. */
ip_status ip_store_drop_step(ip_arena *arena, ip_table_store *store, ip_word *slabs) {
    uint64_t entry, newest;
    ip_range freed = {0, 0};
    ip_store_view s;
    IP_TRY(ip_store_read(arena, store, &s));
    if (s.end) {
        uint64_t stop = s.end > SCAN ? s.end - SCAN : 0, position = s.end;
        while (position > stop) {
            position--;
            IP_READ(&s.entries[position], entry);
            if (!(entry & (CELL_OWN | CELL_HANDLES))) continue; /* it goes with its slab */
            ip_cell cell;
            IP_TRY(ip_cell_read(arena, entry, &cell));
            IP_TRY(ip_cell_let_go(arena, &cell, false));
            if (entry & CELL_OWN) IP_TRY(ip_heap_free(arena, cell.at, &freed));
            break; /* one a change: it may have many handles */
        }
        SET(&store->fill, s.used | position << POSITION_BITS);
    } else {
        IP_READ(slabs, newest);
        if (newest) {
            IP_TRY(ip_slab_drop(arena, slabs, &freed));
        } else if (s.arrays) {
            SET(&store->arrays, 0);
            SET(&store->fill, 0);
            IP_TRY(ip_heap_free(arena, s.arrays, &freed));
        } else {
            return IP_OK;
        }
    }
    ip_journal_commit(arena);
    FAULT("table.dropped");
    if (freed.to) IP_TRY(ip_heap_trim(arena, &freed));
    return IP_AGAIN;
}

/* Frees what was cleared, by whomever; under the table's lock. */
ip_status ip_store_tidy(ip_arena *arena, ip_table *table) {
    uint64_t arrays, slabs;
    IP_READ(&table->dropped.arrays, arrays);
    IP_READ(&table->dropped_slabs, slabs);
    if (!arrays && !slabs) return IP_OK;
    ip_status status = IP_AGAIN;
    while (status == IP_AGAIN) {
        IP_TRY(ip_container_take_arena(arena));
        for (int i = 0; i < 16 && status == IP_AGAIN; i++) status = ip_store_drop_step(arena, &table->dropped, &table->dropped_slabs);
        if (status != IP_OK && status != IP_AGAIN) ip_journal_rollback(arena);
        ip_lock_release(&arena->header->lock);
    }
    return status;
}

/* ---- checking ---- */

ip_status ip_store_check_entries(ip_arena *arena, const ip_store_view *s, uint64_t *n, uint64_t *small) {
    uint64_t entry, owner, size;
    ip_block *block;
    ip_cell cell;
    for (uint64_t i = 0; i < s->used; i++) {
        IP_READ(&s->entries[i], entry);
        if (!entry) continue;
        if (i >= s->end) return IP_CORRUPT;
        IP_TRY(ip_cell_read(arena, entry, &cell));
        IP_TRY(ip_cell_check_key(&cell));
        IP_TRY(ip_cell_check_value(&cell));
        ++*n;
        *small += !(entry & CELL_OWN);
        if (!(entry & CELL_OWN)) continue;
        IP_TRY(ip_heap_block(arena, cell.at, &block, &size));
        IP_READ(&block->owner, owner);
        if (owner) return IP_CORRUPT; /* no member owns what is in a table */
    }
    return IP_OK;
}

/* How many slots lead to entries, each of them found from where its hash says. */
ip_status ip_store_check_index(const ip_store_view *s, uint64_t *leading) {
    uint64_t word, entry, taken = 0, there;
    for (uint64_t i = 0; i < s->slots; i++) {
        IP_READ(&s->index[i], word);
        if (!word) continue;
        if (++taken > s->used || !(word & LOW28) || (word & LOW28) > s->used) return IP_CORRUPT;
        IP_READ(&s->entries[(word & LOW28) - 1], entry);
        *leading += entry != 0;
        for (uint64_t slot = (word >> POSITION_BITS) & (s->slots - 1); slot != i; slot = (slot + 1) & (s->slots - 1)) {
            IP_READ(&s->index[slot], there);
            if (!there || (there & LOW28) == (word & LOW28)) return IP_CORRUPT;
        }
    }
    return IP_OK;
}

/* cell.c: cells: writing, reading, checking and freeing them; the slabs that small ones lie in. */
#include "cell.h"

#include <string.h>

#include "fault.h"

#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))
#define SMALL_HEAD 16u
#define LARGE_HEAD 24u
#define SLAB_BYTES (UINT64_C(16) << 10) /* at most, with the block's header */
#define BITS(word, from, n) ((word) >> (from) & ((UINT64_C(1) << (n)) - 1))

static const uint16_t class_size[IP_CELL_CLASSES] = {32,  40,  48,  56,  64,  80,  96,  112, 128,
                                                      160, 192, 224, 256, 320, 384, 448, 512};
#define SMALL_MAX 512u

static unsigned class_of(uint64_t total) {
    unsigned class = 0;
    while (class_size[class] < total) class++;
    return class;
}

static uint64_t contents(const ip_piece *key, const ip_value *value) {
    return 2 * sizeof(ip_word) * (uint64_t)value->n_handles + key->size + value->size;
}

static const ip_piece no_key = {"", 0};

bool ip_cell_is_small(const ip_piece *key, const ip_value *value) {
    if (!key) key = &no_key;
    return key->size < SMALL_MAX && value->size < SMALL_MAX && SMALL_HEAD + contents(key, value) <= SMALL_MAX;
}

/* ---- contents and their sums ---- */

/* The upper bits of a product: each bit of the sum counts. */
static uint64_t short_sum(uint64_t sum) { return sum * UINT64_C(0x9E3779B97F4A7C15) >> 36; }

static uint64_t handles_sum(const ip_word *handles, unsigned n, uint64_t word) {
    return n ? ip_sum(handles, 2 * sizeof(ip_word) * (uint64_t)n, word) : word;
}

/* ip_copy_sum, also from or to nowhere. */
static uint64_t copy_sum(void *to, const void *from, uint64_t n, uint64_t seed) {
    return n ? ip_copy_sum(to, from, n, seed) : ip_sum("", 0, seed);
}

/* All of a cell but its word. */
static void write_contents(unsigned char *cell, bool small, uint64_t word, const ip_piece *key, const ip_value *value) {
    ip_word *handles = (ip_word *)(cell + (small ? SMALL_HEAD : LARGE_HEAD));
    unsigned char *bytes = (unsigned char *)(handles + 2 * value->n_handles);
    for (unsigned i = 0; i < value->n_handles; i++) ip_handle_write(&handles[2 * i], &value->handles[i]);
    uint64_t key_sum = short_sum(copy_sum(bytes, key->data, key->size, handles_sum(handles, value->n_handles, word)));
    uint64_t value_sum = short_sum(copy_sum(bytes + key->size, value->data, value->size, word));
    ip_set((ip_word *)cell + 1, key_sum | value_sum << 28);
    if (!small) ip_set((ip_word *)cell + 2, value->size);
}

ip_status ip_cell_check_key(const ip_cell *cell) {
    uint64_t sum = ip_sum(cell->key, cell->key_size, handles_sum(cell->handles, cell->n_handles, cell->word));
    return short_sum(sum) == BITS(cell->sums, 0, 28) ? IP_OK : IP_CORRUPT;
}

ip_status ip_cell_check_value(const ip_cell *cell) {
    return short_sum(ip_sum(cell->value, cell->value_size, cell->word)) == BITS(cell->sums, 28, 28) ? IP_OK : IP_CORRUPT;
}

ip_status ip_cell_copy_value(const ip_cell *cell, void *to) {
    uint64_t sum = copy_sum(to, cell->value, cell->value_size, cell->word);
    return short_sum(sum) == BITS(cell->sums, 28, 28) ? IP_OK : IP_CORRUPT;
}

ip_status ip_cell_handle(const ip_cell *cell, unsigned i, ip_handle_ref *handle) {
    return ip_handle_read(&cell->handles[2 * i], handle);
}

ip_status ip_cell_read(ip_arena *arena, uint64_t entry, ip_cell *cell) {
    uint64_t at = entry & ~(uint64_t)CELL_FLAGS, head = SMALL_HEAD, room = SMALL_MAX;
    ip_block *block;
    *cell = (ip_cell){.at = at, .entry = entry};
    if (at < arena->heap || !ip_within(arena, at, LARGE_HEAD)) return IP_CORRUPT;
    const ip_word *words = ip_at(arena, at);
    IP_READ(&words[0], cell->word);
    IP_READ(&words[1], cell->sums);
    if (entry & CELL_OWN) {
        IP_TRY(ip_heap_block(arena, at, &block, &room));
        head = LARGE_HEAD;
        cell->key_size = BITS(cell->word, 0, 32);
        cell->n_handles = (unsigned)BITS(cell->word, 32, 8);
        cell->kind = (uint8_t)BITS(cell->word, 40, 8);
        IP_READ(&words[2], cell->value_size);
        if (cell->value_size > room) return IP_CORRUPT;
    } else {
        cell->key_size = BITS(cell->word, 0, 10);
        cell->value_size = BITS(cell->word, 10, 10);
        cell->n_handles = (unsigned)BITS(cell->word, 20, 8);
        cell->kind = (uint8_t)BITS(cell->word, 28, 8);
        cell->number = BITS(cell->word, 36, 16);
    }
    cell->total = head + 2 * sizeof(ip_word) * (uint64_t)cell->n_handles + cell->key_size + cell->value_size;
    if (cell->total > room || !ip_within(arena, at, cell->total)) return IP_CORRUPT;
    if (!(entry & CELL_HANDLES) != !cell->n_handles) return IP_CORRUPT;
    cell->handles = (const ip_word *)(const void *)((const unsigned char *)words + head);
    cell->key = (const unsigned char *)(cell->handles + 2 * cell->n_handles);
    cell->value = cell->key + cell->key_size;
    return IP_OK;
}

/* ---- blocks ---- */

ip_status ip_cell_build(ip_arena *arena, const ip_piece *key, const ip_value *value, uint64_t *block) {
    if (!key) key = &no_key;
    uint64_t word = key->size | (uint64_t)value->n_handles << 32 | (uint64_t)value->kind << 40;
    IP_TRY(ip_block_new(arena, LARGE_HEAD + contents(key, value), block));
    FAULT("cell.block");
    unsigned char *cell = ip_at(arena, *block);
    write_contents(cell, false, word, key, value);
    ip_set((ip_word *)cell, word);
    FAULT("cell.built");
    return IP_OK;
}

/* ---- slabs ---- */

typedef struct { /* a slab, read */
    uint64_t at, cells, free, virgin, used;
    unsigned class;
    ip_slab *slab;
} slab_view;

static ip_status read_slab(ip_arena *arena, uint64_t at, slab_view *v) {
    uint64_t shape, state, room;
    ip_block *block;
    v->at = at;
    v->slab = ip_at(arena, at);
    IP_TRY(ip_heap_block(arena, at, &block, &room));
    IP_READ(&v->slab->shape, shape);
    IP_READ(&v->slab->state, state);
    v->class = (unsigned)BITS(shape, 0, 8);
    v->cells = shape >> 8;
    v->free = BITS(state, 0, 16);
    v->virgin = BITS(state, 16, 16);
    v->used = BITS(state, 32, 16);
    if (v->class >= IP_CELL_CLASSES || v->cells > UINT16_MAX || sizeof(ip_slab) + v->cells * class_size[v->class] > room)
        return IP_CORRUPT;
    return v->virgin <= v->cells && v->used <= v->virgin && v->free <= v->virgin ? IP_OK : IP_CORRUPT;
}

static bool is_full(const slab_view *v) { return !v->free && v->virgin == v->cells; }

static ip_word *cell_at(const slab_view *v, uint64_t number) {
    return (ip_word *)(void *)(v->slab->cells + number * class_size[v->class]);
}

static ip_status set_state(ip_arena *arena, const slab_view *v) {
    return ip_journal_set(arena, &v->slab->state, v->free | v->virgin << 16 | v->used << 32);
}

/* Puts a slab in front of its class's list of those with room. */
static ip_status list(ip_arena *arena, ip_container *container, const slab_view *v) {
    uint64_t head;
    slab_view other;
    IP_READ(&container->partial[v->class], head);
    if (head) {
        IP_TRY(read_slab(arena, head, &other));
        SET(&other.slab->previous, v->at);
    }
    SET(&v->slab->next, head);
    SET(&v->slab->previous, 0);
    SET(&container->partial[v->class], v->at);
    return IP_OK;
}

static ip_status unlist(ip_arena *arena, ip_container *container, const slab_view *v) {
    uint64_t next, previous, head;
    slab_view other;
    IP_READ(&v->slab->next, next);
    IP_READ(&v->slab->previous, previous);
    if (next) {
        IP_TRY(read_slab(arena, next, &other));
        SET(&other.slab->previous, previous);
    }
    if (previous) {
        IP_TRY(read_slab(arena, previous, &other));
        SET(&other.slab->next, next);
        return IP_OK;
    }
    IP_READ(&container->partial[v->class], head);
    if (head != v->at) return IP_CORRUPT;
    SET(&container->partial[v->class], next);
    return IP_OK;
}

static ip_status new_slab(ip_arena *arena, ip_container *container, unsigned class, uint64_t *at) {
    uint64_t count, head, most = (SLAB_BYTES - sizeof(ip_block) - sizeof(ip_slab)) / class_size[class];
    slab_view other;
    IP_READ(&container->count, count);
    uint64_t cells = count / 4 < 4 ? 4 : count / 4 < most ? count / 4 : most; /* a small table has small ones */
    IP_TRY(ip_heap_alloc(arena, sizeof(ip_slab) + cells * class_size[class], 0, at));
    slab_view v = {.at = *at, .class = class, .cells = cells, .slab = ip_at(arena, *at)};
    for (unsigned i = 0; i < sizeof(ip_slab) / sizeof(ip_word); i++) ip_set((ip_word *)v.slab + i, 0);
    ip_set(&v.slab->shape, class | cells << 8);
    IP_READ(&container->slabs, head);
    ip_set(&v.slab->older, head);
    if (head) {
        IP_TRY(read_slab(arena, head, &other));
        SET(&other.slab->newer, *at);
    }
    SET(&container->slabs, *at);
    return list(arena, container, &v);
}

/* Frees a slab of the live store, which is not listed as having room. */
static ip_status free_slab(ip_arena *arena, ip_container *container, const slab_view *v, ip_range *freed) {
    uint64_t newer, older;
    slab_view other;
    IP_READ(&v->slab->newer, newer);
    IP_READ(&v->slab->older, older);
    if (older) {
        IP_TRY(read_slab(arena, older, &other));
        SET(&other.slab->newer, newer);
    }
    if (newer) {
        IP_TRY(read_slab(arena, newer, &other));
        SET(&other.slab->older, older);
    } else {
        SET(&container->slabs, older);
    }
    return ip_heap_free(arena, v->at, freed);
}

ip_status ip_slab_drop(ip_arena *arena, ip_word *newest, ip_range *freed) {
    uint64_t at, older;
    slab_view v;
    IP_READ(newest, at);
    IP_TRY(read_slab(arena, at, &v));
    IP_READ(&v.slab->older, older);
    SET(newest, older);
    return ip_heap_free(arena, at, freed);
}

/* ---- cells ---- */

/* A free cell of the class, with this word but for its number; what else it holds is its last user's. */
static ip_status take_cell(ip_arena *arena, ip_container *container, unsigned class, uint64_t *word, unsigned char **cell) {
    uint64_t at, number, link;
    slab_view v;
    IP_READ(&container->partial[class], at);
    if (!at) IP_TRY(new_slab(arena, container, class, &at));
    IP_TRY(read_slab(arena, at, &v));
    if (v.class != class || is_full(&v)) return IP_CORRUPT;
    if (v.free) {
        number = v.free - 1;
        IP_READ(cell_at(&v, number), link);
        if (link > v.virgin) return IP_CORRUPT;
        *word |= number << 36;
        SET(cell_at(&v, number), *word); /* so that the link is there again after a rollback */
        v.free = link;
    } else {
        number = v.virgin++;
        *word |= number << 36;
        ip_set(cell_at(&v, number), *word);
    }
    *cell = (unsigned char *)cell_at(&v, number);
    v.used++;
    IP_TRY(set_state(arena, &v));
    return is_full(&v) ? unlist(arena, container, &v) : IP_OK;
}

static ip_status give_back(ip_arena *arena, ip_container *container, const ip_cell *cell, ip_range *freed) {
    slab_view v;
    uint64_t head, next = 0;
    unsigned class = class_of(cell->total);
    uint64_t back = sizeof(ip_slab) + cell->number * class_size[class];
    if (cell->at < arena->heap + back) return IP_CORRUPT;
    IP_TRY(read_slab(arena, cell->at - back, &v));
    if (v.class != class || cell->number >= v.virgin || !v.used) return IP_CORRUPT;
    bool was_full = is_full(&v);
    IP_READ(&container->partial[class], head);
    if (!was_full) IP_READ(&v.slab->next, next);
    v.used--;
    if (!v.used && head && (head != v.at || next)) { /* empty, and not the only one with room */
        if (!was_full) IP_TRY(unlist(arena, container, &v));
        return free_slab(arena, container, &v, freed);
    }
    SET(cell_at(&v, cell->number), v.free);
    v.free = cell->number + 1;
    IP_TRY(set_state(arena, &v));
    return was_full ? list(arena, container, &v) : IP_OK;
}

ip_status ip_cell_new(ip_arena *arena, ip_container *container, const ip_piece *key, const ip_value *value,
                      uint64_t block, uint64_t *entry) {
    if (!key) key = &no_key;
    for (unsigned i = 0; i < value->n_handles; i++) IP_TRY(ip_object_depart(arena, value->handles[i].id, value->handles[i].end));
    if (block) {
        uint64_t size;
        ip_block *header;
        IP_TRY(ip_heap_block(arena, block, &header, &size));
        SET(&header->owner, 0);
        *entry = block | CELL_OWN;
    } else {
        uint64_t word = key->size | value->size << 10 | (uint64_t)value->n_handles << 20 | (uint64_t)value->kind << 28;
        unsigned char *cell;
        IP_TRY(take_cell(arena, container, class_of(SMALL_HEAD + contents(key, value)), &word, &cell));
        FAULT("cell.cell");
        write_contents(cell, true, word, key, value);
        FAULT("cell.written");
        *entry = ip_offset_of(arena, cell);
    }
    if (value->n_handles) *entry |= CELL_HANDLES;
    return IP_OK;
}

ip_status ip_cell_let_go(ip_arena *arena, const ip_cell *cell, bool hold) {
    if (cell->n_handles) IP_TRY(ip_cell_check_key(cell));
    for (unsigned i = 0; i < cell->n_handles; i++) {
        ip_handle_ref h;
        IP_TRY(ip_cell_handle(cell, i, &h));
        ip_status status = ip_object_arrive(arena, h.id, h.end, hold);
        if (status != IP_OK) return status == IP_FREED ? IP_CORRUPT : status; /* a handle in a table keeps its object */
    }
    return IP_OK;
}

ip_status ip_cell_drop(ip_arena *arena, ip_container *container, const ip_cell *cell, bool hold, ip_range *freed) {
    IP_TRY(ip_cell_let_go(arena, cell, hold));
    if (cell->entry & CELL_OWN) return ip_heap_free(arena, cell->at, freed);
    return give_back(arena, container, cell, freed);
}

ip_status ip_cell_hold(ip_arena *arena, const ip_cell *cell) {
    for (unsigned i = 0; i < cell->n_handles; i++) {
        ip_handle_ref h;
        IP_TRY(ip_cell_handle(cell, i, &h));
        ip_status status = ip_object_depart(arena, h.id, h.end);
        if (status == IP_OK) status = ip_object_arrive(arena, h.id, h.end, true);
        if (status != IP_OK) return status == IP_FREED ? IP_CORRUPT : status;
    }
    return IP_OK;
}

/* ---- copying out ---- */

ip_status ip_cell_copy_out(const ip_cell *cell, ip_value_out *key, ip_value_out *value) {
    bool fits = true;
    if (key) {
        key->size = cell->key_size;
        key->kind = 0;
        key->n_handles = 0;
        if (!key->data) key = NULL;
        else fits = key->size <= key->room;
    }
    if (value) {
        value->size = cell->value_size;
        value->kind = cell->kind;
        value->n_handles = value->data ? cell->n_handles : 0;
        if (!value->data) value = NULL;
        else fits = fits && value->size <= value->room && value->n_handles <= value->handles_room;
    }
    if (!fits) return IP_TOO_LONG;
    if (key || (value && value->n_handles)) IP_TRY(ip_cell_check_key(cell));
    if (key && key->size) memcpy(key->data, cell->key, key->size);
    if (!value) return IP_OK;
    for (unsigned i = 0; i < cell->n_handles; i++) IP_TRY(ip_cell_handle(cell, i, &value->handles[i]));
    return ip_cell_copy_value(cell, value->data);
}

ip_status ip_cell_read_out(ip_arena *arena, const ip_cell *cell, ip_value_out *key, ip_value_out *value) {
    IP_TRY(ip_cell_copy_out(cell, key, value));
    for (unsigned i = 0; value && i < value->n_handles; i++) {
        ip_status status = ip_object_hold(arena, value->handles[i].id, value->handles[i].end, arena->self);
        if (status != IP_OK) return status == IP_FREED ? IP_CORRUPT : status;
        FAULT("cell.held");
    }
    return IP_OK;
}

/* ---- checking ---- */

static ip_status check_free_list(const slab_view *v) {
    uint64_t free = v->free, n = 0;
    while (free) {
        if (free > v->virgin || ++n > v->virgin) return IP_CORRUPT;
        IP_READ(cell_at(v, free - 1), free);
    }
    return v->used + n == v->virgin ? IP_OK : IP_CORRUPT;
}

ip_status ip_slab_check(ip_arena *arena, ip_container *container, uint64_t *used) {
    uint64_t at, newer, with_room = 0, previous = 0, back;
    slab_view v;
    *used = 0;
    IP_READ(&container->slabs, at);
    while (at) {
        IP_TRY(read_slab(arena, at, &v));
        IP_READ(&v.slab->newer, newer);
        if (newer != previous) return IP_CORRUPT;
        IP_TRY(check_free_list(&v));
        *used += v.used;
        with_room += !is_full(&v);
        previous = at;
        IP_READ(&v.slab->older, at);
    }
    for (unsigned class = 0; class < IP_CELL_CLASSES; class++) {
        IP_READ(&container->partial[class], at);
        for (previous = 0; at; with_room--) {
            IP_TRY(read_slab(arena, at, &v));
            IP_READ(&v.slab->previous, back);
            if (v.class != class || is_full(&v) || back != previous || !with_room) return IP_CORRUPT;
            previous = at;
            IP_READ(&v.slab->next, at);
        }
    }
    return with_room ? IP_CORRUPT : IP_OK;
}

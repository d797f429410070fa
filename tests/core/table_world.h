/* table_world.h: tables as core tests use them: keys and values follow from numbers, and are checked when they are read. */
#ifndef IP_TABLE_WORLD_H
#define IP_TABLE_WORLD_H

#include "table.h"
#include "world.h"

typedef struct {
    ip_arena *arena;
    ip_id id;
    ip_object *object;
    ip_table *table;
} table;

MAYBE_UNUSED static table table_new(ip_arena *arena) {
    table t = {.arena = arena};
    bool created;
    OK(ip_object_open(arena, IP_TABLE, 1, 1, ip_table_body_size(), NULL, 0, ip_table_make, NULL, &t.id, &t.object, &created));
    OK(ip_table_of(arena, t.object, &t.table));
    return t;
}

/* A key is its number in 8 bytes; every 16th is longer, up to 700 bytes. */
#define KEY_MAX 700u
typedef struct {
    unsigned char bytes[KEY_MAX];
    ip_table_key key;
} stored_key;

static uint64_t hash_modulo; /* 0: a good hash; else few different ones */

#define key_of(number) (*fill_key(&(stored_key){.key = {0}}, (number)))

MAYBE_UNUSED static uint64_t key_size(uint64_t number) { return number % 16 == 15 ? 9 + number * 7 % (KEY_MAX - 9) : 8; }

MAYBE_UNUSED static stored_key *fill_key(stored_key *k, uint64_t number) {
    uint64_t size = key_size(number);
    if (size > 8) fill_message(k->bytes, size, number);
    memcpy(k->bytes, &number, 8);
    uint64_t hash = ip_sum(k->bytes, size, 3);
    k->key = (ip_table_key){k->bytes, size, hash_modulo ? hash % hash_modulo : hash & IP_PAYLOAD_MAX};
    return k;
}

#define VALUE_MAX 400000u
static _Thread_local unsigned char value_bytes[VALUE_MAX], old_bytes[VALUE_MAX], got_bytes[VALUE_MAX];

MAYBE_UNUSED static ip_status try_set(const table *t, uint64_t key, uint64_t value, uint64_t size, ip_table_when when,
                                      uint64_t expected, uint64_t expected_size, ip_table_outcome *outcome) {
    stored_key k;
    fill_key(&k, key);
    fill_message(value_bytes, size, value);
    ip_value v = {.kind = (uint8_t)value, .data = value_bytes, .size = size};
    ip_value old = {.kind = (uint8_t)expected, .data = old_bytes, .size = expected_size};
    if (when == IP_TABLE_IF_EQUAL) fill_message(old_bytes, expected_size, expected);
    ip_status status;
    UNTIL_NOT_BUSY(status, ip_table_set(t->arena, t->table, IP_PATIENT, &k.key, &v, when, &old, outcome));
    return status;
}

MAYBE_UNUSED static ip_table_outcome set_when(const table *t, uint64_t key, uint64_t value, uint64_t size, ip_table_when when,
                                              uint64_t expected, uint64_t expected_size) {
    ip_table_outcome outcome;
    OK(try_set(t, key, value, size, when, expected, expected_size, &outcome));
    return outcome;
}

/* The number of a value that was read, checked; just its low byte if it has less than 8 bytes. */
MAYBE_UNUSED static bool value_is_whole(const ip_value_out *out, uint64_t *value) {
    *value = out->kind;
    if (out->size >= 8) memcpy(value, out->data, 8);
    return (uint8_t)*value == out->kind && message_is(out->data, out->size, *value);
}

MAYBE_UNUSED static ip_status key_op(const table *t, bool remove, uint64_t key, uint64_t *value, uint64_t *size) {
    stored_key k;
    fill_key(&k, key);
    ip_value_out out = {.data = got_bytes, .room = VALUE_MAX};
    ip_status status;
    UNTIL_NOT_BUSY(status, remove ? ip_table_pop(t->arena, t->table, IP_PATIENT, &k.key, &out)
                                  : ip_table_get(t->arena, t->table, IP_PATIENT, &k.key, &out));
    if (status != IP_OK) return status;
    CHECK(value_is_whole(&out, value));
    *size = out.size;
    return status;
}

MAYBE_UNUSED static ip_status get(const table *t, uint64_t key, uint64_t *value, uint64_t *size) { return key_op(t, false, key, value, size); }
MAYBE_UNUSED static ip_status pop(const table *t, uint64_t key, uint64_t *value, uint64_t *size) { return key_op(t, true, key, value, size); }

MAYBE_UNUSED static ip_status both_out(ip_status status, const stored_key *k, const ip_value_out *key_out, const ip_value_out *out,
                                       uint64_t *key, uint64_t *value, uint64_t *size) {
    if (status != IP_OK) return status;
    stored_key expected;
    memcpy(key, k->bytes, 8);
    fill_key(&expected, *key);
    CHECK_EQ(key_out->size, expected.key.size);
    CHECK(memcmp(k->bytes, expected.bytes, key_out->size) == 0);
    CHECK(value_is_whole(out, value));
    *size = out->size;
    return IP_OK;
}

MAYBE_UNUSED static ip_status pop_last(const table *t, uint64_t *key, uint64_t *value, uint64_t *size) {
    stored_key k;
    ip_value_out key_out = {.data = k.bytes, .room = KEY_MAX}, out = {.data = got_bytes, .room = VALUE_MAX};
    ip_status status;
    UNTIL_NOT_BUSY(status, ip_table_pop_last(t->arena, t->table, IP_PATIENT, &key_out, &out));
    return both_out(status, &k, &key_out, &out, key, value, size);
}

MAYBE_UNUSED static ip_status next_pair(const table *t, uint64_t shape, uint64_t *position, uint64_t *key, uint64_t *value, uint64_t *size) {
    stored_key k;
    ip_value_out key_out = {.data = k.bytes, .room = KEY_MAX}, out = {.data = got_bytes, .room = VALUE_MAX};
    ip_status status;
    UNTIL_NOT_BUSY(status, ip_table_next(t->arena, t->table, IP_PATIENT, shape, position, &key_out, &out));
    return both_out(status, &k, &key_out, &out, key, value, size);
}

MAYBE_UNUSED static ip_container_state look(const table *t) {
    ip_container_state state;
    OK(ip_container_look(t->arena, &t->table->container, IP_PATIENT, &state));
    return state;
}

#endif

/* list_world.h: lists as core tests use them: values follow from numbers, and are checked when they are read. */
#ifndef IP_LIST_WORLD_H
#define IP_LIST_WORLD_H

#include "list.h"
#include "world.h"

typedef struct {
    ip_arena *arena;
    ip_id id;
    ip_object *object;
    ip_list *list;
} list;

MAYBE_UNUSED static list list_new(ip_arena *arena) {
    list l = {.arena = arena};
    bool created;
    OK(ip_object_open(arena, IP_LIST, 1, 1, ip_list_body_size(), NULL, 0, ip_list_make, NULL, &l.id, &l.object, &created));
    OK(ip_list_of(arena, l.object, &l.list));
    return l;
}

#define VALUE_MAX 400000u
#define END INT64_MAX
static _Thread_local unsigned char value_bytes[VALUE_MAX], old_bytes[VALUE_MAX], got_bytes[VALUE_MAX];

MAYBE_UNUSED static ip_value value_of(unsigned char *bytes, uint64_t number, uint64_t size) {
    fill_message(bytes, size, number);
    return (ip_value){.kind = (uint8_t)number, .data = bytes, .size = size};
}

/* What a reader can tell of a value's number: just its low byte if it has less than 8 bytes. */
MAYBE_UNUSED static uint64_t legible(uint64_t number, uint64_t size) { return size < 8 ? (uint8_t)number : number; }

MAYBE_UNUSED static bool value_is_whole(const ip_value_out *out, uint64_t *number) {
    *number = out->kind;
    if (out->size >= 8) memcpy(number, out->data, 8);
    return (uint8_t)*number == out->kind && message_is(out->data, out->size, *number);
}

MAYBE_UNUSED static ip_status try_insert(const list *l, int64_t index, uint64_t number, uint64_t size) {
    ip_value v = value_of(value_bytes, number, size);
    ip_status status;
    UNTIL_NOT_BUSY(status, ip_list_insert(l->arena, l->list, IP_PATIENT, index, &v));
    return status;
}

MAYBE_UNUSED static void append(const list *l, uint64_t number, uint64_t size) { OK(try_insert(l, END, number, size)); }

MAYBE_UNUSED static ip_status try_set(const list *l, int64_t index, uint64_t number, uint64_t size) {
    ip_value v = value_of(value_bytes, number, size);
    ip_status status;
    bool done;
    UNTIL_NOT_BUSY(status, ip_list_set(l->arena, l->list, IP_PATIENT, index, &v, NULL, &done));
    CHECK(done == (status == IP_OK));
    return status;
}

/* Replaces it if it is what is expected. */
MAYBE_UNUSED static bool exchange(const list *l, int64_t index, uint64_t expected, uint64_t expected_size, uint64_t number, uint64_t size) {
    ip_value v = value_of(value_bytes, number, size), old = value_of(old_bytes, expected, expected_size);
    ip_status status;
    bool done;
    UNTIL_NOT_BUSY(status, ip_list_set(l->arena, l->list, IP_PATIENT, index, &v, &old, &done));
    OK(status);
    return done;
}

MAYBE_UNUSED static ip_status read_one(ip_status status, const ip_value_out *out, uint64_t *number, uint64_t *size) {
    if (status != IP_OK) return status;
    CHECK(value_is_whole(out, number));
    *size = out->size;
    return IP_OK;
}

MAYBE_UNUSED static ip_status get(const list *l, int64_t index, uint64_t *number, uint64_t *size) {
    ip_value_out out = {.data = got_bytes, .room = VALUE_MAX};
    ip_status status;
    UNTIL_NOT_BUSY(status, ip_list_get(l->arena, l->list, IP_PATIENT, index, &out));
    return read_one(status, &out, number, size);
}

MAYBE_UNUSED static ip_status pop(const list *l, int64_t index, uint64_t *number, uint64_t *size) {
    ip_value_out out = {.data = got_bytes, .room = VALUE_MAX};
    ip_status status;
    UNTIL_NOT_BUSY(status, ip_list_pop(l->arena, l->list, IP_PATIENT, index, &out));
    return read_one(status, &out, number, size);
}

MAYBE_UNUSED static ip_status next_item(const list *l, uint64_t changes, uint64_t *index, uint64_t *number, uint64_t *size) {
    ip_value_out out = {.data = got_bytes, .room = VALUE_MAX};
    ip_status status;
    UNTIL_NOT_BUSY(status, ip_list_next(l->arena, l->list, IP_PATIENT, changes, index, &out));
    return read_one(status, &out, number, size);
}

MAYBE_UNUSED static ip_container_state look(const list *l) {
    ip_container_state state;
    OK(ip_container_look(l->arena, &l->list->container, IP_PATIENT, &state));
    return state;
}

/* ---- transactions of one list ---- */

MAYBE_UNUSED static uint64_t begin_transaction(const list *l) {
    ip_container *c = &l->list->container;
    uint64_t record = 0;
    ip_status status;
    UNTIL_NOT_BUSY(status, ip_gate_acquire(l->arena, c, IP_PATIENT));
    OK(status);
    UNTIL_NOT_BUSY(status, ip_transaction_begin(l->arena, &record));
    OK(status);
    UNTIL_NOT_BUSY(status, ip_transaction_join(l->arena, record, c));
    OK(status);
    return record;
}

MAYBE_UNUSED static void end_transaction(const list *l, uint64_t record, bool commit) {
    ip_container *c = &l->list->container;
    ip_status status = IP_OK;
    if (commit) UNTIL_NOT_BUSY(status, ip_transaction_commit(l->arena, record, c));
    OK(status);
    UNTIL_NOT_BUSY(status, ip_transaction_settle(l->arena, record, c));
    OK(status);
    UNTIL_NOT_BUSY(status, ip_gate_release(l->arena, c));
    OK(status);
}

#endif

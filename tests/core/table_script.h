/* table_script.h: short scripts of changes of tables, run by a child that may be killed in them, and what the tables must hold after.
 *
 * Tokens:  s7,100  set key 7 to 100 bytes    h7,100  the same with two handles to another table     d7  remove it
 *          l       remove the last           c       clear        g7  read it
 * The value that the n-th token sets is number n.
 */
#ifndef IP_TABLE_SCRIPT_H
#define IP_TABLE_SCRIPT_H

#include "table_world.h"
#include "trial.h"

enum { PAIRS_MAX = 64 };
typedef struct {
    uint64_t key, value, size;
    bool handles;
} pair;
typedef struct {
    pair pairs[PAIRS_MAX];
    unsigned n;
} contents;

static table inner; /* what handles refer to */
static ip_handle_ref refs[2];

static void make_inner(void) {
    inner = table_new(&arena);
    refs[0] = refs[1] = (ip_handle_ref){inner.id, 0};
    set_when(&inner, 1, 1, 50, IP_TABLE_ALWAYS, 0, 0);
    set_when(&inner, 2, 1, 5000, IP_TABLE_ALWAYS, 0, 0);
}

/* Handles on the inner table in transit, and whether it exists. */
static uint64_t inner_transit(bool *exists) {
    ip_object_info info;
    uint32_t index = inner.id.index;
    *exists = ip_object_next(&arena, &index, &info) == IP_OK && info.id.index == inner.id.index;
    return *exists ? info.transit[0] : 0;
}

static unsigned position_of(const contents *c, uint64_t key) {
    unsigned i = 0;
    while (i < c->n && c->pairs[i].key != key) i++;
    return i;
}

static void take_out(contents *c, unsigned i) {
    CHECK(i < c->n);
    for (c->n--; i < c->n; i++) c->pairs[i] = c->pairs[i + 1];
}

static void expect_token(contents *c, char token, uint64_t key, uint64_t size, uint64_t number) {
    if (token == 's' || token == 'h') {
        unsigned i = position_of(c, key);
        CHECK(i < PAIRS_MAX);
        c->pairs[i] = (pair){key, number, size, token == 'h'};
        if (i == c->n) c->n++;
    }
    if (token == 'd') take_out(c, position_of(c, key));
    if (token == 'l') take_out(c, c->n - 1);
    if (token == 'c') c->n = 0;
}

static void run_token(const table *t, char token, uint64_t key, uint64_t size, uint64_t number) {
    stored_key k;
    uint64_t last, value;
    fill_key(&k, key);
    if (token == 's' || token == 'h') {
        fill_message(value_bytes, size, number);
        ip_value v = {.kind = (uint8_t)number, .data = value_bytes, .size = size, .handles = refs, .n_handles = token == 'h' ? 2 : 0};
        ip_table_outcome outcome;
        OK(ip_table_set(&arena, t->table, IP_PATIENT, &k.key, &v, IP_TABLE_ALWAYS, NULL, &outcome));
    } else if (token == 'd' || token == 'g') {
        ip_handle_ref got[2];
        ip_value_out out = {.data = got_bytes, .room = VALUE_MAX, .handles = got, .handles_room = 2};
        OK(token == 'd' ? ip_table_pop(&arena, t->table, IP_PATIENT, &k.key, &out)
                        : ip_table_get(&arena, t->table, IP_PATIENT, &k.key, &out));
        CHECK(value_is_whole(&out, &value));
        if (out.n_handles) CHECK(memcmp(got, refs, sizeof got) == 0);
    } else if (token == 'l') {
        ip_handle_ref got[2];
        ip_value_out out = {.data = got_bytes, .room = VALUE_MAX, .handles = got, .handles_room = 2}, key_out = {.data = &last, .room = 8};
        OK(ip_table_pop_last(&arena, t->table, IP_PATIENT, &key_out, &out));
    } else {
        OK(ip_table_clear(&arena, t->table, IP_PATIENT));
    }
}

/* Runs, or (c) only models, tokens [from, to) of a script that begins with number `first`. Returns how many it has. */
static uint64_t each_token(const table *t, const char *text, uint64_t first, uint64_t to, contents *c, bool count) {
    uint64_t n = 0;
    while (*text && n < to) {
        char token = *text++, *rest = (char *)text;
        uint64_t key = token == 'l' || token == 'c' ? 0 : strtoull(text, &rest, 10), size = 0;
        if (*rest == ',') size = strtoull(rest + 1, &rest, 10);
        text = rest;
        while (*text == ' ') text++;
        if (c) {
            expect_token(c, token, key, size, first + n);
        } else {
            if (count) shared->put_tried = n + 1;
            run_token(t, token, key, size, first + n);
            if (count) shared->put_done = n + 1;
        }
        n++;
    }
    return n;
}

static bool holds(const table *t, const contents *c) {
    ip_container_state state = look(t);
    uint64_t position = 0, value;
    unsigned n = 0;
    for (; n < c->n; n++) {
        const pair *p = &c->pairs[n];
        ip_handle_ref got[2];
        stored_key k, expected;
        ip_value_out key = {.data = k.bytes, .room = KEY_MAX}, out = {.data = got_bytes, .room = VALUE_MAX, .handles = got, .handles_room = 2};
        ip_status status = ip_table_next(&arena, t->table, IP_PATIENT, state.shape, &position, &key, &out);
        if (status == IP_EOF) return false;
        CHECK_EQ(status, IP_OK);
        fill_key(&expected, p->key);
        if (key.size != expected.key.size || memcmp(k.bytes, expected.bytes, key.size) != 0) return false;
        CHECK(value_is_whole(&out, &value));
        if (value != p->value || out.size != p->size || out.n_handles != (p->handles ? 2u : 0u)) return false;
        OK(ip_table_get(&arena, t->table, IP_PATIENT, &expected.key, NULL));
    }
    return state.count == c->n;
}

#endif

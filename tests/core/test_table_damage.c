/* test_table_damage.c: change any byte of a table: each operation says that it is damaged or gives the right answer. */
#include "table_world.h"

static ip_arena arena;

#include "damage.h"

static table t, inner;
static int victims; /* members that died in a change */
static bool gated;  /* and had the gate */

enum { KEYS = 40, REMOVED = 7 }; /* every 7th was removed again */
static uint64_t size_of(uint64_t key) { return key % 9 == 4 ? 700 + key : key * 5 % 120; }
static bool is_there(uint64_t key) { return key < KEYS && key % REMOVED != 0; }

/* A small one and a large one carry handles. */
static void set_carriers(void) {
    ip_handle_ref refs[2] = {{inner.id, 0}, {inner.id, 0}};
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t key = KEYS - 3 + i, size = i ? 900 : 20;
        ip_table_outcome outcome;
        stored_key k;
        fill_key(&k, key);
        fill_message(value_bytes, size, key);
        ip_value v = {.kind = (uint8_t)key, .data = value_bytes, .size = size, .handles = refs, .n_handles = 2};
        OK(ip_table_set(&arena, t.table, IP_PATIENT, &k.key, &v, IP_TABLE_ALWAYS, NULL, &outcome));
    }
}

static void build(void) {
    OK(ip_arena_create(&arena, -1, UINT64_C(4) << 20));
    t = table_new(&arena);
    inner = table_new(&arena);
    set_when(&inner, 1, 1, 30, IP_TABLE_ALWAYS, 0, 0);
    for (uint64_t i = 0; i < KEYS; i++) set_when(&t, i, i, size_of(i), IP_TABLE_ALWAYS, 0, 0);
    for (uint64_t i = 0; i < KEYS; i += REMOVED) OK(ip_table_pop(&arena, t.table, IP_PATIENT, &key_of(i).key, NULL));
    set_carriers();
}

/* ---- in the child ---- */

static bool carries(uint64_t key) { return key == KEYS - 3 || key == KEYS - 2; }

static bool value_is_right(const ip_value_out *out, uint64_t key, const ip_handle_ref *got) {
    uint64_t value, size = key == KEYS - 3 ? 20 : key == KEYS - 2 ? 900 : size_of(key);
    if (out->size != size || !value_is_whole(out, &value) || value != (size < 8 ? (uint8_t)key : key)) return false;
    if (out->n_handles != (carries(key) ? 2u : 0u)) return false;
    return !carries(key) || (got[1].id.index == inner.id.index && got[1].id.generation == inner.id.generation);
}

static void read_all(void) {
    ip_handle_ref got[2];
    ip_container_state state;
    uint64_t position = 0, n = 0, key;
    stored_key k;
    ip_status status;
    bool all = true;
    for (key = 0; key < KEYS + 5; key++) {
        ip_value_out out = {.data = got_bytes, .room = 2000, .handles = got, .handles_room = 2};
        fill_key(&k, key);
        if (ANSWERS(ip_table_get(&arena, t.table, IP_PATIENT, &k.key, &out), is_there(key) ? IP_OK : IP_AGAIN) && is_there(key))
            RIGHT(value_is_right(&out, key, got));
    }
    if (!FINE(ip_container_look(&arena, &t.table->container, IP_PATIENT, &state))) return;
    RIGHT(state.count == KEYS - (KEYS + REMOVED - 1) / REMOVED);
    for (key = 1;; key++) {
        ip_value_out key_out = {.data = k.bytes, .room = KEY_MAX};
        ip_value_out out = {.data = got_bytes, .room = 2000, .handles = got, .handles_room = 2};
        status = ip_table_next(&arena, t.table, IP_PATIENT, state.shape, &position, &key_out, &out);
        if (status != IP_OK) break;
        while (key < KEYS && !is_there(key)) key++;
        stored_key expected;
        fill_key(&expected, key);
        RIGHT(key_out.size == expected.key.size && memcmp(k.bytes, expected.bytes, key_out.size) == 0);
        RIGHT(value_is_right(&out, key, got));
        n++;
    }
    all = ANSWERS(status, IP_EOF);
    if (all) RIGHT(n == state.count);
    ANSWERS(ip_table_check(&arena, t.table), IP_OK);
}

static void change_all(void) {
    ip_table_outcome outcome;
    ip_handle_ref got[2];
    stored_key k;
    uint64_t last = 0;
    uint64_t sizes[KEYS + 30] = {0}; /* + 1 of those that are there */
    for (uint64_t key = 0; key < KEYS + 30; key++) { /* grows on the way */
        if (is_there(key)) sizes[key] = 1 + size_of(key);
        ip_value v = {.kind = 1, .data = value_bytes, .size = key * 3};
        ip_value old = {.kind = (uint8_t)key, .data = old_bytes, .size = size_of(key)};
        if (carries(key)) continue;
        fill_key(&k, key);
        fill_message(old_bytes, old.size, key);
        memset(value_bytes, 1, v.size);
        ip_table_when when = key % 4 == 1 ? IP_TABLE_IF_EQUAL : IP_TABLE_ALWAYS;
        if (!FINE(ip_table_set(&arena, t.table, IP_PATIENT, &k.key, &v, when, &old, &outcome))) continue;
        RIGHT(outcome == (is_there(key) ? IP_TABLE_REPLACED : when == IP_TABLE_ALWAYS ? IP_TABLE_INSERTED : IP_TABLE_REFUSED));
        if (outcome != IP_TABLE_REFUSED) sizes[key] = 1 + v.size;
        if (outcome != IP_TABLE_REFUSED && key >= KEYS) last = key;
    }
    for (uint64_t key = KEYS - 4; key > KEYS / 2; key--) {
        ip_value_out out = {.data = got_bytes, .room = 2000, .handles = got, .handles_room = 2};
        fill_key(&k, key);
        if (ANSWERS(ip_table_pop(&arena, t.table, IP_PATIENT, &k.key, &out), sizes[key] ? IP_OK : IP_AGAIN))
            RIGHT(!sizes[key] || out.size + 1 == sizes[key]);
    }
    ip_value_out key_out = {.data = k.bytes, .room = KEY_MAX};
    if (last && FINE(ip_table_pop_last(&arena, t.table, IP_PATIENT, &key_out, NULL))) RIGHT(memcmp(k.bytes, &last, 8) == 0);
    for (uint64_t key = KEYS - 3; key < KEYS - 1; key++) {
        ip_value_out out = {.data = got_bytes, .room = 2000, .handles = got, .handles_room = 2};
        fill_key(&k, key);
        FINE(ip_table_pop(&arena, t.table, IP_PATIENT, &k.key, key % 2 ? &out : NULL));
    }
}

/* Settles what a dead one has left of its transaction. If that is damaged, nothing else can be done with the table. */
static bool take_over(void) {
    ip_container *c = &t.table->container;
    return FINE(ip_gate_acquire(&arena, c, IP_INHERIT)) && FINE(ip_gate_release(&arena, c));
}

static void use_everything(unsigned how) {
    uint32_t buried;
    if (victims) FINE(ip_member_reap(&arena, &buried));
    bool usable = !gated || (how % 8 != 7 && take_over());
    if (how % 4 != 3 && usable) read_all();
    if (how % 4 < 2 && usable) change_all();
    if (how % 4 == 1 && usable && FINE(ip_table_clear(&arena, t.table, IP_PATIENT))) {
        ip_container_state state;
        if (FINE(ip_container_look(&arena, &t.table->container, IP_PATIENT, &state))) RIGHT(state.count == 0);
    }
    FINE(ip_object_release(&arena, t.id, 0));
    FINE(ip_object_release(&arena, inner.id, 0));
    leave_nothing();
}

/* ---- the changes ---- */

static void damage_the_heap(uint64_t stride) {
    begin_damage(use_everything);
    try_all_of_the_heap(stride);
    end_damage();
}

static void any_changed_byte_is_noticed_or_harmless(void) {
    build();
    damage_the_heap(STRIDE);
}

static void die_when_changed(const char *step) {
    if (strcmp(step, "container.changed") == 0) kill(getpid(), SIGKILL);
}

/* The same when a change is to be rolled back: a member died just before it would have published. */
static void nor_does_it_mislead_a_rollback(void) {
    build();
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        ip_fault_hook = die_when_changed;
        set_when(&t, KEYS - 3, 9, 300, IP_TABLE_ALWAYS, 0, 0);
        _exit(0);
    }
    CHECK_EQ(child_end(pid), CHILD_KILLED);
    CHECK(word_of(&arena.header->journal.count) > 2);
    victims = 1;
    damage_the_heap(3 * STRIDE);
}

/* The same with a transaction that a member died in, and that changed nothing in the end: undone, or committed. */
static void nor_does_it_mislead_who_settles(bool commit) {
    build();
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        uint64_t record, value, size;
        ip_container *c = &t.table->container;
        OK(ip_gate_acquire(&arena, c, IP_PATIENT));
        OK(ip_transaction_begin(&arena, &record));
        OK(ip_transaction_join(&arena, record, c));
        for (uint64_t i = 1; i < 16; i++)
            if (is_there(i)) set_when(&t, i, i, size_of(i), IP_TABLE_ALWAYS, 0, 0);
        set_carriers();
        if (commit) {
            OK(ip_transaction_commit(&arena, record, c));
        } else {
            for (uint64_t i = 8; i < 14; i++) OK(pop(&t, i, &value, &size));
            for (uint64_t i = 10; i < KEYS + 20; i++) set_when(&t, i, 1, i * 3, IP_TABLE_ALWAYS, 0, 0);
            OK(ip_table_clear(&arena, t.table, IP_PATIENT));
            for (uint64_t i = 10; i < 14; i++) set_when(&t, i, 1, i * 30, IP_TABLE_ALWAYS, 0, 0);
        }
        kill(getpid(), SIGKILL);
    }
    CHECK_EQ(child_end(pid), CHILD_KILLED);
    victims = 1;
    gated = true;
    damage_the_heap(3 * STRIDE);
    gated = false;
}

static void nor_who_undoes_a_transaction(void) { nor_does_it_mislead_who_settles(false); }
static void nor_who_settles_a_committed_one(void) { nor_does_it_mislead_who_settles(true); }

int main(void) {
    RUN(any_changed_byte_is_noticed_or_harmless);
    RUN(nor_does_it_mislead_a_rollback);
    RUN(nor_who_undoes_a_transaction);
    RUN(nor_who_settles_a_committed_one);
    return 0;
}

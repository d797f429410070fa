/* test_transaction.c: transactions are all or nothing, against a model, at any size, without memory, and leave nothing behind. */
#include "transaction_world.h"

#if defined(UNDER_ASAN) || defined(UNDER_TSAN)
enum { ROUNDS = 300, MANY = 5000 };
#else
enum { ROUNDS = 3000, MANY = 50000 };
#endif

/* ---- against a model ---- */

enum { KEYS = 60, TABLES = 3 };
typedef struct {
    struct {
        uint64_t serial, value, size; /* serial: when it was inserted; 0: it is not there */
    } at[KEYS];
    uint64_t count;
} model;

static uint64_t model_serial, model_value;

static void compare(const table *t, const model *m) {
    ip_container_state state = look(t);
    uint64_t position = 0, last = 0, key, value, size;
    ip_status status;
    CHECK_EQ(state.count, m->count);
    while ((status = next_pair(t, state.shape, &position, &key, &value, &size)) == IP_OK) {
        CHECK(key < KEYS && m->at[key].serial > last);
        CHECK(m->at[key].value == value && m->at[key].size == size);
        last = m->at[key].serial;
    }
    CHECK_EQ(status, IP_EOF);
    for (key = 0; key < KEYS; key++) CHECK_EQ(get(t, key, &value, &size), m->at[key].serial ? IP_OK : IP_AGAIN);
    OK(ip_table_check(&arena, t->table));
}

static void random_step(const table *t, model *m, uint64_t *random) {
    uint64_t key = next_random(random) % KEYS, value, size, r = next_random(random), last = 0;
    uint64_t wanted = r % 20 == 0 ? r / 20 % 9000 : r / 20 % (r % 7 ? 60 : 600);
    switch (next_random(random) % 100) {
        case 0 ... 2:
            OK(ip_table_clear(&arena, t->table, IP_PATIENT));
            memset(m, 0, sizeof *m);
            return;
        case 3 ... 30:
            CHECK_EQ(pop(t, key, &value, &size), m->at[key].serial ? IP_OK : IP_AGAIN);
            if (m->at[key].serial) {
                CHECK(value == m->at[key].value && size == m->at[key].size);
                m->at[key].serial = 0;
                m->count--;
            }
            return;
        case 31 ... 40:
            for (uint64_t i = 0; i < KEYS; i++)
                if (m->at[i].serial > last) last = m->at[i].serial, key = i;
            uint64_t got;
            CHECK_EQ(pop_last(t, &got, &value, &size), last ? IP_OK : IP_AGAIN);
            if (!last) return;
            CHECK(got == key && value == m->at[key].value && size == m->at[key].size);
            m->at[key].serial = 0;
            m->count--;
            return;
        default:
            CHECK_EQ(set_when(t, key, ++model_value, wanted, IP_TABLE_ALWAYS, 0, 0), m->at[key].serial ? IP_TABLE_REPLACED : IP_TABLE_INSERTED);
            m->at[key].value = wanted < 8 ? (uint8_t)model_value : model_value;
            m->at[key].size = wanted;
            if (m->at[key].serial) return;
            m->at[key].serial = ++model_serial;
            m->count++;
    }
}

static void random_transactions(void) {
    static model models[TABLES], before[TABLES];
    begin(64);
    table t[TABLES];
    uint64_t random = 11;
    memset(models, 0, sizeof models);
    for (int i = 0; i < TABLES; i++) t[i] = table_new(&arena);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned n = 1 + (unsigned)(next_random(&random) % TABLES);
        bool commit = next_random(&random) % 2;
        uint64_t steps = next_random(&random) % (round % 10 ? 20 : 200), changes[TABLES];
        memcpy(before, models, sizeof models);
        for (unsigned i = 0; i < n; i++) changes[i] = look(&t[i]).changes;
        uint64_t record = start(t, n);
        for (uint64_t i = 0; i < steps; i++) {
            unsigned which = (unsigned)(next_random(&random) % n);
            random_step(&t[which], &models[which], &random);
        }
        for (unsigned i = 0; i < n; i++) compare(&t[i], &models[i]);
        finish(t, n, record, commit);
        for (unsigned i = 0; i < n; i++) CHECK(look(&t[i]).changes >= changes[i]);
        if (!commit) memcpy(models, before, sizeof models);
        for (int i = 0; i < TABLES; i++) compare(&t[i], &models[i]);
        for (unsigned i = 0; i < 5; i++) random_step(&t[i % TABLES], &models[i % TABLES], &random); /* outside of any */
        OK(ip_heap_check(&arena));
    }
    for (int i = 0; i < TABLES; i++) OK(ip_object_release(&arena, t[i].id, 0));
    end();
}

/* ---- size, memory ---- */

static void large_ones_are_undone_and_leave_nothing(void) {
    begin(256);
    for (int commit = 0; commit < 2; commit++) {
        table t = number_table(0, MANY, 20);
        OK(ip_table_check(&arena, t.table));
        uint64_t used = heap_used(&arena), value, size, key, position = 0, record = start(&t, 1);
        for (uint64_t i = 0; i < MANY; i += 3) set_when(&t, i, i + 1, 30, IP_TABLE_ALWAYS, 0, 0);
        for (uint64_t i = 1; i < MANY; i += 3) OK(pop(&t, i, &value, &size));
        for (uint64_t i = MANY; i < 2 * MANY; i++) set_when(&t, i, i, i % 300, IP_TABLE_ALWAYS, 0, 0); /* grows */
        OK(ip_table_clear(&arena, t.table, IP_PATIENT));
        for (uint64_t i = 0; i < MANY; i++) set_when(&t, MANY - i, i, 8, IP_TABLE_ALWAYS, 0, 0);
        OK(ip_table_check(&arena, t.table));
        finish(&t, 1, record, commit);
        OK(ip_table_check(&arena, t.table));
        CHECK_EQ(look(&t).count, MANY);
        for (uint64_t i = 0; i < MANY; i++) {
            OK(next_pair(&t, look(&t).shape, &position, &key, &value, &size));
            CHECK(commit ? key == MANY - i && value == i : key == i && value == i && size == 20);
        }
        if (!commit) { /* but for larger arrays, and slabs that are kept for each size */
            OK(ip_table_clear(&arena, t.table, IP_PATIENT));
            CHECK(heap_used(&arena) <= used);
        }
        OK(ip_object_release(&arena, t.id, 0));
        CHECK_EQ(heap_used(&arena), 0);
    }
    end();
}

/* In a transaction no hole can be given up: before the next one it is. */
static void what_changes_in_transactions_only_does_not_grow(void) {
    begin(64);
    table t = number_table(0, 20, 30);
    uint64_t used = 0, value, size;
    for (unsigned n = 0; n < 3000; n++) {
        uint64_t record = start(&t, 1);
        for (uint64_t key = 100; key < 110; key++) set_when(&t, key, n, 30, IP_TABLE_ALWAYS, 0, 0);
        for (uint64_t key = 100; key < 110; key++) OK(pop(&t, key, &value, &size));
        finish(&t, 1, record, n % 3 != 0);
        if (n == 100) used = heap_used(&arena);
    }
    CHECK(heap_used(&arena) <= used + used / 4);
    OK(ip_table_check(&arena, t.table));
    OK(ip_object_release(&arena, t.id, 0));
    end();
}

static void running_out_in_one_can_be_undone(void) {
    for (int commit = 0; commit < 2; commit++) {
        begin(2);
        table t[2] = {number_table(0, 200, 40), number_table(0, 200, 40)};
        uint64_t random = 3, refused = 0, value, size, done = 0, record = start(t, 2);
        ip_table_outcome outcome;
        while (refused < 300) {
            const table *which = &t[next_random(&random) % 2];
            uint64_t key = next_random(&random) % 400, wanted = next_random(&random) % 3 ? next_random(&random) % 100 : next_random(&random) % 9000;
            ip_status status;
            if (next_random(&random) % 5 == 0) status = pop(which, key, &value, &size);
            else status = try_set(which, key, key + 1000, wanted, IP_TABLE_ALWAYS, 0, 0, &outcome);
            CHECK(status == IP_OK || status == IP_AGAIN || status == IP_NO_MEMORY);
            refused += status == IP_NO_MEMORY;
            done += status == IP_OK;
            if (refused == 200 && done % 100 == 0) OK(ip_table_clear(&arena, which->table, IP_PATIENT));
        }
        for (int i = 0; i < 2; i++) OK(ip_table_check(&arena, t[i].table));
        finish(t, 2, record, commit);
        for (int i = 0; i < 2; i++) {
            uint64_t position = 0, key;
            OK(ip_table_check(&arena, t[i].table));
            if (!commit) CHECK_EQ(look(&t[i]).count, 200);
            for (uint64_t k = 0; k < 200 && !commit; k++) {
                OK(next_pair(&t[i], look(&t[i]).shape, &position, &key, &value, &size));
                CHECK(key == k && value == k && size == 40);
            }
            OK(ip_object_release(&arena, t[i].id, 0));
        }
        end();
    }
}

/* Takes all the memory there is; each block is linked to the one before. */
static uint64_t take_all_memory(void) {
    uint64_t last = 0, at;
    for (uint64_t size = 1 << 20; size >= 64; size /= 2)
        while (ip_block_new(&arena, size, &at) == IP_OK) {
            memcpy(ip_at(&arena, at), &last, 8);
            last = at;
        }
    return last;
}

static void give_back_memory(uint64_t last) {
    while (last) {
        uint64_t at = last;
        memcpy(&last, ip_at(&arena, at), 8);
        OK(ip_block_drop(&arena, at));
    }
}

static void without_memory_nothing_is_done_but_settling(void) {
    for (int commit = 0; commit < 2; commit++) {
        begin(2);
        uint64_t value, size, key, record;
        ip_table_outcome outcome;
        table t = number_table(0, 200, 40);
        set_when(&t, 7, 7, 9000, IP_TABLE_ALWAYS, 0, 0);
        record = start(&t, 1);
        uint64_t all = take_all_memory(), changes = look(&t).changes;
        CHECK_EQ(pop(&t, 3, &value, &size), IP_NO_MEMORY); /* the log has no room */
        CHECK_EQ(pop(&t, 7, &value, &size), IP_NO_MEMORY);
        CHECK_EQ(pop_last(&t, &key, &value, &size), IP_NO_MEMORY);
        CHECK_EQ(try_set(&t, 3, 4, 40, IP_TABLE_ALWAYS, 0, 0, &outcome), IP_NO_MEMORY);
        CHECK_EQ(try_set(&t, 300, 4, 40, IP_TABLE_ALWAYS, 0, 0, &outcome), IP_NO_MEMORY);
        CHECK_EQ(ip_table_clear(&arena, t.table, IP_PATIENT), IP_NO_MEMORY);
        CHECK(look(&t).changes == changes && look(&t).count == 200);
        OK(ip_table_check(&arena, t.table));
        give_back_memory(all);
        for (uint64_t i = 0; i < 150; i++) OK(pop(&t, i, &value, &size));
        for (uint64_t i = 300; i < 700; i++) set_when(&t, i, i, i, IP_TABLE_ALWAYS, 0, 0);
        for (uint64_t i = 150; i < 200; i++) set_when(&t, i, 5, i * 9, IP_TABLE_ALWAYS, 0, 0);
        if (!commit) OK(ip_table_clear(&arena, t.table, IP_PATIENT));
        if (!commit) set_when(&t, 1, 1, 1, IP_TABLE_ALWAYS, 0, 0);
        all = take_all_memory();
        finish(&t, 1, record, commit);
        CHECK_EQ(look(&t).count, commit ? 450 : 200);
        for (uint64_t i = 0; i < 200 && !commit; i++) {
            OK(get(&t, i, &value, &size));
            CHECK(value == i && size == (i == 7 ? 9000 : 40));
        }
        OK(ip_table_check(&arena, t.table));
        give_back_memory(all);
        OK(ip_object_release(&arena, t.id, 0));
        end();
    }
}

/* ---- handles ---- */

static uint64_t transit(ip_id id, unsigned *holders) {
    ip_object_info info;
    uint32_t index = id.index;
    if (ip_object_next(&arena, &index, &info) != IP_OK || info.id.index != id.index || info.id.generation != id.generation) {
        *holders = 99; /* it is no more */
        return 0;
    }
    *holders = info.holders[0];
    return info.transit[0];
}

static void handles_are_kept_until_it_is_settled(void) {
    begin(64);
    for (int commit = 0; commit < 2; commit++)
        for (unsigned n = 1; n <= IP_VALUE_HANDLES_MAX; n += 127) {
            unsigned holders;
            table t = table_new(&arena), old = number_table(0, 3, 10), new = number_table(0, 3, 10);
            set_handles(&t, 1, old.id, n, 10);
            set_handles(&t, 2, old.id, n, 900);
            OK(ip_object_release(&arena, old.id, 0));
            uint64_t record = start(&t, 1);
            set_handles(&t, 1, new.id, n, 20); /* replaced */
            set_handles(&t, 3, new.id, n, 900);
            CHECK_EQ(transit(old.id, &holders), 2 * n);
            CHECK_EQ(holders, 0);
            ip_handle_ref got[IP_VALUE_HANDLES_MAX];
            ip_value_out out = {.data = got_bytes, .room = VALUE_MAX, .handles = got, .handles_room = n}, nothing = {.data = NULL};
            stored_key k;
            fill_key(&k, 2);
            OK(ip_table_get(&arena, t.table, IP_PATIENT, &k.key, &nothing)); /* asks for no more than the size */
            CHECK(nothing.size == 900 && nothing.n_handles == 0 && nothing.kind == 2);
            CHECK(transit(old.id, &holders) == 2 * n && holders == 0);
            OK(ip_table_pop(&arena, t.table, IP_PATIENT, &k.key, &out));
            CHECK(transit(old.id, &holders) == 2 * n && holders == 1); /* the log has it, and so have I */
            OK(ip_object_release(&arena, new.id, 0));
            OK(ip_object_release(&arena, old.id, 0));
            CHECK_EQ(transit(new.id, &holders), 2 * n);
            OK(ip_table_check(&arena, t.table));
            finish(&t, 1, record, commit);
            CHECK_EQ(transit(new.id, &holders), commit ? 2 * n : 0);
            CHECK_EQ(holders, commit ? 0 : 99);
            CHECK_EQ(transit(old.id, &holders), commit ? 0 : 2 * n);
            CHECK_EQ(holders, commit ? 99 : 0);
            OK(ip_object_release(&arena, t.id, 0));
            CHECK_EQ(heap_used(&arena), 0);
        }
    end();
}

int main(void) {
    RUN(random_transactions);
    RUN(large_ones_are_undone_and_leave_nothing);
    RUN(what_changes_in_transactions_only_does_not_grow);
    RUN(running_out_in_one_can_be_undone);
    RUN(without_memory_nothing_is_done_but_settling);
    RUN(handles_are_kept_until_it_is_settled);
    return 0;
}

/* test_transaction.c: gates keep others out; transactions are all or nothing, against a model, at any size, and leave nothing behind. */
#include <pthread.h>

#include "table_world.h"
#include "transaction.h"

#if defined(UNDER_ASAN) || defined(UNDER_TSAN)
enum { ROUNDS = 300, MANY = 5000, TRANSFERS = 300 };
#else
enum { ROUNDS = 3000, MANY = 50000, TRANSFERS = 3000 };
#endif

static ip_arena arena;

static void begin(uint64_t mib) { OK(ip_arena_create(&arena, -1, mib << 20)); }

static void end(void) {
    OK(ip_heap_check(&arena));
    CHECK_EQ(heap_used(&arena), 0);
    CHECK_EQ(word_of(&arena.header->heap_top), arena.heap);
    OK(ip_member_leave(&arena));
    ip_arena_detach(&arena);
}

static void reap(uint32_t expected) {
    uint32_t buried;
    OK(ip_member_reap(&arena, &buried));
    CHECK_EQ(buried, expected);
}

/* Waits until the gate is this thread's. */
static void acquire(const table *t) {
    ip_status status = ip_gate_acquire(&arena, &t->table->container, IP_NOW);
    while (status != IP_OK) {
        bool slept = false, ready = true;
        CHECK(status == IP_BUSY || status == IP_HELD);
        if (status == IP_HELD) ready = ip_gate_wait(&arena, &t->table->container, UINT64_MAX, &slept);
        status = ip_gate_acquire(&arena, &t->table->container, ready ? IP_PATIENT : IP_INHERIT);
    }
}

static void let_go(const table *t) { OK(ip_gate_release(&arena, &t->table->container)); }

static uint64_t start(const table *tables, unsigned n) {
    uint64_t record;
    ip_status status;
    for (unsigned i = 0; i < n; i++) acquire(&tables[i]);
    UNTIL_NOT_BUSY(status, ip_transaction_begin(&arena, &record));
    CHECK_EQ(status, IP_OK);
    for (unsigned i = 0; i < n; i++) {
        UNTIL_NOT_BUSY(status, ip_transaction_join(&arena, record, &tables[i].table->container));
        CHECK_EQ(status, IP_OK);
        CHECK(ip_transaction_mine(&arena, &tables[i].table->container));
    }
    return record;
}

static void finish(const table *tables, unsigned n, uint64_t record, bool commit) {
    ip_status status;
    if (commit) OK(ip_transaction_commit(&arena, record));
    for (unsigned i = 0; i < n; i++) {
        UNTIL_NOT_BUSY(status, ip_transaction_settle(&arena, record, &tables[i].table->container));
        CHECK_EQ(status, IP_OK);
        CHECK(!ip_transaction_mine(&arena, &tables[i].table->container));
        let_go(&tables[i]);
    }
}

static table number_table(uint64_t from, uint64_t to, uint64_t size) {
    table t = table_new(&arena);
    for (uint64_t i = from; i < to; i++) set_when(&t, i, i, size, IP_TABLE_ALWAYS, 0, 0);
    return t;
}

/* ---- gates ---- */

static table gated;

/* Each call on it, in a thread without its gate. */
static void *is_kept_out(void *unused) {
    ip_container *c = &gated.table->container;
    ip_container_state state;
    ip_value_out out = {.data = got_bytes, .room = VALUE_MAX};
    ip_table_outcome outcome;
    uint64_t key = 0, value, size, record;
    stored_key k = key_of(1);
    (void)unused;
    CHECK_EQ(ip_container_look(&arena, c, IP_PATIENT, &state), IP_HELD);
    CHECK_EQ(get(&gated, 1, &value, &size), IP_HELD);
    CHECK_EQ(pop(&gated, 1, &value, &size), IP_HELD);
    CHECK_EQ(try_set(&gated, 1, 2, 8, IP_TABLE_ALWAYS, 0, 0, &outcome), IP_HELD);
    CHECK_EQ(try_set(&gated, 9, 2, 80000, IP_TABLE_ALWAYS, 0, 0, &outcome), IP_HELD);
    CHECK_EQ(outcome, IP_TABLE_REFUSED);
    CHECK_EQ(pop_last(&gated, &key, &value, &size), IP_HELD);
    CHECK_EQ(ip_table_clear(&arena, gated.table, IP_PATIENT), IP_HELD);
    CHECK_EQ(ip_table_next(&arena, gated.table, IP_PATIENT, 0, &key, NULL, &out), IP_HELD);
    CHECK_EQ(ip_table_get(&arena, gated.table, IP_PATIENT, &k.key, NULL), IP_HELD);
    CHECK_EQ(ip_gate_acquire(&arena, c, IP_NOW), IP_HELD);
    CHECK_EQ(ip_gate_acquire(&arena, c, IP_PATIENT), IP_HELD);
    CHECK_EQ(ip_gate_release(&arena, c), IP_NOT_OWNER);
    OK(ip_transaction_begin(&arena, &record));
    CHECK_EQ(ip_transaction_join(&arena, record, c), IP_NOT_OWNER);
    OK(ip_transaction_end(&arena, record));
    CHECK(!ip_gate_mine(&arena, c) && !ip_transaction_mine(&arena, c));
    bool slept;
    CHECK(!ip_gate_wait(&arena, c, 0, &slept));
    return NULL;
}

static void keep_a_thread_out(void) {
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, is_kept_out, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void a_gate_is_its_threads_alone(void) {
    begin(16);
    gated = number_table(0, 4, 10);
    set_when(&gated, 2, 5, 10, IP_TABLE_ALWAYS, 0, 0); /* from now on it has room for one more */
    uint64_t value, size, used = heap_used(&arena);
    CHECK_EQ(ip_gate_release(&arena, &gated.table->container), IP_NOT_OWNER);
    for (int depth = 0; depth < 3; depth++) acquire(&gated);
    for (int depth = 0; depth < 3; depth++) {
        CHECK(ip_gate_mine(&arena, &gated.table->container));
        OK(get(&gated, 1, &value, &size));
        set_when(&gated, 2, 5, 10, IP_TABLE_ALWAYS, 0, 0);
        keep_a_thread_out();
        let_go(&gated);
    }
    CHECK(!ip_gate_mine(&arena, &gated.table->container));
    CHECK_EQ(ip_gate_release(&arena, &gated.table->container), IP_NOT_OWNER);
    CHECK_EQ(heap_used(&arena), used);
    OK(get(&gated, 2, &value, &size));
    CHECK_EQ(value, 5);
    acquire(&gated);
    pid_t pid = fork_member(&arena); /* a forked child has not got its parent's gate */
    if (pid == 0) {
        is_kept_out(NULL);
        _exit(0);
    }
    CHECK_EQ(child_end(pid), CHILD_DONE);
    let_go(&gated);
    reap(1);
    OK(ip_object_release(&arena, gated.id, 0));
    end();
}

static void a_dead_ones_gate_goes_to_the_next(void) {
    begin(16);
    table t = number_table(0, 4, 10);
    for (int how = 0; how < 2; how++) {
        pid_t pid = fork_member(&arena);
        if (pid == 0) {
            acquire(&t);
            acquire(&t);
            if (how) start(&t, 1), set_when(&t, 9, 9, 9, IP_TABLE_ALWAYS, 0, 0);
            kill(getpid(), SIGKILL);
        }
        CHECK_EQ(child_end(pid), CHILD_KILLED);
        if (how) reap(1);
        CHECK_EQ(ip_gate_acquire(&arena, &t.table->container, IP_NOW), IP_HELD);
        OK(ip_gate_acquire(&arena, &t.table->container, IP_INHERIT));
        let_go(&t);
        CHECK_EQ(ip_gate_release(&arena, &t.table->container), IP_NOT_OWNER);
        CHECK_EQ(look(&t).count, 4);
        if (!how) reap(1);
    }
    OK(ip_object_release(&arena, t.id, 0));
    end();
}

static void misuse_is_told(void) {
    begin(16);
    table t[2] = {number_table(0, 4, 10), number_table(0, 4, 10)};
    uint64_t used = heap_used(&arena), record = start(t, 1), other;
    CHECK_EQ(ip_gate_release(&arena, &t->table->container), IP_NOT_OWNER); /* it is in a transaction */
    CHECK_EQ(ip_transaction_join(&arena, record, &t->table->container), IP_EXISTS);
    OK(ip_transaction_begin(&arena, &other));
    CHECK_EQ(ip_transaction_join(&arena, other, &t->table->container), IP_EXISTS);
    CHECK_EQ(ip_transaction_join(&arena, other, &t[1].table->container), IP_NOT_OWNER);
    OK(ip_transaction_settle(&arena, other, &t->table->container)); /* it is not in that one */
    CHECK(ip_transaction_mine(&arena, &t->table->container));
    OK(ip_transaction_end(&arena, other));
    OK(ip_transaction_end(&arena, record)); /* nor does this end one that is under way */
    CHECK_EQ(ip_transaction_commit(&arena, arena.heap + 64), IP_CORRUPT);
    CHECK_EQ(ip_transaction_commit(&arena, 8), IP_CORRUPT);
    finish(t, 1, record, true);
    OK(ip_transaction_settle(&arena, record, &t->table->container));
    CHECK_EQ(heap_used(&arena), used);
    for (int i = 0; i < 2; i++) OK(ip_object_release(&arena, t[i].id, 0));
    end();
}

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

static void set_handles(const table *t, uint64_t key, ip_id id, unsigned n, uint64_t size) {
    ip_handle_ref refs[IP_VALUE_HANDLES_MAX];
    ip_table_outcome outcome;
    stored_key k;
    fill_key(&k, key);
    for (unsigned i = 0; i < n; i++) refs[i] = (ip_handle_ref){id, 0};
    fill_message(value_bytes, size, key);
    ip_value v = {.kind = (uint8_t)key, .data = value_bytes, .size = size, .handles = refs, .n_handles = n};
    OK(ip_table_set(&arena, t->table, IP_PATIENT, &k.key, &v, IP_TABLE_ALWAYS, NULL, &outcome));
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

/* ---- deaths of all who hold a container that is in a transaction ---- */

static void what_is_freed_in_the_middle_leaves_nothing(void) {
    begin(64);
    for (int committed = 0; committed < 2; committed++) {
        table kept = number_table(0, 50, 20);
        pid_t pid = fork_member(&arena);
        if (pid == 0) {
            uint64_t value, size;
            table t[2] = {kept, number_table(0, 50, 20)}, in = number_table(0, 9, 99), lost = number_table(0, 9, 99);
            set_handles(&t[1], 70, lost.id, 2, 10);
            set_handles(&t[1], 71, lost.id, 2, 1000);
            uint64_t record = start(t, 2);
            for (int i = 0; i < 2; i++) {
                set_handles(&t[i], 60, in.id, 3, 20);
                set_handles(&t[i], 61, in.id, 3, 2000);
                for (uint64_t j = 0; j < 20; j++) set_when(&t[i], j, j, j * 100, IP_TABLE_ALWAYS, 0, 0);
                for (uint64_t j = 30; j < 40; j++) OK(pop(&t[i], j, &value, &size));
                OK(ip_table_clear(&arena, t[i].table, IP_PATIENT));
                for (uint64_t j = 0; j < 20; j++) set_when(&t[i], j, j, j * 100, IP_TABLE_ALWAYS, 0, 0);
            }
            if (committed) OK(ip_transaction_commit(&arena, record));
            kill(getpid(), SIGKILL);
        }
        CHECK_EQ(child_end(pid), CHILD_KILLED);
        reap(1); /* frees the other one, whose record is still needed */
        OK(ip_heap_check(&arena));
        acquire(&kept);
        let_go(&kept);
        OK(ip_table_check(&arena, kept.table));
        CHECK_EQ(look(&kept).count, committed ? 20 : 50);
        OK(ip_object_release(&arena, kept.id, 0));
        CHECK_EQ(heap_used(&arena), 0);
    }
    end();
}

/* ---- several processes and threads, some of which are killed ---- */

static table accounts[2];
enum { OWNERS = 8, WEALTH = 1000 };

static uint64_t read_account(unsigned which, uint64_t owner) {
    uint64_t value, size;
    OK(get(&accounts[which], owner, &value, &size));
    CHECK_EQ(size, 16);
    return value;
}

/* Under both gates, whoever has been killed before: nothing was lost or made. */
static void nothing_is_lost(void) {
    uint64_t sum = 0;
    for (unsigned which = 0; which < 2; which++)
        for (uint64_t owner = 0; owner < OWNERS; owner++) sum += read_account(which, owner);
    CHECK_EQ(sum, 2 * OWNERS * WEALTH);
}

static _Thread_local uint64_t points_left;

static void die_at_last(const char *step) {
    (void)step;
    if (points_left && --points_left == 0) kill(getpid(), SIGKILL);
}

static void *transfer(void *context) {
    uint64_t random = *(uint64_t *)context;
    for (int i = 0; i < TRANSFERS; i++) {
        uint64_t record = start(accounts, 2), amount = next_random(&random) % 5, to = next_random(&random) % OWNERS;
        uint64_t from = next_random(&random) % OWNERS, a = read_account(0, from), b = read_account(1, to);
        uint64_t size;
        nothing_is_lost();
        if (a < amount) amount = 0;
        set_when(&accounts[0], from, a - amount, 16, IP_TABLE_ALWAYS, 0, 0);
        if (next_random(&random) % 4 == 0) { /* changed its mind */
            finish(accounts, 2, record, false);
            continue;
        }
        set_when(&accounts[1], to, b + amount, 16, IP_TABLE_ALWAYS, 0, 0);
        if (i % 7 == 0 && to != 0) { /* the same another way */
            OK(pop(&accounts[1], to, &size, &size));
            set_when(&accounts[1], to, b + amount, 16, IP_TABLE_ALWAYS, 0, 0);
        }
        finish(accounts, 2, record, true);
    }
    return NULL;
}

static void open_accounts(void) {
    begin(64);
    for (int i = 0; i < 2; i++) {
        accounts[i] = table_new(&arena);
        for (uint64_t owner = 0; owner < OWNERS; owner++) set_when(&accounts[i], owner, WEALTH, 16, IP_TABLE_ALWAYS, 0, 0);
    }
}

static void close_accounts(void) {
    for (int i = 0; i < 2; i++) acquire(&accounts[i]);
    nothing_is_lost();
    for (int i = 0; i < 2; i++) {
        OK(ip_table_check(&arena, accounts[i].table));
        let_go(&accounts[i]);
        OK(ip_object_release(&arena, accounts[i].id, 0));
    }
    uint32_t buried;
    OK(ip_member_reap(&arena, &buried));
    end();
}

static void threads_exclude_each_other(void) {
    pthread_t threads[3];
    uint64_t seeds[3] = {1, 2, 3};
    open_accounts();
    for (int i = 0; i < 3; i++) CHECK_EQ(pthread_create(&threads[i], NULL, transfer, &seeds[i]), 0);
    for (int i = 0; i < 3; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
    close_accounts();
}

static void processes_that_are_killed_lose_nothing(void) {
    enum { LIVES = 60, AT_ONCE = 3 };
    open_accounts();
    uint64_t random = 5;
    pid_t pids[AT_ONCE] = {0};
    int killed = 0;
    for (int life = 0; life < LIVES + AT_ONCE; life++) {
        pid_t *pid = &pids[life % AT_ONCE];
        if (*pid) killed += child_end(*pid) == CHILD_KILLED;
        *pid = 0;
        if (life >= LIVES) continue;
        uint64_t seed = next_random(&random), points = next_random(&random) % 20000;
        *pid = fork_member(&arena);
        if (*pid) continue;
        alarm(60);
        points_left = points;
        ip_fault_hook = die_at_last;
        transfer(&seed);
        _exit(0);
    }
    CHECK(killed > LIVES / 2);
    close_accounts();
}

int main(void) {
    RUN(a_gate_is_its_threads_alone);
    RUN(a_dead_ones_gate_goes_to_the_next);
    RUN(misuse_is_told);
    RUN(random_transactions);
    RUN(large_ones_are_undone_and_leave_nothing);
    RUN(running_out_in_one_can_be_undone);
    RUN(handles_are_kept_until_it_is_settled);
    RUN(what_is_freed_in_the_middle_leaves_nothing);
    RUN(threads_exclude_each_other);
    RUN(processes_that_are_killed_lose_nothing);
    return 0;
}

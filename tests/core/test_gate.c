/* test_gate.c: gates and transactions keep others out, threads and processes, some of which are killed. */
#include <pthread.h>

#include "transaction_world.h"

#if defined(UNDER_ASAN) || defined(UNDER_TSAN)
enum { TRANSFERS = 300 };
#else
enum { TRANSFERS = 3000 };
#endif

static void reap(uint32_t expected) {
    uint32_t buried;
    OK(ip_member_reap(&arena, &buried));
    CHECK_EQ(buried, expected);
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
    CHECK_EQ(ip_transaction_commit(&arena, arena.heap + 64, &t->table->container), IP_NOT_OWNER); /* it is in another */
    CHECK_EQ(ip_transaction_commit(&arena, record, &t[1].table->container), IP_NOT_OWNER);
    finish(t, 1, record, true);
    OK(ip_transaction_settle(&arena, record, &t->table->container));
    CHECK_EQ(heap_used(&arena), used);
    for (int i = 0; i < 2; i++) OK(ip_object_release(&arena, t[i].id, 0));
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
            if (committed) OK(ip_transaction_commit(&arena, record, &t->table->container));
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
    RUN(what_is_freed_in_the_middle_leaves_nothing);
    RUN(threads_exclude_each_other);
    RUN(processes_that_are_killed_lose_nothing);
    return 0;
}

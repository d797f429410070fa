/* test_list_transactions.c: what is done to a list in a transaction stands, or was never done. */
#include "list_model.h"

static void random_transactions(void) { run_model(STEPS / 2, 40); }

/* The gap goes a long way back, in steps; nothing is needed from the heap. */
static void a_long_list_is_put_right_again(void) {
    begin(256);
    list l = list_new(&arena);
    uint64_t number, size;
    for (uint64_t i = 0; i < MANY; i++) append(&l, i, 8);
    OK(try_insert(&l, MANY / 2, MANY, 8));
    OK(pop(&l, MANY / 2, &number, &size));
    uint64_t used = heap_used(&arena), record = begin_transaction(&l);
    for (uint64_t i = 1; i < 40; i++) {
        OK(try_insert(&l, (int64_t)(i * MANY / 40), i, 8));
        OK(pop(&l, (int64_t)((40 - i) * MANY / 40), &number, &size));
        if (i == 20) OK(ip_list_clear(&arena, l.list, IP_PATIENT));
        if (i == 20)
            for (uint64_t j = 0; j < MANY; j++) append(&l, j, 9);
    }
    OK(ip_list_check(&arena, l.list));
    end_transaction(&l, record, false);
    CHECK(heap_used(&arena) <= used + 17 * 16384);
    CHECK_EQ(look(&l).count, MANY);
    for (uint64_t i = 0; i < MANY; i++) {
        OK(get(&l, (int64_t)i, &number, &size));
        CHECK(number == i && size == 8);
    }
    OK(ip_list_check(&arena, l.list));
    OK(ip_object_release(&arena, l.id, 0));
    end();
}

static void handles_come_and_go_with_a_transaction(void) {
    begin(64);
    for (unsigned commit = 0; commit < 2; commit++) {
        list l = list_new(&arena), in = list_new(&arena), other = list_new(&arena);
        ip_handle_ref refs[3] = {{in.id, 0}, {in.id, 0}, {in.id, 0}}, others[1] = {{other.id, 0}}, got[3];
        ip_value v = {.data = "nested", .size = 6, .handles = refs, .n_handles = 3}, w = {.data = "", .handles = others, .n_handles = 1};
        unsigned char bytes[10];
        ip_value_out out = {.data = bytes, .room = 10, .handles = got, .handles_room = 3};
        bool done;
        for (unsigned i = 0; i < 4; i++) OK(ip_list_insert(&arena, l.list, IP_PATIENT, END, &v));
        OK(ip_object_release(&arena, in.id, 0));
        uint64_t record = begin_transaction(&l);
        OK(ip_list_set(&arena, l.list, IP_PATIENT, 0, &w, NULL, &done));
        OK(ip_list_insert(&arena, l.list, IP_PATIENT, 0, &w));
        OK(ip_list_pop(&arena, l.list, IP_PATIENT, -1, NULL));
        OK(ip_list_rearrange(&arena, l.list, IP_PATIENT, look(&l).shape, (uint64_t[]){1, 0, 3}, 3));
        CHECK_EQ(transit(in.id), 12); /* the log keeps what it may have to put back */
        CHECK_EQ(transit(other.id), 2);
        OK(ip_list_check(&arena, l.list));
        if (!commit) { /* what was taken out may be used even when the taking is undone */
            OK(ip_list_pop(&arena, l.list, IP_PATIENT, -1, &out));
            CHECK_EQ(out.n_handles, 3);
            OK(ip_list_clear(&arena, l.list, IP_PATIENT));
        }
        end_transaction(&l, record, commit);
        CHECK_EQ(look(&l).count, commit ? 3 : 4);
        CHECK_EQ(transit(in.id), commit ? 3 : 12);
        CHECK_EQ(transit(other.id), commit ? 2 : 0);
        OK(ip_list_check(&arena, l.list));
        OK(ip_object_release(&arena, l.id, 0));
        CHECK(exists(in.id) != commit);
        if (!commit) OK(ip_object_release(&arena, in.id, 0));
        CHECK(!exists(in.id));
        OK(ip_object_release(&arena, other.id, 0));
    }
    end();
}

/* Whoever holds a list last may have left a transaction behind. */
static void a_list_is_freed_in_a_transaction(void) {
    begin(64);
    list l = list_new(&arena), in = list_new(&arena);
    ip_handle_ref refs[1] = {{in.id, 0}};
    ip_value v = {.data = "", .handles = refs, .n_handles = 1};
    for (uint64_t i = 0; i < 50; i++) append(&l, i, i * 50);
    for (uint64_t i = 0; i < 5; i++) OK(ip_list_insert(&arena, l.list, IP_PATIENT, 7, &v));
    OK(ip_object_release(&arena, in.id, 0));
    begin_transaction(&l);
    for (uint64_t i = 0; i < 20; i++) OK(ip_list_pop(&arena, l.list, IP_PATIENT, 6, NULL));
    for (uint64_t i = 0; i < 20; i++) OK(try_set(&l, (int64_t)i, i, i * 40));
    OK(ip_list_clear(&arena, l.list, IP_PATIENT));
    for (uint64_t i = 0; i < 20; i++) append(&l, i, i * 50);
    OK(ip_list_rearrange(&arena, l.list, IP_PATIENT, look(&l).shape, (uint64_t[]){5, 6, 7}, 3));
    OK(ip_object_release(&arena, l.id, 0));
    end();
}

static void running_out_in_a_transaction_loses_nothing(void) {
    static uint64_t sizes[100000];
    for (unsigned commit = 0; commit < 2; commit++) {
        begin(2);
        list l = list_new(&arena);
        uint64_t random = 5, n = 0, number, size, refused = 0;
        for (; n < 3000; n++) append(&l, n, sizes[n] = next_random(&random) % 200);
        uint64_t record = begin_transaction(&l), changes = look(&l).changes, now = n;
        while (refused < 200) {
            uint64_t wanted = next_random(&random) % 3 ? next_random(&random) % 200 : next_random(&random) % 20000;
            int64_t index = (int64_t)(next_random(&random) % (now + 1));
            ip_status status;
            switch (next_random(&random) % 3) {
                case 0: status = ip_list_pop(&arena, l.list, IP_PATIENT, index, NULL), now -= status == IP_OK; break;
                case 1: status = try_insert(&l, index, 7, wanted), now += status == IP_OK; break;
                default: status = try_set(&l, index, 7, wanted);
            }
            CHECK(status == IP_OK || status == IP_NO_MEMORY || (status == IP_AGAIN && index == (int64_t)now));
            changes += status == IP_OK;
            CHECK_EQ(look(&l).changes, changes);
            refused += status == IP_NO_MEMORY;
        }
        while (try_set(&l, -1, 7, 3) == IP_OK) continue; /* until the log does not fit any more */
        CHECK_EQ(ip_list_pop(&arena, l.list, IP_PATIENT, 0, NULL), IP_NO_MEMORY);
        CHECK_EQ(ip_list_clear(&arena, l.list, IP_PATIENT), IP_NO_MEMORY);
        OK(ip_list_check(&arena, l.list));
        end_transaction(&l, record, commit);
        OK(ip_list_check(&arena, l.list));
        CHECK_EQ(look(&l).count, commit ? now : n);
        for (uint64_t i = 0; i < n && !commit; i++) {
            OK(get(&l, (int64_t)i, &number, &size));
            CHECK(size == sizes[i] && number == legible(i, size));
        }
        OK(ip_object_release(&arena, l.id, 0));
        end();
    }
}

/* ---- who dies ---- */

enum { MOVED = 60, GROUPS = STEPS / 4000 };
static list sides[2];
static uint64_t steps_left;

static void die_in_the_end(const char *step) {
    (void)step;
    if (!steps_left--) kill(getpid(), SIGKILL);
}

static void have_gate(const list *l) {
    ip_container *c = &l->list->container;
    ip_status status;
    while ((status = ip_gate_acquire(&arena, c, IP_PATIENT)) != IP_OK) {
        bool slept = false;
        CHECK(status == IP_HELD || status == IP_BUSY);
        if (status == IP_HELD) ip_gate_wait(&arena, c, UINT64_MAX, &slept);
    }
}

/* Moves items from one list to the other, each in a transaction of both, some of which are rolled back. */
static void move_items(uint64_t seed) {
    uint64_t random = seed, number, size, record;
    ip_status status;
    steps_left = next_random(&random) % 6000;
    ip_fault_hook = die_in_the_end;
    for (;;) {
        for (unsigned i = 0; i < 2; i++) have_gate(&sides[i]);
        UNTIL_NOT_BUSY(status, ip_transaction_begin(&arena, &record));
        OK(status);
        for (unsigned i = 0; i < 2; i++) {
            UNTIL_NOT_BUSY(status, ip_transaction_join(&arena, record, &sides[i].list->container));
            OK(status);
        }
        for (unsigned i = 0; i < 3; i++) {
            const list *from = &sides[next_random(&random) % 2], *to = from == sides ? from + 1 : from - 1;
            uint64_t n = look(from).count;
            if (!n) continue;
            OK(pop(from, (int64_t)(next_random(&random) % n), &number, &size));
            OK(try_insert(to, (int64_t)(next_random(&random) % (look(to).count + 1)), number, size));
        }
        if (next_random(&random) % 3) {
            UNTIL_NOT_BUSY(status, ip_transaction_commit(&arena, record, &sides[0].list->container));
            OK(status);
        }
        for (unsigned i = 0; i < 2; i++) {
            UNTIL_NOT_BUSY(status, ip_transaction_settle(&arena, record, &sides[i].list->container));
            OK(status);
        }
        for (unsigned i = 2; i-- > 0;) OK(ip_gate_release(&arena, &sides[i].list->container));
    }
}

static void each_is_on_one_side(void) {
    bool found[MOVED] = {false};
    uint64_t number, size, total = 0;
    for (unsigned i = 0; i < 2; i++) {
        have_gate(&sides[i]);
        OK(ip_list_check(&arena, sides[i].list));
    }
    for (unsigned i = 0; i < 2; i++) {
        uint64_t n = look(&sides[i]).count;
        for (uint64_t index = 0; index < n; index++, total++) {
            OK(get(&sides[i], (int64_t)index, &number, &size));
            CHECK(number < MOVED && !found[number] && size == 8 + number * 17);
            found[number] = true;
        }
    }
    CHECK_EQ(total, MOVED);
    for (unsigned i = 0; i < 2; i++) OK(ip_gate_release(&arena, &sides[i].list->container));
}

static void whoever_dies_each_item_is_on_one_side(void) {
    enum { AT_ONCE = 3 };
    uint32_t buried;
    begin(64);
    for (unsigned i = 0; i < 2; i++) sides[i] = list_new(&arena);
    for (uint64_t i = 0; i < MOVED; i++) append(&sides[i % 2], i, 8 + i * 17);
    for (uint64_t group = 0; group < GROUPS; group++) {
        pid_t pids[AT_ONCE];
        for (uint64_t i = 0; i < AT_ONCE; i++) {
            pids[i] = fork_member(&arena);
            if (pids[i] == 0) move_items(group * AT_ONCE + i);
        }
        for (uint64_t i = 0; i < AT_ONCE; i++) CHECK_EQ(child_end(pids[i]), CHILD_KILLED);
        each_is_on_one_side();
        OK(ip_member_reap(&arena, &buried));
        OK(ip_heap_check(&arena));
    }
    for (unsigned i = 0; i < 2; i++) OK(ip_object_release(&arena, sides[i].id, 0));
    end();
}

int main(void) {
    RUN(random_transactions);
    RUN(a_long_list_is_put_right_again);
    RUN(handles_come_and_go_with_a_transaction);
    RUN(a_list_is_freed_in_a_transaction);
    RUN(running_out_in_a_transaction_loses_nothing);
    RUN(whoever_dies_each_item_is_on_one_side);
    return 0;
}

/* test_table.c: tables do what a model does, in order, at any size, and leave nothing behind. */
#include <pthread.h>
#include <time.h>

#include "table_world.h"

#if defined(UNDER_ASAN) || defined(UNDER_TSAN)
enum { STEPS = 20000, MANY = 30000, CHECK_EVERY = 1009 };
#else
enum { STEPS = 200000, MANY = 100000, CHECK_EVERY = 5003 };
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

/* ---- against a model ---- */

enum { KEYS = 600 };
static struct {
    uint64_t serial, value, size; /* serial: when it was inserted; 0: it is not there */
} model[KEYS];
static uint64_t model_count, model_serial;

static void forget(uint64_t key) {
    CHECK(model[key].serial);
    model[key].serial = 0;
    model_count--;
}

static uint64_t some_size(uint64_t *random) {
    uint64_t r = next_random(random);
    return r % 50 == 0 ? r / 50 % 20000 : r / 50 % (r % 7 ? 60 : 600);
}

static void compare(const table *t) {
    ip_container_state state = look(t);
    uint64_t position = 0, last = 0, n = 0, key, value, size;
    ip_status status;
    CHECK_EQ(state.count, model_count);
    while ((status = next_pair(t, state.shape, &position, &key, &value, &size)) == IP_OK) {
        CHECK(key < KEYS && model[key].serial > last);
        CHECK(model[key].value == value && model[key].size == size);
        last = model[key].serial;
        n++;
    }
    CHECK_EQ(status, IP_EOF);
    CHECK_EQ(n, model_count);
    OK(ip_table_check(&arena, t->table));
    OK(ip_heap_check(&arena));
}

static void random_step(const table *t, uint64_t step, uint64_t *random) {
    uint64_t key = next_random(random) % KEYS, value, size = some_size(random), last = 0, changes = look(t).changes;
    bool there = model[key].serial != 0, done = false;
    switch (next_random(random) % 100) {
        case 0: /* 1: rarely, so that it grows in between */
            if (next_random(random) % 40) return;
            OK(ip_table_clear(&arena, t->table, IP_PATIENT));
            for (uint64_t i = 0; i < KEYS; i++) model[i].serial = 0;
            model_count = 0;
            CHECK_EQ(look(t).count, 0);
            return;
        case 1 ... 20:
            CHECK_EQ(pop(t, key, &value, &size), there ? IP_OK : IP_AGAIN);
            if (there) {
                CHECK(value == model[key].value && size == model[key].size);
                forget(key);
            }
            CHECK_EQ(look(t).changes, changes + there);
            return;
        case 21 ... 30:
            for (uint64_t i = 0; i < KEYS; i++)
                if (model[i].serial > last) last = model[i].serial, key = i;
            uint64_t got;
            CHECK_EQ(pop_last(t, &got, &value, &size), last ? IP_OK : IP_AGAIN);
            if (last) {
                CHECK(got == key && value == model[key].value && size == model[key].size);
                forget(key);
            }
            return;
        case 31 ... 40: done = set_when(t, key, step, size, IP_TABLE_IF_ABSENT, 0, 0) != IP_TABLE_REFUSED; CHECK(done == !there); break;
        case 41 ... 50: done = set_when(t, key, step, size, IP_TABLE_IF_PRESENT, 0, 0) != IP_TABLE_REFUSED; CHECK(done == there); break;
        case 51 ... 55:
            done = set_when(t, key, step, size, IP_TABLE_IF_EQUAL, model[key].value, model[key].size) != IP_TABLE_REFUSED;
            CHECK(done == there);
            break;
        case 56 ... 58:
            done = set_when(t, key, step, size, IP_TABLE_IF_EQUAL, model[key].value + 1, model[key].size) != IP_TABLE_REFUSED;
            CHECK(!done);
            break;
        case 59 ... 70:
            CHECK_EQ(get(t, key, &value, &size), there ? IP_OK : IP_AGAIN);
            if (there) CHECK(value == model[key].value && size == model[key].size);
            CHECK_EQ(look(t).changes, changes);
            return;
        default:
            CHECK_EQ(set_when(t, key, step, size, IP_TABLE_ALWAYS, 0, 0), there ? IP_TABLE_REPLACED : IP_TABLE_INSERTED);
            done = true;
    }
    if (!done) {
        CHECK_EQ(look(t).changes, changes);
        return;
    }
    CHECK_EQ(look(t).changes, changes + 1);
    model[key].value = size < 8 ? (uint8_t)step : step;
    model[key].size = size;
    if (!there) {
        model[key].serial = ++model_serial;
        model_count++;
    }
}

static void run_model(uint64_t steps) {
    begin(64);
    table t = table_new(&arena);
    uint64_t random = 7;
    model_count = model_serial = 0;
    memset(model, 0, sizeof model);
    for (uint64_t step = 1; step <= steps; step++) {
        random_step(&t, step, &random);
        if (step % CHECK_EVERY == 0) compare(&t);
    }
    compare(&t);
    OK(ip_object_release(&arena, t.id, 0));
    end();
}

static void random_operations(void) { run_model(STEPS); }

static void random_operations_when_hashes_collide(void) {
    hash_modulo = 3;
    run_model(STEPS / 20);
    hash_modulo = 0;
}

/* ---- size, order, memory ---- */

static void grows_and_gives_back(void) {
    begin(256);
    table t = table_new(&arena);
    uint64_t empty = heap_used(&arena), value, size, position = 0, key;
    CHECK(empty <= 2048);
    for (uint64_t i = 0; i < MANY; i++) CHECK_EQ(set_when(&t, i, i * 3, i % 40, IP_TABLE_ALWAYS, 0, 0), IP_TABLE_INSERTED);
    OK(ip_table_check(&arena, t.table));
    uint64_t full = heap_used(&arena);
    for (uint64_t i = 0; i < MANY; i++) {
        OK(get(&t, i, &value, &size));
        CHECK(size == i % 40);
        OK(next_pair(&t, look(&t).shape, &position, &key, &value, &size));
        CHECK_EQ(key, i);
    }
    for (uint64_t i = 0; i < MANY; i++) { /* replacing keeps the place, and the memory */
        CHECK_EQ(set_when(&t, i, i * 5, i % 40, IP_TABLE_ALWAYS, 0, 0), IP_TABLE_REPLACED);
    }
    CHECK(heap_used(&arena) <= full + 17 * 16384);
    for (uint64_t i = 0; i < MANY; i += 2) OK(pop(&t, i, &value, &size));
    position = 0;
    for (uint64_t i = 1; i < MANY; i += 2) {
        OK(next_pair(&t, look(&t).shape, &position, &key, &value, &size));
        CHECK_EQ(key, i);
    }
    for (uint64_t i = 0; i < MANY; i += 2) CHECK_EQ(set_when(&t, i, i, 8, IP_TABLE_ALWAYS, 0, 0), IP_TABLE_INSERTED);
    CHECK_EQ(look(&t).count, MANY); /* the holes were made use of */
    OK(ip_table_check(&arena, t.table));
    OK(ip_table_clear(&arena, t.table, IP_PATIENT));
    CHECK_EQ(heap_used(&arena), empty);
    for (uint64_t i = 0; i < MANY; i++) set_when(&t, i, i, 8, IP_TABLE_ALWAYS, 0, 0);
    for (uint64_t i = MANY; i-- > 0;) {
        OK(pop_last(&t, &key, &value, &size));
        CHECK_EQ(key, i);
    }
    OK(ip_table_check(&arena, t.table));
    for (uint64_t i = 0; i < 3000; i++) set_when(&t, i, i, i, IP_TABLE_ALWAYS, 0, 0);
    OK(ip_object_release(&arena, t.id, 0));
    end();
}

static void small_entries_take_little(void) {
    begin(256);
    table t = table_new(&arena);
    uint64_t worst = 0;
    for (uint64_t i = 0; i < MANY; i++) { /* a str and an int, whose pickles take 27 and 17 bytes */
        char key[13], value[9] = "12345678";
        ip_table_outcome outcome;
        int n = snprintf(key, sizeof key, "key%09u", (unsigned)i);
        ip_table_key k = {key, (uint64_t)n, ip_sum(key, (uint64_t)n, 1) & IP_PAYLOAD_MAX};
        ip_value v = {.data = value, .size = 9};
        OK(ip_table_set(&arena, t.table, IP_PATIENT, &k, &v, IP_TABLE_ALWAYS, NULL, &outcome));
        if (i >= 1000 && heap_used(&arena) / (i + 1) > worst) worst = heap_used(&arena) / (i + 1);
    }
    printf(" %llu bytes an entry, %llu at worst ...", (unsigned long long)(heap_used(&arena) / MANY), (unsigned long long)worst);
    CHECK(worst <= 3 * 44);
    OK(ip_object_release(&arena, t.id, 0));
    end();
}

static void the_same_key_again_and_again(void) {
    begin(16);
    table t = table_new(&arena);
    uint64_t value, size, most = 0;
    for (uint64_t i = 0; i < STEPS / 4; i++) {
        set_when(&t, i % 3, i, 10, IP_TABLE_ALWAYS, 0, 0);
        OK(pop(&t, i % 3, &value, &size));
        CHECK_EQ(value, i);
        if (heap_used(&arena) > most) most = heap_used(&arena);
    }
    CHECK(most < 4096);
    OK(ip_object_release(&arena, t.id, 0));
    end();
}

static void iteration_notices_changes(void) {
    begin(16);
    table t = table_new(&arena);
    uint64_t key, value, size, position = 0;
    for (uint64_t i = 0; i < 10; i++) set_when(&t, i, i, 20, IP_TABLE_ALWAYS, 0, 0);
    ip_container_state before = look(&t);
    OK(next_pair(&t, before.shape, &position, &key, &value, &size));
    set_when(&t, 5, 50, 300, IP_TABLE_ALWAYS, 0, 0); /* no key comes or goes */
    OK(next_pair(&t, before.shape, &position, &key, &value, &size));
    CHECK_EQ(key, 1);
    set_when(&t, 11, 1, 1, IP_TABLE_ALWAYS, 0, 0);
    CHECK_EQ(next_pair(&t, before.shape, &position, &key, &value, &size), IP_AGAIN);
    before = look(&t);
    OK(pop(&t, 11, &value, &size));
    CHECK_EQ(next_pair(&t, before.shape, &position, &key, &value, &size), IP_AGAIN);
    before = look(&t);
    OK(ip_table_clear(&arena, t.table, IP_PATIENT));
    CHECK_EQ(next_pair(&t, before.shape, &position, &key, &value, &size), IP_AGAIN);
    position = 0;
    CHECK_EQ(next_pair(&t, look(&t).shape, &position, &key, &value, &size), IP_EOF);
    OK(ip_object_release(&arena, t.id, 0));
    end();
}

static void too_little_room_takes_nothing(void) {
    begin(16);
    table t = table_new(&arena);
    static unsigned char bytes[30000];
    uint64_t sizes[] = {1, 100, 20000};
    for (int i = 0; i < 3; i++) {
        set_when(&t, 1, 9, sizes[i], IP_TABLE_ALWAYS, 0, 0);
        ip_value_out out = {.data = bytes, .room = sizes[i] - 1}, key = {.data = bytes, .room = 3};
        stored_key k = key_of(1);
        CHECK_EQ(ip_table_get(&arena, t.table, IP_PATIENT, &k.key, &out), IP_TOO_LONG);
        CHECK_EQ(out.size, sizes[i]);
        CHECK_EQ(ip_table_pop(&arena, t.table, IP_PATIENT, &k.key, &out), IP_TOO_LONG);
        CHECK_EQ(ip_table_pop_last(&arena, t.table, IP_PATIENT, &key, NULL), IP_TOO_LONG);
        CHECK_EQ(key.size, k.key.size);
        CHECK_EQ(look(&t).count, 1);
        OK(ip_table_get(&arena, t.table, IP_PATIENT, &k.key, NULL));
        out.room = sizes[i];
        OK(ip_table_get(&arena, t.table, IP_PATIENT, &k.key, &out));
        OK(ip_table_pop(&arena, t.table, IP_PATIENT, &k.key, NULL));
    }
    OK(ip_object_release(&arena, t.id, 0));
    end();
}

/* ---- handles ---- */

static uint64_t transit(ip_id id) {
    ip_object_info info;
    uint32_t index = id.index;
    OK(ip_object_next(&arena, &index, &info));
    CHECK(info.id.index == id.index && info.id.generation == id.generation);
    return info.transit[0];
}

static bool exists(ip_id id) {
    int kind;
    ip_object *object;
    ip_status status = ip_object_find(&arena, id, &kind, &object);
    CHECK(status == IP_OK || status == IP_FREED);
    return status == IP_OK;
}

static void handles_keep_their_objects(void) {
    begin(64);
    table t = table_new(&arena);
    uint64_t empty = heap_used(&arena);
    static ip_handle_ref many[IP_VALUE_HANDLES_MAX + 1], got[IP_VALUE_HANDLES_MAX];
    unsigned char bytes[64];
    for (unsigned n = 1; n <= IP_VALUE_HANDLES_MAX; n += n < 3 ? 1 : 126) { /* in a slab, and in a block */
        table in = table_new(&arena), other = table_new(&arena);
        for (unsigned i = 0; i < n; i++) many[i] = (ip_handle_ref){i % 2 ? other.id : in.id, 0};
        ip_value v = {.kind = 3, .data = "nested", .size = 6, .handles = many, .n_handles = n};
        ip_table_outcome outcome;
        stored_key k = key_of(4);
        OK(ip_table_set(&arena, t.table, IP_PATIENT, &k.key, &v, IP_TABLE_ALWAYS, NULL, &outcome));
        OK(ip_table_set(&arena, t.table, IP_PATIENT, &k.key, &v, IP_TABLE_ALWAYS, NULL, &outcome)); /* by itself */
        CHECK_EQ(outcome, IP_TABLE_REPLACED);
        CHECK_EQ(transit(in.id), (n + 1) / 2);
        CHECK_EQ(transit(other.id), n / 2);
        OK(ip_object_release(&arena, in.id, 0));
        CHECK(exists(in.id));
        ip_value_out out = {.data = bytes, .room = 64, .handles = got, .handles_room = n - 1};
        CHECK_EQ(ip_table_get(&arena, t.table, IP_PATIENT, &k.key, &out), IP_TOO_LONG);
        CHECK_EQ(out.n_handles, n);
        out.handles_room = n;
        OK(ip_table_get(&arena, t.table, IP_PATIENT, &k.key, &out));
        CHECK(memcmp(got, many, n * sizeof *got) == 0 && memcmp(bytes, "nested", 6) == 0 && out.kind == 3);
        CHECK_EQ(transit(in.id), (n + 1) / 2);
        set_when(&in, 1, 1, 100, IP_TABLE_ALWAYS, 0, 0); /* this process holds it by now */
        OK(ip_object_release(&arena, in.id, 0));
        if (n == 2) {
            OK(ip_table_pop(&arena, t.table, IP_PATIENT, &k.key, &out));
            CHECK(exists(in.id) && transit(in.id) == 0);
            OK(ip_object_release(&arena, in.id, 0));
        } else if (n == 1) {
            set_when(&t, 4, 1, 1, IP_TABLE_ALWAYS, 0, 0);
        } else if (n == 3) {
            OK(ip_table_pop(&arena, t.table, IP_PATIENT, &k.key, NULL));
        } else {
            OK(ip_table_clear(&arena, t.table, IP_PATIENT));
        }
        CHECK(!exists(in.id));
        CHECK_EQ(transit(other.id), 0);
        OK(ip_object_release(&arena, other.id, 0));
        OK(ip_table_clear(&arena, t.table, IP_PATIENT));
        CHECK_EQ(heap_used(&arena), empty);
    }
    stored_key k = key_of(4);
    ip_table_outcome outcome;
    ip_value v = {.handles = many, .n_handles = IP_VALUE_HANDLES_MAX + 1};
    CHECK_EQ(ip_table_set(&arena, t.table, IP_PATIENT, &k.key, &v, IP_TABLE_ALWAYS, NULL, &outcome), IP_TOO_LONG);
    v.n_handles = 1; /* its object is no more */
    CHECK_EQ(ip_table_set(&arena, t.table, IP_PATIENT, &k.key, &v, IP_TABLE_ALWAYS, NULL, &outcome), IP_FREED);
    CHECK_EQ(look(&t).count, 0);
    table outer = t;
    for (uint64_t depth = 0; depth < 40; depth++) { /* tables in tables go with the outermost */
        table in = table_new(&arena);
        set_when(&in, depth, depth, depth * 30, IP_TABLE_ALWAYS, 0, 0);
        ip_handle_ref ref = {in.id, 0};
        v = (ip_value){.handles = &ref, .n_handles = 1};
        OK(ip_table_set(&arena, outer.table, IP_PATIENT, &k.key, &v, IP_TABLE_ALWAYS, NULL, &outcome));
        if (depth) OK(ip_object_release(&arena, outer.id, 0));
        outer = in;
    }
    OK(ip_object_release(&arena, outer.id, 0));
    OK(ip_object_release(&arena, t.id, 0));
    end();
}

/* ---- exhaustion ---- */

static void running_out_changes_nothing(void) {
    begin(2);
    table t = table_new(&arena);
    uint64_t random = 5, n = 0, value, size, key, position = 0, refused = 0;
    ip_table_outcome outcome;
    while (refused < 200) {
        ip_container_state before = look(&t);
        uint64_t wanted = next_random(&random) % 3 ? next_random(&random) % 200 : next_random(&random) % 20000;
        ip_status status = try_set(&t, n, n, wanted, IP_TABLE_ALWAYS, 0, 0, &outcome);
        if (status == IP_OK) {
            n++;
            continue;
        }
        CHECK_EQ(status, IP_NO_MEMORY);
        CHECK_EQ(outcome, IP_TABLE_REFUSED);
        CHECK(look(&t).changes == before.changes && look(&t).count == n);
        refused++;
    }
    OK(ip_table_check(&arena, t.table));
    OK(ip_heap_check(&arena));
    for (uint64_t i = 0; i < n; i++) { /* nor can a value grow then */
        CHECK_EQ(try_set(&t, i, 5, 300000, IP_TABLE_ALWAYS, 0, 0, &outcome), IP_NO_MEMORY);
        OK(next_pair(&t, look(&t).shape, &position, &key, &value, &size));
        CHECK(key == i && value == (size < 8 ? (uint8_t)i : i));
    }
    stored_key k = key_of(1);
    ip_value huge = {.data = "", .size = UINT64_C(1) << 50};
    CHECK_EQ(ip_table_set(&arena, t.table, IP_PATIENT, &k.key, &huge, IP_TABLE_ALWAYS, NULL, &outcome), IP_NO_MEMORY);
    for (uint64_t i = 0; i < n; i += 2) OK(pop(&t, i, &value, &size));
    for (uint64_t i = 0; i < n; i += 2) set_when(&t, i, 1, 10, IP_TABLE_ALWAYS, 0, 0); /* it works again */
    OK(ip_table_check(&arena, t.table));
    OK(ip_object_release(&arena, t.id, 0));
    end();
}

/* ---- several processes, several threads ---- */

static table common;

/* Adds one to a common count, many times, and has keys of its own, from *context on. */
static void *add_ones(void *context) {
    uint64_t value, size, key = *(uint64_t *)context;
    ip_table_outcome outcome;
    for (uint64_t i = 0; i < STEPS / 100; i++) {
        do {
            OK(get(&common, 0, &value, &size));
            OK(try_set(&common, 0, value + 1, 20, IP_TABLE_IF_EQUAL, value, 20, &outcome));
        } while (outcome == IP_TABLE_REFUSED);
        set_when(&common, key + i % 50, i, i % 700, IP_TABLE_ALWAYS, 0, 0);
        if (i % 3 == 0) OK(pop(&common, key + i % 50, &value, &size));
        if (i % 70 == 0) look(&common);
    }
    return NULL;
}

static void processes_share_it(void) {
    enum { PROCESSES = 3 };
    begin(64);
    table t = common = table_new(&arena);
    uint64_t value, size;
    set_when(&t, 0, 0, 20, IP_TABLE_ALWAYS, 0, 0);
    pid_t pids[PROCESSES];
    ip_container_state seen = look(&t);
    for (int p = 0; p < PROCESSES; p++) {
        pids[p] = fork_member(&arena);
        if (pids[p]) continue;
        uint64_t mine = 1000 * (uint64_t)(p + 1);
        add_ones(&mine);
        _exit(0);
    }
    bool slept = false;
    while (!ip_container_wait(&t.table->container, seen.changes, UINT64_MAX, &slept)) continue;
    for (int p = 0; p < PROCESSES; p++) CHECK_EQ(child_end(pids[p]), CHILD_DONE);
    CHECK(!ip_container_wait(&t.table->container, look(&t).changes, 0, &slept));
    OK(get(&t, 0, &value, &size));
    CHECK_EQ(value, PROCESSES * (STEPS / 100));
    OK(ip_table_check(&arena, t.table));
    OK(ip_object_release(&arena, t.id, 0));
    uint32_t buried;
    OK(ip_member_reap(&arena, &buried));
    end();
}

static void threads_share_it(void) {
    begin(64);
    pthread_t threads[3];
    uint64_t keys[3] = {1000, 2000, 3000}, value, size;
    common = table_new(&arena);
    set_when(&common, 0, 0, 20, IP_TABLE_ALWAYS, 0, 0);
    for (int i = 0; i < 3; i++) CHECK_EQ(pthread_create(&threads[i], NULL, add_ones, &keys[i]), 0);
    for (int i = 0; i < 3; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
    OK(get(&common, 0, &value, &size));
    CHECK_EQ(value, STEPS / 100 * 3);
    OK(ip_table_check(&arena, common.table));
    OK(ip_object_release(&arena, common.id, 0));
    end();
}

/* ---- how fast: printed, not judged ---- */

static double ns_each(struct timespec start, uint64_t n) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((double)(now.tv_sec - start.tv_sec) * 1e9 + (double)(now.tv_nsec - start.tv_nsec)) / (double)n;
}

static void speed(void) {
    printf("\n");
    for (uint64_t keys = 1000; keys <= MANY * UINT64_C(10); keys *= 1000) {
        begin(512);
        table t = table_new(&arena);
        uint64_t rounds = 200000, random = 1, value, size;
        struct timespec start;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (uint64_t i = 0; i < keys; i++) set_when(&t, i, i, 16, IP_TABLE_ALWAYS, 0, 0);
        double insert = ns_each(start, keys), replace;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (uint64_t i = 0; i < rounds; i++) set_when(&t, next_random(&random) % keys, i, 16, IP_TABLE_ALWAYS, 0, 0);
        replace = ns_each(start, rounds);
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (uint64_t i = 0; i < rounds; i++) OK(get(&t, next_random(&random) % keys, &value, &size));
        printf("    %llu keys: insert %.0f ns, replace %.0f ns, get %.0f ns, %.1f bytes an entry\n", (unsigned long long)keys,
               insert, replace, ns_each(start, rounds), (double)heap_used(&arena) / (double)keys);
        OK(ip_object_release(&arena, t.id, 0));
        end();
    }
}

int main(void) {
    RUN(random_operations);
    RUN(random_operations_when_hashes_collide);
    RUN(grows_and_gives_back);
    RUN(small_entries_take_little);
    RUN(the_same_key_again_and_again);
    RUN(iteration_notices_changes);
    RUN(too_little_room_takes_nothing);
    RUN(handles_keep_their_objects);
    RUN(running_out_changes_nothing);
    RUN(processes_share_it);
    RUN(threads_share_it);
    RUN(speed);
    return 0;
}

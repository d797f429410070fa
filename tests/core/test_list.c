/* test_list.c: lists do what an array does, at any size, and leave nothing behind. */
#include <pthread.h>
#include <time.h>

#include "list_model.h"

static void random_operations(void) { run_model(STEPS, 0); }

/* Each size, each index: the gap is moved either way, over the ends of the circle, with whatever room there is. */
static void every_index_of_every_small_size(void) {
    begin(16);
    for (uint64_t n = 0; n < 20; n++)
        for (uint64_t first = 0; first <= n; first++)
            for (uint64_t second = 0; second <= n + 1; second++)
                for (uint64_t third = 0; third < n + 2; third++) {
                    list l = list_new(&arena);
                    uint64_t number, size;
                    count = 0;
                    for (uint64_t i = 0; i < n; i++) append(&l, i, 8), model_insert(i, (item){i, 8});
                    uint64_t inserts[2] = {first, second};
                    for (unsigned i = 0; i < 2; i++) {
                        OK(try_insert(&l, (int64_t)inserts[i], 100 + i, 8));
                        model_insert(inserts[i], (item){100 + i, 8});
                    }
                    OK(pop(&l, (int64_t)third, &number, &size));
                    CHECK(is_item(third, number, size));
                    model_remove(third);
                    OK(try_insert(&l, (int64_t)first, 103, 8));
                    model_insert(first, (item){103, 8});
                    OK(pop(&l, 0, &number, &size));
                    model_remove(0);
                    for (uint64_t i = 0; i < count; i++) {
                        OK(get(&l, (int64_t)i, &number, &size));
                        CHECK(is_item(i, number, size));
                    }
                    OK(ip_list_check(&arena, l.list));
                    OK(ip_object_release(&arena, l.id, 0));
                }
    end();
}

/* ---- size, memory ---- */

static void grows_and_gives_back(void) {
    begin(256);
    list l = list_new(&arena);
    uint64_t empty = heap_used(&arena), number, size;
    CHECK(empty <= 2048);
    for (uint64_t i = 0; i < MANY; i++) append(&l, i, i % 40);
    OK(ip_list_check(&arena, l.list));
    uint64_t full = heap_used(&arena);
    for (uint64_t i = 0; i < MANY; i++) OK(try_set(&l, (int64_t)i, i * 5, i % 40)); /* keeps the memory */
    CHECK(heap_used(&arena) <= full + 17 * 16384);
    for (uint64_t i = 0; i < MANY; i++) { /* a queue */
        OK(pop(&l, 0, &number, &size));
        CHECK(size == i % 40 && number == legible(i * 5, size));
        append(&l, i * 7, i % 40);
    }
    CHECK(heap_used(&arena) <= full + 17 * 16384);
    for (uint64_t i = MANY; i-- > 0;) {
        OK(pop(&l, -1, &number, &size));
        CHECK(size == i % 40 && number == legible(i * 7, size));
        if (i == MANY / 100) CHECK(heap_used(&arena) < full / 8 + 17 * 16384);
    }
    CHECK_EQ(pop(&l, -1, &number, &size), IP_AGAIN);
    CHECK_EQ(pop(&l, 0, &number, &size), IP_AGAIN);
    CHECK(heap_used(&arena) < empty + 17 * 16384);
    for (uint64_t i = 0; i < 3000; i++) OK(try_insert(&l, 0, i, i));
    OK(ip_list_clear(&arena, l.list, IP_PATIENT));
    CHECK_EQ(heap_used(&arena), empty);
    for (uint64_t i = 0; i < 3000; i++) OK(try_insert(&l, (int64_t)(i / 2), i, i));
    OK(ip_list_check(&arena, l.list));
    OK(ip_object_release(&arena, l.id, 0));
    end();
}

static void a_queue_stays_small(void) {
    begin(16);
    list l = list_new(&arena);
    uint64_t number, size, most = 0;
    for (uint64_t i = 0; i < STEPS / 4; i++) {
        append(&l, i, 10);
        if (i % 3) append(&l, i, 10);
        OK(pop(&l, 0, &number, &size));
        if (i % 3) OK(pop(&l, -1, &number, &size));
        CHECK_EQ(number, i);
        if (heap_used(&arena) > most) most = heap_used(&arena);
    }
    CHECK(most < 2048);
    OK(ip_object_release(&arena, l.id, 0));
    end();
}

static void a_walk_notices_changes(void) {
    begin(16);
    list l = list_new(&arena);
    uint64_t number, size, index = 0;
    for (uint64_t i = 0; i < 10; i++) append(&l, i, 20);
    ip_container_state seen = look(&l);
    OK(next_item(&l, seen.changes, &index, &number, &size));
    OK(next_item(&l, seen.changes, &index, &number, &size));
    CHECK_EQ(number, 1);
    OK(try_set(&l, 5, 50, 300));
    CHECK_EQ(look(&l).shape, seen.shape); /* each index means what it did */
    CHECK_EQ(next_item(&l, seen.changes, &index, &number, &size), IP_AGAIN);
    index = 9;
    OK(next_item(&l, look(&l).changes, &index, &number, &size));
    CHECK_EQ(next_item(&l, look(&l).changes, &index, &number, &size), IP_EOF);
    OK(ip_object_release(&arena, l.id, 0));
    end();
}

static void too_little_room_takes_nothing(void) {
    begin(16);
    list l = list_new(&arena);
    static unsigned char bytes[30000];
    uint64_t sizes[] = {1, 100, 20000}, index = 0;
    for (int i = 0; i < 3; i++) {
        append(&l, 9, sizes[i]);
        ip_value_out out = {.data = bytes, .room = sizes[i] - 1}, none = {.data = NULL};
        CHECK_EQ(ip_list_get(&arena, l.list, IP_PATIENT, -1, &out), IP_TOO_LONG);
        CHECK_EQ(out.size, sizes[i]);
        CHECK_EQ(ip_list_pop(&arena, l.list, IP_PATIENT, -1, &out), IP_TOO_LONG);
        CHECK_EQ(ip_list_next(&arena, l.list, IP_PATIENT, look(&l).changes, &index, &out), IP_TOO_LONG);
        CHECK(index == 0 && look(&l).count == 1);
        OK(ip_list_get(&arena, l.list, IP_PATIENT, 0, &none)); /* what is it? */
        CHECK(none.size == sizes[i] && none.kind == 9);
        out.room = sizes[i];
        OK(ip_list_get(&arena, l.list, IP_PATIENT, 0, &out));
        OK(ip_list_pop(&arena, l.list, IP_PATIENT, 0, NULL));
    }
    OK(ip_object_release(&arena, l.id, 0));
    end();
}

/* ---- handles ---- */

static void handles_keep_their_objects(void) {
    begin(64);
    list l = list_new(&arena);
    append(&l, 1, 1);
    uint64_t base = heap_used(&arena), order[1] = {0};
    static ip_handle_ref many[IP_VALUE_HANDLES_MAX + 1], got[IP_VALUE_HANDLES_MAX];
    unsigned char bytes[64];
    bool done;
    for (unsigned n = 1; n <= IP_VALUE_HANDLES_MAX; n += n < 4 ? 1 : 251) { /* in a slab, and in a block */
        list in = list_new(&arena), other = list_new(&arena);
        for (unsigned i = 0; i < n; i++) many[i] = (ip_handle_ref){i % 2 ? other.id : in.id, 0};
        ip_value v = {.kind = 3, .data = "nested", .size = 6, .handles = many, .n_handles = n};
        OK(ip_list_insert(&arena, l.list, IP_PATIENT, 1, &v));
        OK(ip_list_set(&arena, l.list, IP_PATIENT, 1, &v, NULL, &done)); /* by itself */
        CHECK_EQ(transit(in.id), (n + 1) / 2);
        CHECK_EQ(transit(other.id), n / 2);
        OK(ip_object_release(&arena, in.id, 0));
        CHECK(exists(in.id));
        ip_value_out out = {.data = bytes, .room = 64, .handles = got, .handles_room = n - 1};
        CHECK_EQ(ip_list_get(&arena, l.list, IP_PATIENT, 1, &out), IP_TOO_LONG);
        CHECK_EQ(out.n_handles, n);
        out.handles_room = n;
        OK(ip_list_get(&arena, l.list, IP_PATIENT, 1, &out));
        CHECK(memcmp(got, many, n * sizeof *got) == 0 && memcmp(bytes, "nested", 6) == 0 && out.kind == 3);
        append(&in, 1, 100); /* this process holds it by now */
        OK(ip_object_release(&arena, in.id, 0));
        CHECK_EQ(transit(other.id), n / 2);
        if (n == 1) {
            OK(try_set(&l, 1, 1, 1));
        } else if (n == 2) {
            OK(ip_list_pop(&arena, l.list, IP_PATIENT, 1, &out));
            CHECK(exists(in.id) && transit(in.id) == 0);
            OK(ip_object_release(&arena, in.id, 0));
        } else if (n == 3) {
            OK(ip_list_pop(&arena, l.list, IP_PATIENT, 1, NULL));
        } else {
            OK(ip_list_rearrange(&arena, l.list, IP_PATIENT, look(&l).shape, order, 1));
        }
        CHECK(!exists(in.id));
        CHECK_EQ(transit(other.id), 0);
        OK(ip_object_release(&arena, other.id, 0));
        OK(ip_list_clear(&arena, l.list, IP_PATIENT));
        append(&l, 1, 1);
        CHECK_EQ(heap_used(&arena), base);
    }
    ip_value v = {.handles = many, .n_handles = IP_VALUE_HANDLES_MAX + 1};
    CHECK_EQ(ip_list_insert(&arena, l.list, IP_PATIENT, 0, &v), IP_TOO_LONG);
    CHECK_EQ(ip_list_set(&arena, l.list, IP_PATIENT, 0, &v, NULL, &done), IP_TOO_LONG);
    v.n_handles = 1; /* its object is no more */
    CHECK_EQ(ip_list_insert(&arena, l.list, IP_PATIENT, 0, &v), IP_FREED);
    CHECK_EQ(ip_list_set(&arena, l.list, IP_PATIENT, 0, &v, NULL, &done), IP_FREED);
    CHECK(look(&l).count == 1 && !done);
    list outer = l;
    for (uint64_t depth = 0; depth < 40; depth++) { /* lists in lists go with the outermost */
        list in = list_new(&arena);
        append(&in, depth, depth * 30);
        ip_handle_ref ref = {in.id, 0};
        v = (ip_value){.handles = &ref, .n_handles = 1};
        OK(ip_list_insert(&arena, outer.list, IP_PATIENT, END, &v));
        if (depth) OK(ip_object_release(&arena, outer.id, 0));
        outer = in;
    }
    OK(ip_object_release(&arena, outer.id, 0));
    OK(ip_object_release(&arena, l.id, 0));
    end();
}

/* ---- exhaustion ---- */

static void running_out_changes_nothing(void) {
    begin(2);
    list l = list_new(&arena);
    static uint64_t sizes[100000];
    static uint64_t order[100000];
    uint64_t random = 5, n = 0, number, size, refused = 0;
    while (refused < 200) {
        ip_container_state seen = look(&l);
        uint64_t wanted = next_random(&random) % 3 ? next_random(&random) % 200 : next_random(&random) % 20000;
        ip_status status = try_insert(&l, END, n, wanted);
        if (status == IP_OK) {
            sizes[n++] = wanted;
            continue;
        }
        CHECK_EQ(status, IP_NO_MEMORY);
        CHECK(look(&l).changes == seen.changes && look(&l).count == n);
        refused++;
    }
    while (try_insert(&l, END, n, 0) == IP_OK) sizes[n++] = 0; /* until the array cannot grow, or nothing fits */
    OK(ip_list_check(&arena, l.list));
    OK(ip_heap_check(&arena));
    for (uint64_t i = 0; i < n; i++) order[i] = n - 1 - i;
    for (uint64_t i = 0; i < n; i++) { /* nor can a value grow then */
        CHECK_EQ(try_set(&l, (int64_t)i, 5, 300000), IP_NO_MEMORY);
        OK(get(&l, (int64_t)i, &number, &size));
        CHECK(size == sizes[i] && number == legible(i, size));
    }
    ip_status status = ip_list_rearrange(&arena, l.list, IP_PATIENT, look(&l).shape, order, n);
    CHECK(status == IP_NO_MEMORY || status == IP_OK);
    ip_value huge = {.data = "", .size = UINT64_C(1) << 50};
    CHECK_EQ(ip_list_insert(&arena, l.list, IP_PATIENT, 0, &huge), IP_NO_MEMORY);
    for (uint64_t i = 0; i < n / 2; i++) OK(ip_list_pop(&arena, l.list, IP_PATIENT, (int64_t)(i / 3), NULL)); /* needs none */
    for (uint64_t i = 0; i < n / 4; i++) OK(try_insert(&l, 3, 1, 10)); /* it works again */
    OK(ip_list_check(&arena, l.list));
    OK(ip_list_clear(&arena, l.list, IP_PATIENT));
    OK(ip_object_release(&arena, l.id, 0));
    end();
}

/* ---- several processes, several threads ---- */

static list common;

/* Adds one to a common count, many times; moves what it takes from one end to the other. */
static void *add_ones(void *context) {
    uint64_t number, size, random = *(uint64_t *)context;
    for (uint64_t i = 0; i < STEPS / 100; i++) {
        do {
            OK(get(&common, 0, &number, &size));
        } while (!exchange(&common, 0, number, 20, number + 1, 20));
        OK(try_insert(&common, 1 + (int64_t)(next_random(&random) % 9), i, next_random(&random) % 700));
        OK(pop(&common, -1, &number, &size));
        if (i % 70 == 0) CHECK(look(&common).count >= 20);
    }
    return NULL;
}

static void set_common(void) {
    begin(64);
    common = list_new(&arena);
    append(&common, 0, 20);
    for (uint64_t i = 0; i < 19; i++) append(&common, i, i * 30);
}

static void processes_share_it(void) {
    enum { PROCESSES = 3 };
    uint64_t number, size;
    pid_t pids[PROCESSES];
    set_common();
    ip_container_state seen = look(&common);
    for (int p = 0; p < PROCESSES; p++) {
        pids[p] = fork_member(&arena);
        if (pids[p]) continue;
        uint64_t seed = (uint64_t)p;
        add_ones(&seed);
        _exit(0);
    }
    bool slept = false;
    while (!ip_container_wait(&common.list->container, seen.changes, UINT64_MAX, &slept)) continue;
    for (int p = 0; p < PROCESSES; p++) CHECK_EQ(child_end(pids[p]), CHILD_DONE);
    CHECK(!ip_container_wait(&common.list->container, look(&common).changes, 0, &slept));
    OK(get(&common, 0, &number, &size));
    CHECK_EQ(number, PROCESSES * (STEPS / 100));
    CHECK_EQ(look(&common).count, 20);
    OK(ip_list_check(&arena, common.list));
    OK(ip_object_release(&arena, common.id, 0));
    uint32_t buried;
    OK(ip_member_reap(&arena, &buried));
    end();
}

static void threads_share_it(void) {
    pthread_t threads[3];
    uint64_t seeds[3] = {1, 2, 3}, number, size;
    set_common();
    for (int i = 0; i < 3; i++) CHECK_EQ(pthread_create(&threads[i], NULL, add_ones, &seeds[i]), 0);
    for (int i = 0; i < 3; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
    OK(get(&common, 0, &number, &size));
    CHECK_EQ(number, STEPS / 100 * 3);
    CHECK_EQ(look(&common).count, 20);
    OK(ip_list_check(&arena, common.list));
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
    static unsigned char bytes[16];
    ip_value v = {.kind = 1, .data = "0123456789abcdef", .size = 16};
    ip_value_out out = {.data = bytes, .room = sizeof bytes};
    struct timespec start;
    bool done;
    printf("\n");
    for (uint64_t n = 1000; n <= MANY * UINT64_C(10); n *= 1000) {
        begin(512);
        list l = list_new(&arena);
        uint64_t rounds = 200000, random = 1;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (uint64_t i = 0; i < n; i++) OK(ip_list_insert(&arena, l.list, IP_NOW, END, &v));
        double append = ns_each(start, n), bytes_each = (double)heap_used(&arena) / (double)n;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (uint64_t i = 0; i < rounds; i++) OK(ip_list_set(&arena, l.list, IP_NOW, (int64_t)(next_random(&random) % n), &v, NULL, &done));
        double set = ns_each(start, rounds);
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (uint64_t i = 0; i < rounds; i++) OK(ip_list_get(&arena, l.list, IP_NOW, (int64_t)(next_random(&random) % n), &out));
        double get_random = ns_each(start, rounds);
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (uint64_t i = 0; i < rounds; i++) OK(ip_list_get(&arena, l.list, IP_NOW, (int64_t)(i % n), &out));
        double get_next = ns_each(start, rounds);
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (uint64_t i = 0; i < 200; i++) OK(ip_list_insert(&arena, l.list, IP_NOW, (int64_t)(next_random(&random) % n), &v));
        double middle = ns_each(start, 200);
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (uint64_t i = 0; i < n; i++) OK(ip_list_pop(&arena, l.list, IP_NOW, 0, &out));
        printf("    %llu items: append %.0f ns, set %.0f ns, get %.0f ns (in order %.0f), insert anywhere %.0f ns, pop first %.0f ns, ",
               (unsigned long long)n, append, set, get_random, get_next, middle, ns_each(start, n));
        printf("%.1f bytes an item\n", bytes_each);
        OK(ip_object_release(&arena, l.id, 0));
        end();
    }
}

int main(void) {
    RUN(random_operations);
    RUN(every_index_of_every_small_size);
    RUN(grows_and_gives_back);
    RUN(a_queue_stays_small);
    RUN(a_walk_notices_changes);
    RUN(too_little_room_takes_nothing);
    RUN(handles_keep_their_objects);
    RUN(running_out_changes_nothing);
    RUN(processes_share_it);
    RUN(threads_share_it);
    RUN(speed);
    return 0;
}

/* test_objects.c: queues, pipes and memory do what they say when nothing goes wrong, and leave nothing behind. */
#include "world.h"

static ip_arena arena;

static void begin(void) { OK(ip_arena_create(&arena, -1, UINT64_C(256) << 20)); }

static void end(void) {
    OK(ip_heap_check(&arena));
    CHECK_EQ(heap_used(&arena), 0);
    CHECK_EQ(word_of(&arena.header->heap_top), arena.heap);
    OK(ip_member_leave(&arena));
    ip_arena_detach(&arena);
}

static void one_process_puts_and_takes(void) {
    begin();
    port q = queue_new(&arena, 0, 0, NULL);
    message m;
    CHECK_EQ(take_one(&q, &m), IP_AGAIN);
    for (uint64_t i = 0; i < 1000; i++) {
        OK(put_one(&q, i, i % 50));
        CHECK_EQ(queued(&q), 1);
        TAKE(&q, i, i % 50);
    }
    CHECK_EQ(take_one(&q, &m), IP_AGAIN);
    OK(ip_object_release(&arena, q.id, 0));
    int kind;
    CHECK_EQ(ip_object_find(&arena, q.id, &kind, &q.object), IP_FREED);
    end();
}

static void queue_grows_and_gives_back(void) {
    begin();
    port q = queue_new(&arena, 0, 0, NULL);
    uint64_t random = 1, sizes[5000], empty = heap_used(&arena);
    CHECK(empty <= 8192);
    for (uint64_t i = 0; i < 5000; i++) {
        sizes[i] = next_random(&random) % (i % 10 ? 200 : 16000);
        OK(put_one(&q, i, sizes[i]));
    }
    CHECK_EQ(queued(&q), 5000);
    CHECK(heap_used(&arena) > 4000000);
    for (uint64_t i = 0; i < 5000; i++) TAKE(&q, i, sizes[i]);
    CHECK(heap_used(&arena) < empty + (66 << 10)); /* the last segment stays */
    OK(ip_heap_check(&arena));
    OK(ip_object_release(&arena, q.id, 0));
    end();
}

static void blocks_carry_large_messages(void) {
    begin();
    port q = queue_new(&arena, 0, 0, NULL);
    uint64_t empty = heap_used(&arena);
    for (uint64_t i = 0; i < 20; i++) OK(put_one(&q, i, i * 100003));
    for (uint64_t i = 0; i < 20; i++) TAKE(&q, i, i * 100003);
    CHECK_EQ(heap_used(&arena), empty);
    for (uint64_t i = 0; i < 20; i++) OK(put_one(&q, i, i * 100003));
    OK(ip_object_release(&arena, q.id, 0)); /* with the messages in it */
    end();
}

static void batches(void) {
    begin();
    port q = queue_new(&arena, 0, 0, NULL);
    enum { N = 300 };
    static unsigned char data[N][400];
    static _Alignas(8) unsigned char scratch[IP_SCRATCH_MIN];
    ip_outgoing out[N];
    ip_incoming in[N];
    unsigned n, total = 0;
    for (unsigned i = 0; i < N; i++) {
        fill_message(data[i], 8 + i, i);
        out[i] = (ip_outgoing){.kind = (uint8_t)i, .data = data[i], .size = 8 + i};
    }
    OK(ip_ring_put(&arena, q.object, q.out, -1, out, N, IP_PATIENT, &n));
    CHECK_EQ(n, N);
    while (total < N) {
        OK(ip_ring_take(&arena, q.object, q.in, -1, scratch, sizeof scratch, IP_PATIENT, in, N, &n));
        CHECK(n >= 1);
        for (unsigned i = 0; i < n; i++, total++) {
            message m;
            OK(examine(&q, &in[i], &m));
            CHECK_EQ(m.size, 8 + total);
            CHECK(m.whole && m.number == total);
        }
    }
    OK(ip_object_release(&arena, q.id, 0));
    end();
}

static void bounds_are_kept(void) {
    begin();
    port q = queue_new(&arena, 3, 0, NULL), b = queue_new(&arena, 0, 100, NULL);
    for (int i = 0; i < 3; i++) OK(put_one(&q, i, 10));
    CHECK_EQ(put_one(&q, 3, 10), IP_AGAIN);
    TAKE(&q, 0, 10);
    OK(put_one(&q, 3, 10));
    CHECK_EQ(put_one(&q, 4, 10), IP_AGAIN);
    OK(put_one(&b, 0, 60));
    CHECK_EQ(put_one(&b, 1, 60), IP_AGAIN);
    OK(put_one(&b, 1, 40));
    CHECK_EQ(put_one(&b, 1, 1), IP_AGAIN);
    TAKE(&b, 0, 60);
    TAKE(&b, 1, 40);
    OK(put_one(&b, 2, 100000)); /* alone it may pass */
    CHECK_EQ(put_one(&b, 3, 1), IP_AGAIN);
    TAKE(&b, 2, 100000);
    OK(ip_object_release(&arena, q.id, 0));
    OK(ip_object_release(&arena, b.id, 0));
    end();
}

static void forked_child_talks(void) {
    begin();
    port q = queue_new(&arena, 0, 0, NULL), r = queue_new(&arena, 0, 0, NULL);
    enum { N = 20000 };
    pid_t child = fork_member(&arena);
    if (child == 0) {
        for (uint64_t i = 0; i < N;) {
            message m;
            ip_status status = take_one(&q, &m);
            bool slept;
            if (status == IP_AGAIN) {
                ip_ring_wait_items(q.object, q.in, -1, ip_now_ns() + 1000000000, &slept);
                continue;
            }
            OK(status);
            CHECK(m.whole && (uint8_t)m.number == (uint8_t)i);
            OK(put_one(&r, i++, m.size));
        }
        OK(ip_member_leave(&arena));
        _exit(0);
    }
    uint64_t got = 0;
    for (uint64_t i = 0; i < N || got < N;) {
        message m;
        if (i < N) {
            OK(put_one(&q, i, i % 1000 ? i % 100 : 50000));
            i++;
        }
        ip_status status = take_one(&r, &m);
        if (status == IP_AGAIN) continue;
        OK(status);
        CHECK_EQ(m.size, got % 1000 ? got % 100 : 50000);
        CHECK(m.whole && (uint8_t)m.number == (uint8_t)got);
        got++;
    }
    CHECK_EQ(child_end(child), CHILD_DONE);
    OK(ip_object_release(&arena, q.id, 0));
    OK(ip_object_release(&arena, r.id, 0));
    end();
}

static void handles_travel(void) {
    begin();
    port q = queue_new(&arena, 0, 0, NULL), inner = queue_new(&arena, 0, 0, NULL);
    uint64_t used = heap_used(&arena);
    ip_object_info info;
    uint32_t index = inner.id.index;
    ip_handle_ref refs[2] = {{inner.id, 0}, {inner.id, 0}};
    OK(put_one(&inner, 77, 20000));
    OK(put_with(&q, 1, 30, refs, 2));
    OK(put_with(&q, 2, 30000, refs, 1));
    OK(ip_object_next(&arena, &index, &info));
    CHECK_EQ(info.transit[0], 3);
    OK(ip_object_release(&arena, inner.id, 0)); /* the messages keep it */
    message m;
    OK(take_one(&q, &m));
    CHECK(m.whole && m.number == 1 && m.size == 30 && m.n_handles == 2);
    CHECK_EQ(m.handles[1].id.index, inner.id.index);
    OK(take_one(&q, &m));
    CHECK(m.whole && m.number == 2 && m.size == 30000 && m.n_handles == 1);
    TAKE(&inner, 77, 20000);
    index = inner.id.index;
    OK(ip_object_next(&arena, &index, &info));
    CHECK_EQ(info.transit[0], 0);
    CHECK_EQ(info.holders[0], 1);
    CHECK_EQ(heap_used(&arena), used);
    OK(put_one(&inner, 78, 20000));
    OK(put_with(&q, 3, 30, refs, 1));
    OK(ip_object_release(&arena, inner.id, 0));
    CHECK(heap_used(&arena) > used);
    OK(ip_object_release(&arena, q.id, 0)); /* frees the message, hence inner, hence its block */
    end();
}

static void handle_to_the_freed_is_refused(void) {
    begin();
    port q = queue_new(&arena, 0, 0, NULL), inner = queue_new(&arena, 0, 0, NULL);
    ip_handle_ref ref = {inner.id, 0};
    OK(ip_object_release(&arena, inner.id, 0));
    uint64_t used = heap_used(&arena);
    CHECK_EQ(put_with(&q, 1, 30, &ref, 1), IP_FREED);
    CHECK_EQ(put_with(&q, 1, 30000, &ref, 1), IP_FREED);
    CHECK_EQ(heap_used(&arena), used);
    OK(put_one(&q, 2, 30));
    TAKE(&q, 2, 30);
    OK(ip_object_release(&arena, q.id, 0));
    end();
}

static void pipe_ends_vacate(void) {
    begin();
    port ends[2];
    message m;
    pipe_new(&arena, 0, ends);
    OK(put_one(&ends[0], 1, 100));
    OK(put_one(&ends[1], 2, 50000));
    TAKE(&ends[1], 1, 100);
    TAKE(&ends[0], 2, 50000);
    CHECK_EQ(take_one(&ends[0], &m), IP_AGAIN);
    OK(put_one(&ends[0], 3, 100));
    OK(put_one(&ends[0], 4, 100000));
    OK(ip_object_release(&arena, ends[0].id, 0));
    CHECK_EQ(put_one(&ends[1], 5, 10), IP_BROKEN);
    CHECK_EQ(put_one(&ends[1], 5, 50000), IP_BROKEN);
    TAKE(&ends[1], 3, 100);
    TAKE(&ends[1], 4, 100000);
    CHECK_EQ(take_one(&ends[1], &m), IP_EOF);
    OK(ip_object_release(&arena, ends[1].id, 1));
    end();
}

static void pipe_to_a_killed_child(void) {
    begin();
    port ends[2];
    pipe_new(&arena, 0, ends);
    pid_t child = fork_member(&arena);
    if (child == 0) {
        OK(ip_object_release(&arena, ends[0].id, 0));
        OK(put_one(&ends[1], 9, 70000));
        kill(getpid(), SIGKILL);
    }
    OK(ip_object_release(&arena, ends[1].id, 1));
    CHECK_EQ(child_end(child), CHILD_KILLED);
    bool held;
    OK(ip_object_check_holders(&arena, ends[0].object, 1, &held));
    CHECK(!held);
    TAKE(&ends[0], 9, 70000);
    message m;
    CHECK_EQ(take_one(&ends[0], &m), IP_EOF);
    CHECK_EQ(put_one(&ends[0], 1, 1), IP_BROKEN);
    OK(ip_object_release(&arena, ends[0].id, 0));
    end();
}

static void shutting_down(void) {
    begin();
    message m;
    uint64_t put, taken, done, bytes;
    bool shut;
    for (int immediate = 0; immediate < 2; immediate++) {
        port q = queue_new(&arena, 0, 0, NULL);
        for (uint64_t i = 0; i < 100; i++) OK(put_one(&q, i, i * 300));
        TAKE(&q, 0, 0);
        OK(ip_ring_shut_down(&arena, q.object, q.in, immediate));
        CHECK_EQ(put_one(&q, 100, 1), IP_SHUT_DOWN);
        if (!immediate)
            for (uint64_t i = 1; i < 100; i++) TAKE(&q, i, i * 300);
        CHECK_EQ(take_one(&q, &m), IP_SHUT_DOWN);
        OK(ip_ring_counts(q.in, &put, &taken, &done, &bytes, &shut));
        CHECK(shut && put == 100 && taken == 100 && bytes == 0);
        CHECK_EQ(done, immediate ? 99 : 0);
        for (uint64_t i = done; i < put; i++) OK(ip_ring_task_done(q.in));
        CHECK_EQ(ip_ring_task_done(q.in), IP_OVERFLOW);
        bool slept;
        CHECK(ip_ring_wait_done(q.in, 0, &slept));
        OK(ip_object_release(&arena, q.id, 0));
    }
    end();
}

static void names_open_the_same_object(void) {
    begin();
    port a = queue_new(&arena, 0, 0, "jobs"), b = queue_new(&arena, 0, 0, "jobs"), c = queue_new(&arena, 0, 0, "job");
    CHECK_EQ(a.id.index, b.id.index);
    CHECK(a.id.index != c.id.index);
    OK(put_one(&a, 1, 10));
    TAKE(&b, 1, 10);
    ip_memory_settings settings = {.size = 8};
    ip_object *object;
    ip_id id;
    bool created;
    CHECK_EQ(ip_object_open(&arena, IP_MEMORY, 1, 1, ip_memory_body_size(8), "jobs", 4, ip_memory_make, &settings, &id,
                            &object, &created), IP_EXISTS);
    OK(ip_object_release(&arena, a.id, 0));
    OK(ip_object_release(&arena, c.id, 0));
    port d = queue_new(&arena, 0, 0, "jobs");
    CHECK(d.id.index != a.id.index || d.id.generation != a.id.generation);
    OK(ip_object_release(&arena, d.id, 0));
    end();
}

static void a_thousand_objects_come_and_go(void) {
    begin();
    static port q[1000];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++) {
            q[i] = queue_new(&arena, 0, 0, NULL);
            OK(put_one(&q[i], 1, (uint64_t)i));
        }
        for (int i = 0; i < 1000; i++) OK(ip_object_release(&arena, q[(i * 7) % 1000].id, 0));
        OK(ip_heap_check(&arena));
        CHECK_EQ(heap_used(&arena), 0);
    }
    CHECK_EQ(word_of(&arena.header->directory_used), 1000);
    end();
}

static void a_handle_keeps_an_object_that_its_holders_left(void) {
    begin();
    port q = queue_new(&arena, 0, 0, NULL);
    pid_t child = fork_member(&arena);
    if (child == 0) {
        port mine = queue_new(&arena, 0, 0, NULL);
        ip_handle_ref ref = {mine.id, 0};
        OK(put_one(&mine, 5, 20));
        OK(put_with(&q, 1, 20, &ref, 1));
        kill(getpid(), SIGKILL);
    }
    CHECK_EQ(child_end(child), CHILD_KILLED);
    uint32_t buried;
    OK(ip_member_reap(&arena, &buried));
    CHECK_EQ(buried, 1);
    message m;
    int kind;
    OK(take_one(&q, &m));
    CHECK_EQ(m.n_handles, 1);
    port theirs = q;
    theirs.id = m.handles[0].id;
    OK(ip_object_find(&arena, theirs.id, &kind, &theirs.object));
    theirs.in = theirs.out = ip_ring_of(theirs.object, kind, 0);
    TAKE(&theirs, 5, 20);
    OK(ip_object_release(&arena, theirs.id, 0));
    OK(ip_object_release(&arena, q.id, 0));
    end();
}

static void memory_is_zeroed_and_locks(void) {
    begin();
    ip_memory *memory;
    uint64_t block;
    bool inherited, mine;
    OK(ip_block_new(&arena, 5000, &block));
    memset(ip_at(&arena, block), 0xEE, 5000);
    OK(ip_block_drop(&arena, block));
    ip_id id = memory_new(&arena, 1000, &memory);
    for (int i = 0; i < 1000; i++) CHECK_EQ(memory->data[i], 0);
    CHECK_EQ((uintptr_t)memory->data % IP_CACHE_LINE, 0);
    uint64_t depth;
    OK(ip_mutex_try(&arena, memory, true, false, &inherited));
    OK(ip_mutex_try(&arena, memory, true, false, &inherited));
    OK(ip_mutex_state(&arena, memory, &mine, &depth));
    CHECK(mine && depth == 2);
    pid_t child = fork_member(&arena);
    if (child == 0) {
        CHECK_EQ(ip_mutex_try(&arena, memory, true, true, &inherited), IP_BUSY);
        CHECK_EQ(ip_mutex_release(&arena, memory, true), IP_NOT_OWNER);
        memory->data[0] = 42;
        OK(ip_member_leave(&arena));
        _exit(0);
    }
    CHECK_EQ(child_end(child), CHILD_DONE);
    CHECK_EQ(memory->data[0], 42);
    OK(ip_mutex_release(&arena, memory, true));
    OK(ip_mutex_release(&arena, memory, true));
    CHECK_EQ(ip_mutex_release(&arena, memory, true), IP_NOT_OWNER);
    child = fork_member(&arena);
    if (child == 0) {
        OK(ip_mutex_try(&arena, memory, true, false, &inherited));
        kill(getpid(), SIGKILL);
    }
    CHECK_EQ(child_end(child), CHILD_KILLED);
    CHECK_EQ(ip_mutex_try(&arena, memory, true, false, &inherited), IP_BUSY);
    OK(ip_mutex_try(&arena, memory, true, true, &inherited));
    CHECK(inherited);
    OK(ip_mutex_release(&arena, memory, true));
    OK(ip_object_release(&arena, id, 0));
    uint32_t buried;
    OK(ip_member_reap(&arena, &buried));
    end();
}

static void a_damaged_object_is_set_aside_once(void) {
    begin();
    port q = queue_new(&arena, 0, 0, NULL), other = queue_new(&arena, 0, 0, NULL);
    OK(put_one(&q, 1, 20));
    OK(put_one(&other, 1, 20));
    ip_word *tail = &q.in->tail;
    atomic_store(tail, atomic_load(tail) ^ 0xFF00); /* its seal is broken */
    CHECK_EQ(ip_object_release(&arena, q.id, 0), IP_CORRUPT);
    uint32_t buried;
    OK(ip_member_reap(&arena, &buried)); /* and that was the last of it */
    TAKE(&other, 1, 20);
    OK(ip_object_release(&arena, other.id, 0));
    port third = queue_new(&arena, 0, 0, NULL);
    OK(ip_object_release(&arena, third.id, 0));
    OK(ip_heap_check(&arena));
    CHECK(heap_used(&arena) > 0); /* given up */
    OK(ip_member_leave(&arena));
    ip_arena_detach(&arena);
}

int main(void) {
    RUN(one_process_puts_and_takes);
    RUN(queue_grows_and_gives_back);
    RUN(blocks_carry_large_messages);
    RUN(batches);
    RUN(bounds_are_kept);
    RUN(forked_child_talks);
    RUN(handles_travel);
    RUN(handle_to_the_freed_is_refused);
    RUN(pipe_ends_vacate);
    RUN(pipe_to_a_killed_child);
    RUN(shutting_down);
    RUN(names_open_the_same_object);
    RUN(a_thousand_objects_come_and_go);
    RUN(a_handle_keeps_an_object_that_its_holders_left);
    RUN(memory_is_zeroed_and_locks);
    RUN(a_damaged_object_is_set_aside_once);
    return 0;
}

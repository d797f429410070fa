/* test_watch.c: a watch's descriptor is readable when its ring has something to take or never will, and not otherwise. */
#include <poll.h>
#include <pthread.h>

#include "watch.h"
#include "world.h"

#if defined(UNDER_TSAN) || defined(UNDER_ASAN)
enum { ROUNDS = 200 };
#else
enum { ROUNDS = 2000 };
#endif

static ip_arena arena;

static void begin(void) { OK(ip_arena_create(&arena, -1, UINT64_C(16) << 20)); }

static void end(void) {
    uint32_t buried;
    OK(ip_member_reap(&arena, &buried));
    OK(ip_heap_check(&arena));
    CHECK_EQ(heap_used(&arena), 0);
    OK(ip_member_leave(&arena));
    ip_arena_detach(&arena);
}

static bool readable(int fd, int wait_ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;
    do {
        n = poll(&p, 1, wait_ms);
    } while (n < 0);
    return n == 1 && p.revents & POLLIN;
}

static void follows_what_is_in_the_ring(void) {
    begin();
    port q = queue_new(&arena, 0, 0, NULL);
    ip_watch *w = ip_watch_start(&arena, q.object, q.in, -1);
    CHECK(w);
    int fd = ip_watch_descriptor(w);
    CHECK(fd >= 0 && !readable(fd, 0));
    for (uint64_t i = 0; i < ROUNDS; i++) {
        OK(put_one(&q, i, i % 100));
        CHECK(readable(fd, 5000));
        TAKE(&q, i, i % 100);
        ip_watch_sync(w);
        CHECK(!readable(fd, 0));
    }
    OK(put_one(&q, 1, 8));
    CHECK(readable(fd, 5000));
    TAKE(&q, 1, 8); /* without telling the watch: it finds out by itself */
    for (int i = 0; i < 5000 && readable(fd, 0); i++) usleep(1000);
    CHECK(!readable(fd, 0));
    OK(ip_ring_shut_down(&arena, q.object, q.in, false));
    CHECK(readable(fd, 5000));
    ip_watch_stop(w);
    OK(ip_object_release(&arena, q.id, 0));
    end();
}

static void tells_what_another_process_does(void) {
    begin();
    port ends[2];
    pipe_new(&arena, 0, ends);
    pid_t child = fork_member(&arena);
    if (child == 0) {
        OK(ip_object_release(&arena, ends[0].id, 0));
        for (uint64_t i = 0; i < ROUNDS; i++) {
            message m;
            ip_status status;
            bool slept;
            while ((status = take_one(&ends[1], &m)) == IP_AGAIN)
                ip_ring_wait_items(ends[1].object, ends[1].in, ends[1].writers_end, ip_now_ns() + 1000000000, &slept);
            OK(status);
            OK(put_one(&ends[1], m.number, m.size));
        }
        kill(getpid(), SIGKILL);
    }
    OK(ip_object_release(&arena, ends[1].id, 1));
    ip_watch *w = ip_watch_start(&arena, ends[0].object, ends[0].in, ends[0].writers_end);
    CHECK(w);
    int fd = ip_watch_descriptor(w);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        OK(put_one(&ends[0], i, 20));
        CHECK(readable(fd, 10000));
        TAKE(&ends[0], i, 20);
        ip_watch_sync(w);
    }
    CHECK(readable(fd, 10000)); /* the end of the other side, which was killed */
    message m;
    CHECK_EQ(take_one(&ends[0], &m), IP_EOF);
    CHECK_EQ(child_end(child), CHILD_KILLED);
    ip_watch_stop(w);
    OK(ip_object_release(&arena, ends[0].id, 0));
    end();
}

MAYBE_UNUSED static void works_on_both_sides_of_a_fork(void) {
    begin();
    port q = queue_new(&arena, 0, 0, NULL), done = queue_new(&arena, 0, 0, NULL);
    ip_watch *w = ip_watch_start(&arena, q.object, q.in, -1);
    CHECK(w);
    int fd = ip_watch_descriptor(w);
    for (uint64_t i = 0; i < 20; i++) {
        pid_t child = fork_member(&arena);
        if (child == 0) {
            CHECK_EQ(ip_watch_descriptor(w), fd);
            CHECK(readable(fd, 10000));
            TAKE(&q, i, 30);
            ip_watch_sync(w);
            CHECK(!readable(fd, 0));
            OK(put_one(&done, i, 8));
            ip_watch_stop(w);
            OK(ip_member_leave(&arena));
            _exit(0);
        }
        OK(put_one(&q, i, 30));
        CHECK_EQ(child_end(child), CHILD_DONE);
        TAKE(&done, i, 8);
        for (int k = 0; k < 5000 && readable(fd, 0); k++) usleep(1000);
        CHECK(!readable(fd, 0));
    }
    ip_watch_stop(w);
    OK(ip_object_release(&arena, q.id, 0));
    OK(ip_object_release(&arena, done.id, 0));
    end();
}

static void a_killed_watcher_delays_nobody(void) {
    begin();
    port q = queue_new(&arena, 0, 0, NULL);
    for (int i = 0; i < 10; i++) { /* more than the ring has places for watchers */
        pid_t child = fork_member(&arena);
        if (child == 0) {
            CHECK(ip_watch_start(&arena, q.object, q.in, -1));
            kill(getpid(), SIGKILL);
        }
        CHECK_EQ(child_end(child), CHILD_KILLED);
        uint64_t start = ip_now_ns();
        OK(put_one(&q, (uint64_t)i, 10));
        ip_ring_await_watchers(&arena, q.in);
        CHECK(ip_now_ns() - start < UINT64_C(3000000000));
        TAKE(&q, (uint64_t)i, 10);
    }
    ip_watch *w = ip_watch_start(&arena, q.object, q.in, -1);
    CHECK(w);
    OK(put_one(&q, 1, 10));
    ip_ring_await_watchers(&arena, q.in);
    CHECK(readable(ip_watch_descriptor(w), 5000));
    ip_watch_stop(w);
    OK(ip_object_release(&arena, q.id, 0));
    end();
}

static port shared_queue;

static void *put_some(void *context) {
    (void)context;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        OK(put_one(&shared_queue, i, 10));
        ip_ring_await_watchers(&arena, shared_queue.in);
    }
    return NULL;
}

static void threads_put_while_it_watches(void) {
    begin();
    pthread_t threads[2];
    shared_queue = queue_new(&arena, 0, 0, NULL);
    ip_watch *w = ip_watch_start(&arena, shared_queue.object, shared_queue.in, -1);
    CHECK(w);
    int fd = ip_watch_descriptor(w);
    for (int i = 0; i < 2; i++) CHECK_EQ(pthread_create(&threads[i], NULL, put_some, NULL), 0);
    for (uint64_t taken = 0; taken < 2 * ROUNDS;) {
        message m;
        CHECK(readable(fd, 10000));
        while (take_one(&shared_queue, &m) == IP_OK) taken++;
        ip_watch_sync(w);
    }
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    CHECK(!readable(fd, 0));
    ip_watch_stop(w);
    OK(ip_object_release(&arena, shared_queue.id, 0));
    end();
}

int main(void) {
    alarm(100);
    RUN(follows_what_is_in_the_ring);
    RUN(tells_what_another_process_does);
#ifndef UNDER_TSAN /* which cannot start threads after the fork of a process that had some */
    RUN(works_on_both_sides_of_a_fork);
#endif
    RUN(a_killed_watcher_delays_nobody);
    RUN(threads_put_while_it_watches);
    return 0;
}

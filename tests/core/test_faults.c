/* test_faults.c: kill a process at every fault point of every operation: it was done or it was not, and nothing else. */
#include "script.h"

#if defined(UNDER_TSAN) /* which sees nothing between processes, and takes long to fork */
enum { FIRST = 3, STRIDE = 40, RECOVERIES = 2 };
#elif defined(UNDER_ASAN)
enum { FIRST = 10, STRIDE = 11, RECOVERIES = 8 };
#else
enum { FIRST = 0, STRIDE = 1, RECOVERIES = 150 };
#endif

/* ---- putting and taking ---- */

enum {
    PIPE = 1,
    ORPHAN = 2,  /* what handles refer to is held by nobody but the messages */
    RECOVERY = 4 /* who recovers is killed too */
};

static const struct {
    const char *name, *before, *act;
    unsigned flags;
} scripts[] = {
    {"put a small one", "", "p10", RECOVERY},
    {"put behind others", "p10 p20", "p100", 0},
    {"put that pads", "p800 p800 t t", "p800", RECOVERY},
    {"put that jumps", "p900 p900", "p900", RECOVERY},
    {"put that jumps for its size", "p1", "p5000", 0},
    {"put a block", "p1", "p20000", RECOVERY},
    {"put a block, with a jump", "p950 p950 p70", "p20000", 0},
    {"put handles", "p1", "h30", RECOVERY},
    {"put handles, with a jump", "p950 p950 p70", "h30", 0},
    {"put handles and a block", "p1", "h30000", RECOVERY},
    {"put and take in turn", "", "p100 t p200 p300 t t p900 p900 p900 t t t", 0},
    {"put a batch", "p1", "P40", 0},
    {"put a batch of all kinds", "p1", "M13", 0},
    {"take a small one", "p10 p20", "t", RECOVERY},
    {"take past padding", "p800 p800 t t p800 p10", "t t", 0},
    {"take past a jump", "p900 p900 p900 p10", "t t t", RECOVERY},
    {"take a block", "p20000 p10", "t", RECOVERY},
    {"take a block past a jump", "p950 p950 p70 p20000 p1", "t t t t", 0},
    {"take handles", "h30 p10", "t", RECOVERY},
    {"take handles and a block", "h30000 h30", "t", 0},
    {"take handles past a jump", "p950 p950 p70 h30 p1", "t t t t", 0},
    {"take handles that nobody holds", "h30 p10", "t", ORPHAN | RECOVERY},
    {"take handles and a block that nobody holds", "h30000 h30", "t t", ORPHAN},
    {"take a batch", "P40", "T30 T30", 0},
    {"take a batch of all kinds", "M13", "T4 T4 T4 T4 T4 T4 T4 T4 T4", 0},
    {"send through a pipe", "p10", "p900 p900 p900 h30000", PIPE},
    {"receive from a pipe", "p10 p900 p900 p900 h30000", "t t t t t", PIPE},
};

static unsigned script;

static void prepare_script(void) {
    set_stage(scripts[script].flags & PIPE, scripts[script].before, scripts[script].act);
    if (scripts[script].flags & ORPHAN) OK(ip_object_release(&arena, inner.id, 0));
}

static void act_script(void) {
    arm();
    each_token(scripts[script].act, run_token);
}

static void verify_script(void) { check_and_strike(!(scripts[script].flags & ORPHAN)); }

static void puts_and_takes(void) {
    printf("\n");
    for (script = 0; script < sizeof scripts / sizeof *scripts; script++) {
        operation op = {scripts[script].name, prepare_script, act_script, verify_script, false};
        kill_everywhere(&op, FIRST, STRIDE, scripts[script].flags & RECOVERY ? RECOVERIES : 0);
    }
}

/* ---- the rest; the stage is a queue with messages of each kind ---- */

#define ALL_KINDS "p10 h30 p900 p900 p900 p20000 h30000"

static void prepare(void) { set_stage(false, ALL_KINDS, ""); }
static void prepare_pipe(void) { set_stage(true, ALL_KINDS, ""); }
static void verify(void) { check_and_strike(true); }

/* A queue that holds messages of each kind, one with a handle on another such queue. */
static port nested_queues(unsigned depth) {
    port q = queue_new(&arena, 0, 0, NULL);
    for (uint64_t i = 0; i < 3; i++) OK(put_one(&q, i, i * 9000));
    if (depth) {
        port in = nested_queues(depth - 1);
        ip_handle_ref ref = {in.id, 0};
        OK(put_with(&q, 3, 100, &ref, 1));
        OK(ip_object_release(&arena, in.id, 0));
    }
    return q;
}

/* A member that holds and owns something of each kind and is dead. */
static void make_victim(void) {
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        uint64_t block;
        nested_queues(1);
        for (uint64_t i = 1; i < 4; i++) OK(ip_block_new(&arena, i * 3000, &block));
        kill(getpid(), SIGKILL);
    }
    CHECK_EQ(child_end(pid), CHILD_KILLED);
}

static void act_create(void) {
    ip_memory *memory;
    port ends[2];
    arm();
    queue_new(&arena, 0, 0, NULL);
    pipe_new(&arena, 0, ends);
    memory_new(&arena, 100, &memory);
}

static void act_fill_directory(void) {
    ip_memory *memory;
    for (unsigned i = word_of(&arena.header->directory_used); i < IP_PAGE / sizeof(ip_entry); i++) memory_new(&arena, 8, &memory);
    arm();
    memory_new(&arena, 8, &memory); /* the directory grows by a page */
}

static void act_named(void) {
    arm();
    port q = queue_new(&arena, 0, 0, "jobs");
    queue_new(&arena, 0, 0, "jobs");
    OK(ip_object_release(&arena, q.id, 0));
    queue_new(&arena, 0, 0, "jobs");
}

static void verify_named(void) { /* the name is free again */
    port q = queue_new(&arena, 0, 0, "jobs");
    CHECK_EQ(queued(&q), 0);
    OK(put_one(&q, 1, 10));
    OK(ip_object_release(&arena, q.id, 0));
    verify();
}

static void act_hold(void) {
    arm();
    OK(ip_object_release(&arena, inner.id, 0));
    OK(ip_object_hold(&arena, inner.id, 0, arena.self));
}

static void act_release_last(void) {
    port q = nested_queues(1);
    arm();
    OK(ip_object_release(&arena, q.id, 0));
    ip_object *object;
    int kind;
    CHECK_EQ(ip_object_find(&arena, q.id, &kind, &object), IP_FREED);
}

static void act_release_pipe(void) {
    arm();
    OK(ip_object_release(&arena, writer.id, 0));
    OK(ip_object_release(&arena, writer.id, 1));
}

static void act_blocks(void) {
    uint64_t a, b, c, d;
    OK(ip_block_new(&arena, 5000, &a));
    OK(ip_block_new(&arena, 100, &b));
    OK(ip_block_drop(&arena, a));
    arm();
    OK(ip_block_new(&arena, 1000, &a)); /* splits */
    OK(ip_block_new(&arena, 3500, &c));
    OK(ip_block_new(&arena, 9000, &d));
    OK(ip_block_drop(&arena, c));
    OK(ip_block_drop(&arena, a)); /* joins what lies after */
    OK(ip_block_drop(&arena, b)); /* before and after */
    OK(ip_block_drop(&arena, d));
}

static void act_grow_and_trim(void) {
    uint64_t a, b;
    arm();
    OK(ip_block_new(&arena, 1500000, &a));
    OK(ip_block_new(&arena, 100, &b));
    OK(ip_block_drop(&arena, a));
    OK(ip_block_new(&arena, 700000, &a));
}

static void act_reserve(void) {
    int fd;
    uint32_t slot;
    arm();
    OK(ip_member_reserve(&arena, &fd, &slot));
    OK(ip_directory_share_all(&arena, slot));
    close(fd);
    OK(ip_member_cancel(&arena, slot));
    OK(ip_member_reserve(&arena, &fd, &slot));
    OK(ip_directory_share_all(&arena, slot)); /* who dies then leaves a slot that nobody comes for */
}

static void act_nothing(void) {}

static void act_join(void) {
    ip_arena other;
    arm();
    OK(ip_arena_attach(&other, dup(arena.fd)));
    OK(ip_member_join(&other));
    port q = queue_new(&other, 0, 0, NULL);
    OK(put_one(&q, 1, 10));
}

static void act_leave(void) {
    uint64_t block;
    nested_queues(1);
    OK(ip_block_new(&arena, 3000, &block));
    arm();
    OK(ip_member_leave(&arena));
}

static void prepare_victim(void) {
    prepare();
    make_victim();
}

static void act_bury(void) {
    uint32_t buried;
    arm();
    OK(ip_member_reap(&arena, &buried));
    CHECK_EQ(buried, 1);
}

static void prepare_pipe_victim(void) {
    prepare_pipe();
    make_victim();
    OK(ip_object_release(&arena, writer.id, writer.end)); /* the victim and the actor hold the other end now */
}

static void act_check_holders(void) {
    bool held;
    OK(ip_object_release(&arena, writer.id, writer.end));
    arm();
    OK(ip_object_check_holders(&arena, reader.object, writer.end, &held));
    CHECK(!held);
}

static void verify_vacated(void) {
    bool held;
    uint64_t put, taken, done, bytes;
    bool shut;
    message m;
    OK(ip_object_check_holders(&arena, reader.object, writer.end, &held));
    CHECK(!held);
    CHECK_EQ(put_one(&reader, 1, 1), IP_BROKEN);
    OK(ip_ring_counts(reader.in, &put, &taken, &done, &bytes, &shut));
    CHECK_EQ(put, n_planned);
    for (shared->take_done = taken; shared->take_done < put;) shared->take_done += take_batch(1);
    CHECK_EQ(take_one(&reader, &m), IP_EOF);
    OK(ip_object_release(&arena, reader.id, reader.end));
    OK(ip_object_release(&arena, inner.id, 0));
}

static void act_shut_down(void) {
    arm();
    OK(ip_ring_shut_down(&arena, writer.object, writer.out, true));
    shared->step = 1;
}

static void verify_shut_down(void) {
    uint64_t put, taken, done, bytes;
    bool shut, slept;
    OK(ip_ring_check(&arena, reader.in));
    OK(ip_ring_counts(reader.in, &put, &taken, &done, &bytes, &shut));
    CHECK_EQ(put, n_planned);
    CHECK_EQ(done, taken); /* nobody took any: what is gone was dropped, and what was dropped is done */
    CHECK(shut || taken == 0);
    CHECK(!shared->step || taken == put);
    if (taken < put) {
        shared->take_done = taken;
        take_batch(1);
        OK(ip_ring_shut_down(&arena, writer.object, writer.out, true));
        CHECK(!ip_ring_wait_done(reader.in, 0, &slept));
        OK(ip_ring_task_done(reader.in));
    }
    CHECK(ip_ring_wait_done(reader.in, 0, &slept));
    CHECK_EQ(ip_ring_task_done(reader.in), IP_OVERFLOW);
    CHECK_EQ(put_one(&writer, 1, 1), IP_SHUT_DOWN);
    message m;
    CHECK_EQ(take_one(&reader, &m), IP_SHUT_DOWN);
    CHECK_EQ(transit_of(inner.id, 1), 0);
    OK(ip_object_release(&arena, writer.id, 0));
    TAKE(&inner, 5, 50);
    OK(ip_object_release(&arena, inner.id, 0));
}

static void act_task_done(void) {
    arm();
    for (int i = 0; i < 3; i++) {
        OK(ip_ring_task_done(writer.in));
        shared->step++;
    }
}

static void verify_task_done(void) {
    uint64_t put, taken, done, bytes;
    bool shut;
    OK(ip_ring_counts(reader.in, &put, &taken, &done, &bytes, &shut));
    CHECK(done == shared->step || done == shared->step + 1);
    verify();
}

/* ---- locks, semaphores and signals that users hold ---- */

static ip_memory *memory;
static ip_id memory_id;

static void prepare_memory(void) {
    prepare();
    memory_id = memory_new(&arena, sizeof(ip_semaphore) + sizeof(ip_signal), &memory);
    ip_semaphore_init((ip_semaphore *)memory->data, 1, 2);
    ip_signal_init((ip_signal *)(memory->data + sizeof(ip_semaphore)));
}

static void verify_memory(void) {
    bool inherited;
    ip_status status = ip_mutex_try(&arena, memory, true, true, &inherited);
    CHECK_EQ(status, IP_OK);
    OK(ip_mutex_try(&arena, memory, true, false, &inherited));
    OK(ip_mutex_release(&arena, memory, true));
    OK(ip_mutex_release(&arena, memory, true));
    CHECK_EQ(ip_mutex_release(&arena, memory, true), IP_NOT_OWNER);
    OK(ip_object_release(&arena, memory_id, 0));
    verify();
}

static void act_mutex(void) {
    bool inherited;
    arm();
    OK(ip_mutex_try(&arena, memory, true, true, &inherited));
    OK(ip_mutex_try(&arena, memory, true, true, &inherited));
    OK(ip_mutex_release(&arena, memory, true));
    OK(ip_mutex_release(&arena, memory, true));
}

static void prepare_held_mutex(void) {
    prepare_memory();
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        bool inherited;
        OK(ip_mutex_try(&arena, memory, true, false, &inherited));
        OK(ip_mutex_try(&arena, memory, true, false, &inherited));
        kill(getpid(), SIGKILL);
    }
    CHECK_EQ(child_end(pid), CHILD_KILLED);
}

static void act_semaphore(void) {
    ip_semaphore *semaphore = (ip_semaphore *)memory->data;
    arm();
    OK(ip_semaphore_try(semaphore));
    CHECK_EQ(ip_semaphore_try(semaphore), IP_AGAIN);
    OK(ip_semaphore_release(semaphore, 2));
    CHECK_EQ(ip_semaphore_release(semaphore, 1), IP_OVERFLOW);
    shared->step = 1;
}

static void verify_semaphore(void) {
    uint64_t value = word_of(&((ip_semaphore *)memory->data)->value);
    CHECK(value == 0 || value == 2); /* it dies only after the one or the other */
    CHECK(!shared->step || value == 2);
    verify_memory();
}

static void act_signal(void) {
    ip_signal *signal = (ip_signal *)(memory->data + sizeof(ip_semaphore));
    arm();
    OK(ip_signal_notify(signal, 1));
}

static void verify_signal(void) {
    bool slept;
    CHECK(ip_signal_wait((ip_signal *)(memory->data + sizeof(ip_semaphore)), 0, 0, &slept));
    verify_memory();
}

static const operation operations[] = {
    {"create objects", prepare, act_create, verify, false},
    {"create one object too many for a page", prepare, act_fill_directory, verify, false},
    {"create and open by name", prepare, act_named, verify_named, false},
    {"let go and hold", prepare, act_hold, verify, false},
    {"let go of the last, with queues within", prepare, act_release_last, verify, false},
    {"let go of a pipe", prepare_pipe, act_release_pipe, verify, false},
    {"blocks", prepare, act_blocks, verify, false},
    {"grow and trim the heap", prepare, act_grow_and_trim, verify, false},
    {"reserve a place for a child", prepare, act_reserve, verify, false},
    {"claim a place", prepare, act_nothing, verify, true},
    {"join by the descriptor", prepare, act_join, verify, false},
    {"leave", prepare, act_leave, verify, false},
    {"bury a member", prepare_victim, act_bury, verify, false},
    {"look whether an end is held", prepare_pipe_victim, act_check_holders, verify_vacated, false},
    {"shut down at once", prepare, act_shut_down, verify_shut_down, false},
    {"task done", prepare, act_task_done, verify_task_done, false},
    {"mutex", prepare_memory, act_mutex, verify_memory, false},
    {"inherit a mutex", prepare_held_mutex, act_mutex, verify_memory, false},
    {"semaphore", prepare_memory, act_semaphore, verify_semaphore, false},
    {"signal", prepare_memory, act_signal, verify_signal, false},
};

static void everything_else(void) {
    printf("\n");
    for (unsigned i = 0; i < sizeof operations / sizeof *operations; i++) kill_everywhere(&operations[i], FIRST, STRIDE, RECOVERIES);
}

static void every_fault_point_was_died_at(void) {
    CHECK_EQ(not_died_at("cell container table list gate transaction party offers parcel channel choice barrier enrolment stuck family", true), 0); /* those have tests of their own */
}

int main(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    find_points();
    RUN(puts_and_takes);
    RUN(everything_else);
    if (STRIDE == 1) RUN(every_fault_point_was_died_at);
    printf("  %llu kills at %u fault points\n", (unsigned long long)shared->total, n_points);
    return 0;
}

/* test_barrier.c: barriers: all who are enrolled meet, each meeting once; enrolments come, go, move and die; a barrier among other guards. */
#include <pthread.h>
#include <sys/mman.h>

#include "channel_world.h"

typedef struct {
    uint64_t enrolled, waiting, met;
} counts;

static counts look(const meeting *m) {
    counts c;
    OK(ip_barrier_look(&arena, m->object, &c.enrolled, &c.waiting, &c.met));
    return c;
}

static uint64_t enrol(const meeting *m) {
    uint64_t serial;
    OK(ip_barrier_enrol(&arena, m->object, &serial));
    return serial;
}

static void leave(const meeting *m) { OK(ip_object_release(&arena, m->id, 0)); }

static void all_who_are_enrolled_meet(void) {
    static const unsigned sizes[] = {1, 2, 6, 7, 40, 150};
    enum { MOST = 150 };
    static person people[MOST];
    static deal d[MOST];
    for (unsigned k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        unsigned n = sizes[k];
        begin();
        meeting m = meeting_new("all");
        for (unsigned i = 0; i < n; i++) {
            people[i] = person_new();
            d[i] = deal_of(1);
            syncing(&d[i], &m, enrol(&m));
        }
        uint64_t used = heap_used(&arena);
        for (unsigned round = 0; round < 5; round++) {
            for (unsigned j = 0; j + 1 < n; j++) {
                unsigned i = (j + round) % n;
                CHECK_EQ(try_deal(&d[i], &people[i], 0, true), IP_AGAIN);
                CHECK_EQ(settle_deal(&d[i], &people[i]), IP_BUSY);
            }
            counts before = look(&m);
            CHECK(before.enrolled == n && before.waiting == n - 1 && before.met == round);
            unsigned last = (n - 1 + round) % n;
            OK(try_deal(&d[last], &people[last], 0, true));
            for (unsigned j = 0; j + 1 < n; j++) {
                unsigned i = (j + round) % n;
                CHECK_EQ(phase_of_person(&people[i]), IP_PARTY_MET);
                OK(settle_deal(&d[i], &people[i]));
            }
            counts after = look(&m);
            CHECK(after.enrolled == n && after.waiting == 0 && after.met == round + 1);
        }
        CHECK(heap_used(&arena) <= used + 40 * MOST);
        for (unsigned i = 0; i < n; i++) {
            OK(resign(&m, d[i].guards[0].enrolment));
            end_deal(&d[i]);
            dismiss(&people[i]);
        }
        CHECK_EQ(look(&m).enrolled, 0);
        leave(&m);
        end();
    }
}

/* As many as one change can tell; the next is refused when it enrols, and not the last when all have come. */
static void thousands_meet(void) {
    enum { MOST = IP_ENROLLED_MAX };
    person *people = calloc(MOST, sizeof *people);
    deal *d = calloc(MOST, sizeof *d);
    uint64_t serial;
    CHECK(people && d);
    begin();
    meeting m = meeting_new("crowd");
    for (unsigned i = 0; i < MOST; i++) {
        people[i] = person_new();
        d[i] = deal_of(1);
        syncing(&d[i], &m, enrol(&m));
    }
    CHECK_EQ(ip_barrier_enrol(&arena, m.object, &serial), IP_CROWDED);
    CHECK_EQ(look(&m).enrolled, MOST);
    for (unsigned round = 1; round <= 2; round++) {
        for (unsigned i = 0; i + 1 < MOST; i++) CHECK_EQ(try_deal(&d[i], &people[i], 0, true), IP_AGAIN);
        OK(try_deal(&d[MOST - 1], &people[MOST - 1], 0, true));
        for (unsigned i = 0; i + 1 < MOST; i++) OK(settle_deal(&d[i], &people[i]));
        CHECK_EQ(look(&m).met, round);
    }
    OK(resign(&m, d[0].guards[0].enrolment));
    enrol(&m);
    for (unsigned i = 0; i < MOST; i++) {
        end_deal(&d[i]);
        dismiss(&people[i]);
    }
    leave(&m);
    end();
    free(people);
    free(d);
}

static void numbers_of_enrolments_go_round(void) {
    enum { LAST = (1 << 28) - 1 };
    begin();
    meeting m = meeting_new(NULL);
    CHECK_EQ(enrol(&m), 1);
    CHECK_EQ(enrol(&m), 2);
    OK(resign(&m, 2));
    ip_set(&m.barrier->serial, LAST - 1);
    CHECK_EQ(enrol(&m), LAST);
    CHECK_EQ(enrol(&m), 2); /* 0 is none, 1 still there */
    CHECK_EQ(look(&m).enrolled, 3);
    leave(&m);
    end();
}

/* Who resigns while others wait has them look again, and the last of them completes the meeting. */
static void resigning_completes_a_meeting(void) {
    begin();
    meeting m = meeting_new(NULL);
    person people[3];
    deal d[3];
    for (unsigned i = 0; i < 3; i++) {
        people[i] = person_new();
        d[i] = deal_of(1);
        syncing(&d[i], &m, enrol(&m));
    }
    for (unsigned i = 0; i < 2; i++) CHECK_EQ(try_deal(&d[i], &people[i], 0, true), IP_AGAIN);
    OK(resign(&m, d[2].guards[0].enrolment));
    CHECK_EQ(resign(&m, d[2].guards[0].enrolment), IP_FREED); /* it has already */
    CHECK_EQ(try_deal(&d[2], &people[2], 0, true), IP_FREED);
    for (unsigned i = 0; i < 2; i++) CHECK_EQ(settle_deal(&d[i], &people[i]), IP_AGAIN);
    CHECK_EQ(try_deal(&d[0], &people[0], 0, true), IP_AGAIN);
    OK(try_deal(&d[1], &people[1], 0, true));
    OK(settle_deal(&d[0], &people[0]));
    CHECK_EQ(look(&m).met, 1);
    CHECK_EQ(try_deal(&d[0], &people[0], 0, true), IP_AGAIN); /* a newcomer is waited for */
    uint64_t serial = enrol(&m);
    CHECK_EQ(try_deal(&d[1], &people[1], 0, true), IP_AGAIN);
    d[2].guards[0].enrolment = serial;
    OK(try_deal(&d[2], &people[2], 0, true));
    for (unsigned i = 0; i < 2; i++) OK(settle_deal(&d[i], &people[i]));
    CHECK_EQ(look(&m).met, 2);
    CHECK_EQ(try_deal(&d[1], &people[1], 0, true), IP_AGAIN);
    CHECK_EQ(withdraw_deal(&d[1], &people[1]), IP_AGAIN); /* who withdraws does not count */
    CHECK_EQ(try_deal(&d[0], &people[0], 0, true), IP_AGAIN);
    CHECK_EQ(try_deal(&d[2], &people[2], 0, true), IP_AGAIN);
    CHECK_EQ(look(&m).waiting, 2);
    OK(try_deal(&d[1], &people[1], 0, true));
    CHECK_EQ(withdraw_deal(&d[0], &people[0]), IP_OK); /* too late */
    OK(settle_deal(&d[2], &people[2]));
    CHECK_EQ(look(&m).met, 3);
    for (unsigned i = 0; i < 3; i++) {
        end_deal(&d[i]);
        dismiss(&people[i]);
    }
    leave(&m);
    end();
}

static void a_barrier_is_one_guard_of_a_choice(void) {
    begin();
    meeting m = meeting_new(NULL), other = meeting_new(NULL);
    conduit c = conduit_new(0, 0, NULL, BOTH);
    person a = person_new(), b = person_new();
    deal d = deal_of(3), s = deal_of(1), w = deal_of(1);
    syncing(&d, &m, enrol(&m));
    reading(&d, &c);
    syncing(&d, &other, enrol(&other));
    syncing(&s, &m, enrol(&m));
    uint64_t absent = enrol(&other);
    writing(&w, &c, 1, 10);
    for (unsigned round = 0; round < 4; round++) {
        CHECK_EQ(try_deal(&d, &a, round, true), IP_AGAIN);
        if (round % 2) OK(try_deal(&s, &b, 0, true));
        else OK(try_deal(&w, &b, 0, true));
        OK(settle_deal(&d, &a));
        CHECK_EQ(d.choice.guard, round % 2 ? 0 : 1);
        clear_deal(&w);
        writing(&w, &c, 1, 10);
        CHECK_EQ(look(&m).waiting + look(&other).waiting, 0);
    }
    CHECK_EQ(try_deal(&s, &b, 0, true), IP_AGAIN); /* the same when the other is there first */
    OK(try_deal(&d, &a, 1, true));
    CHECK_EQ(d.choice.guard, 0);
    OK(settle_deal(&s, &b));
    CHECK(look(&m).met == 3 && look(&other).met == 0);
    OK(resign(&other, absent));
    OK(try_deal(&d, &a, 1, true)); /* alone at the other */
    CHECK_EQ(d.choice.guard, 2);
    end_deal(&d);
    end_deal(&s);
    end_deal(&w);
    dismiss(&a);
    dismiss(&b);
    drop_ends(&c, BOTH);
    leave(&m);
    leave(&other);
    end();
}

/* A member whose life hangs on a pipe: it takes what it is to take, tells so, and dies when it is told to. */
typedef struct {
    pid_t pid;
    int go;
} hostage;

static hostage take_hostage(void (*act)(void *), void *context) {
    int go[2], ready[2];
    char byte;
    CHECK(pipe(go) == 0 && pipe(ready) == 0);
    hostage h = {fork_member(&arena), go[1]};
    if (h.pid == 0) {
        alarm(60);
        close(go[1]);
        act(context);
        CHECK_EQ(write(ready[1], "", 1), 1);
        while (read(go[0], &byte, 1) > 0) continue;
        kill(getpid(), SIGKILL);
    }
    close(go[0]);
    close(ready[1]);
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return h;
}

static void kill_hostage(hostage *h) {
    close(h->go);
    CHECK_EQ(child_end(h->pid), CHILD_KILLED);
}

static void enrol_and_do_not_come(void *context) { enrol(context); }

static void enrol_and_wait(void *context) {
    const meeting *m = context;
    person p = person_new();
    deal d = deal_of(1);
    syncing(&d, m, enrol(m));
    CHECK_EQ(try_deal(&d, &p, 0, true), IP_AGAIN);
}

static void the_dead_are_not_waited_for(void) {
    for (int waits = 0; waits < 2; waits++) {
        begin();
        meeting m = meeting_new(NULL);
        person a = person_new(), b = person_new();
        deal d = deal_of(1), e = deal_of(1);
        syncing(&d, &m, enrol(&m));
        syncing(&e, &m, enrol(&m));
        hostage h = take_hostage(waits ? enrol_and_wait : enrol_and_do_not_come, &m);
        CHECK_EQ(look(&m).enrolled, 3);
        CHECK_EQ(look(&m).waiting, waits);
        CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
        kill_hostage(&h);
        uint32_t buried;
        OK(ip_member_reap(&arena, &buried));
        CHECK_EQ(look(&m).enrolled, 2);
        CHECK_EQ(settle_deal(&d, &a), IP_AGAIN);
        CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN); /* b is waited for, now as before */
        OK(conclude(&e, &b, 0, UINT64_MAX));
        OK(settle_deal(&d, &a));
        CHECK_EQ(look(&m).met, 1);
        h = take_hostage(enrol_and_do_not_come, &m);
        CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
        kill_hostage(&h);
        CHECK_EQ(try_deal(&e, &b, 0, true), IP_AGAIN);
        look_around(&e); /* who waits finds out by itself, and so do the others */
        CHECK_EQ(settle_deal(&d, &a), IP_AGAIN);
        if (settle_deal(&e, &b) == IP_BUSY) CHECK_EQ(withdraw_deal(&e, &b), IP_AGAIN); /* it had found out before it waited */
        CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
        OK(try_deal(&e, &b, 0, true));
        OK(settle_deal(&d, &a));
        end_deal(&d);
        end_deal(&e);
        dismiss(&a);
        dismiss(&b);
        leave(&m);
        end();
    }
}

/* An enrolment that is on its way is nobody's, and is waited for; it is this process's when it arrives, or the child's it was kept for. */
static void enrolments_move(void) {
    begin();
    meeting m = meeting_new(NULL);
    person a = person_new();
    deal d = deal_of(1), e = deal_of(1);
    uint64_t mine = enrol(&m), moves = enrol(&m);
    syncing(&d, &m, mine);
    syncing(&e, &m, moves);
    OK(depart(&m, moves));
    CHECK_EQ(try_deal(&e, &a, 0, true), IP_FREED); /* not this process's */
    CHECK_EQ(look(&m).enrolled, 2);
    CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
    CHECK_EQ(withdraw_deal(&d, &a), IP_AGAIN);
    OK(arrive(&m, moves, true));
    person b = person_new();
    CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
    OK(try_deal(&e, &b, 0, true));
    OK(settle_deal(&d, &a));
    CHECK_EQ(arrive(&m, moves + 77, true), IP_FREED);
    for (int dies = 0; dies < 2; dies++) {
        int fd;
        uint32_t slot;
        OK(ip_member_reserve(&arena, &fd, &slot));
        OK(ip_directory_share_all(&arena, slot));
        CHECK_EQ(look(&m).enrolled, 2); /* a child is not enrolled for being one */
        OK(bequeath(&m, moves, slot));
        CHECK_EQ(try_deal(&e, &b, 0, true), IP_FREED);
        fflush(NULL);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            alarm(60);
            OK(ip_member_claim(&arena, slot, fd));
            if (dies) kill(getpid(), SIGKILL);
            person p = person_new();
            OK(conclude(&e, &p, 0, UINT64_MAX));
            OK(depart(&m, moves)); /* sent on */
            _exit(0);
        }
        close(fd);
        OK(conclude(&d, &a, 0, UINT64_MAX)); /* with it, or once it is buried, without */
        CHECK_EQ(child_end(pid), dies ? CHILD_KILLED : CHILD_DONE);
        CHECK_EQ(look(&m).enrolled, dies ? 1 : 2);
        if (!dies) OK(arrive(&m, moves, true));
    }
    end_deal(&d);
    end_deal(&e);
    dismiss(&a);
    dismiss(&b);
    leave(&m);
    end();
}

static void a_process_that_leaves_has_resigned(void) {
    begin();
    meeting m = meeting_new(NULL);
    person a = person_new();
    deal d = deal_of(1);
    syncing(&d, &m, enrol(&m));
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        enrol(&m);
        OK(ip_member_leave(&arena));
        _exit(0);
    }
    CHECK_EQ(child_end(pid), CHILD_DONE);
    CHECK_EQ(look(&m).enrolled, 1);
    OK(try_deal(&d, &a, 0, true));
    end_deal(&d);
    dismiss(&a);
    leave(&m);
    end();
}

/* ---- many ---- */

#if defined(UNDER_TSAN) || defined(UNDER_ASAN)
enum { PHASES = 300 };
#else
enum { PHASES = 3000 };
#endif
enum { MANY = 4 };

static meeting place;
static struct {
    _Atomic uint64_t at[2 * MANY]; /* which phase each is in */
} *progress;

/* Nobody enters a phase before all have left the one before. */
static void *go_through(void *context) {
    unsigned me = (unsigned)(uintptr_t)context;
    person p = person_new();
    deal d = deal_of(1);
    syncing(&d, &place, (uint64_t)me + 1);
    for (uint64_t i = 1; i <= PHASES; i++) {
        atomic_store(&progress->at[me], i);
        OK(conclude(&d, &p, 0, UINT64_MAX));
        for (unsigned k = 0; k < MANY; k++) {
            uint64_t at = atomic_load(&progress->at[k]);
            CHECK(at == i || at == i + 1);
        }
        OK(conclude(&d, &p, 0, UINT64_MAX));
    }
    end_deal(&d);
    dismiss(&p);
    return NULL;
}

static void threads_meet(void) {
    pthread_t threads[MANY];
    begin();
    place = meeting_new(NULL);
    memset(progress, 0, sizeof *progress);
    for (unsigned i = 0; i < MANY; i++) CHECK_EQ(enrol(&place), i + 1);
    for (unsigned i = 0; i < MANY; i++) CHECK_EQ(pthread_create(&threads[i], NULL, go_through, (void *)(uintptr_t)i), 0);
    for (unsigned i = 0; i < MANY; i++) pthread_join(threads[i], NULL);
    CHECK_EQ(look(&place).met, 2 * PHASES);
    leave(&place);
    end();
}

static void processes_meet(void) {
    pid_t pids[MANY];
    begin();
    place = meeting_new(NULL);
    memset(progress, 0, sizeof *progress);
    for (unsigned i = 0; i < MANY; i++) CHECK_EQ(enrol(&place), i + 1);
    for (unsigned i = 0; i < MANY; i++) OK(depart(&place, i + 1));
    for (unsigned i = 0; i < MANY; i++) {
        pids[i] = fork_member(&arena);
        if (pids[i]) continue;
        alarm(100);
        OK(arrive(&place, i + 1, true));
        go_through((void *)(uintptr_t)i);
        OK(ip_member_leave(&arena));
        _exit(0);
    }
    for (unsigned i = 0; i < MANY; i++) CHECK_EQ(child_end(pids[i]), CHILD_DONE);
    counts c = look(&place);
    CHECK(c.met == 2 * PHASES && c.enrolled == 0 && c.waiting == 0);
    leave(&place);
    end();
}

int main(void) {
    alarm(110);
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(progress != MAP_FAILED);
    RUN(all_who_are_enrolled_meet);
    RUN(thousands_meet);
    RUN(numbers_of_enrolments_go_round);
    RUN(resigning_completes_a_meeting);
    RUN(a_barrier_is_one_guard_of_a_choice);
    RUN(the_dead_are_not_waited_for);
    RUN(enrolments_move);
    RUN(a_process_that_leaves_has_resigned);
    RUN(threads_meet);
    RUN(processes_meet);
    return 0;
}

/* test_choice_stress.c: threads of several processes choose at both ends of the same channels, at random, with time limits, while some
 * are killed at any instruction: each message arrives once, or was refused; nothing arrives twice. */
#include <pthread.h>
#include <sys/mman.h>

#include "channel_world.h"

#if defined(UNDER_TSAN)
enum { COMMUNICATIONS = 8000, ROUNDS = 20 };
/* Of a process. TSan sees what happens within its process: memory that one of its threads gives to another by way of a second
 * process would pass for a race. */
enum { THREADS = 1 };
#elif defined(UNDER_ASAN)
enum { COMMUNICATIONS = 25000, ROUNDS = 70, THREADS = 2 };
#else
enum { COMMUNICATIONS = 150000, ROUNDS = 400, THREADS = 2 };
#endif
enum { PROCESSES = 4, IDS = 2 * PROCESSES, EACH = 200000, CHANNELS = 6, GUARDS = 5, BUFFER = 2 };
enum { TRIED = 1, DONE, REFUSED };

static struct {
    _Atomic unsigned char sent[IDS][EACH], received[IDS][EACH];
    _Atomic uint64_t numbers[IDS]; /* how many messages each has offered */
    _Atomic uint64_t communications;
    _Atomic int stop;
} *shared;

static conduit channels[CHANNELS];
static unsigned sides[CHANNELS]; /* that this process has */
static uint64_t goal; /* communications after which it stops by itself */

static uint64_t size_of(uint64_t number) {
    uint64_t state = number, r = next_random(&state);
    return r % 20 == 0 ? 700 + r / 20 % 5000 : 8 + r / 20 % 150;
}

static void settle_sends(deal *d, uint64_t id, const uint64_t *numbers, ip_status status) {
    for (unsigned i = 0; i < d->n; i++) {
        if (d->guards[i].side != IP_WRITES) continue;
        bool done = status == IP_OK && d->choice.guard == i;
        atomic_store(&shared->sent[id][numbers[i]], done ? DONE : REFUSED);
    }
}

static void note_received(const message *m) {
    uint64_t id = m->number >> 32, n = m->number & 0xFFFFFFFF;
    CHECK(m->whole && m->size == size_of(m->number));
    CHECK(id < IDS && n < atomic_load(&shared->numbers[id]));
    CHECK_EQ(atomic_fetch_add(&shared->received[id][n], 1), 0); /* not twice */
}

static void *take_part(void *context) {
    uint64_t id = (uint64_t)(uintptr_t)context, random = id + (uint64_t)getpid() * 1000, numbers[GUARDS], n = atomic_load(&shared->numbers[id]);
    bool ended[CHANNELS][2] = {{false}};
    person p = person_new();
    deal d = deal_of(GUARDS);
    for (unsigned idle = 0; !atomic_load(&shared->stop) && atomic_load(&shared->communications) < goal && idle < 200;) {
        for (unsigned wanted = 1 + next_random(&random) % GUARDS; wanted; wanted--) {
            unsigned c = (unsigned)(next_random(&random) % CHANNELS), side = (unsigned)(next_random(&random) % 2);
            if (!(sides[c] >> side & 1) || ended[c][side] || n + GUARDS >= EACH) continue;
            if (side == IP_READS) {
                reading(&d, &channels[c]);
                continue;
            }
            uint64_t number = id << 32 | n;
            numbers[d.n] = n;
            atomic_store(&shared->sent[id][n], TRIED);
            atomic_store(&shared->numbers[id], ++n);
            writing(&d, &channels[c], number, size_of(number));
        }
        if (!d.n) {
            idle++;
            continue;
        }
        idle = 0;
        ip_status status = conclude(&d, &p, (unsigned)next_random(&random), ip_now_ns() + next_random(&random) % 2000000);
        if (status == IP_OK && d.guards[d.choice.guard].side == IP_READS) note_received(&d.got);
        settle_sends(&d, id, numbers, status);
        if (status == IP_OK) atomic_fetch_add(&shared->communications, 1);
        else if (status != IP_AGAIN) {
            CHECK(status == IP_POISONED || status == IP_RETIRED);
            for (unsigned c = 0; c < CHANNELS; c++)
                if (channels[c].id.index == d.guards[d.choice.guard].id.index) ended[c][d.guards[d.choice.guard].side] = true;
        }
        clear_deal(&d);
    }
    end_deal(&d);
    dismiss(&p);
    return NULL;
}

static pid_t spawn(unsigned process, const unsigned *its_sides) {
    pid_t pid = fork_member(&arena);
    if (pid) return pid;
    pthread_t threads[THREADS];
    alarm(100);
    for (unsigned c = 0; c < CHANNELS; c++) {
        sides[c] = its_sides[c];
        for (unsigned side = 0; side < 2; side++) { /* it may have retired by now, if others were fast */
            if (!(sides[c] >> side & 1)) continue;
            ip_status status = ip_object_hold(&arena, channels[c].id, side, arena.self);
            CHECK(status == IP_OK || status == IP_FREED);
            if (status == IP_FREED) sides[c] &= ~(1u << side);
        }
    }
    for (unsigned i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, take_part, (void *)(uintptr_t)(process * THREADS + i)), 0);
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    OK(ip_member_leave(&arena));
    _exit(0);
}

static void make_channels(void) {
    for (unsigned c = 0; c < CHANNELS; c++) channels[c] = conduit_new(c == CHANNELS - 1 ? BUFFER : 0, 0, NULL, KEEPERS);
    for (unsigned id = 0; id < IDS; id++) {
        memset((void *)shared->sent[id], 0, shared->numbers[id]);
        memset((void *)shared->received[id], 0, shared->numbers[id]);
        shared->numbers[id] = 0;
    }
    shared->communications = 0;
    shared->stop = 0;
}

/* What was done for the writer has arrived, but for what may have gone with the killed; what was refused has not. */
static uint64_t check_messages(uint64_t may_be_lost) {
    uint64_t lost = 0, done = 0;
    for (unsigned id = 0; id < IDS; id++)
        for (uint64_t n = 0; n < shared->numbers[id]; n++) {
            unsigned char sent = shared->sent[id][n], received = shared->received[id][n];
            CHECK(received <= 1);
            CHECK(!(sent == REFUSED && received));
            done += sent == DONE;
            lost += sent == DONE && !received;
        }
    CHECK(lost <= may_be_lost);
    return done;
}

static void drop_channels(void) {
    uint32_t buried;
    OK(ip_member_reap(&arena, &buried));
    for (unsigned c = 0; c < CHANNELS; c++) drop_ends(&channels[c], KEEPERS);
    OK(ip_heap_check(&arena));
    CHECK_EQ(heap_used(&arena), 0);
}

static void processes_choose_among_each_other(void) {
    pid_t pids[PROCESSES];
    static const unsigned all[CHANNELS] = {BOTH, BOTH, BOTH, BOTH, BOTH, BOTH};
    begin();
    make_channels();
    goal = COMMUNICATIONS;
    take_ends(&channels[CHANNELS - 1], READERS); /* for what is in the buffer in the end */
    for (unsigned i = 0; i < PROCESSES; i++) pids[i] = spawn(i, all);
    for (unsigned i = 0; i < PROCESSES; i++) CHECK_EQ(child_end(pids[i]), CHILD_DONE);
    person p = person_new();
    deal d = deal_of(1);
    reading(&d, &channels[CHANNELS - 1]);
    while (try_deal(&d, &p, 0, false) == IP_OK) note_received(&d.got);
    end_deal(&d);
    dismiss(&p);
    uint64_t done = check_messages(0);
    drop_ends(&channels[CHANNELS - 1], READERS);
    drop_channels();
    end();
    printf("%llu messages...", (unsigned long long)done);
}

static void threads_choose_among_each_other(void) {
    pthread_t threads[IDS];
    begin();
    make_channels();
    goal = COMMUNICATIONS;
    for (unsigned c = 0; c < CHANNELS; c++) {
        sides[c] = BOTH;
        take_ends(&channels[c], BOTH);
    }
    for (unsigned i = 0; i < IDS; i++) CHECK_EQ(pthread_create(&threads[i], NULL, take_part, (void *)(uintptr_t)i), 0);
    for (unsigned i = 0; i < IDS; i++) pthread_join(threads[i], NULL);
    uint64_t done = check_messages(BUFFER);
    for (unsigned c = 0; c < CHANNELS; c++) drop_ends(&channels[c], BOTH);
    drop_channels();
    end();
    printf("%llu messages...", (unsigned long long)done);
}

/* Each would read from the left or write to the right, whatever comes first, without a time limit: somebody always can. */
static void *sit_in_a_ring(void *context) {
    uint64_t id = (uint64_t)(uintptr_t)context, numbers[2] = {0};
    person p = person_new();
    deal d = deal_of(2);
    ip_status status = IP_OK;
    for (uint64_t n = 0; status == IP_OK; n++) {
        CHECK(n < EACH);
        numbers[1] = n;
        atomic_store(&shared->sent[id][n], TRIED);
        atomic_store(&shared->numbers[id], n + 1);
        reading(&d, &channels[id % CHANNELS]);
        writing(&d, &channels[(id + 1) % CHANNELS], id << 32 | n, size_of(id << 32 | n));
        status = conclude(&d, &p, (unsigned)n, UINT64_MAX);
        if (status == IP_OK && d.choice.guard == 0) note_received(&d.got);
        settle_sends(&d, id, numbers, status);
        clear_deal(&d);
        if (status == IP_OK && atomic_fetch_add(&shared->communications, 1) == goal)
            for (unsigned c = 0; c < CHANNELS; c++) OK(ip_channel_poison(&arena, channels[c].object));
    }
    CHECK_EQ(status, IP_POISONED);
    end_deal(&d);
    dismiss(&p);
    return NULL;
}

static void a_ring_never_stops(void) {
    pthread_t threads[CHANNELS];
    pid_t pids[CHANNELS];
    for (int processes = 0; processes < 2; processes++) {
        begin();
        make_channels();
        for (unsigned i = 0; i < CHANNELS; i++) { /* none with a buffer */
            drop_ends(&channels[i], KEEPERS);
            channels[i] = conduit_new(0, 0, NULL, ALL);
        }
        goal = COMMUNICATIONS / 2;
        for (unsigned i = 0; i < CHANNELS; i++) {
            if (!processes) {
                CHECK_EQ(pthread_create(&threads[i], NULL, sit_in_a_ring, (void *)(uintptr_t)i), 0);
                continue;
            }
            pids[i] = fork_member(&arena);
            if (pids[i]) continue;
            alarm(100);
            take_ends(&channels[i], READERS);
            take_ends(&channels[(i + 1) % CHANNELS], WRITERS);
            sit_in_a_ring((void *)(uintptr_t)i);
            OK(ip_member_leave(&arena));
            _exit(0);
        }
        for (unsigned i = 0; i < CHANNELS; i++) {
            if (processes) CHECK_EQ(child_end(pids[i]), CHILD_DONE);
            else pthread_join(threads[i], NULL);
        }
        uint64_t done = check_messages(0);
        CHECK(done >= goal / 2);
        for (unsigned i = 0; i < CHANNELS; i++) drop_ends(&channels[i], BOTH);
        drop_channels();
        end();
        printf("%llu messages...", (unsigned long long)done);
    }
}

/* In each round up to three of the processes are killed; all others go on with what that has not poisoned. */
static void killed_processes_double_nothing(void) {
    uint64_t random = (uint64_t)getpid(), done = 0, kills = 0;
    begin();
    goal = UINT64_MAX;
    for (unsigned round = 0; round < ROUNDS; round++) {
        pid_t pids[PROCESSES];
        uint64_t killed = 0;
        make_channels();
        for (unsigned i = 0; i < PROCESSES; i++) {
            unsigned its[CHANNELS];
            for (unsigned c = 0; c < CHANNELS; c++) its[c] = c == i ? 0 : BOTH; /* so that one death does not poison all */
            if (i == 0) its[2] = its[3] = READERS;
            pids[i] = spawn(i, its);
        }
        for (uint64_t n = 1 + next_random(&random) % 3; n; n--) {
            usleep((useconds_t)(next_random(&random) % 4000));
            unsigned i = (unsigned)(next_random(&random) % PROCESSES);
            if (!pids[i]) continue;
            CHECK_EQ(kill(pids[i], SIGKILL), 0);
            killed += child_end(pids[i]) == CHILD_KILLED; /* else it had nobody left to talk to, and had ended */
            pids[i] = 0;
        }
        usleep((useconds_t)(next_random(&random) % 3000));
        atomic_store(&shared->stop, 1);
        for (unsigned i = 0; i < PROCESSES; i++)
            if (pids[i]) CHECK_EQ(child_end(pids[i]), CHILD_DONE);
        done += check_messages(killed * THREADS + BUFFER);
        drop_channels();
        kills += killed;
    }
    end();
    printf("%llu messages, %llu kills...", (unsigned long long)done, (unsigned long long)kills);
}

int main(void) {
    alarm(110);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(shared != MAP_FAILED);
    RUN(threads_choose_among_each_other);
    RUN(processes_choose_among_each_other);
    RUN(a_ring_never_stops);
    RUN(killed_processes_double_nothing);
    return 0;
}

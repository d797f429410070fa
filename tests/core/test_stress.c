/* test_stress.c: many processes and threads on the same objects while some are killed at any instruction: nothing that was
 * published is lost, doubled or out of order, but what a killed consumer had just taken. */
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "world.h"

#if defined(UNDER_TSAN)
enum { KILLS = 12, THREADED = 3000 };
#elif defined(UNDER_ASAN)
enum { KILLS = 60, THREADED = 8000 };
#else
enum { KILLS = 300, THREADED = 60000 };
#endif
enum { IDS_MAX = 4 * KILLS + 100, LOG_MAX = 4000000, BATCH = 8, PRODUCERS = 2, CONSUMERS = 2, THREADS = 2 };

/* A producer or consumer is a thread with a number of its own. */
static struct {
    _Atomic uint64_t tried[IDS_MAX], acknowledged[IDS_MAX]; /* by each producer */
    _Atomic uint64_t logged;
    _Atomic int stop, drain;
    _Atomic uint64_t log[LOG_MAX]; /* consumer 16 | producer 16 | number 32, all + 1; 0: never written */
} *shared;

static ip_arena arena;
static port q, inner;
static ip_handle_ref inner_ref;

static uint64_t number_of(uint64_t id, uint64_t n) { return id << 32 | n; }

static uint64_t size_of(uint64_t number) {
    uint64_t state = number;
    uint64_t r = next_random(&state);
    return r % 200 == 0 ? 8 + r / 200 % 60000 : 8 + r / 200 % 300;
}

static bool put_next(uint64_t id, uint64_t n) {
    uint64_t number = number_of(id, n);
    bool slept, with_handle = n % 50 == 7;
    for (;;) {
        ip_status status = put_with(&q, number, size_of(number), &inner_ref, with_handle);
        if (status == IP_OK) return true;
        CHECK_EQ(status, IP_AGAIN);
        if (atomic_load(&shared->stop)) return false;
        ip_ring_wait_space(q.object, q.out, -1, size_of(number), ip_now_ns() + 1000000000, &slept);
    }
}

static void *produce(void *context) {
    uint64_t id = (uint64_t)(uintptr_t)context;
    for (uint64_t n = 0; !atomic_load(&shared->stop); n++) {
        if (n % 256 == 255) usleep(500);
        while (atomic_load(&shared->logged) > LOG_MAX - 100000 && !atomic_load(&shared->stop)) usleep(1000);
        atomic_store(&shared->tried[id], n + 1);
        if (!put_next(id, n)) break;
        atomic_store(&shared->acknowledged[id], n + 1);
    }
    return NULL;
}

static void *consume(void *context) {
    uint64_t id = (uint64_t)(uintptr_t)context;
    _Alignas(8) unsigned char scratch[IP_SCRATCH_MIN];
    ip_incoming in[BATCH];
    for (uint64_t round = 0;; round++) {
        unsigned taken;
        bool slept;
        ip_status status;
        UNTIL_NOT_BUSY(status, ip_ring_take(&arena, q.object, q.in, -1, scratch, sizeof scratch, IP_PATIENT, in,
                                            round % 3 ? 1 : BATCH, &taken));
        if (status == IP_AGAIN) {
            if (atomic_load(&shared->drain)) return NULL;
            ip_ring_wait_items(q.object, q.in, -1, ip_now_ns() + 100000000, &slept);
            continue;
        }
        CHECK_EQ(status, IP_OK);
        for (unsigned i = 0; i < taken; i++) {
            message m;
            OK(examine(&q, &in[i], &m));
            CHECK(m.whole);
            CHECK_EQ(m.size, size_of(m.number));
            uint64_t at = atomic_fetch_add(&shared->logged, 1);
            CHECK(at < LOG_MAX);
            atomic_store(&shared->log[at], (id << 48 | m.number) + 1);
        }
    }
}

static pid_t spawn(bool producer, uint64_t first_id) {
    pid_t pid = fork_member(&arena);
    if (pid) return pid;
    pthread_t threads[THREADS];
    alarm(100);
    for (uint64_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, producer ? produce : consume, (void *)(uintptr_t)(first_id + i)), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    OK(ip_member_leave(&arena));
    _exit(0);
}

/* The log against what producers say; `lost`: how many messages killed consumers may have taken along. */
static void check_log(uint64_t ids, uint64_t may_be_lost) {
    uint64_t put, taken, done, bytes, tried = 0, acknowledged = 0, entries = 0, logged = atomic_load(&shared->logged);
    bool shut;
    OK(ip_ring_counts(q.in, &put, &taken, &done, &bytes, &shut));
    CHECK_EQ(put, taken);
    CHECK_EQ(bytes, 0);
    unsigned char **seen = calloc(ids, sizeof *seen);
    uint64_t *latest = calloc(ids * ids, sizeof *latest); /* number + 1 of a producer's that a consumer had last */
    CHECK(seen && latest);
    for (uint64_t i = 0; i < ids; i++) {
        tried += shared->tried[i];
        acknowledged += shared->acknowledged[i];
        seen[i] = calloc(shared->tried[i] + 1, 1);
        CHECK(seen[i]);
    }
    CHECK(put >= acknowledged && put <= tried);
    for (uint64_t i = 0; i < logged; i++) {
        if (!shared->log[i]) continue; /* killed just there */
        uint64_t entry = shared->log[i] - 1, consumer = entry >> 48, producer = entry >> 32 & 0xFFFF, n = entry & 0xFFFFFFFF;
        entries++;
        CHECK(consumer < ids && producer < ids && n < shared->tried[producer]);
        CHECK(!seen[producer][n]); /* not twice */
        seen[producer][n] = 1;
        CHECK(n >= latest[consumer * ids + producer]); /* in order */
        latest[consumer * ids + producer] = n + 1;
    }
    CHECK(entries <= put && put - entries <= may_be_lost);
    uint64_t missing = 0;
    for (uint64_t i = 0; i < ids; i++) {
        for (uint64_t n = 0; n < shared->acknowledged[i]; n++) missing += !seen[i][n];
        free(seen[i]);
    }
    CHECK(missing <= may_be_lost);
    free(seen);
    free(latest);
    printf("%llu messages, %llu gone with a consumer...", (unsigned long long)put, (unsigned long long)(put - entries));
}

static void begin(uint64_t max_count) {
    memset(shared->tried, 0, sizeof shared->tried);
    memset(shared->acknowledged, 0, sizeof shared->acknowledged);
    memset(shared->log, 0, sizeof *shared->log * shared->logged);
    shared->logged = 0;
    shared->stop = shared->drain = 0;
    OK(ip_arena_create(&arena, -1, UINT64_C(256) << 20));
    q = queue_new(&arena, max_count, 0, NULL);
    inner = queue_new(&arena, 0, 0, NULL);
    inner_ref = (ip_handle_ref){inner.id, 0};
}

static void end(void) {
    uint32_t buried;
    OK(ip_member_reap(&arena, &buried));
    OK(ip_ring_check(&arena, q.in));
    OK(ip_heap_check(&arena));
    ip_object_info info;
    uint32_t index = inner.id.index;
    OK(ip_object_next(&arena, &index, &info));
    CHECK(info.transit[0] == 0 && info.holders[0] == 1);
    OK(ip_object_release(&arena, q.id, 0));
    OK(ip_object_release(&arena, inner.id, 0));
    OK(ip_heap_check(&arena));
    CHECK_EQ(heap_used(&arena), 0);
    OK(ip_member_leave(&arena));
    ip_arena_detach(&arena);
}

static void killed_processes_lose_nothing(void) {
    enum { N = PRODUCERS + CONSUMERS };
    pid_t pids[N];
    uint64_t ids = 0, random = (uint64_t)getpid(), killed_consumers = 0;
    alarm(100);
    begin(1500);
    for (int i = 0; i < N; i++, ids += THREADS) pids[i] = spawn(i < PRODUCERS, ids);
    for (int kills = 0; kills < KILLS; kills++) {
        usleep((useconds_t)(1000 + next_random(&random) % 12000));
        int i = (int)(next_random(&random) % N);
        CHECK_EQ(kill(pids[i], SIGKILL), 0);
        CHECK_EQ(child_end(pids[i]), CHILD_KILLED);
        killed_consumers += i >= PRODUCERS;
        CHECK(ids + THREADS <= IDS_MAX);
        pids[i] = spawn(i < PRODUCERS, ids);
        ids += THREADS;
        if (kills % 5 == 0) {
            uint32_t buried;
            OK(ip_member_reap(&arena, &buried));
        }
    }
    atomic_store(&shared->stop, 1);
    for (int i = 0; i < PRODUCERS; i++) CHECK_EQ(child_end(pids[i]), CHILD_DONE);
    atomic_store(&shared->drain, 1);
    for (int i = PRODUCERS; i < N; i++) CHECK_EQ(child_end(pids[i]), CHILD_DONE);
    check_log(ids, killed_consumers * THREADS * BATCH);
    end();
    alarm(0);
}

/* Queues, blocks and mutexes made and dropped beside. */
static void *churn(void *context) {
    ip_memory *memory = context;
    for (uint64_t i = 0; i < THREADED / 20; i++) {
        port mine = queue_new(&arena, 0, 0, NULL);
        uint64_t block;
        bool inherited;
        for (uint64_t k = 0; k < 5; k++) OK(put_one(&mine, k, k * 5000));
        TAKE(&mine, 0, 0);
        ip_status status;
        UNTIL_NOT_BUSY(status, ip_block_new(&arena, i % 7 * 10000, &block));
        CHECK_EQ(status, IP_OK);
        OK(ip_block_drop(&arena, block));
        OK(ip_object_release(&arena, mine.id, 0));
        while (ip_mutex_try(&arena, memory, false, false, &inherited) != IP_OK) {
            bool slept;
            ip_lock_wait(&memory->lock, UINT64_MAX, &slept);
        }
        ++*ip_memory_bytes(memory, 8); /* not atomic: the mutex orders it */
        OK(ip_mutex_release(&arena, memory, false));
    }
    return NULL;
}

static void *produce_some(void *context) {
    uint64_t id = (uint64_t)(uintptr_t)context;
    for (uint64_t n = 0; n < THREADED; n++) {
        atomic_store(&shared->tried[id], n + 1);
        CHECK(put_next(id, n));
        atomic_store(&shared->acknowledged[id], n + 1);
    }
    return NULL;
}

static void threads_share_objects(void) {
    pthread_t threads[6];
    ip_memory *memory;
    alarm(100);
    begin(300);
    ip_id id = memory_new(&arena, 8, &memory);
    for (uint64_t i = 0; i < 2; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, produce_some, (void *)(uintptr_t)i), 0);
        CHECK_EQ(pthread_create(&threads[2 + i], NULL, consume, (void *)(uintptr_t)(2 + i)), 0);
        CHECK_EQ(pthread_create(&threads[4 + i], NULL, churn, memory), 0);
    }
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    atomic_store(&shared->drain, 1);
    for (int i = 2; i < 6; i++) pthread_join(threads[i], NULL);
    CHECK_EQ(*ip_memory_bytes(memory, 8), (unsigned char)(2 * (THREADED / 20)));
    check_log(4, 0);
    OK(ip_object_release(&arena, id, 0));
    end();
    alarm(0);
}

int main(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(shared != MAP_FAILED);
    RUN(killed_processes_lose_nothing);
    RUN(threads_share_objects);
    return 0;
}

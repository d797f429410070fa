/* test_heap.c: the heap against a model: blocks do not overlap, all is given back, running out changes nothing. */
#include "world.h"

#if defined(UNDER_TSAN) || defined(UNDER_ASAN)
enum { STEPS = 6000, CHECK_EVERY = 100 };
#else
enum { STEPS = 40000, CHECK_EVERY = 100 };
#endif

static ip_arena arena;
static uint64_t random_state = 1;

static void begin(uint64_t limit) { OK(ip_arena_create(&arena, -1, limit)); }

static void end(void) {
    OK(ip_heap_check(&arena));
    CHECK_EQ(heap_used(&arena), 0);
    CHECK_EQ(word_of(&arena.header->heap_top), arena.heap);
    OK(ip_member_leave(&arena));
    ip_arena_detach(&arena);
}

static uint64_t file_bytes(void) {
    struct stat st;
    CHECK_EQ(fstat(arena.fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

typedef struct {
    uint64_t at, size;
    unsigned char mark;
} held;

/* Its first and last bytes, and one in the middle, are as they were written. */
static bool is_intact(const held *h) {
    const unsigned char *p = ip_at(&arena, h->at);
    return !h->size || (p[0] == h->mark && p[h->size / 2] == h->mark && p[h->size - 1] == h->mark);
}

static uint64_t some_size(void) {
    uint64_t r = next_random(&random_state);
    switch (r % 8) {
        case 0: return r / 8 % 300000;
        case 1: return r / 8 % 20000;
        case 2: return 0;
        default: return r / 8 % 600;
    }
}

/* What the heap takes for a block: header and contents in cache lines. */
static uint64_t footprint(uint64_t size) {
    uint64_t bytes = (size + sizeof(ip_block) + IP_CACHE_LINE - 1) / IP_CACHE_LINE * IP_CACHE_LINE;
    return bytes < 128 ? 128 : bytes;
}

static void random_blocks(void) {
    enum { SLOTS = 300 };
    static held slots[SLOTS];
    uint64_t sum = 0, refused = 0;
    begin(UINT64_C(3) << 20);
    for (unsigned step = 0; step < STEPS; step++) {
        held *h = &slots[next_random(&random_state) % SLOTS];
        if (h->at) {
            CHECK(is_intact(h));
            uint64_t before = heap_used(&arena);
            OK(ip_block_drop(&arena, h->at));
            sum -= before - heap_used(&arena);
            h->at = 0;
        } else {
            uint64_t before = heap_used(&arena);
            h->size = some_size();
            ip_status status = ip_block_new(&arena, h->size, &h->at);
            if (status == IP_NO_MEMORY) { /* only when it is nearly full; free space lies in pieces */
                CHECK(before + footprint(h->size) > arena.limit / 2);
                CHECK_EQ(heap_used(&arena), before);
                OK(ip_heap_check(&arena));
                h->at = 0;
                refused++;
                continue;
            }
            CHECK_EQ(status, IP_OK);
            CHECK_EQ(h->at % IP_CACHE_LINE, 0);
            CHECK(h->at >= arena.heap && h->at + h->size <= arena.heap_end);
            h->mark = (unsigned char)(1 + step % 255);
            memset(ip_at(&arena, h->at), h->mark, h->size);
            uint64_t took = heap_used(&arena) - before;
            CHECK(took >= footprint(h->size) && took < footprint(h->size) + 256); /* a rest too small to split stays */
            sum += took;
        }
        CHECK_EQ(heap_used(&arena), sum);
        if (step % CHECK_EVERY == 0) OK(ip_heap_check(&arena));
    }
    CHECK(refused > 0);
    for (unsigned i = 0; i < SLOTS; i++)
        if (slots[i].at) {
            CHECK(is_intact(&slots[i]));
            OK(ip_block_drop(&arena, slots[i].at));
        }
    end();
}

static void running_out_changes_nothing(void) {
    begin(UINT64_C(2) << 20);
    port q = queue_new(&arena, 0, 0, NULL), other = queue_new(&arena, 0, 0, NULL);
    uint64_t blocks[100], n = 0, used, number = 0, size;
    while (ip_block_new(&arena, 60000, &blocks[n]) == IP_OK) n++;
    CHECK(n > 20);
    used = heap_used(&arena);
    CHECK_EQ(ip_block_new(&arena, 60000, &blocks[n]), IP_NO_MEMORY);
    CHECK_EQ(ip_block_new(&arena, UINT64_C(1) << 40, &blocks[n]), IP_NO_MEMORY);
    CHECK_EQ(ip_block_new(&arena, UINT64_MAX - 100, &blocks[n]), IP_NO_MEMORY);
    CHECK_EQ(put_one(&q, 0, 60000), IP_NO_MEMORY);
    CHECK_EQ(heap_used(&arena), used);
    OK(ip_heap_check(&arena));
    ip_status status;
    while ((status = put_one(&q, number, number % 3000)) == IP_OK) number++; /* until it needs a segment that is not to be had */
    CHECK_EQ(status, IP_NO_MEMORY);
    CHECK_EQ(queued(&q), number);
    OK(ip_ring_check(&arena, q.in));
    OK(ip_heap_check(&arena));
    ip_ring_settings settings = {0, 0};
    ip_id id;
    ip_object *object;
    bool created;
    used = heap_used(&arena);
    while (ip_block_new(&arena, 500, &size) == IP_OK) continue; /* the small holes too */
    uint64_t objects = word_of(&arena.header->directory_used);
    CHECK_EQ(ip_object_open(&arena, IP_QUEUE, 1, 1, ip_ring_body_size(IP_QUEUE), "jobs", 4, ip_ring_make, &settings, &id,
                            &object, &created), IP_NO_MEMORY);
    CHECK_EQ(word_of(&arena.header->directory_used), objects);
    OK(ip_heap_check(&arena));
    for (uint64_t i = 0; i < number; i++) TAKE(&q, i, i % 3000);
    OK(put_one(&q, 1, 1000)); /* it works again */
    TAKE(&q, 1, 1000);
    for (uint64_t i = 0; i < n; i++) OK(ip_block_drop(&arena, blocks[i]));
    OK(put_one(&other, 2, 1000000));
    TAKE(&other, 2, 1000000);
    OK(ip_object_release(&arena, q.id, 0));
    OK(ip_object_release(&arena, other.id, 0));
    OK(ip_heap_free_owned(&arena, arena.self, arena.generation)); /* the small ones, whose offsets were not kept */
    end();
}

static void memory_goes_back_to_the_system(void) {
    begin(UINT64_C(64) << 20);
    uint64_t blocks[40], empty = file_bytes();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 40; i++) {
            OK(ip_block_new(&arena, 1 << 20, &blocks[i]));
            memset(ip_at(&arena, blocks[i]), 0xEE, 1 << 20);
        }
        CHECK(file_bytes() >= empty + (UINT64_C(40) << 20));
        CHECK_EQ(word_of(&arena.header->heap_committed) % (UINT64_C(1) << arena.chunk_shift), 0);
        CHECK(file_bytes() <= empty + word_of(&arena.header->heap_committed) + 2 * IP_PAGE);
        for (int i = 0; i < 40; i++) OK(ip_block_drop(&arena, blocks[(i * 7) % 40]));
        CHECK_EQ(heap_used(&arena), 0);
        CHECK(file_bytes() <= empty + IP_WARM_MAX + (UINT64_C(1) << arena.chunk_shift));
        CHECK(word_of(&arena.header->heap_committed) <= IP_WARM_MAX);
        OK(ip_heap_check(&arena));
    }
    port q = queue_new(&arena, 0, 0, NULL);
    for (uint64_t i = 0; i < 200000 / (STEPS < 10000 ? 10 : 1); i++) OK(put_one(&q, i, 100));
    CHECK(file_bytes() > empty + 1000000);
    for (uint64_t i = 0; i < 200000 / (STEPS < 10000 ? 10 : 1); i++) TAKE(&q, i, 100);
    CHECK(heap_used(&arena) < 80000);
    OK(ip_object_release(&arena, q.id, 0));
    CHECK(file_bytes() <= empty + IP_WARM_MAX + (UINT64_C(1) << arena.chunk_shift));
    end();
}

static void a_block_is_dropped_by_its_owner_only(void) {
    begin(UINT64_C(4) << 20);
    uint64_t mine, theirs;
    OK(ip_block_new(&arena, 1000, &mine));
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        uint64_t used = heap_used(&arena);
        OK(ip_block_drop(&arena, mine)); /* no effect */
        CHECK_EQ(heap_used(&arena), used);
        OK(ip_block_new(&arena, 2000, &theirs));
        OK(ip_block_new(&arena, 300000, &theirs));
        kill(getpid(), SIGKILL);
    }
    CHECK_EQ(child_end(pid), CHILD_KILLED);
    uint32_t buried;
    CHECK(heap_used(&arena) > 300000);
    OK(ip_member_reap(&arena, &buried));
    CHECK_EQ(buried, 1);
    CHECK_EQ(heap_used(&arena), footprint(1000));
    OK(ip_block_drop(&arena, mine));
    end();
}

static void dropping_twice_is_noticed(void) {
    begin(UINT64_C(4) << 20);
    uint64_t a, b, c;
    for (int later = 0; later < 2; later++) {
        OK(ip_block_new(&arena, 1000, &a));
        OK(ip_block_new(&arena, 1000, &b));
        OK(ip_block_new(&arena, 1000, &c));
        OK(ip_block_drop(&arena, a));
        OK(ip_block_drop(&arena, b)); /* its header lies within the free block that took it in */
        CHECK_EQ(ip_block_drop(&arena, b), IP_CORRUPT);
        if (later) OK(ip_block_drop(&arena, c)); /* all is virgin again */
        CHECK_EQ(ip_block_drop(&arena, b), IP_CORRUPT);
        OK(ip_heap_check(&arena));
        if (!later) OK(ip_block_drop(&arena, c));
    }
    end();
}

int main(void) {
    RUN(random_blocks);
    RUN(running_out_changes_nothing);
    RUN(memory_goes_back_to_the_system);
    RUN(a_block_is_dropped_by_its_owner_only);
    RUN(dropping_twice_is_noticed);
    return 0;
}

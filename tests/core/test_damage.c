/* test_damage.c: change any byte of an arena: each operation says that it is damaged or gives the right answer.
 *
 * No crash, no hang, no wrong contents. Bytes of the user's own memory are exempt: they are the user's to change.
 */
#include "world.h"

enum { SPARSE = 211 }; /* every so manieth byte of what is committed but unused */

static ip_arena arena;

#include "damage.h"

static port q, inner, ends[2];
static ip_memory *memory;
static ip_id memory_id;
static int victims; /* members that are dead, and not yet buried */

static const uint64_t sizes[] = {10, 900, 700, 30, 1500, 5, 950, 0, 400}; /* with a jump among them */
#define MESSAGES (sizeof sizes / sizeof *sizes)
#define WITH_HANDLES 3

static void build(void) {
    block_from = 1000;
    OK(ip_arena_create(&arena, -1, UINT64_C(4) << 20));
    q = queue_new(&arena, 0, 0, "jobs");
    inner = queue_new(&arena, 0, 0, NULL);
    pipe_new(&arena, 0, ends);
    memory_id = memory_new(&arena, 100, &memory);
    ip_handle_ref refs[2] = {{inner.id, 0}, {inner.id, 0}};
    OK(put_one(&inner, 5, 50));
    for (uint64_t i = 0; i < 3; i++) OK(put_one(&q, i, 600)); /* the first message does not lie at the segment's start */
    for (uint64_t i = 0; i < 3; i++) TAKE(&q, i, 600);
    for (uint64_t i = 0; i < MESSAGES; i++) OK(put_with(&q, i, sizes[i], refs, i == WITH_HANDLES ? 2 : 0));
    OK(put_one(&ends[0], 7, 100));
    OK(put_one(&ends[1], 8, 1500));
    uint64_t a, b;
    OK(ip_block_new(&arena, 500, &a)); /* leaves a free block between used ones */
    OK(ip_block_new(&arena, 100, &b));
    OK(ip_block_drop(&arena, a));
}

static bool takes(const port *p, uint64_t number, uint64_t size, unsigned n_handles) {
    message m;
    if (!FINE(take_one(p, &m))) return false;
    RIGHT(m.whole && m.size == size && m.n_handles == n_handles);
    RIGHT(m.number == (size < 8 ? (uint8_t)number : number));
    return true;
}

static void use_ring(const port *out, const port *in) {
    message m;
    uint64_t put, taken, done, bytes;
    bool shut;
    if (!ANSWERS(take_one(in, &m), IP_AGAIN)) return;
    for (uint64_t i = 0; i < 4; i++)
        if (!FINE(put_one(out, i, i * 600))) return;
    if (FINE(ip_ring_counts(in->in, &put, &taken, &done, &bytes, &shut))) RIGHT(put - taken == 4 && bytes == 3600 && !shut);
    for (uint64_t i = 0; i < 4; i++)
        if (!takes(in, i, i * 600, 0)) return;
    ANSWERS(take_one(in, &m), IP_AGAIN);
    FINE(ip_ring_check(&arena, in->in));
}

static void use_directory(void) {
    ip_object_info info;
    ip_id id;
    ip_object *object;
    ip_memory_settings settings = {.size = 64};
    ip_ring_settings ring = {0, 0};
    bool created, held;
    int kind, n = 0;
    uint32_t index = 0;
    ip_status status;
    while ((status = ip_object_next(&arena, &index, &info)) == IP_OK) n++;
    if (ANSWERS(status, IP_AGAIN)) RIGHT(n == 4);
    if (FINE(ip_object_find(&arena, q.id, &kind, &object))) RIGHT(object == q.object && kind == IP_QUEUE);
    if (FINE(ip_object_open(&arena, IP_QUEUE, 1, 1, ip_ring_body_size(IP_QUEUE), "jobs", 4, ip_ring_make, &ring, &id, &object, &created)))
        RIGHT(!created && object == q.object);
    if (FINE(ip_object_open(&arena, IP_MEMORY, 1, 1, ip_memory_body_size(64), "new", 3, ip_memory_make, &settings, &id, &object, &created))) {
        RIGHT(created);
        FINE(ip_object_release(&arena, id, 0));
    }
    FINE(ip_object_hold(&arena, ends[0].id, 0, arena.self));
    if (FINE(ip_object_check_holders(&arena, ends[0].object, 1, &held))) RIGHT(held);
}

static void use_members(void) {
    ip_member_info infos[4];
    ip_arena other;
    int fd, n = ip_member_list(&arena, infos, 4);
    uint32_t slot, buried;
    if (victims && FINE(ip_heap_check(&arena))) RIGHT(word_of(&arena.header->journal.count) == 0);
    if (n < 0) corrupt = true;
    else RIGHT(n == 1 + victims);
    if (FINE(ip_member_reserve(&arena, &fd, &slot))) {
        FINE(ip_directory_share_all(&arena, slot));
        FINE(ip_member_cancel(&arena, slot));
        close(fd);
    }
    fd = dup(arena.fd);
    if (FINE(ip_arena_attach(&other, fd))) {
        RIGHT(other.heap == arena.heap && other.limit == arena.limit);
        if (FINE(ip_member_join(&other))) FINE(ip_member_leave(&other));
        ip_arena_detach(&other);
    } else {
        close(fd);
    }
    if (FINE(ip_member_reap(&arena, &buried))) RIGHT(buried == (uint32_t)victims);
}

static void use_memory(void) {
    ip_memory *found;
    uint64_t size, depth, block;
    bool inherited, mine;
    ip_object *object = (ip_object *)((unsigned char *)memory - ip_object_size(1));
    if (FINE(ip_memory_of(&arena, object, 7, &found, &size))) RIGHT(found == memory && size == 100);
    if (FINE(ip_mutex_try(&arena, memory, true, true, &inherited))) {
        RIGHT(!inherited);
        if (FINE(ip_mutex_state(&arena, memory, &mine, &depth))) RIGHT(mine && depth == 1);
        FINE(ip_mutex_release(&arena, memory, true));
    }
    for (uint64_t n = 100; n < 1000000; n *= 10)
        if (FINE(ip_block_new(&arena, n, &block))) {
            memset(ip_at(&arena, block), 0xEE, n);
            FINE(ip_block_drop(&arena, block));
        }
    FINE(ip_heap_check(&arena));
}

/* All that is in the arena is used, taken, and dropped. */
static void use_everything(unsigned how) {
    use_members();
    use_memory();
    use_directory();
    if (how % 8) { /* else they are dropped by letting go of the queue */
        bool all = true;
        for (uint64_t i = 0; i < MESSAGES && all; i++) all = takes(&q, i, sizes[i], i == WITH_HANDLES ? 2 : 0);
        if (all) use_ring(&q, &q);
        if (takes(&ends[1], 7, 100, 0)) use_ring(&ends[0], &ends[1]);
        if (takes(&ends[0], 8, 1500, 0)) use_ring(&ends[1], &ends[0]);
        if (takes(&inner, 5, 50, 0)) use_ring(&inner, &inner);
    } else {
        FINE(ip_ring_shut_down(&arena, inner.object, inner.in, true));
    }
    FINE(ip_object_release(&arena, q.id, 0));
    FINE(ip_object_release(&arena, inner.id, 0));
    FINE(ip_object_release(&arena, ends[0].id, 0));
    FINE(ip_object_release(&arena, ends[1].id, 1));
    FINE(ip_object_release(&arena, memory_id, 0));
    leave_nothing();
}

/* ---- the changes ---- */

static bool is_users(uint64_t at) {
    uint64_t data = ip_offset_of(&arena, memory->data);
    return at >= data && at < data + 100;
}

static void begin(void) {
    is_spared = is_users;
    begin_damage(use_everything);
}

static void any_changed_byte_is_noticed_or_harmless(void) {
    build();
    begin();
    uint64_t header = sizeof(ip_header), page = IP_PAGE;
    uint64_t journal = 200 * sizeof(ip_journal_entry), members = 4 * sizeof(ip_member), entries = 8 * sizeof(ip_entry);
    try_all("header", (range){0, header, STRIDE, true});
    try_all("journal", (range){arena.journal, arena.journal + journal, STRIDE, false});
    try_all("journal, the rest", (range){arena.journal + journal, arena.members, SPARSE * STRIDE, false});
    try_all("members", (range){arena.members, arena.members + members, STRIDE, true});
    try_all("members, the rest", (range){arena.members + members, arena.directory, SPARSE * STRIDE, false});
    try_all("directory", (range){arena.directory, arena.directory + entries, STRIDE, true});
    try_all("directory, the rest", (range){arena.directory + entries, arena.directory + page, 13 * STRIDE, false});
    try_all("chunks", (range){arena.chunks, arena.chunks + 128, STRIDE, true});
    try_all("chunks, the rest", (range){arena.chunks + 128, arena.chunks + page, 13 * STRIDE, false});
    /* the bodies: queues, pipe, memory, and what lies between them */
    try_all_of_the_heap(STRIDE);
    end_damage();
}

static void die_when_placed(const char *step) {
    if (strcmp(step, "ring.placed") == 0) kill(getpid(), SIGKILL);
}

/* The same when a change is to be rolled back: a member died just before it would have published. */
static void nor_does_it_mislead_a_rollback(void) {
    build();
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        ip_handle_ref refs[2] = {{inner.id, 0}, {memory_id, 0}};
        ip_fault_hook = die_when_placed;
        put_with(&q, 9, 1200, refs, 2);
        _exit(0);
    }
    CHECK_EQ(child_end(pid), CHILD_KILLED);
    CHECK(word_of(&arena.header->journal.count) > 2);
    victims = 1;
    begin();
    try_all("header", (range){0, sizeof(ip_header), 7 * STRIDE, true});
    try_all("journal", (range){arena.journal, arena.journal + 8 * sizeof(ip_journal_entry), STRIDE, true});
    try_all("members", (range){arena.members, arena.members + 3 * sizeof(ip_member), STRIDE, true});
    try_all_of_the_heap(11 * STRIDE);
    end_damage();
}

int main(void) {
    RUN(any_changed_byte_is_noticed_or_harmless);
    RUN(nor_does_it_mislead_a_rollback);
    return 0;
}

/* test_table_damage.c: change any byte of a table: each operation says that it is damaged or gives the right answer. */
#include <sys/mman.h>

#include "snapshot.h"
#include "table_world.h"

#if defined(UNDER_TSAN)
enum { STRIDE = 53 };
#elif defined(UNDER_ASAN)
enum { STRIDE = 7 };
#else
enum { STRIDE = 1 };
#endif

static ip_arena arena;
static table t, inner;
static int victims; /* members that died in a change */
static bool gated;  /* and had the gate */

enum { KEYS = 40, REMOVED = 7 }; /* every 7th was removed again */
static uint64_t size_of(uint64_t key) { return key % 9 == 4 ? 700 + key : key * 5 % 120; }
static bool is_there(uint64_t key) { return key < KEYS && key % REMOVED != 0; }

/* A small one and a large one carry handles. */
static void set_carriers(void) {
    ip_handle_ref refs[2] = {{inner.id, 0}, {inner.id, 0}};
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t key = KEYS - 3 + i, size = i ? 900 : 20;
        ip_table_outcome outcome;
        stored_key k;
        fill_key(&k, key);
        fill_message(value_bytes, size, key);
        ip_value v = {.kind = (uint8_t)key, .data = value_bytes, .size = size, .handles = refs, .n_handles = 2};
        OK(ip_table_set(&arena, t.table, IP_PATIENT, &k.key, &v, IP_TABLE_ALWAYS, NULL, &outcome));
    }
}

static void build(void) {
    OK(ip_arena_create(&arena, -1, UINT64_C(4) << 20));
    t = table_new(&arena);
    inner = table_new(&arena);
    set_when(&inner, 1, 1, 30, IP_TABLE_ALWAYS, 0, 0);
    for (uint64_t i = 0; i < KEYS; i++) set_when(&t, i, i, size_of(i), IP_TABLE_ALWAYS, 0, 0);
    for (uint64_t i = 0; i < KEYS; i += REMOVED) OK(ip_table_pop(&arena, t.table, IP_PATIENT, &key_of(i).key, NULL));
    set_carriers();
}

/* ---- in the child ---- */

static const char *failed; /* the answer that was wrong */
static bool corrupt;

/* Did it work? If not it must have said that the arena is damaged. */
static bool fine(ip_status status, ip_status expected, const char *what) {
    if (status == expected) return true;
    if (status == IP_CORRUPT) corrupt = true;
    else if (!failed) failed = what;
    return false;
}
#define FINE(call) fine((call), IP_OK, #call)
#define ANSWERS(call, expected) fine((call), (expected), #call)
#define RIGHT(condition) (void)((condition) || failed || (failed = #condition))

static bool carries(uint64_t key) { return key == KEYS - 3 || key == KEYS - 2; }

static bool value_is_right(const ip_value_out *out, uint64_t key, const ip_handle_ref *got) {
    uint64_t value, size = key == KEYS - 3 ? 20 : key == KEYS - 2 ? 900 : size_of(key);
    if (out->size != size || !value_is_whole(out, &value) || value != (size < 8 ? (uint8_t)key : key)) return false;
    if (out->n_handles != (carries(key) ? 2u : 0u)) return false;
    return !carries(key) || (got[1].id.index == inner.id.index && got[1].id.generation == inner.id.generation);
}

static void read_all(void) {
    ip_handle_ref got[2];
    ip_container_state state;
    uint64_t position = 0, n = 0, key;
    stored_key k;
    ip_status status;
    bool all = true;
    for (key = 0; key < KEYS + 5; key++) {
        ip_value_out out = {.data = got_bytes, .room = 2000, .handles = got, .handles_room = 2};
        fill_key(&k, key);
        if (ANSWERS(ip_table_get(&arena, t.table, IP_PATIENT, &k.key, &out), is_there(key) ? IP_OK : IP_AGAIN) && is_there(key))
            RIGHT(value_is_right(&out, key, got));
    }
    if (!FINE(ip_container_look(&arena, &t.table->container, IP_PATIENT, &state))) return;
    RIGHT(state.count == KEYS - (KEYS + REMOVED - 1) / REMOVED);
    for (key = 1;; key++) {
        ip_value_out key_out = {.data = k.bytes, .room = KEY_MAX};
        ip_value_out out = {.data = got_bytes, .room = 2000, .handles = got, .handles_room = 2};
        status = ip_table_next(&arena, t.table, IP_PATIENT, state.shape, &position, &key_out, &out);
        if (status != IP_OK) break;
        while (key < KEYS && !is_there(key)) key++;
        stored_key expected;
        fill_key(&expected, key);
        RIGHT(key_out.size == expected.key.size && memcmp(k.bytes, expected.bytes, key_out.size) == 0);
        RIGHT(value_is_right(&out, key, got));
        n++;
    }
    all = ANSWERS(status, IP_EOF);
    if (all) RIGHT(n == state.count);
    ANSWERS(ip_table_check(&arena, t.table), IP_OK);
}

static void change_all(void) {
    ip_table_outcome outcome;
    ip_handle_ref got[2];
    stored_key k;
    uint64_t last = 0;
    uint64_t sizes[KEYS + 30] = {0}; /* + 1 of those that are there */
    for (uint64_t key = 0; key < KEYS + 30; key++) { /* grows on the way */
        if (is_there(key)) sizes[key] = 1 + size_of(key);
        ip_value v = {.kind = 1, .data = value_bytes, .size = key * 3};
        ip_value old = {.kind = (uint8_t)key, .data = old_bytes, .size = size_of(key)};
        if (carries(key)) continue;
        fill_key(&k, key);
        fill_message(old_bytes, old.size, key);
        memset(value_bytes, 1, v.size);
        ip_table_when when = key % 4 == 1 ? IP_TABLE_IF_EQUAL : IP_TABLE_ALWAYS;
        if (!FINE(ip_table_set(&arena, t.table, IP_PATIENT, &k.key, &v, when, &old, &outcome))) continue;
        RIGHT(outcome == (is_there(key) ? IP_TABLE_REPLACED : when == IP_TABLE_ALWAYS ? IP_TABLE_INSERTED : IP_TABLE_REFUSED));
        if (outcome != IP_TABLE_REFUSED) sizes[key] = 1 + v.size;
        if (outcome != IP_TABLE_REFUSED && key >= KEYS) last = key;
    }
    for (uint64_t key = KEYS - 4; key > KEYS / 2; key--) {
        ip_value_out out = {.data = got_bytes, .room = 2000, .handles = got, .handles_room = 2};
        fill_key(&k, key);
        if (ANSWERS(ip_table_pop(&arena, t.table, IP_PATIENT, &k.key, &out), sizes[key] ? IP_OK : IP_AGAIN))
            RIGHT(!sizes[key] || out.size + 1 == sizes[key]);
    }
    ip_value_out key_out = {.data = k.bytes, .room = KEY_MAX};
    if (last && FINE(ip_table_pop_last(&arena, t.table, IP_PATIENT, &key_out, NULL))) RIGHT(memcmp(k.bytes, &last, 8) == 0);
    for (uint64_t key = KEYS - 3; key < KEYS - 1; key++) {
        ip_value_out out = {.data = got_bytes, .room = 2000, .handles = got, .handles_room = 2};
        fill_key(&k, key);
        FINE(ip_table_pop(&arena, t.table, IP_PATIENT, &k.key, key % 2 ? &out : NULL));
    }
}

/* Settles what a dead one has left of its transaction. If that is damaged, nothing else can be done with the table. */
static bool take_over(void) {
    ip_container *c = &t.table->container;
    return FINE(ip_gate_acquire(&arena, c, IP_INHERIT)) && FINE(ip_gate_release(&arena, c));
}

static void use_everything(unsigned how) {
    uint32_t buried;
    if (victims) FINE(ip_member_reap(&arena, &buried));
    bool usable = !gated || (how % 8 != 7 && take_over());
    if (how % 4 != 3 && usable) read_all();
    if (how % 4 < 2 && usable) change_all();
    if (how % 4 == 1 && usable && FINE(ip_table_clear(&arena, t.table, IP_PATIENT))) {
        ip_container_state state;
        if (FINE(ip_container_look(&arena, &t.table->container, IP_PATIENT, &state))) RIGHT(state.count == 0);
    }
    FINE(ip_object_release(&arena, t.id, 0));
    FINE(ip_object_release(&arena, inner.id, 0));
    FINE(ip_member_leave(&arena));
    uint64_t used;
    if (ip_get(&arena.header->heap_used, &used) && !corrupt) RIGHT(used == 0);
}

/* ---- the changes ---- */

static struct {
    uint64_t at, change, tried, found;
} *shared;

static void try_change(uint64_t at, unsigned char change) {
    ip_arena before = arena;
    shared->at = at;
    shared->change = change;
    failed = NULL;
    corrupt = false;
    alarm(10);
    arena.base[at] ^= change;
    use_everything((unsigned)shared->tried);
    arena = before; /* it has left */
    restore_snapshot(&arena);
    shared->tried++;
    shared->found += corrupt;
    if (failed) {
        fprintf(stderr, "\nwrong: %s\n", failed);
        _exit(1);
    }
}

/* Forks a child that passes for this process, which waits. */
static pid_t fork_double(void) {
    ip_arena me = arena;
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) arena = me;
    return pid;
}

static void try_all(uint64_t from, uint64_t to, uint64_t stride) {
    unsigned failures = 0;
    for (uint64_t start = from; start < to;) {
        pid_t pid = fork_double();
        if (pid == 0) {
            uint64_t random = start;
            for (uint64_t at = start; at < to; at += stride) try_change(at, (unsigned char)(1 + next_random(&random) % 255));
            _exit(0);
        }
        int status;
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) break;
        fprintf(stderr, "byte %llu (%llu from the start) ^ %#llx, try %llu: %s %d\n", (unsigned long long)shared->at,
                (unsigned long long)(shared->at - from), (unsigned long long)shared->change, (unsigned long long)shared->tried,
                WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        CHECK(++failures < 5);
        restore_snapshot(&arena);
        start = shared->at + stride;
    }
    CHECK_EQ(failures, 0);
    printf(" %llu changes, %llu noticed ...", (unsigned long long)shared->tried, (unsigned long long)shared->found);
}

static void try_all_of_the_heap(uint64_t stride) {
    uint64_t top = word_of(&arena.header->heap_top);
    take_snapshot(&arena);
    shared->tried = shared->found = 0;
    pid_t pid = fork_double();
    if (pid == 0) {
        for (int i = 0; i < 9; i++) try_change(0, 0); /* without damage all is right */
        _exit(0);
    }
    CHECK_EQ(child_end(pid), CHILD_DONE);
    CHECK_EQ(shared->found, 0);
    try_all(arena.heap, top, stride);
    free_snapshot();
    OK(ip_member_leave(&arena));
    ip_arena_detach(&arena);
}

static void any_changed_byte_is_noticed_or_harmless(void) {
    build();
    try_all_of_the_heap(STRIDE);
}

static void die_when_changed(const char *step) {
    if (strcmp(step, "container.changed") == 0) kill(getpid(), SIGKILL);
}

/* The same when a change is to be rolled back: a member died just before it would have published. */
static void nor_does_it_mislead_a_rollback(void) {
    build();
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        ip_fault_hook = die_when_changed;
        set_when(&t, KEYS - 3, 9, 300, IP_TABLE_ALWAYS, 0, 0);
        _exit(0);
    }
    CHECK_EQ(child_end(pid), CHILD_KILLED);
    CHECK(word_of(&arena.header->journal.count) > 2);
    victims = 1;
    try_all_of_the_heap(3 * STRIDE);
}

/* The same with a transaction that a member died in, and that changed nothing in the end: undone, or committed. */
static void nor_does_it_mislead_who_settles(bool commit) {
    build();
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        uint64_t record, value, size;
        ip_container *c = &t.table->container;
        OK(ip_gate_acquire(&arena, c, IP_PATIENT));
        OK(ip_transaction_begin(&arena, &record));
        OK(ip_transaction_join(&arena, record, c));
        for (uint64_t i = 1; i < 16; i++)
            if (is_there(i)) set_when(&t, i, i, size_of(i), IP_TABLE_ALWAYS, 0, 0);
        set_carriers();
        if (commit) {
            OK(ip_transaction_commit(&arena, record, c));
        } else {
            for (uint64_t i = 8; i < 14; i++) OK(pop(&t, i, &value, &size));
            for (uint64_t i = 10; i < KEYS + 20; i++) set_when(&t, i, 1, i * 3, IP_TABLE_ALWAYS, 0, 0);
            OK(ip_table_clear(&arena, t.table, IP_PATIENT));
            for (uint64_t i = 10; i < 14; i++) set_when(&t, i, 1, i * 30, IP_TABLE_ALWAYS, 0, 0);
        }
        kill(getpid(), SIGKILL);
    }
    CHECK_EQ(child_end(pid), CHILD_KILLED);
    victims = 1;
    gated = true;
    try_all_of_the_heap(3 * STRIDE);
    gated = false;
}

static void nor_who_undoes_a_transaction(void) { nor_does_it_mislead_who_settles(false); }
static void nor_who_settles_a_committed_one(void) { nor_does_it_mislead_who_settles(true); }

int main(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    RUN(any_changed_byte_is_noticed_or_harmless);
    RUN(nor_does_it_mislead_a_rollback);
    RUN(nor_who_undoes_a_transaction);
    RUN(nor_who_settles_a_committed_one);
    return 0;
}

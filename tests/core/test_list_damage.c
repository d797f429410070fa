/* test_list_damage.c: change any byte of a list: each operation says that it is damaged or gives the right answer. */
#include <sys/mman.h>

#include "list_world.h"
#include "snapshot.h"

#if defined(UNDER_TSAN)
enum { STRIDE = 53 };
#elif defined(UNDER_ASAN)
enum { STRIDE = 7 };
#else
enum { STRIDE = 1 };
#endif

static ip_arena arena;
static list l, inner;
static int victims; /* members that died in a change */
static bool in_a_transaction; /* or in one of these */

enum { ITEMS = 30, ITEMS_MAX = 100 }; /* the last two of them, a small one and a large one, carry handles */
static uint64_t size_of(uint64_t number) {
    return number == ITEMS - 2 ? 20 : number == ITEMS - 1 ? 900 : number % 9 == 4 ? 700 + number : number * 5 % 120;
}
static bool carries(uint64_t number) { return number == ITEMS - 2 || number == ITEMS - 1; }

static uint64_t model[ITEMS_MAX], count; /* the numbers of the items */

static void model_insert(uint64_t index, uint64_t number) {
    memmove(model + index + 1, model + index, (count - index) * sizeof *model);
    model[index] = number;
    count++;
}

static void model_remove(uint64_t index) {
    count--;
    memmove(model + index, model + index + 1, (count - index) * sizeof *model);
}

static ip_status insert(uint64_t index, uint64_t number) {
    ip_handle_ref refs[2] = {{inner.id, 0}, {inner.id, 0}};
    ip_value v = value_of(value_bytes, number, size_of(number));
    v.handles = refs;
    v.n_handles = carries(number) ? 2 : 0;
    ip_status status = ip_list_insert(&arena, l.list, IP_PATIENT, (int64_t)index, &v);
    if (status == IP_OK) model_insert(index, number);
    return status;
}

static void build(void) {
    OK(ip_arena_create(&arena, -1, UINT64_C(4) << 20));
    l = list_new(&arena);
    inner = list_new(&arena);
    append(&inner, 1, 30);
    count = 0;
    for (uint64_t i = 0; i < ITEMS; i++) OK(insert(i * 7 % (count + 1), i));
    OK(insert(3, 50));
    OK(ip_list_pop(&arena, l.list, IP_PATIENT, 3, NULL)); /* the gap is in the middle, and a cell is free */
    model_remove(3);
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

static ip_handle_ref got[2];
static ip_value_out new_out(void) { return (ip_value_out){.data = got_bytes, .room = 2000, .handles = got, .handles_room = 2}; }

static bool value_is_right(const ip_value_out *out, uint64_t number) {
    uint64_t value;
    if (out->size != size_of(number) || !value_is_whole(out, &value) || value != legible(number, out->size)) return false;
    if (out->n_handles != (carries(number) ? 2u : 0u)) return false;
    return !carries(number) || (got[1].id.index == inner.id.index && got[1].id.generation == inner.id.generation);
}

static void read_all(void) {
    ip_container_state state;
    uint64_t index = 0;
    ip_status status;
    for (uint64_t i = 0; i < count + 3; i++) {
        ip_value_out out = new_out();
        int64_t either = i % 2 || i >= count ? (int64_t)i : (int64_t)i - (int64_t)count;
        if (ANSWERS(ip_list_get(&arena, l.list, IP_PATIENT, either, &out), i < count ? IP_OK : IP_AGAIN) && i < count)
            RIGHT(value_is_right(&out, model[i]));
    }
    if (!FINE(ip_container_look(&arena, &l.list->container, IP_PATIENT, &state))) return;
    RIGHT(state.count == count);
    for (;;) {
        ip_value_out out = new_out();
        status = ip_list_next(&arena, l.list, IP_PATIENT, state.changes, &index, &out);
        if (status != IP_OK) break;
        RIGHT(index <= count && value_is_right(&out, model[index - 1]));
    }
    if (ANSWERS(status, IP_EOF)) RIGHT(index == count);
    ANSWERS(ip_list_check(&arena, l.list), IP_OK);
}

/* An error of what takes items out may have come before or after the change: indexes are certain only without one. */
static void change_all(void) {
    static uint64_t order[ITEMS_MAX], old[ITEMS_MAX];
    ip_container_state state;
    bool done;
    for (uint64_t i = 0; i < count; i++) {
        if (carries(model[i])) continue;
        ip_value was = value_of(old_bytes, model[i], size_of(model[i])), v = value_of(value_bytes, i + 40, size_of(i + 40));
        if (FINE(ip_list_set(&arena, l.list, IP_PATIENT, (int64_t)i, &v, i % 3 ? &was : NULL, &done))) RIGHT(done);
        if (done) model[i] = i + 40;
    }
    for (uint64_t i = 0; i < 30; i++) FINE(insert(i * 11 % count, 40 + i)); /* grows on the way */
    if (FINE(ip_container_look(&arena, &l.list->container, IP_PATIENT, &state))) {
        for (uint64_t i = 0; i < count; i++) order[i] = count - 1 - i;
        if (FINE(ip_list_rearrange(&arena, l.list, IP_PATIENT, state.shape, order, count - 7))) {
            memcpy(old, model, sizeof old);
            count -= 7;
            for (uint64_t i = 0; i < count; i++) model[i] = old[order[i]];
        }
    }
    while (count > 8) {
        ip_value_out out = new_out();
        uint64_t i = count * 5 % 3 ? count * 5 % count : count - 1;
        bool into = count % 4;
        if (FINE(ip_list_pop(&arena, l.list, IP_PATIENT, (int64_t)i, into ? &out : NULL)) && into && !corrupt) RIGHT(value_is_right(&out, model[i]));
        model_remove(i);
    }
}

/* The transaction that was left behind is undone. */
static bool have_the_gate(void) {
    ip_container *c = &l.list->container;
    return FINE(ip_gate_acquire(&arena, c, IP_PATIENT)) && FINE(ip_gate_release(&arena, c));
}

static void use_everything(unsigned how) {
    uint32_t buried;
    uint64_t as_built[ITEMS_MAX], count_as_built = count;
    memcpy(as_built, model, sizeof model);
    if (victims) FINE(ip_member_reap(&arena, &buried));
    bool usable = !in_a_transaction || have_the_gate(); /* else it stays locked */
    if (how % 4 != 3 && usable) read_all();
    if (how % 4 < 2 && usable) change_all();
    if (how % 4 == 1 && usable && FINE(ip_list_clear(&arena, l.list, IP_PATIENT))) {
        ip_container_state state;
        if (FINE(ip_container_look(&arena, &l.list->container, IP_PATIENT, &state))) RIGHT(state.count == 0);
    }
    FINE(ip_object_release(&arena, l.id, 0));
    FINE(ip_object_release(&arena, inner.id, 0));
    FINE(ip_member_leave(&arena));
    uint64_t used;
    if (ip_get(&arena.header->heap_used, &used) && !corrupt) RIGHT(used == 0);
    memcpy(model, as_built, sizeof model);
    count = count_as_built;
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
        ip_list_pop(&arena, l.list, IP_PATIENT, 9, NULL);
        _exit(0);
    }
    CHECK_EQ(child_end(pid), CHILD_KILLED);
    CHECK(word_of(&arena.header->journal.count) > 2);
    victims = 1;
    try_all_of_the_heap(3 * STRIDE);
}

/* And when a transaction is to be rolled back, whose log has all that there is. */
static void nor_an_undo(void) {
    build();
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        uint64_t order[] = {20, 3, 4, 11, 0};
        begin_transaction(&l);
        OK(try_set(&l, 4, 1, 30));
        OK(try_insert(&l, 20, 2, 1000));
        OK(ip_list_pop(&arena, l.list, IP_PATIENT, 7, NULL));
        OK(ip_list_rearrange(&arena, l.list, IP_PATIENT, look(&l).shape, order, 5));
        OK(ip_list_pop(&arena, l.list, IP_PATIENT, 1, NULL));
        OK(ip_list_clear(&arena, l.list, IP_PATIENT));
        append(&l, 5, 50);
        kill(getpid(), SIGKILL);
    }
    CHECK_EQ(child_end(pid), CHILD_KILLED);
    victims = 1;
    in_a_transaction = true;
    try_all_of_the_heap(STRIDE);
}

int main(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    RUN(any_changed_byte_is_noticed_or_harmless);
    RUN(nor_does_it_mislead_a_rollback);
    RUN(nor_an_undo);
    return 0;
}

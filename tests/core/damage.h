/* damage.h: changes bytes of `arena`, which its user has declared, one at a time; after each, a child uses everything that is there:
 * each operation says that it is damaged or does what it should, without a crash or a hang.
 */
#ifndef IP_DAMAGE_H
#define IP_DAMAGE_H

#include <sys/mman.h>

#include "snapshot.h"

#if defined(UNDER_TSAN)
enum { STRIDE = 53 };
#elif defined(UNDER_ASAN)
enum { STRIDE = 7 };
#else
enum { STRIDE = 1 };
#endif

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

/* At the end of its use, when all is released. */
static void leave_nothing(void) {
    uint64_t used;
    FINE(ip_member_leave(&arena));
    if (ip_get(&arena.header->heap_used, &used) && !corrupt) RIGHT(used == 0);
}

/* ---- the changes ---- */

static void (*use)(unsigned how);   /* uses and drops everything, in one way or another */
static bool (*is_spared)(uint64_t); /* bytes that are the user's to change; or NULL */

typedef struct {
    uint64_t from, to, stride;
    bool each_bit;
} range;

static struct {
    uint64_t at, change; /* where the child is */
    uint64_t tried, found;
} *shared;

static unsigned failures;

static void try_change(uint64_t at, unsigned char change) {
    ip_arena before = arena;
    shared->at = at;
    shared->change = change;
    failed = NULL;
    corrupt = false;
    alarm(10);
    arena.base[at] ^= change;
    use((unsigned)shared->tried);
    arena = before; /* it has left */
    restore_snapshot(&arena);
    shared->tried++;
    shared->found += corrupt;
    if (failed) {
        fprintf(stderr, "\nwrong: %s\n", failed);
        _exit(1);
    }
}

static void try_range(const range *r, uint64_t from) {
    uint64_t random = from;
    for (uint64_t at = from; at < r->to; at += r->stride) {
        if (is_spared && is_spared(at)) continue;
        if (r->each_bit)
            for (int bit = 0; bit < 8; bit++) try_change(at, (unsigned char)(1 << bit));
        else
            try_change(at, (unsigned char)(1 + next_random(&random) % 255));
    }
}

/* Forks a child that passes for this process, which waits: so what it does needs no undoing in a member of its own. */
static pid_t fork_double(void) {
    ip_arena me = arena;
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) arena = me;
    return pid;
}

static void try_all(const char *what, range r) {
    uint64_t tried = shared->tried, found = shared->found, from = r.from;
    while (from < r.to) {
        pid_t pid = fork_double();
        if (pid == 0) {
            try_range(&r, from);
            _exit(0);
        }
        int status;
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) break;
        fprintf(stderr, "%s: byte %llu (%llu from its start) ^ %#llx, try %llu: %s %d\n", what, (unsigned long long)shared->at,
                (unsigned long long)(shared->at - r.from), (unsigned long long)shared->change, (unsigned long long)shared->tried,
                WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        CHECK(++failures < 5);
        restore_snapshot(&arena);
        from = shared->at + r.stride;
    }
    printf("\n  %s: %llu changes, %llu noticed ...", what, (unsigned long long)(shared->tried - tried),
           (unsigned long long)(shared->found - found));
}

static void begin_damage(void (*how)(unsigned)) {
    if (!shared) shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    use = how;
    take_snapshot(&arena);
    shared->tried = shared->found = 0;
    pid_t pid = fork_double();
    if (pid == 0) {
        for (int i = 0; i < 9; i++) try_change(0, 0); /* without damage all is right */
        _exit(0);
    }
    CHECK_EQ(child_end(pid), CHILD_DONE);
    CHECK_EQ(shared->found, 0);
}

static void try_all_of_the_heap(uint64_t stride) {
    try_all("heap", (range){arena.heap, word_of(&arena.header->heap_top), stride, false});
}

/* Nothing went wrong; and the arena is gone. */
static void end_damage(void) {
    CHECK_EQ(failures, 0);
    free_snapshot();
    OK(ip_member_leave(&arena));
    ip_arena_detach(&arena);
}

#endif

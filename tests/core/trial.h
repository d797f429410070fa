/* trial.h: a trial runs an operation in a child that is killed at its n-th fault point, lets a second child recover that
 * is killed at the m-th fault point of its recovery, and then recovers and checks the arena in the parent. */
#ifndef IP_TRIAL_H
#define IP_TRIAL_H

#include <dirent.h>
#include <sys/mman.h>

#include "world.h"

#ifndef CORE_SOURCES
#define CORE_SOURCES "../../core"
#endif

typedef struct {
    const char *name;
    void (*prepare)(void); /* makes what the operation works on, in the parent */
    void (*act)(void);     /* the operation, in the child; calls arm() where the fault points begin to count */
    void (*verify)(void);  /* in the parent after the recovery: was it done or not? Then drops what prepare made */
    bool arm_claim;        /* the fault points of becoming a member count too */
} operation;

#define POINTS_MAX 100

/* What children tell the parent; in memory that they share. */
static struct {
    uint64_t killed[POINTS_MAX], total;
    uint64_t put_tried, put_done, take_tried, take_done;
    uint64_t step;            /* how far an act without messages came */
    uint64_t recovery_points; /* how many fault points a whole recovery passes */
    uint64_t passed;          /* how many steps the last act had that nobody was killed in */
} *shared;

static char points[POINTS_MAX][40];
static unsigned n_points;
static ip_arena arena;

/* The names of all FAULT()s in the core's sources. */
static void find_points(void) {
    DIR *dir = opendir(CORE_SOURCES);
    CHECK(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name);
        if (length < 3 || strcmp(entry->d_name + length - 2, ".c") != 0) continue;
        char path[600], line[1000];
        snprintf(path, sizeof path, CORE_SOURCES "/%s", entry->d_name);
        FILE *file = fopen(path, "r");
        CHECK(file);
        while (fgets(line, sizeof line, file)) {
            char *start = strstr(line, "FAULT(\""), *end;
            if (!start) continue;
            start += 7;
            end = strchr(start, '"');
            CHECK(end && end - start < 40 && n_points < POINTS_MAX);
            *end = 0;
            unsigned i = 0;
            while (i < n_points && strcmp(points[i], start) != 0) i++;
            if (i == n_points) strcpy(points[n_points++], start);
        }
        fclose(file);
    }
    closedir(dir);
    CHECK(n_points > 30);
}

/* Does a fault point's name begin with one of these words and a dot? The words are divided by blanks. */
MAYBE_UNUSED static bool point_is_of(const char *point, const char *words) {
    size_t length = strcspn(point, ".");
    for (; *words; words += strspn(words, " ")) {
        size_t n = strcspn(words, " ");
        if (n == length && strncmp(point, words, n) == 0) return true;
        words += n;
    }
    return false;
}

/* Nobody was killed at how many of the points of these words? They are printed. */
MAYBE_UNUSED static unsigned not_died_at(const char *words, bool but_of_these) {
    unsigned missing = 0;
    for (unsigned i = 0; i < n_points; i++) {
        if (shared->killed[i] || point_is_of(points[i], words) == but_of_these) continue;
        printf("\n  nobody was killed at %s", points[i]);
        missing++;
    }
    return missing;
}

static uint64_t kill_at, passed;

static void die_at_the_nth(const char *step) {
    if (++passed != kill_at) return;
    unsigned i = 0;
    while (i < n_points && strcmp(points[i], step) != 0) i++;
    CHECK(i < n_points);
    shared->killed[i]++;
    shared->total++;
    kill(getpid(), SIGKILL);
}

/* Steps may also be instructions, of all code there is: the processor traps after each. */
#if defined(__x86_64__) && !defined(UNDER_ASAN) && !defined(UNDER_TSAN)
#define HAS_INSTRUCTIONS
static void die_at_the_nth_instruction(int signal) {
    (void)signal;
    if (++passed == kill_at) {
        shared->total++;
        kill(getpid(), SIGKILL);
    }
}

static void trap_instructions(bool on) {
    struct sigaction action = {.sa_handler = die_at_the_nth_instruction};
    if (on) CHECK_EQ(sigaction(SIGTRAP, &action, NULL), 0);
    if (on) __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
    else __asm__ volatile("pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
}
#else
static void trap_instructions(bool on) { (void)on; }
#endif

static bool by_instruction;

static void arm(void) {
    passed = 0;
    if (by_instruction) trap_instructions(true);
    else ip_fault_hook = die_at_the_nth;
}

static void disarm(void) {
    if (by_instruction) trap_instructions(false);
    ip_fault_hook = NULL;
    shared->passed = passed;
}

static port *locks_of[4]; /* rings whose locks recovery tries */
static unsigned n_locks_of;

static void (*recover_more)(void); /* what else a recovery does, whichever process does it */

static void can_be_had(ip_lock *lock) {
    ip_status status;
    UNTIL_NOT_BUSY(status, ip_lock_take(&arena, lock, IP_INHERIT)); /* survivors may be about */
    CHECK_EQ(status, IP_OK);
    ip_lock_release(lock);
}

/* Whatever order it is done in. */
static void recover(uint64_t order) {
    uint32_t buried;
    if (order % 3 == 0) can_be_had(&arena.header->lock);
    if (order % 3 == 1) OK(ip_member_reap(&arena, &buried));
    for (unsigned i = 0; i < n_locks_of; i++) {
        can_be_had(&locks_of[i]->out->put_lock);
        can_be_had(&locks_of[i]->in->get_lock);
    }
    if (recover_more) recover_more();
    OK(ip_member_reap(&arena, &buried));
}

/* Returns how many were killed: 0, or 1 for the actor, or 2 for the actor and the one who recovered. */
static int run_trial(const operation *op, uint64_t n, uint64_t m) {
    int go[2] = {-1, -1}, fd, killed = 0;
    uint32_t slot;
    pid_t helper = 0;
    alarm(60);
    shared->put_tried = shared->put_done = shared->take_tried = shared->take_done = shared->step = 0;
    n_locks_of = 0;
    OK(ip_arena_create(&arena, -1, UINT64_C(64) << 20));
    op->prepare();
    if (m) { /* joins beforehand: forking a member settles locks */
        CHECK_EQ(pipe(go), 0);
        helper = fork_member(&arena);
        if (helper == 0) {
            char byte;
            alarm(60);
            CHECK_EQ(read(go[0], &byte, 1), 1);
            kill_at = m;
            arm();
            recover(n + m);
            disarm();
            if (passed) shared->recovery_points = passed; /* none: others were faster */
            _exit(0);
        }
    }
    OK(ip_member_reserve(&arena, &fd, &slot));
    OK(ip_directory_share_all(&arena, slot));
    fflush(NULL);
    pid_t actor = fork();
    CHECK(actor >= 0);
    if (actor == 0) {
        alarm(60);
        kill_at = n;
        if (op->arm_claim) arm();
        OK(ip_member_claim(&arena, slot, fd));
        op->act();
        disarm();
        _exit(0);
    }
    close(fd);
    if (child_end(actor) == CHILD_KILLED) killed++;
    if (m) {
        CHECK_EQ(write(go[1], "", 1), 1);
        if (child_end(helper) == CHILD_KILLED) killed++;
        close(go[0]);
        close(go[1]);
    }
    recover(n);
    OK(ip_heap_check(&arena));
    ip_member_info infos[8];
    CHECK_EQ(ip_member_list(&arena, infos, 8), 1);
    op->verify();
    ip_object_info info;
    uint32_t index = 0;
    CHECK_EQ(ip_object_next(&arena, &index, &info), IP_AGAIN);
    OK(ip_heap_check(&arena));
    CHECK_EQ(heap_used(&arena), 0);
    OK(ip_member_leave(&arena));
    ip_arena_detach(&arena);
    return killed;
}

#ifdef HAS_INSTRUCTIONS
/* Kills the operation at so many of its instructions, at random. */
MAYBE_UNUSED static void kill_anywhere(const operation *op, unsigned times, uint64_t *random) {
    by_instruction = true;
    CHECK_EQ(run_trial(op, UINT64_MAX, 0), 0);
    uint64_t n = shared->passed, before = shared->total;
    CHECK(n > 1);
    for (unsigned i = 0; i < times; i++) run_trial(op, 1 + next_random(random) % n, 0);
    by_instruction = false;
    printf("  %s: %llu instructions, %llu kills\n", op->name, (unsigned long long)n, (unsigned long long)(shared->total - before));
    fflush(stdout);
}
#endif

/* Kills the operation at each of its fault points (of those beyond the first, at each stride-th), and
 * then, that many times, at one of them and who recovers from that at one of its own. */
static void kill_everywhere(const operation *op, uint64_t first, uint64_t stride, unsigned recoveries) {
    uint64_t n, before = shared->total, random = 1;
    for (n = 1; run_trial(op, n, 0) == 1; n += n < first ? 1 : stride) continue;
    CHECK(n > 1);
    shared->recovery_points = 60;
    for (unsigned i = 0; i < recoveries; i++)
        run_trial(op, 1 + next_random(&random) % (n - 1), 1 + next_random(&random) % shared->recovery_points);
    printf("  %s: %llu fault points, %llu kills\n", op->name, (unsigned long long)n - 1,
           (unsigned long long)(shared->total - before));
    fflush(stdout);
}

#endif

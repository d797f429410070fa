/* test_family.c: the starter of others is killed: what those hold is poisoned, through generations, and nothing else is; whoever sees to
 * that may be killed at any point of it. If it ends in order, or is not noted as their starter, they go on. */
#include "channel_scene.h"

enum { CHILD, GRANDCHILD, OTHERS, N_CHANNELS }; /* of whom a channel is: the first two have both sides of theirs */
enum { UNNOTED = 8, IN_ORDER = 16 };            /* flags */

static int lifeline[2]; /* the descendants live until the tester closes it */
static pid_t tester;

/* A member that this one starts; 0 in it. */
static pid_t start_member(void) {
    int fd, old = arena.life_fd;
    uint32_t slot;
    OK(ip_member_reserve(&arena, &fd, &slot));
    if (!(flags & UNNOTED)) OK(ip_member_note_starter(&arena, slot));
    OK(ip_directory_share_all(&arena, slot));
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid) {
        close(fd);
        return pid;
    }
    close(old); /* or its starter would seem to live */
    OK(ip_member_claim(&arena, slot, fd));
    return 0;
}

/* Until the tester lets it go. */
static void live(unsigned channel) {
    char byte;
    alarm(60);
    take_ends(&channels[channel], BOTH);
    scene->go++;
    close(lifeline[1]);
    while (read(lifeline[0], &byte, 1) > 0) continue;
    OK(ip_member_leave(&arena));
    _exit(0);
}

static void start_two(void) {
    if (start_member() == 0) {
        if (start_member() == 0) live(GRANDCHILD);
        live(CHILD);
    }
    while (scene->go < 2) usleep(50);
    if (!(flags & IN_ORDER)) kill(getpid(), SIGKILL);
    ip_member_announce_exit(&arena);
    _exit(0);
}

/* A starter that has ended, and the two it has left; somebody waits at each channel. */
static void prepare_family(void) {
    set_scene(N_CHANNELS, BOTH);
    for (unsigned i = 0; i < N_CHANNELS; i++) {
        new_person(1);
        reading(&deals[i], &channels[i]);
        CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
    }
    CHECK_EQ(pipe(lifeline), 0);
    tester = getpid();
    pid_t pid = fork_member(&arena);
    if (pid == 0) start_two();
    CHECK_EQ(child_end(pid), flags & IN_ORDER ? CHILD_DONE : CHILD_KILLED);
}

/* The tester looks at what has become of the channels, and lets the two go. */
static void look_and_let_go(void) {
    ip_member_info infos[8];
    uint32_t buried;
    if (getpid() != tester || lifeline[1] < 0) return;
    OK(ip_member_reap(&arena, &buried));
    bool told = !(flags & (UNNOTED | IN_ORDER));
    for (unsigned i = 0; i < N_CHANNELS; i++) {
        CHECK_EQ(look_at(&channels[i]).poisoned, told && i != OTHERS);
        CHECK_EQ(fate(i), told && i != OTHERS ? IP_POISONED : IP_BUSY);
        withdraw_deal(&deals[i], &people[i]);
    }
    close(lifeline[0]);
    close(lifeline[1]);
    lifeline[1] = -1;
    while (ip_member_list(&arena, infos, 8) > 1) {
        usleep(200);
        OK(ip_member_reap(&arena, &buried)); /* of whom we are not the parent */
    }
}

static void prepare_trial(void) {
    prepare_family();
    recover_more = look_and_let_go;
}

static void act_bury(void) {
    uint32_t buried;
    arm();
    OK(ip_member_reap(&arena, &buried));
    CHECK_EQ(buried, 1);
}

static void verify_family(void) {
    recover_more = NULL;
    channels_work();
    strike();
}

static void undertakers_are_killed(void) {
    printf("\n");
    with_kinds("bury a starter", prepare_trial, act_bury, verify_family, 0, 1);
}

static void only_what_a_killed_one_has_started_is_told(void) {
    static const unsigned cases[] = {0, UNNOTED, IN_ORDER, UNNOTED | IN_ORDER};
    for (unsigned i = 0; i < 4; i++) {
        flags = cases[i];
        begin();
        prepare_family();
        look_and_let_go();
        strike();
        end();
    }
}

static void every_fault_point_of_families_was_died_at(void) { CHECK_EQ(not_died_at("family", false), 0); }

int main(void) {
    begin_trials();
    RUN(only_what_a_killed_one_has_started_is_told);
    RUN(undertakers_are_killed);
    if (STRIDE == 1) RUN(every_fault_point_of_families_was_died_at);
    printf("  %llu kills\n", (unsigned long long)shared->total);
    return 0;
}

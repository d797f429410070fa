/* test_channel_deaths.c: who has died is noticed by those who come upon its offers, and by those who only ever communicate with others:
 * nothing is given to the dead or taken from them, nobody meets them, and whoever finds one may be killed at any point of it. */
#include "channel_scene.h"

static meeting place;

/* Until the coarse clock has moved on: a death is no longer as if it had come just after. */
static void next_tick(void) {
    uint64_t now = ip_ticks();
    while (ip_ticks() == now) usleep(200);
}

/* A child that does this, and then is killed. Nobody looks for it. */
static void dead_after(void (*act)(void)) {
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        act();
        kill(getpid(), SIGKILL);
    }
    CHECK_EQ(child_end(pid), CHILD_KILLED);
    next_tick();
}

static bool is_buried(void) {
    ip_member_info infos[8];
    return ip_member_list(&arena, infos, 8) == 1;
}

/* ---- one who came first, and has died ---- */

static unsigned its_side;

static void offers(void) {
    for (unsigned k = 0; k < n_channels; k++) take_ends(&channels[k], its_side == IP_READS ? READERS : WRITERS);
    unsigned i = new_person(CHANNELS);
    for (unsigned k = 1; k + 1 < n_channels; k++) reading(&deals[i], &channels[k]);
    if (its_side == IP_READS) reading(&deals[i], last_channel());
    else writing_with(&deals[i], last_channel(), NUMBER, size, refs, n_handles);
    CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
}

/* Person i is for the other side of the channel. */
static void goes_to(unsigned i, const conduit *channel) {
    if (its_side == IP_WRITES) reading(&deals[i], channel);
    else writing_with(&deals[i], channel, NUMBER, size, refs, n_handles);
}

static void nothing_is_given_to_the_dead(void) {
    for (kind = 0; kind < 4; kind++) {
        for (unsigned n = 1; n <= CHANNELS; n += CHANNELS - 1) {
            for (its_side = IP_READS; its_side <= IP_WRITES; its_side++) {
                begin();
                set_scene(n, ALL);
                dead_after(offers);
                unsigned i = new_person(1);
                goes_to(i, last_channel());
                CHECK_EQ(try_deal(&deals[i], &people[i], 0, kind % 2), IP_POISONED);
                CHECK(is_buried());
                CHECK_EQ(look_at(last_channel()).passed, 0);
                strike();
                end();
            }
        }
    }
    kind = 0;
}

/* Those behind it in the queue are reached, if it had no side to be poisoned. */
static void the_living_are_found_behind_the_dead(void) {
    begin();
    set_scene(1, ALL);
    for (unsigned k = 0; k < 3; k++) {
        pid_t pid = fork_member(&arena);
        if (pid == 0) {
            unsigned i = new_person(1);
            reading(&deals[i], &channels[0]);
            CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
            kill(getpid(), SIGKILL);
        }
        CHECK_EQ(child_end(pid), CHILD_KILLED);
    }
    unsigned r = new_person(1), w = new_person(1);
    reading(&deals[r], &channels[0]);
    CHECK_EQ(try_deal(&deals[r], &people[r], 0, true), IP_AGAIN);
    next_tick();
    writing(&deals[w], &channels[0], NUMBER, 20);
    CHECK_EQ(try_deal(&deals[w], &people[w], 0, true), IP_AGAIN); /* all were poked at the first burial */
    OK(fate(r));
    OK(settle_deal(&deals[w], &people[w]));
    IS_MESSAGE(deals[r].got, NUMBER, 20);
    strike();
    end();
}

static void syncs(void) {
    uint64_t serial;
    OK(ip_barrier_enrol(&arena, place.object, &serial));
    unsigned i = new_person(1);
    syncing(&deals[i], &place, serial);
    CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
}

static void nobody_meets_the_dead(void) {
    uint64_t serials[2], enrolled, waiting, met;
    begin();
    set_scene(0, 0);
    place = meeting_new("place");
    for (unsigned i = 0; i < 2; i++) OK(ip_barrier_enrol(&arena, place.object, &serials[i]));
    dead_after(syncs);
    unsigned first = new_person(1), second = new_person(1);
    syncing(&deals[first], &place, serials[0]);
    CHECK_EQ(try_deal(&deals[first], &people[first], 0, true), IP_AGAIN);
    syncing(&deals[second], &place, serials[1]);
    CHECK_EQ(try_deal(&deals[second], &people[second], 0, true), IP_AGAIN); /* the first is poked at the burial */
    OK(fate(first));
    OK(settle_deal(&deals[second], &people[second]));
    OK(ip_barrier_look(&arena, place.object, &enrolled, &waiting, &met));
    CHECK(enrolled == 2 && met == 1);
    CHECK(is_buried());
    OK(ip_object_release(&arena, place.id, 0));
    strike();
    end();
}

/* ---- one whom nobody waits for ---- */

static void takes_a_side(void) { take_ends(&channels[0], READERS); }

static void who_never_waits_is_told_too(void) {
    begin();
    set_scene(2, ALL);
    dead_after(takes_a_side);
    unsigned r = new_person(1), w = new_person(1);
    reading(&deals[r], &channels[1]);
    writing(&deals[w], &channels[1], NUMBER, 20);
    uint64_t limit = ip_now_ns() + UINT64_C(20000000000);
    while (!look_at(&channels[0]).poisoned) { /* they meet elsewhere, all the time */
        CHECK(ip_now_ns() < limit);
        CHECK_EQ(try_deal(&deals[r], &people[r], 0, true), IP_AGAIN);
        OK(try_deal(&deals[w], &people[w], 0, false));
        OK(settle_deal(&deals[r], &people[r]));
    }
    CHECK(is_buried());
    strike();
    end();
}

/* ---- whoever finds the dead is killed ---- */

/* One of the parent waits for the dead elsewhere. */
static void prepare_dead(unsigned side) {
    set_scene(flags & WIDE ? CHANNELS : 2, BOTH);
    its_side = side;
    new_person(1);
    goes_to(0, &channels[0]);
    CHECK_EQ(try_deal(&deals[0], &people[0], 0, true), IP_AGAIN);
    dead_after(offers);
}
static void prepare_dead_reader(void) { prepare_dead(IP_READS); }
static void prepare_dead_writer(void) { prepare_dead(IP_WRITES); }

static void act_come_upon(void) {
    unsigned i = new_person(1);
    goes_to(i, last_channel());
    arm();
    CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_POISONED);
}

static void verify_come_upon(void) {
    CHECK_EQ(fate(0), IP_POISONED);
    CHECK_EQ(look_at(last_channel()).passed, 0);
    channels_work();
    strike();
}

static uint64_t serials[2], moving;

static void prepare_dead_at_barrier(void) {
    set_scene(0, 0);
    place = meeting_new("place");
    for (unsigned i = 0; i < 2; i++) OK(ip_barrier_enrol(&arena, place.object, &serials[i]));
    OK(ip_barrier_enrol(&arena, place.object, &moving));
    for (unsigned i = 0; i < 2; i++) {
        new_person(1);
        syncing(&deals[i], &place, serials[i]);
        CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
    }
    dead_after(syncs);
    OK(depart(&place, moving));
}

static void act_meet(void) {
    OK(arrive(&place, moving, true));
    unsigned i = new_person(1);
    syncing(&deals[i], &place, moving);
    arm();
    CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN); /* its enrolment ends with it: the other two are left */
}

static void verify_meeting(void) {
    uint64_t enrolled, waiting, met;
    OK(ip_barrier_look(&arena, place.object, &enrolled, &waiting, &met));
    CHECK(enrolled == 2 && met == 0);
    CHECK_EQ(fate(0), IP_BUSY);
    OK(fate(1)); /* the last to look completes it */
    OK(fate(0));
    OK(ip_object_release(&arena, place.id, 0));
    strike();
}

static void finders_are_killed(void) {
    printf("\n");
    for (unsigned f = 0; f < 8; f += WIDE) { /* WIDE: it waits at many */
        with_kinds("send to one who is dead", prepare_dead_reader, act_come_upon, verify_come_upon, f, 4);
        with_kinds("receive from one who is dead", prepare_dead_writer, act_come_upon, verify_come_upon, f, 4);
    }
    with_kinds("meet one who is dead", prepare_dead_at_barrier, act_meet, verify_meeting, 0, 1);
}

int main(void) {
    begin_trials();
    RUN(nothing_is_given_to_the_dead);
    RUN(the_living_are_found_behind_the_dead);
    RUN(nobody_meets_the_dead);
    RUN(who_never_waits_is_told_too);
    RUN(finders_are_killed);
    printf("  %llu kills\n", (unsigned long long)shared->total);
    return 0;
}

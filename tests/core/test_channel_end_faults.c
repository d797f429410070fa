/* test_channel_end_faults.c: kill a process at every fault point of what ends channels and waits: poison, retirement, burial, beside buffers,
 * barriers and deadlocks: survivors are told, meet, and go on; all memory comes back. */
#include "channel_scene.h"

static meeting place;
static pid_t tester;

/* ---- how channels end ---- */

static void prepare_waiting(void) { /* two wait to read, two to write, at channels that the actor poisons or leaves */
    set_scene(2, BOTH);
    for (unsigned i = 0; i < 4; i++) {
        new_person(1);
        if (i < 2) reading(&deals[i], &channels[0]);
        else writing_with(&deals[i], &channels[1], NUMBER, size, refs, n_handles);
        CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
    }
    if (!(flags & SIDES)) return; /* to poison; else the actor alone has the other side */
    for (unsigned i = 0; i < 4; i++) CHECK_EQ(withdraw_deal(&deals[i], &people[i]), IP_AGAIN);
    for (unsigned i = 0; i < 2; i++) drop_ends(&channels[i], BOTH | KEEPERS);
    channels[0] = conduit_new(0, 0, NULL, READERS | KEEPERS);
    channels[1] = conduit_new(0, 0, NULL, WRITERS | KEEPERS);
    for (unsigned i = 0; i < 4; i++) {
        clear_deal(&deals[i]);
        if (i < 2) reading(&deals[i], &channels[0]);
        else writing_with(&deals[i], &channels[1], NUMBER, size, refs, n_handles);
        CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
    }
}

static void act_poison(void) {
    arm();
    for (unsigned i = 0; i < 2; i++) {
        shared->put_tried++;
        OK(ip_channel_poison(&arena, channels[i].object));
        shared->put_done++;
    }
}

static void verify_poisoned(void) {
    for (unsigned i = 0; i < 4; i++) {
        ip_status status = fate(i);
        CHECK(status == IP_POISONED || status == IP_BUSY);
        if (i / 2 < shared->put_done) CHECK_EQ(status, IP_POISONED);
        if (i / 2 >= shared->put_tried) CHECK_EQ(status, IP_BUSY);
        CHECK_EQ(status == IP_POISONED, look_at(&channels[i / 2]).poisoned);
        withdraw_deal(&deals[i], &people[i]);
    }
    channels_work();
    strike();
}

static void act_retire(void) {
    take_ends(&channels[0], WRITERS);
    take_ends(&channels[1], READERS);
    arm();
    for (unsigned i = 0; i < 2; i++) {
        drop_ends(&channels[i], i ? READERS : WRITERS);
        shared->put_done++;
    }
}

static void verify_retired(void) {
    for (unsigned i = 0; i < 4; i++) {
        ip_status status = fate(i);
        CHECK(status == IP_RETIRED || status == IP_POISONED);
        if (i / 2 < shared->put_done) CHECK_EQ(status, IP_RETIRED);
    }
    strike();
}

static void prepare_nothing(void) { set_scene(0, 0); }

static void act_make_and_free(void) {
    arm();
    person p = person_new();
    OK(ip_party_set_card(&arena, p.party, "a card", 6));
    OK(ip_party_set_card(&arena, p.party, "another", 7));
    conduit c = conduit_new(0, 0, "one", KEEPERS), b = conduit_new(3, 0, "two", ALL);
    take_ends(&c, BOTH);
    OK(send_with(&p, &b, 1, 20, refs, 2));
    OK(send_with(&p, &b, 1, 2000, refs, 2));
    deal d = deal_of(20);
    for (unsigned i = 0; i < 20; i++) reading(&d, &c);
    CHECK_EQ(try_deal(&d, &p, 0, true), IP_AGAIN);
    drop_ends(&c, ALL);
    drop_ends(&b, ALL);
    dismiss(&p);
}

static void verify_nothing(void) { strike(); }

/* ---- buffers ---- */

static void prepare_buffer(void) {
    set_scene(1, KEEPERS);
    drop_ends(&channels[0], KEEPERS);
    channels[0] = conduit_new(2, 0, "buffered", KEEPERS | (flags & SIDES ? READERS : BOTH));
    unsigned i = new_person(1);
    reading(&deals[i], &channels[0]);
    CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
}

static void act_fill(void) {
    actor_takes(WRITERS);
    unsigned i = new_person(1);
    arm();
    for (unsigned k = 0; k < 2; k++) {
        writing_with(&deals[i], &channels[0], NUMBER, size, refs, n_handles);
        shared->put_tried++;
        OK(try_deal(&deals[i], &people[i], 0, true));
        shared->put_done++;
        clear_deal(&deals[i]);
    }
    writing_with(&deals[i], &channels[0], NUMBER, size, refs, n_handles);
    CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
}

static void verify_buffer(void) {
    uint64_t n = 0, buffered = look_at(&channels[0]).buffered;
    CHECK(buffered >= shared->put_done && buffered <= shared->put_tried);
    if (flags & SIDES) {
        CHECK_EQ(fate(0), IP_POISONED);
    } else { /* a waiter looks again by itself if there is something */
        ip_status status = await_deal(&deals[0], &people[0], ip_now_ns());
        CHECK_EQ(status, IP_AGAIN);
        while (try_deal(&deals[0], &people[0], 0, false) == IP_OK) {
            is_the_message(&deals[0].got);
            n++;
        }
        CHECK_EQ(n, buffered);
    }
    strike();
}

/* What lies in a buffer is dropped when the channel is poisoned, by the next who is told if the poisoner dies. */
static void prepare_full(void) {
    set_scene(1, KEEPERS);
    drop_ends(&channels[0], KEEPERS);
    channels[0] = conduit_new(3, 0, "buffered", KEEPERS | BOTH);
    unsigned i = new_person(1);
    for (unsigned k = 0; k < 3; k++) {
        writing_with(&deals[i], &channels[0], NUMBER, size, refs, n_handles);
        OK(try_deal(&deals[i], &people[i], 0, true));
        clear_deal(&deals[i]);
    }
    reading(&deals[i], &channels[0]);
}

static void act_poison_full(void) {
    arm();
    shared->put_tried = 1;
    OK(ip_channel_poison(&arena, channels[0].object));
    shared->put_done = 1;
}

static void verify_cleared(void) {
    bool poisoned = look_at(&channels[0]).poisoned;
    CHECK(poisoned >= shared->put_done && poisoned <= shared->put_tried);
    CHECK(poisoned || look_at(&channels[0]).buffered == 3);
    OK(ip_channel_clear(&arena, channels[0].channel));
    ip_channel_info seen = look_at(&channels[0]);
    CHECK(seen.buffered == (poisoned ? 0 : 3) && seen.lost == 3 - seen.buffered && seen.passed == 0);
    CHECK_EQ(handles_in_transit(&inner), poisoned ? 0 : 3 * n_handles);
    CHECK_EQ(fate(0), poisoned ? IP_POISONED : IP_OK);
    strike();
}

/* ---- burial ---- */

static int victims_life[2];

static void make_victim(void) {
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        char byte;
        close(victims_life[1]);
        actor_takes(BOTH);
        uint64_t serial;
        OK(ip_barrier_enrol(&arena, place.object, &serial));
        n_people = 0;
        for (unsigned i = 0; i < 3; i++) new_person(CHANNELS);
        for (unsigned k = 0; k < n_channels - 1; k++) writing_with(&deals[0], &channels[k], k, k == 1 ? 2000 : 20, refs, k == 2 ? 2 : 0);
        CHECK_EQ(try_deal(&deals[0], &people[0], 0, true), IP_AGAIN);
        syncing(&deals[2], &place, serial);
        CHECK_EQ(try_deal(&deals[2], &people[2], 0, true), IP_AGAIN);
        reading(&deals[1], last_channel());
        CHECK_EQ(try_deal(&deals[1], &people[1], 0, true), IP_AGAIN);
        OK(ip_party_set_card(&arena, people[2].party, "a card", 6));
        scene->go = 3;
        while (read(victims_life[0], &byte, 1) > 0) continue;
        kill(getpid(), SIGKILL);
    }
    close(victims_life[0]);
    while (scene->go != 3) usleep(20);
    /* what it is given it has not looked at */
    unsigned w = new_person(1);
    writing_with(&deals[w], last_channel(), NUMBER, size, refs, n_handles);
    OK(try_deal(&deals[w], &people[w], 0, false));
    close(victims_life[1]);
    CHECK_EQ(child_end(pid), CHILD_KILLED);
}

static uint64_t serials[2], moving;

/* Of those who are enrolled and alive one has not come: nobody may meet, whoever is half buried. */
static void come_too_early(void) {
    if (getpid() != tester) return;
    CHECK_EQ(withdraw_deal(&deals[1], &people[1]), IP_AGAIN);
    CHECK_EQ(try_deal(&deals[1], &people[1], 0, true), IP_AGAIN);
}

static void prepare_burial(void) {
    set_scene(4, KEEPERS);
    place = meeting_new("place");
    CHECK_EQ(pipe(victims_life), 0);
    for (unsigned i = 0; i < 2; i++) OK(ip_barrier_enrol(&arena, place.object, &serials[i]));
    if (flags & SIDES) for (unsigned i = 0; i < n_channels; i++) take_ends(&channels[i], BOTH);
    make_victim();
    /* now person 1 waits at the barrier, 2 for what only the dead could do */
    new_person(1);
    syncing(&deals[1], &place, serials[0]);
    CHECK_EQ(try_deal(&deals[1], &people[1], 0, true), IP_AGAIN);
    new_person(1);
    reading(&deals[2], last_channel());
    CHECK_EQ(try_deal(&deals[2], &people[2], 0, true), IP_AGAIN);
    tester = getpid();
    recover_more = come_too_early;
}

static void act_bury(void) {
    uint32_t buried;
    arm();
    OK(ip_member_reap(&arena, &buried));
    CHECK_EQ(buried, 1);
}

static void verify_burial(void) {
    uint64_t enrolled, waiting, met;
    recover_more = NULL;
    is_told(fate(2));
    OK(ip_barrier_look(&arena, place.object, &enrolled, &waiting, &met));
    CHECK(enrolled == 2 && met == 0);
    ip_status status = fate(1);
    CHECK_EQ(status, IP_BUSY);
    unsigned i = new_person(1);
    syncing(&deals[i], &place, serials[1]);
    OK(try_deal(&deals[i], &people[i], 0, true));
    OK(fate(1));
    OK(ip_object_release(&arena, place.id, 0));
    strike();
}

/* ---- barriers ---- */

static void prepare_meeting(void) {
    set_scene(1, BOTH);
    place = meeting_new("place");
    for (unsigned i = 0; i < 2; i++) OK(ip_barrier_enrol(&arena, place.object, &serials[i]));
    for (unsigned i = 0; i < 2; i++) {
        new_person(2);
        if (i) reading(&deals[i], &channels[0]);
        syncing(&deals[i], &place, serials[i]);
    }
    OK(ip_barrier_enrol(&arena, place.object, &moving));
    for (unsigned i = 0; i < 2; i++) CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
    OK(depart(&place, moving));
}

static void act_meet(void) {
    uint64_t serial = moving;
    OK(arrive(&place, serial, true));
    unsigned i = new_person(1);
    syncing(&deals[i], &place, serial);
    arm();
    shared->put_tried = 1;
    OK(try_deal(&deals[i], &people[i], 0, true));
    shared->put_done = 1;
}

static void verify_meeting(void) {
    uint64_t enrolled, waiting, met;
    OK(ip_barrier_look(&arena, place.object, &enrolled, &waiting, &met));
    CHECK_EQ(enrolled, 2);
    CHECK(met >= shared->put_done && met <= shared->put_tried);
    ip_status status[2] = {fate(0), fate(1)};
    if (met) {
        CHECK(status[0] == IP_OK && status[1] == IP_OK && deals[1].choice.guard == 1);
    } else { /* the others are left: the last to look again completes it */
        CHECK(status[0] == IP_BUSY && status[1] == IP_OK);
        OK(fate(0));
    }
    OK(ip_object_release(&arena, place.id, 0));
    channels_work();
    strike();
}

static void prepare_enrolments(void) {
    set_scene(0, 0);
    place = meeting_new("place");
    OK(ip_barrier_enrol(&arena, place.object, &serials[0]));
    OK(ip_barrier_enrol(&arena, place.object, &serials[1]));
    new_person(1);
    syncing(&deals[0], &place, serials[0]);
    CHECK_EQ(try_deal(&deals[0], &people[0], 0, true), IP_AGAIN);
}

static void act_enrol(void) {
    uint64_t mine[9];
    arm();
    for (unsigned i = 0; i < 9; i++) OK(ip_barrier_enrol(&arena, place.object, &mine[i])); /* grows */
    for (unsigned i = 0; i < 8; i++) OK(resign(&place, mine[i]));
}

static void verify_enrolments(void) {
    uint64_t enrolled, waiting, met;
    CHECK_EQ(fate(0), IP_BUSY);
    OK(ip_barrier_look(&arena, place.object, &enrolled, &waiting, &met));
    CHECK(enrolled == 2 && waiting == 1 && met == 0);
    unsigned i = new_person(1);
    syncing(&deals[i], &place, serials[1]);
    OK(try_deal(&deals[i], &people[i], 0, true));
    OK(fate(0));
    OK(ip_object_release(&arena, place.id, 0));
    strike();
}

/* ---- deadlock ---- */

static char text[3000];

static void prepare_stuck(void) {
    set_scene(2, BOTH);
    for (unsigned i = 0; i < 2; i++) {
        new_person(1);
        reading(&deals[i], &channels[i]);
        CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
    }
}

static void act_declare(void) {
    static ip_stuck_party found[2];
    unsigned n;
    arm();
    OK(ip_stuck_find(&arena, found, 2, &n));
    CHECK_EQ(n, 2);
    shared->put_tried = 1;
    OK(ip_stuck_declare(&arena, found, 2, text, size));
    shared->put_done = 1;
}

static void verify_stuck(void) {
    unsigned told = 0;
    for (unsigned i = 0; i < 2; i++) {
        ip_status status = settle_deal(&deals[i], &people[i]);
        if (status == IP_STUCK) {
            port p = {.arena = &arena};
            message m;
            CHECK_EQ(deals[i].choice.incoming.size, size);
            OK(examine(&p, &deals[i].choice.incoming, &m));
            told++;
        } else {
            CHECK(status == IP_BUSY || status == IP_AGAIN);
            CHECK_EQ(withdraw_deal(&deals[i], &people[i]), IP_AGAIN);
        }
    }
    CHECK(shared->put_tried || !told);
    CHECK(told == 2 || !shared->put_done);
    channels_work();
    strike();
}

/* ---- all of it ---- */

static void ends_of_channels(void) {
    printf("\n");
    with_kinds("poison", prepare_waiting, act_poison, verify_poisoned, 0, 4);
    with_kinds("retire", prepare_waiting, act_retire, verify_retired, SIDES, 4);
    with_kinds("make and free", prepare_nothing, act_make_and_free, verify_nothing, 0, 1);
    with_kinds("fill a buffer", prepare_buffer, act_fill, verify_buffer, 0, 4);
    with_kinds("fill a buffer", prepare_buffer, act_fill, verify_buffer, SIDES, 4);
    with_kinds("poison a full buffer", prepare_full, act_poison_full, verify_cleared, 0, 4);
    with_kinds("bury one who waits", prepare_burial, act_bury, verify_burial, SIDES, 4);
}

static void barriers_and_deadlocks(void) {
    printf("\n");
    with_kinds("meet", prepare_meeting, act_meet, verify_meeting, 0, 1);
    with_kinds("enrol and resign", prepare_enrolments, act_enrol, verify_enrolments, 0, 1);
    with_kinds("declare a deadlock", prepare_stuck, act_declare, verify_stuck, 0, 4);
}

static void every_fault_point_of_ends_was_died_at(void) { CHECK_EQ(not_died_at("party channel barrier stuck", false), 0); }

int main(int argc, char **argv) {
    begin_trials();
    if (argc > 1) anywhere = (unsigned)atoi(argv[1]); /* takes long: not by default */
    RUN(ends_of_channels);
    RUN(barriers_and_deadlocks);
    if (STRIDE == 1 && !anywhere) RUN(every_fault_point_of_ends_was_died_at);
    printf("  %llu kills\n", (unsigned long long)shared->total);
    return 0;
}

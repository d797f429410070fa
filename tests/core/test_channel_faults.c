/* test_channel_faults.c: kill a process at every fault point of every communication, as the first or the second of the two: it was done
 * for both or for neither; survivors get an answer; nothing arrives twice; all memory comes back. With an argument: at so many of the
 * instructions of each instead, at random. */
#include "channel_scene.h"

/* Person i, of the parent, waits at all channels; the last is the one that matters. */
static void waits_at_all(unsigned i, unsigned side) {
    for (unsigned k = 0; k + 1 < n_channels; k++) {
        if (k % 2) writing(&deals[i], &channels[k], k, 10);
        else reading(&deals[i], &channels[k]);
    }
    if (side == IP_READS) reading(&deals[i], last_channel());
    else writing_with(&deals[i], last_channel(), NUMBER, size, refs, n_handles);
    CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
}

/* ---- who comes second ---- */

static unsigned channels_of_it(void) { return flags & WIDE ? CHANNELS : 1; }

static void prepare_reader(void) {
    set_scene(channels_of_it(), flags & SIDES ? READERS : BOTH);
    waits_at_all(new_person(CHANNELS), IP_READS);
    waits_at_all(new_person(CHANNELS), IP_READS); /* one more behind it */
}

static void act_send(void) {
    actor_takes(WRITERS);
    unsigned i = new_person(1);
    writing_with(&deals[i], last_channel(), NUMBER, size, refs, n_handles);
    arm();
    shared->put_tried = 1;
    OK(try_deal(&deals[i], &people[i], 0, true));
    shared->put_done = 1;
}

static void verify_reader(void) {
    ip_status status = fate(0);
    if (status == IP_OK) {
        CHECK(shared->put_tried);
        CHECK_EQ(deals[0].choice.guard, n_channels - 1);
        is_the_message(&deals[0].got);
    } else {
        CHECK(!shared->put_done);
        is_told(status);
    }
    is_told(fate(1)); /* what is sent once arrives once */
    for (unsigned i = 0; i < 2; i++) withdraw_deal(&deals[i], &people[i]);
    channels_work();
    strike();
}

static void prepare_writer(void) {
    set_scene(channels_of_it(), flags & SIDES ? WRITERS : BOTH);
    waits_at_all(new_person(CHANNELS), IP_WRITES);
    waits_at_all(new_person(CHANNELS), IP_WRITES);
}

static void act_receive(void) {
    actor_takes(READERS);
    unsigned i = new_person(1);
    reading(&deals[i], last_channel());
    arm();
    shared->take_tried = 1;
    OK(try_deal(&deals[i], &people[i], 0, true));
    is_the_message(&deals[i].got);
    shared->take_done = 1;
}

static void verify_writer(void) {
    ip_status status = fate(0);
    CHECK(status == IP_OK ? shared->take_tried : !shared->take_done);
    if (status != IP_OK) is_told(status);
    status = fate(1);
    is_told(status);
    unsigned r = new_person(1);
    reading(&deals[r], last_channel());
    for (unsigned i = 0; i < 2 && status == IP_BUSY; i++) { /* they are still there to be read */
        if (phase_of_person(&people[i]) != IP_PARTY_WAITING) continue;
        OK(try_deal(&deals[r], &people[r], 0, false));
        is_the_message(&deals[r].got);
        OK(fate(i));
    }
    channels_work();
    strike();
}

/* Both choose: each of two could read or write, so could the actor. */
static void prepare_choosers(void) {
    set_scene(2, BOTH);
    for (unsigned i = 0; i < 2; i++) {
        new_person(2);
        reading(&deals[i], &channels[0]);
        writing_with(&deals[i], &channels[1], NUMBER, size, refs, n_handles);
        CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
    }
}

static void act_choose(void) {
    actor_takes(BOTH);
    unsigned i = new_person(2);
    writing_with(&deals[i], &channels[0], NUMBER, size, refs, n_handles);
    reading(&deals[i], &channels[1]);
    arm();
    for (unsigned k = 0; k < 2; k++) {
        shared->put_tried = k + 1;
        OK(try_deal(&deals[i], &people[i], 0, true));
        shared->put_done = k + 1;
        clear_deal(&deals[i]);
        reading(&deals[i], &channels[1]);
        writing_with(&deals[i], &channels[0], NUMBER, size, refs, n_handles);
    }
}

static void verify_choosers(void) {
    uint64_t done = 0;
    for (unsigned i = 0; i < 2; i++) {
        ip_status status = fate(i);
        if (status == IP_OK) {
            done++;
            CHECK_EQ(deals[i].choice.guard, i); /* as the actor asked for it */
            if (i == 0) is_the_message(&deals[i].got);
        } else {
            is_told(status);
            withdraw_deal(&deals[i], &people[i]);
        }
    }
    CHECK(done >= shared->put_done && done <= shared->put_tried);
    channels_work();
    strike();
}

/* ---- who comes first: a survivor answers, or finds that the other has died ---- */

static pid_t survivor, tester;
static unsigned its_side;

/* In the parent: the actor has come as far as it will. */
static void let_survive(void) {
    if (getpid() != tester || !survivor) return;
    scene->go = 1;
    CHECK_EQ(child_end(survivor), CHILD_DONE);
    survivor = 0;
}

static void survive(void) {
    alarm(60);
    take_ends(last_channel(), its_side == IP_READS ? READERS : WRITERS);
    unsigned i = new_person(1);
    if (its_side == IP_READS) reading(&deals[i], last_channel());
    else writing_with(&deals[i], last_channel(), NUMBER, size, refs, n_handles);
    scene->go = 2; /* ready */
    while (scene->go != 1) usleep(20);
    ip_status status = conclude(&deals[i], &people[i], 0, UINT64_MAX);
    if (status == IP_OK && its_side == IP_READS) is_the_message(&deals[i].got);
    scene->answer = (int)status + 1;
    OK(ip_member_leave(&arena));
    _exit(0);
}

static void prepare_survivor(unsigned side) {
    set_scene(channels_of_it(), 0);
    tester = getpid();
    its_side = side;
    survivor = fork_member(&arena);
    if (survivor == 0) survive();
    while (scene->go != 2) usleep(20);
    recover_more = let_survive;
}

static void prepare_surviving_reader(void) { prepare_survivor(IP_READS); }
static void prepare_surviving_writer(void) { prepare_survivor(IP_WRITES); }

static void act_first(void) {
    take_ends(last_channel(), its_side == IP_READS ? WRITERS : READERS);
    if (flags & ORPHAN && its_side == IP_READS) make_inner();
    unsigned i = new_person(CHANNELS);
    for (unsigned k = 0; k + 1 < n_channels; k++) reading(&deals[i], &channels[k]);
    if (its_side == IP_READS) writing_with(&deals[i], last_channel(), NUMBER, size, refs, n_handles);
    else reading(&deals[i], last_channel());
    arm();
    shared->put_tried = 1;
    CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
    scene->go = 1;
    ip_status status = IP_BUSY;
    while (status == IP_BUSY) {
        bool slept;
        ip_party_wait(people[i].party, UINT64_MAX, &slept);
        status = settle_deal(&deals[i], &people[i]);
    }
    CHECK_EQ(status, IP_OK);
    if (its_side == IP_WRITES) is_the_message(&deals[i].got);
    shared->put_done = 1;
}

static void verify_survivor(void) {
    ip_status status = (ip_status)(scene->answer - 1);
    CHECK(status == IP_OK || status == IP_POISONED);
    CHECK(status == IP_OK || !shared->put_done);
    CHECK(status != IP_OK || shared->put_tried);
    strike();
}

static void act_withdraw(void) {
    take_ends(last_channel(), its_side == IP_READS ? WRITERS : READERS);
    if (flags & ORPHAN && its_side == IP_READS) make_inner();
    unsigned i = new_person(1);
    if (its_side == IP_READS) writing_with(&deals[i], last_channel(), NUMBER, size, refs, n_handles);
    else reading(&deals[i], last_channel());
    arm();
    CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
    CHECK_EQ(withdraw_deal(&deals[i], &people[i]), IP_AGAIN);
    shared->put_done = 1;
    scene->go = 1; /* who comes now comes too late */
    drop_ends(last_channel(), its_side == IP_READS ? WRITERS : READERS);
    shared->take_done = 1;
}

static void verify_withdrawn(void) {
    ip_status status = (ip_status)(scene->answer - 1);
    if (shared->put_done) CHECK(status == IP_POISONED || status == IP_RETIRED);
    if (shared->take_done) CHECK_EQ(status, IP_RETIRED);
    CHECK(status == IP_OK || status == IP_POISONED || status == IP_RETIRED);
    strike();
}

/* ---- queues that grow, go stale and are tidied ---- */

static void prepare_queues(void) {
    set_scene(3, BOTH);
    new_person(3);
    for (unsigned i = 0; i < 3; i++) reading(&deals[0], &channels[i]);
    CHECK_EQ(try_deal(&deals[0], &people[0], 0, true), IP_AGAIN);
}

/* Parties come, go elsewhere, are poked, and end; without sides, so that the channels are used by others then. */
static void act_churn(void) {
    unsigned first = n_people;
    for (unsigned i = 0; i < 7; i++) new_person(12);
    arm();
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = first; i < n_people; i++) {
            clear_deal(&deals[i]);
            for (unsigned k = 0; k < (round == 2 ? 9 : 1); k++) reading(&deals[i], &channels[(i + round + k) % 3]);
            CHECK_EQ(try_deal(&deals[i], &people[i], i, true), IP_AGAIN);
            if (i % 3 == round) CHECK_EQ(withdraw_deal(&deals[i], &people[i]), IP_AGAIN);
            if (i % 3 == round + 1) OK(ip_party_poke(&arena, people[i].id));
        }
        unsigned w = new_person(1); /* finds the parent's, or one of these, past what is stale */
        writing(&deals[w], &channels[round], NUMBER, 20);
        shared->put_tried++;
        OK(try_deal(&deals[w], &people[w], 0, false));
        shared->put_done++;
        for (unsigned i = first; i < w; i++) withdraw_deal(&deals[i], &people[i]);
        dismiss(&people[w]);
        n_people--;
    }
    dismiss(&people[first]);
}

static void verify_queues(void) {
    ip_status status = fate(0);
    CHECK(status == IP_OK || status == IP_BUSY);
    if (status == IP_OK) {
        CHECK(shared->put_tried);
        IS_MESSAGE(deals[0].got, NUMBER, 20);
    } else {
        withdraw_deal(&deals[0], &people[0]);
    }
    channels_work();
    strike();
}

/* ---- a party uses its inbox again ---- */

static void prepare_receiver(void) { set_scene(2, BOTH); }

/* It reads what has handles, then writes, then offers to read again: what it was given first is not given back twice. */
static void act_read_write_read(void) {
    unsigned a = new_person(1), b = new_person(1);
    writing_with(&deals[b], &channels[0], NUMBER, size, refs, n_handles);
    reading(&deals[a], &channels[0]);
    arm();
    CHECK_EQ(try_deal(&deals[a], &people[a], 0, true), IP_AGAIN);
    OK(try_deal(&deals[b], &people[b], 0, true));
    OK(settle_deal(&deals[a], &people[a]));
    clear_deal(&deals[a]);
    clear_deal(&deals[b]);
    writing(&deals[a], &channels[1], 3, 20);
    reading(&deals[b], &channels[1]);
    CHECK_EQ(try_deal(&deals[a], &people[a], 0, true), IP_AGAIN);
    OK(try_deal(&deals[b], &people[b], 0, true));
    OK(settle_deal(&deals[a], &people[a]));
    clear_deal(&deals[a]);
    reading(&deals[a], &channels[0]);
    CHECK_EQ(try_deal(&deals[a], &people[a], 0, true), IP_AGAIN);
}

static void verify_works(void) {
    channels_work();
    strike();
}

/* ---- all of it ---- */

static void meetings_of_two(void) {
    printf("\n");
    for (unsigned f = 0; f < 8; f++) {
        with_kinds("send to who waits", prepare_reader, act_send, verify_reader, f, 5);
        if (!(f & ORPHAN)) with_kinds("receive from who waits", prepare_writer, act_receive, verify_writer, f, 5);
        if (!(f & WIDE)) with_kinds("choose among who choose", prepare_choosers, act_choose, verify_choosers, f & SIDES, f & ORPHAN ? 0 : 5);
    }
    for (unsigned f = SIDES; f < 8; f += 2) {
        with_kinds("send first", prepare_surviving_reader, act_first, verify_survivor, f, 5);
        if (!(f & ORPHAN)) with_kinds("receive first", prepare_surviving_writer, act_first, verify_survivor, f, 5);
    }
    with_kinds("offer to send, withdraw, retire", prepare_surviving_reader, act_withdraw, verify_withdrawn, SIDES, 5);
    with_kinds("offer to receive, withdraw, retire", prepare_surviving_writer, act_withdraw, verify_withdrawn, SIDES, 5);
}

static void queues_and_inboxes(void) {
    printf("\n");
    with_kinds("parties come and go", prepare_queues, act_churn, verify_queues, 0, 1);
    with_kinds("read, write and read", prepare_receiver, act_read_write_read, verify_works, 0, 5);
}

static void every_fault_point_of_choices_was_died_at(void) { CHECK_EQ(not_died_at("party parcel offers choice", false), 0); }

int main(int argc, char **argv) {
    begin_trials();
    if (argc > 1) anywhere = (unsigned)atoi(argv[1]); /* takes long: not by default */
    RUN(meetings_of_two);
    RUN(queues_and_inboxes);
    if (STRIDE == 1 && !anywhere) RUN(every_fault_point_of_choices_was_died_at);
    printf("  %llu kills\n", (unsigned long long)shared->total);
    return 0;
}

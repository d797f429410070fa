/* test_enrolment_faults.c: kill a process at every fault point of what moves an enrolment: in each kind of rendezvous, through a buffer,
 * and when its message is dropped. Whoever is left has it, or it has ended and the others know: nobody waits for one who is nowhere. */
#include "channel_scene.h"

static meeting place;
static uint64_t mine, moving;
static ip_handle_ref carried[2];

static uint64_t enrolled(void) {
    uint64_t n, waiting, met;
    OK(ip_barrier_look(&arena, place.object, &n, &waiting, &met));
    return n;
}

/* A channel, and a barrier where person 0 waits for the mover, an enrolment of this process's. */
static void set_place(uint64_t capacity, unsigned hold) {
    set_scene(1, 0);
    drop_ends(&channels[0], KEEPERS);
    channels[0] = conduit_new(capacity, 0, "way", hold);
    place = meeting_new("place");
    OK(ip_barrier_enrol(&arena, place.object, &mine));
    OK(ip_barrier_enrol(&arena, place.object, &moving));
    carried[0] = enrolment_ref(&place, moving);
    carried[1] = (ip_handle_ref){place.id, 0};
    new_person(1);
    syncing(&deals[0], &place, mine);
    CHECK_EQ(try_deal(&deals[0], &people[0], 0, true), IP_AGAIN);
}

static ip_channel *channel_of(const conduit *c) {
    ip_channel *channel;
    OK(ip_channel_of(&arena, c->object, &channel));
    return channel;
}

static unsigned a_reader(void) {
    unsigned i = new_person(1);
    reading(&deals[i], &channels[0]);
    return i;
}

static unsigned a_writer(void) {
    unsigned i = new_person(1);
    writing_with(&deals[i], &channels[0], NUMBER, size, carried, 2);
    return i;
}

static void has_it(const message *m) {
    IS_MESSAGE(*m, NUMBER, size);
    CHECK(m->n_handles == 2 && m->handles[0].end == ip_enrolment_end(moving) && m->handles[0].id.index == place.id.index);
}

/* The mover is this process's, and waited for; or it has ended, and who waits is told and goes on without it. */
static void is_here(bool here) {
    CHECK_EQ(enrolled(), here ? 2 : 1);
    if (here) {
        CHECK_EQ(fate(0), IP_BUSY);
        unsigned i = new_person(1);
        syncing(&deals[i], &place, moving);
        OK(try_deal(&deals[i], &people[i], 0, true));
        OK(settle_deal(&deals[0], &people[0]));
        OK(resign(&place, moving));
    } else {
        CHECK_EQ(settle_deal(&deals[0], &people[0]), IP_AGAIN);
        OK(try_deal(&deals[0], &people[0], 0, true));
    }
    CHECK_EQ(enrolled(), 1);
    OK(ip_object_release(&arena, place.id, 0));
    strike();
}

static void done(void) { shared->put_done = 1; }
static void tries(void) {
    arm();
    shared->put_tried = 1;
}

/* ---- the actor has it, and sends it ---- */

static void prepare_reader(void) {
    set_place(0, READERS | KEEPERS | (flags & SIDES ? 0 : WRITERS));
    CHECK_EQ(try_deal(&deals[a_reader()], &people[1], 0, true), IP_AGAIN);
    OK(depart(&place, moving));
}

static void act_send(void) {
    OK(arrive(&place, moving, true));
    actor_takes(WRITERS);
    unsigned i = a_writer();
    tries();
    OK(try_deal(&deals[i], &people[i], 0, true));
    done();
}

static void verify_reader(void) {
    ip_status status = fate(1);
    if (status == IP_OK) has_it(&deals[1].got);
    else is_told(status);
    CHECK(status == IP_OK ? shared->put_tried : !shared->put_done);
    is_here(status == IP_OK);
}

static void prepare_buffer(void) {
    set_place(2, READERS | KEEPERS | (flags & SIDES ? 0 : WRITERS));
    a_reader();
    OK(depart(&place, moving));
}

static void verify_buffer(void) {
    uint64_t buffered = look_at(&channels[0]).buffered;
    CHECK(buffered >= shared->put_done && buffered <= shared->put_tried);
    if (flags & SIDES) { /* its death has poisoned the channel: whoever is told drops what is in it */
        CHECK_EQ(fate(1), IP_POISONED);
        OK(ip_channel_clear(&arena, channel_of(&channels[0])));
        is_here(false);
        return;
    }
    if (buffered) {
        OK(try_deal(&deals[1], &people[1], 0, false));
        has_it(&deals[1].got);
    }
    is_here(buffered);
}

/* ---- the actor takes it ---- */

static void prepare_writer(void) {
    set_place(0, WRITERS | KEEPERS | (flags & SIDES ? 0 : READERS));
    CHECK_EQ(try_deal(&deals[a_writer()], &people[1], 0, true), IP_AGAIN);
}

static void prepare_filled(void) {
    set_place(2, BOTH | KEEPERS);
    OK(try_deal(&deals[a_writer()], &people[1], 0, false));
}

static void act_take(void) {
    actor_takes(READERS);
    unsigned i = a_reader();
    tries();
    OK(try_deal(&deals[i], &people[i], 0, false));
    done();
    has_it(&deals[i].got);
}

static void verify_writer(void) {
    ip_status status = fate(1);
    if (status != IP_OK) is_told(status);
    CHECK(status == IP_OK ? shared->put_tried : !shared->put_done);
    CHECK_EQ(withdraw_deal(&deals[1], &people[1]), status == IP_OK ? IP_OK : IP_AGAIN);
    is_here(status != IP_OK); /* what was not sent is the sender's */
}

static void verify_filled(void) {
    uint64_t buffered = look_at(&channels[0]).buffered;
    CHECK(buffered ? !shared->put_done : shared->put_tried);
    if (!buffered) {
        is_here(false);
        return;
    }
    CHECK_EQ(fate(0), IP_BUSY); /* it is on its way */
    unsigned i = a_reader();
    OK(try_deal(&deals[i], &people[i], 0, false));
    has_it(&deals[i].got);
    is_here(true);
}

/* ---- the actor throws it away ---- */

static void act_poison(void) {
    actor_takes(BOTH);
    tries();
    OK(ip_channel_poison(&arena, channels[0].object));
    done();
}

static void verify_spoilt(void) {
    if (flags & SIDES || shared->put_done || look_at(&channels[0]).poisoned) {
        deals[1].n = 0;
        reading(&deals[1], &channels[0]);
        CHECK_EQ(fate(1), IP_POISONED);
        OK(ip_channel_clear(&arena, channel_of(&channels[0]))); /* as whoever is told does */
        is_here(false);
        return;
    }
    verify_filled();
}

/* ---- all of it in the actor, which is gone afterwards ---- */

static void prepare_nobody(void) {
    set_place(0, ALL);
    OK(depart(&place, moving));
}

static void act_send_to_itself(void) {
    OK(arrive(&place, moving, true));
    actor_takes(BOTH);
    n_people = 1;
    unsigned r = a_reader(), w = a_writer();
    arm();
    CHECK_EQ(try_deal(&deals[r], &people[r], 0, true), IP_AGAIN);
    OK(try_deal(&deals[w], &people[w], 0, false));
    if (flags & WIDE) dismiss(&people[r]); /* dropped with its inbox */
    else OK(settle_deal(&deals[r], &people[r]));
}

static void act_drop_a_buffer(void) {
    OK(arrive(&place, moving, true));
    channels[0] = conduit_new(2, 0, "its own", ALL);
    unsigned i = a_writer();
    arm();
    OK(try_deal(&deals[i], &people[i], 0, false));
    drop_ends(&channels[0], ALL);
}

static void act_resign(void) {
    OK(arrive(&place, moving, true));
    arm();
    OK(resign(&place, moving));
}

static void verify_gone(void) { is_here(false); }

/* ---- all of it ---- */

static void enrolments_on_their_way(void) {
    printf("\n");
    for (unsigned f = 0; f <= SIDES; f += SIDES) {
        with_kinds("send to who waits", prepare_reader, act_send, verify_reader, f, 3);
        with_kinds("send to a buffer", prepare_buffer, act_send, verify_buffer, f, 3);
        with_kinds("poison a buffer", prepare_filled, act_poison, verify_spoilt, f, 3);
        with_kinds("take from who waits", prepare_writer, act_take, verify_writer, f, 3);
    }
    with_kinds("take from a buffer", prepare_filled, act_take, verify_filled, 0, 3);
    with_kinds("arrive", prepare_nobody, act_send_to_itself, verify_gone, 0, 3);
    with_kinds("drop a party", prepare_nobody, act_send_to_itself, verify_gone, WIDE, 3);
    with_kinds("drop a buffer", prepare_nobody, act_drop_a_buffer, verify_gone, 0, 3);
    with_kinds("resign", prepare_nobody, act_resign, verify_gone, 0, 1);
}

static void every_fault_point_of_enrolments_was_died_at(void) { CHECK_EQ(not_died_at("enrolment", false), 0); }

int main(int argc, char **argv) {
    begin_trials();
    if (argc > 1) anywhere = (unsigned)atoi(argv[1]); /* takes long: not by default */
    RUN(enrolments_on_their_way);
    if (STRIDE == 1 && !anywhere) RUN(every_fault_point_of_enrolments_was_died_at);
    printf("  %llu kills\n", (unsigned long long)shared->total);
    return 0;
}

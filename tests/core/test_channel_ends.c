/* test_channel_ends.c: how channels end: poison, sides that retire, freeing; what parties and channels refuse, and what is told about them. */
#include "channel_world.h"

static conduit plain(unsigned hold) { return conduit_new(0, IP_BLOCKING, NULL, hold); }

static void poison_is_told_to_all(void) {
    begin();
    conduit c = plain(ALL), other = plain(BOTH);
    person people[4];
    deal d[4];
    for (unsigned i = 0; i < 4; i++) {
        people[i] = person_new();
        d[i] = deal_of(3);
        reading(&d[i], &other);
        if (i % 2) reading(&d[i], &c);
        else if (i == 0) writing(&d[i], &c, i, 900);
        if (i != 2) continue;
        CHECK_EQ(try_deal(&d[i], &people[i], 0, true), IP_AGAIN); /* does not use it */
    }
    CHECK_EQ(try_deal(&d[0], &people[0], 0, true), IP_AGAIN);
    OK(try_deal(&d[1], &people[1], 0, true));
    OK(settle_deal(&d[0], &people[0]));
    CHECK_EQ(try_deal(&d[1], &people[1], 0, true), IP_AGAIN);
    CHECK_EQ(try_deal(&d[3], &people[3], 0, true), IP_AGAIN);
    CHECK(!look_at(&c).poisoned);
    OK(ip_channel_poison(&arena, c.object));
    OK(ip_channel_poison(&arena, c.object));
    CHECK(look_at(&c).poisoned);
    CHECK_EQ(phase_of_person(&people[1]), IP_PARTY_POKED);
    CHECK_EQ(phase_of_person(&people[2]), IP_PARTY_WAITING);
    for (unsigned i = 1; i < 4; i += 2) {
        CHECK_EQ(settle_deal(&d[i], &people[i]), IP_AGAIN);
        CHECK_EQ(try_deal(&d[i], &people[i], 0, true), IP_POISONED);
        CHECK_EQ(d[i].choice.guard, 1);
        CHECK(phase_of_person(&people[i]) != IP_PARTY_WAITING);
    }
    CHECK_EQ(ip_channel_open_for(c.object, c.channel, IP_READS), IP_POISONED);
    CHECK_EQ(ip_channel_open_for(c.object, c.channel, IP_WRITES), IP_POISONED);
    CHECK_EQ(send_to(&people[0], &c, 1, 10), IP_POISONED);
    CHECK_EQ(send_to(&people[0], &other, 3, 10), IP_OK); /* to who has waited all the time */
    OK(settle_deal(&d[2], &people[2]));
    IS_MESSAGE(d[2].got, 3, 10);
    for (unsigned i = 0; i < 4; i++) {
        end_deal(&d[i]);
        dismiss(&people[i]);
    }
    drop_ends(&c, ALL);
    drop_ends(&other, BOTH);
    end();
}

static void a_side_retires_with_its_last_holder(void) {
    begin();
    for (unsigned side = 0; side < 2; side++) {
        conduit c = plain(KEEPERS | 1u << (1 - side)); /* the side has had no holder yet */
        person a = person_new(), b = person_new();
        deal d = deal_of(1), e = deal_of(1);
        if (side == IP_WRITES) reading(&d, &c), writing(&e, &c, 1, 10);
        else writing(&d, &c, 1, 10), reading(&e, &c);
        CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
        OK(ip_channel_open_for(c.object, c.channel, 1 - side));
        take_ends(&c, 1u << side);
        CHECK_EQ(phase_of_person(&a), IP_PARTY_WAITING);
        OK(try_deal(&e, &b, 0, true));
        OK(settle_deal(&d, &a));
        IS_MESSAGE(side == IP_WRITES ? d.got : e.got, 1, 10);
        clear_deal(&d);
        if (side == IP_WRITES) reading(&d, &c);
        else writing(&d, &c, 2, 3000);
        CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
        drop_ends(&c, 1u << side);
        CHECK(look_at(&c).retired[side] && !look_at(&c).retired[1 - side]);
        CHECK_EQ(phase_of_person(&a), IP_PARTY_POKED);
        CHECK_EQ(settle_deal(&d, &a), IP_AGAIN);
        CHECK_EQ(try_deal(&d, &a, 0, true), IP_RETIRED);
        CHECK_EQ(ip_channel_open_for(c.object, c.channel, 1 - side), IP_RETIRED);
        CHECK_EQ(ip_object_hold(&arena, c.id, side, arena.self), IP_FREED); /* for good */
        end_deal(&d);
        end_deal(&e);
        dismiss(&a);
        dismiss(&b);
        drop_ends(&c, KEEPERS);
        drop_ends(&c, 1u << (1 - side));
    }
    end();
}

/* A message that carries a side keeps it from retiring, also in the inbox of who has not looked yet; then who received it has it. */
static void a_side_is_kept_by_what_carries_it(void) {
    begin();
    for (int settled = 0; settled < 2; settled++) {
        conduit c = plain(BOTH), sent = plain(ALL);
        person a = person_new(), b = person_new();
        ip_handle_ref ref = {sent.id, IP_WRITES};
        deal w = deal_of(1), r = deal_of(1);
        writing_with(&w, &c, 1, 10, &ref, 1);
        reading(&r, &c);
        CHECK_EQ(try_deal(&r, &a, 0, true), IP_AGAIN);
        OK(try_deal(&w, &b, 0, true));
        drop_ends(&sent, WRITERS); /* the writer's own */
        CHECK(!look_at(&sent).retired[IP_WRITES]);
        if (settled) {
            OK(settle_deal(&r, &a));
            CHECK_EQ(r.got.n_handles, 1);
            CHECK(!look_at(&sent).retired[IP_WRITES]);
            drop_ends(&sent, WRITERS);
        } else {
            dismiss(&a);
        }
        CHECK(look_at(&sent).retired[IP_WRITES]);
        drop_ends(&sent, READERS | KEEPERS);
        end_deal(&w);
        end_deal(&r);
        if (settled) dismiss(&a);
        dismiss(&b);
        drop_ends(&c, BOTH);
    }
    end();
}

/* Keepers keep a channel of which no side was ever taken, and one whose sides have both retired; they may be none for a while. */
static void a_channel_is_freed_with_its_last_holder(void) {
    begin();
    uint64_t used = heap_used(&arena);
    conduit c = plain(KEEPERS);
    drop_ends(&c, KEEPERS);
    CHECK_EQ(heap_used(&arena), used);
    c = plain(KEEPERS);
    take_ends(&c, BOTH);
    drop_ends(&c, KEEPERS);
    drop_ends(&c, READERS);
    take_ends(&c, KEEPERS);
    drop_ends(&c, WRITERS);
    CHECK(look_at(&c).retired[0] && look_at(&c).retired[1]);
    drop_ends(&c, KEEPERS);
    CHECK_EQ(heap_used(&arena), used);
    /* offers are out on a channel that goes */
    c = plain(BOTH);
    person a = person_new();
    deal d = deal_of(12);
    conduit others[11];
    reading(&d, &c);
    for (unsigned i = 0; i < 11; i++) {
        others[i] = plain(BOTH);
        writing(&d, &others[i], i, i < 2 ? 900 : 10);
    }
    CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
    drop_ends(&c, BOTH);
    ip_status status = settle_deal(&d, &a);
    CHECK(status == IP_BUSY || status == IP_AGAIN);
    if (status == IP_BUSY) CHECK_EQ(withdraw_deal(&d, &a), IP_AGAIN);
    clear_deal(&d);
    for (unsigned i = 0; i < 11; i++) writing(&d, &others[i], i, i < 2 ? 900 : 10);
    CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
    dismiss(&a); /* with its offers out */
    person b = person_new();
    for (unsigned i = 0; i < 11; i++) {
        deal r = deal_of(1);
        reading(&r, &others[i]);
        CHECK_EQ(try_deal(&r, &b, 0, false), IP_AGAIN);
        end_deal(&r);
        drop_ends(&others[i], BOTH);
    }
    end_deal(&d);
    dismiss(&b);
    end();
}

static void labels(void) {
    char text[IP_LABEL_MAX + 9];
    begin();
    for (unsigned length = 0; length < sizeof text; length += 8) {
        memset(text, 'x', length);
        text[length] = 0;
        conduit c = conduit_new(0, IP_BLOCKING, text, KEEPERS), b = conduit_new(3, IP_SLIDING, text, KEEPERS);
        if (length > IP_LABEL_MAX) text[IP_LABEL_MAX] = 0; /* it is cut */
        CHECK(strcmp(look_at(&c).label, text) == 0 && strcmp(look_at(&b).label, text) == 0);
        ip_channel_info info = look_at(&b);
        CHECK(info.capacity == 3 && info.policy == IP_SLIDING && info.passed == 0 && info.lost == 0 && info.buffered == 0);
        CHECK(!info.poisoned && !info.retired[0] && !info.retired[1]);
        drop_ends(&c, KEEPERS);
        drop_ends(&b, KEEPERS);
    }
    end();
}

static void what_is_too_much_is_refused(void) {
    begin();
    conduit c = plain(BOTH), others[3] = {plain(BOTH), plain(BOTH), plain(BOTH)};
    person a = person_new();
    static unsigned char bytes[4000];
    static ip_handle_ref refs[IP_PARCEL_HANDLES_MAX + 1];
    port inner = queue_new(&arena, 0, 0, NULL);
    ip_guard g = {.object = c.object, .id = c.id, .side = IP_WRITES};
    ip_choice choice;
    for (uint64_t size = 0; size < sizeof bytes; size++) {
        ip_outgoing m = {.data = bytes, .size = size};
        g.message = &m;
        bool fits = ip_parcel_size(&m) <= 8 * IP_PARCEL_WORDS;
        CHECK_EQ(ip_choice_try(&arena, a.party, a.id, &g, 1, 0, true, IP_PATIENT, deal_scratch, &choice), fits ? IP_AGAIN : IP_TOO_LONG);
        if (fits) CHECK_EQ(ip_choice_withdraw(&arena, a.party, &g, 1, IP_PATIENT, deal_scratch, &choice), IP_AGAIN);
        CHECK_EQ(phase_of_person(&a), IP_PARTY_IDLE);
        CHECK(fits || size > 700);
    }
    deal d = deal_of(3);
    for (unsigned i = 0; i < 3; i++) writing(&d, &others[i], i, 600); /* each fits: there is room for all */
    CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
    for (unsigned i = 0; i < 3; i++) {
        person b = person_new();
        message m;
        if (i) CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
        OK(receive_from(&b, &others[2 - i], &m));
        IS_MESSAGE(m, 2 - i, 600);
        OK(settle_deal(&d, &a));
        dismiss(&b);
    }
    end_deal(&d);
    for (unsigned n = IP_PARCEL_HANDLES_MAX; n <= IP_PARCEL_HANDLES_MAX + 1; n++) {
        for (unsigned i = 0; i < n; i++) refs[i] = (ip_handle_ref){inner.id, 0};
        ip_outgoing m = {.data = bytes, .size = 8, .handles = refs, .n_handles = n};
        g.message = &m;
        CHECK_EQ(ip_choice_try(&arena, a.party, a.id, &g, 1, 0, true, IP_PATIENT, deal_scratch, &choice),
                 n > IP_PARCEL_HANDLES_MAX ? IP_TOO_LONG : IP_AGAIN);
        if (n <= IP_PARCEL_HANDLES_MAX) CHECK_EQ(ip_choice_withdraw(&arena, a.party, &g, 1, IP_PATIENT, deal_scratch, &choice), IP_AGAIN);
    }
    CHECK_EQ(handles_in_transit(&inner), 0);
    OK(ip_object_release(&arena, inner.id, 0));
    dismiss(&a);
    drop_ends(&c, BOTH);
    for (unsigned i = 0; i < 3; i++) drop_ends(&others[i], BOTH);
    end();
}

/* A child keeps what its parent keeps, but takes no side of its own accord, and none of its parties; its death harms nothing then. */
static void a_child_inherits_no_sides(void) {
    begin();
    conduit c = plain(ALL);
    person a = person_new();
    pid_t pid = fork_member(&arena);
    if (pid == 0) kill(getpid(), SIGKILL);
    CHECK_EQ(child_end(pid), CHILD_KILLED);
    uint32_t buried;
    OK(ip_member_reap(&arena, &buried));
    CHECK_EQ(buried, 1);
    CHECK(!look_at(&c).poisoned);
    pid = fork_member(&arena);
    if (pid == 0) {
        take_ends(&c, WRITERS);
        kill(getpid(), SIGKILL);
    }
    deal d = deal_of(1);
    reading(&d, &c);
    CHECK_EQ(child_end(pid), CHILD_KILLED);
    CHECK_EQ(conclude(&d, &a, 0, UINT64_MAX), IP_POISONED); /* who waits buries it */
    CHECK(look_at(&c).poisoned);
    end_deal(&d);
    dismiss(&a);
    drop_ends(&c, ALL);
    end();
}

/* The parties of an event loop's tasks: their loop is told, or the caller, if the loop is its own process's. */
static void bells_ring_for_their_tasks(void) {
    begin();
    conduit c = plain(ALL);
    person loop = person_new(), tasks[2] = {person_new(), person_new()}, other = person_new();
    deal d[2] = {deal_of(1), deal_of(1)}, w = deal_of(1);
    bool slept = false;
    CHECK(!ip_party_wait_bell(loop.party, 0, ip_now_ns() + 1000, &slept));
    for (int i = 0; i < 2; i++) {
        ip_set(&tasks[i].party->bell, ip_party_name(loop.id));
        reading(&d[i], &c);
        CHECK_EQ(try_deal(&d[i], &tasks[i], 0, true), IP_AGAIN);
    }
    writing(&w, &c, 1, 10);
    OK(try_deal(&w, &other, 0, true));
    CHECK_EQ(w.choice.woken, tasks[0].id.index + 1); /* told to the caller alone */
    CHECK_EQ(word_of(&loop.party->rung), 0);
    OK(settle_deal(&d[0], &tasks[0]));
    IS_MESSAGE(d[0].got, 1, 10);
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        take_ends(&c, WRITERS);
        person mine = person_new();
        deal e = deal_of(1);
        writing(&e, &c, 2, 10);
        OK(try_deal(&e, &mine, 0, true));
        CHECK_EQ(e.choice.woken, 0);
        OK(ip_member_leave(&arena));
        _exit(0);
    }
    while (!ip_party_wait_bell(loop.party, 0, UINT64_MAX, &slept)) continue;
    CHECK_EQ(word_of(&loop.party->rung), 1);
    OK(settle_deal(&d[1], &tasks[1]));
    IS_MESSAGE(d[1].got, 2, 10);
    CHECK_EQ(child_end(pid), CHILD_DONE);
    CHECK_EQ(try_deal(&d[1], &tasks[1], 0, true), IP_AGAIN);
    OK(ip_party_poke(&arena, tasks[1].id));
    CHECK(ip_party_wait_bell(loop.party, 1, UINT64_MAX, &slept)); /* a poke rings, too */
    CHECK_EQ(settle_deal(&d[1], &tasks[1]), IP_AGAIN);
    OK(ip_party_poke(&arena, tasks[1].id)); /* who does not wait is left alone */
    CHECK_EQ(word_of(&loop.party->rung), 2);
    CHECK_EQ(try_deal(&d[1], &tasks[1], 0, true), IP_AGAIN);
    dismiss(&loop); /* a loop that has ended is not told */
    OK(ip_party_poke(&arena, tasks[1].id));
    CHECK_EQ(phase_of_person(&tasks[1]), IP_PARTY_POKED);
    for (int i = 0; i < 2; i++) {
        end_deal(&d[i]);
        dismiss(&tasks[i]);
    }
    end_deal(&w);
    dismiss(&other);
    drop_ends(&c, ALL);
    end();
}

static void texts_about_a_party(void) {
    static char text[IP_CARD_MAX + 1], got[IP_CARD_MAX];
    begin();
    person p = person_new();
    uint64_t size;
    static const unsigned sizes[] = {0, 1, 200, IP_NOTE_MAX, IP_CARD_MAX, 1000, 0, 7};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(text, 'a' + (int)i, sizeof text);
        CHECK_EQ(ip_party_set_note(p.party, text, sizes[i]), sizes[i] > IP_NOTE_MAX ? IP_TOO_LONG : IP_OK);
        OK(ip_party_read_note(p.party, got, sizeof got, &size));
        if (sizes[i] <= IP_NOTE_MAX) CHECK(size == sizes[i] && memcmp(got, text, size) == 0);
        OK(ip_party_set_card(&arena, p.party, text, sizes[i]));
        OK(ip_lock_take(&arena, &arena.header->lock, IP_PATIENT));
        ip_status status = ip_party_read_card(&arena, p.party, got, sizeof got, &size);
        ip_lock_release(&arena.header->lock);
        OK(status);
        CHECK(size == sizes[i] && memcmp(got, text, size) == 0);
        OK(ip_heap_check(&arena));
    }
    CHECK_EQ(ip_party_set_card(&arena, p.party, text, IP_CARD_MAX + 1), IP_TOO_LONG);
    static ip_stuck_party described;
    uint32_t index = 0;
    int phase;
    OK(ip_party_next(&arena, &index, &phase, &described));
    CHECK(phase == IP_PARTY_IDLE && described.id.index == p.id.index && described.pid == getpid());
    CHECK(described.card_size == 7 && memcmp(described.card, text, 7) == 0 && described.note_size == 7);
    CHECK_EQ(ip_party_next(&arena, &index, &phase, &described), IP_AGAIN);
    dismiss(&p);
    end();
}

static ip_member *member_of(uint32_t slot) { return (ip_member *)ip_at(&arena, arena.members) + slot; }

/* Whom one who waits has found alive just now, the others do not look at. */
static void who_waits_for_many_shares_the_looks(void) {
    enum { MANY = 12 };
    const uint64_t half = IP_SLICE_NS / 2;
    ip_member_info infos[MANY + 1];
    int life[2];
    pid_t pids[MANY];
    begin();
    conduit c = plain(KEEPERS | READERS);
    CHECK_EQ(pipe(life), 0);
    for (unsigned i = 0; i < MANY; i++) {
        pids[i] = fork_member(&arena);
        if (pids[i]) continue;
        char byte;
        close(life[1]);
        take_ends(&c, WRITERS);
        if (read(life[0], &byte, 1) != 0) _exit(1);
        OK(ip_member_leave(&arena));
        _exit(0);
    }
    close(life[0]);
    for (unsigned i = 0; i < MANY;) { /* each has taken its side */
        ip_object_info info;
        uint32_t index = c.id.index;
        OK(ip_object_next(&arena, &index, &info));
        i = info.holders[IP_WRITES];
        usleep(1000);
    }
    CHECK_EQ(ip_member_list(&arena, infos, MANY + 1), MANY + 1);
    uint64_t now = ip_now_ns();
    for (unsigned round = 0; round < 4; round++) {
        uint64_t looked = now + round / 2 * half;
        OK(ip_object_watch_holders(&arena, c.object, IP_WRITES, looked + round % 2 * (half - 1)));
        for (unsigned i = 0; i <= MANY; i++)
            if (infos[i].index != arena.self) CHECK_EQ(word_of(&member_of(infos[i].index)->seen), looked);
    }
    CHECK_EQ(kill(pids[3], SIGKILL), 0);
    CHECK_EQ(child_end(pids[3]), CHILD_KILLED);
    OK(ip_object_watch_holders(&arena, c.object, IP_WRITES, now + 2 * half - 1));
    CHECK(!look_at(&c).poisoned);
    OK(ip_object_watch_holders(&arena, c.object, IP_WRITES, now + 2 * half));
    CHECK(look_at(&c).poisoned);
    CHECK_EQ(ip_member_list(&arena, infos, MANY + 1), MANY);
    close(life[1]);
    for (unsigned i = 0; i < MANY; i++)
        if (i != 3) CHECK_EQ(child_end(pids[i]), CHILD_DONE);
    drop_ends(&c, KEEPERS | READERS);
    end();
}

int main(void) {
    alarm(110);
    RUN(poison_is_told_to_all);
    RUN(a_side_retires_with_its_last_holder);
    RUN(a_side_is_kept_by_what_carries_it);
    RUN(a_channel_is_freed_with_its_last_holder);
    RUN(labels);
    RUN(what_is_too_much_is_refused);
    RUN(a_child_inherits_no_sides);
    RUN(who_waits_for_many_shares_the_looks);
    RUN(bells_ring_for_their_tasks);
    RUN(texts_about_a_party);
    return 0;
}

/* test_channel.c: rendezvous and choices among channels: every message once, to one reader, in the order of the offers; and all memory
 * comes back. */
#include <pthread.h>

#include "channel_world.h"

static const uint64_t some_sizes[] = {0, 1, 7, 8, 10, 100, 695, 699, 700, 701, 5000, 300000};
#define SIZES (sizeof some_sizes / sizeof *some_sizes)

static conduit plain(unsigned hold) { return conduit_new(0, IP_BLOCKING, NULL, hold); }

/* `first` offers and `second` finds it; which of them writes? */
static void meet(const person *first, const person *second, const conduit *c, bool writer_first, uint64_t number, uint64_t size,
                 const ip_handle_ref *handles, unsigned n) {
    deal w = deal_of(1), r = deal_of(1);
    deal *a = writer_first ? &w : &r, *b = writer_first ? &r : &w;
    uint64_t passed = look_at(c).passed;
    writing_with(&w, c, number, size, handles, n);
    reading(&r, c);
    CHECK_EQ(try_deal(a, first, 0, false), IP_AGAIN); /* which leaves nothing */
    CHECK(phase_of_person(first) != IP_PARTY_WAITING);
    CHECK_EQ(try_deal(b, second, 0, false), IP_AGAIN);
    CHECK_EQ(try_deal(a, first, 0, true), IP_AGAIN);
    CHECK_EQ(phase_of_person(first), IP_PARTY_WAITING);
    CHECK_EQ(look_at(c).waiting[writer_first ? IP_WRITES : IP_READS], 1);
    CHECK(ip_channel_awaited(c->channel, writer_first ? IP_WRITES : IP_READS));
    CHECK_EQ(settle_deal(a, first), IP_BUSY);
    OK(try_deal(b, second, 0, true));
    CHECK_EQ(phase_of_person(first), IP_PARTY_DONE);
    CHECK(phase_of_person(second) != IP_PARTY_WAITING);
    CHECK_EQ(look_at(c).passed, passed + 1);
    OK(settle_deal(a, first));
    CHECK(phase_of_person(first) != IP_PARTY_WAITING);
    CHECK(!ip_channel_awaited(c->channel, IP_READS) && !ip_channel_awaited(c->channel, IP_WRITES));
    IS_MESSAGE(r.got, number, size);
    CHECK_EQ(r.got.n_handles, n);
    for (unsigned i = 0; i < n; i++)
        CHECK(r.got.handles[i].id.index == handles[i].id.index && r.got.handles[i].id.generation == handles[i].id.generation &&
              r.got.handles[i].end == handles[i].end);
    end_deal(&w);
    end_deal(&r);
}

static void a_rendezvous_in_either_order(void) {
    begin();
    conduit c = plain(BOTH);
    person a = person_new(), b = person_new();
    port inner = queue_new(&arena, 0, 0, NULL);
    ip_handle_ref refs[3] = {{inner.id, 0}, {inner.id, 0}, {inner.id, 0}};
    for (int order = 0; order < 2; order++) { /* the boxes of both become as large as they will be */
        meet(&a, &b, &c, order, 1, CHANNEL_BLOCK - 1, NULL, 0);
        meet(&b, &a, &c, order, 2, CHANNEL_BLOCK - 1, NULL, 0);
    }
    uint64_t used = heap_used(&arena);
    for (unsigned i = 0; i < SIZES; i++) {
        for (int order = 0; order < 2; order++) {
            meet(&a, &b, &c, order, 1000 + i, some_sizes[i], NULL, 0);
            meet(&b, &a, &c, order, 2000 + i, some_sizes[i], refs, some_sizes[i] < 600 || some_sizes[i] >= CHANNEL_BLOCK ? 3 : 0);
            CHECK_EQ(handles_in_transit(&inner), 0);
        }
    }
    CHECK_EQ(heap_used(&arena), used);
    dismiss(&a);
    dismiss(&b);
    drop_ends(&c, BOTH);
    OK(ip_object_release(&arena, inner.id, 0));
    end();
}

/* A party that goes away with something in its inbox lets go of what that refers to; and of nothing that it had before. */
static void an_inbox_goes_with_its_party(void) {
    for (int settled = 0; settled < 3; settled++) {
        begin();
        conduit c = plain(BOTH);
        person a = person_new(), b = person_new();
        port inner = queue_new(&arena, 0, 0, NULL);
        ip_handle_ref refs[2] = {{inner.id, 0}, {inner.id, 0}};
        deal w = deal_of(1), r = deal_of(1);
        writing_with(&w, &c, 1, 10, refs, 2);
        reading(&r, &c);
        CHECK_EQ(try_deal(&r, &a, 0, true), IP_AGAIN);
        OK(try_deal(&w, &b, 0, true));
        CHECK_EQ(handles_in_transit(&inner), 2);
        if (settled) OK(settle_deal(&r, &a));
        CHECK_EQ(handles_in_transit(&inner), settled ? 0 : 2);
        if (settled == 2) { /* then it writes, and goes when that is done */
            clear_deal(&w);
            clear_deal(&r);
            writing(&w, &c, 2, 10);
            reading(&r, &c);
            CHECK_EQ(try_deal(&w, &a, 0, true), IP_AGAIN);
            OK(try_deal(&r, &b, 0, true));
        }
        dismiss(&a);
        CHECK_EQ(handles_in_transit(&inner), 0);
        dismiss(&b);
        end_deal(&w);
        end_deal(&r);
        drop_ends(&c, BOTH);
        OK(ip_object_release(&arena, inner.id, 0));
        end();
    }
}

static void offers_are_served_in_order(void) {
    enum { N = 400 };
    static person people[N];
    static deal deals[N];
    for (int side = 0; side < 2; side++) {
        begin();
        conduit c = plain(BOTH);
        person me = person_new();
        for (unsigned i = 0; i < N; i++) {
            people[i] = person_new();
            deals[i] = deal_of(1);
            if (side == IP_WRITES) writing(&deals[i], &c, 100 + i, i % 7 == 3 ? 900 : 20);
            else reading(&deals[i], &c);
        }
        uint64_t used = heap_used(&arena);
        for (int round = 0; round < 3; round++) { /* in the last, every third goes away again */
            unsigned asking = 0;
            for (unsigned i = 0; i < N; i++) CHECK_EQ(try_deal(&deals[i], &people[i], 0, true), IP_AGAIN);
            CHECK_EQ(look_at(&c).waiting[side], N);
            for (unsigned i = 0; i < N && round == 2; i += 3) CHECK_EQ(withdraw_deal(&deals[i], &people[i]), IP_AGAIN);
            if (round == 1) {
                for (unsigned i = 0; i < N; i++) CHECK_EQ(withdraw_deal(&deals[i * 7 % N], &people[i * 7 % N]), IP_AGAIN);
                deal d = deal_of(1); /* what they have left in the queue is nobody's */
                if (side == IP_WRITES) reading(&d, &c);
                else writing(&d, &c, 1, 20);
                CHECK_EQ(try_deal(&d, &me, 0, false), IP_AGAIN);
                CHECK(!ip_channel_awaited(c.channel, (unsigned)side));
                end_deal(&d);
                continue;
            }
            for (unsigned i = 0; i < N; i++) {
                if (round == 2 && i % 3 == 0) continue;
                deal d = deal_of(1);
                if (side == IP_WRITES) reading(&d, &c);
                else writing(&d, &c, 100 + i, i % 7 == 3 ? 900 : 20);
                OK(try_deal(&d, &me, 0, true));
                OK(settle_deal(&deals[i], &people[i])); /* the oldest */
                IS_MESSAGE(side == IP_WRITES ? d.got : deals[i].got, 100 + i, i % 7 == 3 ? 900 : 20);
                end_deal(&d);
                asking++;
                if (side != IP_WRITES) continue;
                clear_deal(&deals[i]);
                writing(&deals[i], &c, 100 + i, i % 7 == 3 ? 900 : 20);
            }
            CHECK(round == 2 || !ip_channel_awaited(c.channel, (unsigned)side)); /* those that went away are not taken out */
            CHECK_EQ(asking, round == 2 ? N - (N + 2) / 3 : N);
        }
        CHECK(heap_used(&arena) <= used + 40 * N); /* no more than a queue that has grown */
        for (unsigned i = 0; i < N; i++) {
            end_deal(&deals[i]);
            dismiss(&people[i]);
        }
        dismiss(&me);
        drop_ends(&c, BOTH);
        end();
    }
}

/* One who comes and goes again and again, beside one who stays, does not make the queue grow. */
static void stale_offers_are_tidied(void) {
    begin();
    conduit c = plain(BOTH), other = plain(BOTH);
    person stays = person_new(), comes = person_new(), me = person_new();
    deal s = deal_of(1), d = deal_of(2), w = deal_of(1);
    reading(&s, &c);
    CHECK_EQ(try_deal(&s, &stays, 0, true), IP_AGAIN);
    reading(&d, &c);
    reading(&d, &other);
    uint64_t used = heap_used(&arena);
    for (unsigned i = 0; i < 5000; i++) {
        CHECK_EQ(try_deal(&d, &comes, i, true), IP_AGAIN);
        if (i % 3 == 0) {
            CHECK_EQ(withdraw_deal(&d, &comes), IP_AGAIN);
        } else if (i % 3 == 1) {
            OK(ip_party_poke(&arena, comes.id));
            CHECK_EQ(settle_deal(&d, &comes), IP_AGAIN);
        } else { /* the offer to c goes stale */
            writing(&w, &other, i, 10);
            OK(try_deal(&w, &me, 0, true));
            OK(settle_deal(&d, &comes));
            CHECK_EQ(d.choice.guard, 1);
            clear_deal(&w);
        }
        CHECK(heap_used(&arena) <= used + 1024);
    }
    CHECK(look_at(&c).waiting[IP_READS] >= 1);
    writing(&w, &c, 9, 10);
    OK(try_deal(&w, &me, 0, true));
    OK(settle_deal(&s, &stays));
    IS_MESSAGE(s.got, 9, 10);
    clear_deal(&w);
    writing(&w, &c, 9, 10);
    CHECK_EQ(try_deal(&w, &me, 0, false), IP_AGAIN); /* nobody else waits */
    end_deal(&s);
    end_deal(&d);
    end_deal(&w);
    dismiss(&stays);
    dismiss(&comes);
    dismiss(&me);
    drop_ends(&c, BOTH);
    drop_ends(&other, BOTH);
    end();
}

/* An offer that was left in a queue is not taken for one that the same party makes later, elsewhere. */
static void stale_offers_are_not_answered(void) {
    begin();
    conduit a = plain(BOTH), b = plain(BOTH);
    person p = person_new(), q = person_new();
    deal d = deal_of(2), one = deal_of(1), w = deal_of(1);
    reading(&d, &a);
    reading(&d, &b);
    CHECK_EQ(try_deal(&d, &p, 0, true), IP_AGAIN);
    writing(&w, &b, 1, 10);
    OK(try_deal(&w, &q, 0, true)); /* by b; the offer to a is stale */
    OK(settle_deal(&d, &p));
    clear_deal(&w);
    reading(&one, &b); /* as guard 0, which was a's */
    CHECK_EQ(try_deal(&one, &p, 0, true), IP_AGAIN);
    writing(&w, &a, 2, 10);
    CHECK_EQ(try_deal(&w, &q, 0, true), IP_AGAIN);
    CHECK_EQ(withdraw_deal(&w, &q), IP_AGAIN);
    clear_deal(&w);
    CHECK_EQ(withdraw_deal(&one, &p), IP_AGAIN);
    clear_deal(&one);
    writing(&one, &a, 3, 10); /* the other side of a */
    CHECK_EQ(try_deal(&one, &p, 0, true), IP_AGAIN);
    writing(&w, &a, 4, 10);
    CHECK_EQ(try_deal(&w, &q, 0, false), IP_AGAIN);
    CHECK_EQ(withdraw_deal(&one, &p), IP_AGAIN);
    clear_deal(&one);
    reading(&one, &a); /* and if it is the same again it is answered once */
    CHECK_EQ(try_deal(&one, &p, 0, true), IP_AGAIN);
    OK(try_deal(&w, &q, 0, true));
    OK(settle_deal(&one, &p));
    IS_MESSAGE(one.got, 4, 10);
    clear_deal(&w);
    writing(&w, &a, 5, 10);
    CHECK_EQ(try_deal(&w, &q, 0, false), IP_AGAIN);
    dismiss(&p); /* a new party, perhaps in the same place, has none of the old one's offers */
    person p2 = person_new();
    CHECK_EQ(try_deal(&one, &p2, 0, true), IP_AGAIN);
    dismiss(&p2);
    person p3 = person_new();
    CHECK_EQ(p3.id.index, p2.id.index);
    clear_deal(&one);
    reading(&one, &b);
    CHECK_EQ(try_deal(&one, &p3, 0, true), IP_AGAIN);
    CHECK_EQ(try_deal(&w, &q, 0, false), IP_AGAIN);
    CHECK_EQ(withdraw_deal(&one, &p3), IP_AGAIN);
    end_deal(&d);
    end_deal(&one);
    end_deal(&w);
    dismiss(&p3);
    dismiss(&q);
    drop_ends(&a, BOTH);
    drop_ends(&b, BOTH);
    end();
}

static void a_choice_of_any_size(void) {
    static const unsigned counts[] = {1, 2, 7, 8, 9, 16, 17, 64, 300};
    enum { N = 300 };
    static conduit channels[N];
    begin();
    person a = person_new(), b = person_new();
    for (unsigned i = 0; i < N; i++) channels[i] = plain(BOTH);
    deal d = deal_of(N), one = deal_of(1);
    uint64_t random = 1;
    for (unsigned k = 0; k < sizeof counts / sizeof *counts; k++) {
        unsigned n = counts[k];
        for (unsigned round = 0; round < 12; round++) {
            unsigned chosen = round < 4 ? round / 2 * (n - 1) : (unsigned)(next_random(&random) % n);
            bool it_reads = chosen % 3 == 1;
            for (unsigned i = 0; i < n; i++) {
                if (i % 3 == 1) writing(&d, &channels[i], i, i % 5 ? 20 + i : 800);
                else reading(&d, &channels[i]);
            }
            if (it_reads) reading(&one, &channels[chosen]);
            else writing(&one, &channels[chosen], chosen, 30);
            bool it_waits = round % 2; /* else the many do */
            CHECK_EQ(try_deal(it_waits ? &one : &d, it_waits ? &b : &a, round, true), IP_AGAIN);
            for (unsigned i = 0; i < n && !it_waits; i++) CHECK(ip_channel_awaited(channels[i].channel, i % 3 == 1 ? IP_WRITES : IP_READS));
            OK(try_deal(it_waits ? &d : &one, it_waits ? &a : &b, round, true));
            OK(settle_deal(it_waits ? &one : &d, it_waits ? &b : &a));
            CHECK_EQ(d.choice.guard, chosen);
            IS_MESSAGE(it_reads ? one.got : d.got, chosen, it_reads ? (chosen % 5 ? 20 + chosen : 800) : 30);
            clear_deal(&d);
            clear_deal(&one);
        }
    }
    end_deal(&d);
    end_deal(&one);
    dismiss(&a);
    dismiss(&b);
    for (unsigned i = 0; i < N; i++) drop_ends(&channels[i], BOTH);
    end();
}

/* The search begins with `first`: that makes choices fair, or ranked. */
static void the_search_begins_where_it_is_told(void) {
    enum { N = 5 };
    conduit channels[N];
    person people[N];
    deal w[N];
    begin();
    person me = person_new();
    deal d = deal_of(N);
    for (unsigned i = 0; i < N; i++) {
        channels[i] = plain(BOTH);
        people[i] = person_new();
        w[i] = deal_of(1);
        reading(&d, &channels[i]);
    }
    for (unsigned first = 0; first < 3 * N; first++) {
        for (unsigned i = 0; i < N; i++) {
            writing(&w[i], &channels[i], i, 10);
            CHECK_EQ(try_deal(&w[i], &people[i], 0, true), IP_AGAIN);
        }
        for (unsigned k = 0; k < N; k++) {
            OK(try_deal(&d, &me, first, true));
            CHECK_EQ(d.choice.guard, (first + k) % N);
        }
        CHECK_EQ(try_deal(&d, &me, first, false), IP_AGAIN);
        for (unsigned i = 0; i < N; i++) {
            OK(settle_deal(&w[i], &people[i]));
            clear_deal(&w[i]);
        }
    }
    end_deal(&d);
    for (unsigned i = 0; i < N; i++) {
        end_deal(&w[i]);
        dismiss(&people[i]);
        drop_ends(&channels[i], BOTH);
    }
    dismiss(&me);
    end();
}

static void a_party_never_meets_itself(void) {
    begin();
    conduit c = plain(BOTH);
    person a = person_new(), b = person_new();
    deal d = deal_of(2), e = deal_of(2);
    reading(&d, &c);
    writing(&d, &c, 1, 10);
    writing(&e, &c, 2, 10);
    reading(&e, &c);
    CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
    CHECK_EQ(look_at(&c).waiting[0] + look_at(&c).waiting[1], 2);
    OK(try_deal(&e, &b, 0, true)); /* two of the same kind do, in one of two ways */
    OK(settle_deal(&d, &a));
    CHECK(d.choice.guard == e.choice.guard); /* one reads, the other writes */
    IS_MESSAGE(d.choice.guard == 0 ? d.got : e.got, d.choice.guard == 0 ? 2 : 1, 10);
    CHECK_EQ(look_at(&c).passed, 1);
    CHECK_EQ(try_deal(&e, &b, 0, false), IP_AGAIN); /* the other of its two offers is no more */
    CHECK_EQ(try_deal(&d, &a, 0, false), IP_AGAIN);
    end_deal(&d);
    end_deal(&e);
    dismiss(&a);
    dismiss(&b);
    drop_ends(&c, BOTH);
    end();
}

static void withdrawing_may_be_too_late(void) {
    begin();
    conduit c = plain(BOTH);
    person a = person_new(), b = person_new();
    deal w = deal_of(1), r = deal_of(1);
    uint64_t used = heap_used(&arena);
    for (int late = 0; late < 2; late++) {
        for (int order = 0; order < 2; order++) {
            deal *first = order ? &w : &r, *second = order ? &r : &w;
            writing(&w, &c, 5, 3000);
            reading(&r, &c);
            CHECK_EQ(try_deal(first, &a, 0, true), IP_AGAIN);
            if (late) OK(try_deal(second, &b, 0, true));
            CHECK_EQ(withdraw_deal(first, &a), late ? IP_OK : IP_AGAIN);
            CHECK(phase_of_person(&a) != IP_PARTY_WAITING);
            if (late) IS_MESSAGE(r.got, 5, 3000);
            else CHECK_EQ(try_deal(second, &b, 0, false), IP_AGAIN);
            clear_deal(&w);
            clear_deal(&r);
            CHECK_EQ(heap_used(&arena), used);
        }
    }
    end_deal(&w);
    end_deal(&r);
    dismiss(&a);
    dismiss(&b);
    drop_ends(&c, BOTH);
    end();
}

/* ---- more than one thread or process ---- */

static conduit ping, pong;
enum { TURNS = 3000 };

static void *answer(void *context) {
    const person *p = context;
    message m;
    ip_status status;
    while ((status = receive_from(p, &ping, &m)) == IP_OK) {
        CHECK(m.whole);
        OK(send_to(p, &pong, m.number + 1, m.number % 50 == 0 ? 2000 : 20));
    }
    CHECK_EQ(status, IP_RETIRED);
    return NULL;
}

static void ask(const person *p) {
    for (uint64_t i = 0; i < TURNS; i++) {
        message m;
        OK(send_to(p, &ping, i, i % 31 == 0 ? 3000 : 16));
        OK(receive_from(p, &pong, &m));
        IS_MESSAGE(m, i + 1, i % 50 == 0 ? 2000 : 20);
    }
}

static void threads_wait_for_each_other(void) {
    begin();
    pthread_t thread;
    person a = person_new(), b = person_new();
    ping = plain(BOTH);
    pong = plain(BOTH);
    CHECK_EQ(pthread_create(&thread, NULL, answer, &b), 0);
    ask(&a);
    drop_ends(&ping, WRITERS);
    pthread_join(thread, NULL);
    dismiss(&a);
    dismiss(&b);
    drop_ends(&ping, READERS);
    drop_ends(&pong, BOTH);
    end();
}

static void processes_wait_for_each_other(void) {
    begin();
    bool held;
    person a = person_new();
    ping = plain(KEEPERS);
    pong = plain(KEEPERS);
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        alarm(60);
        take_ends(&ping, READERS);
        take_ends(&pong, WRITERS);
        person b = person_new();
        answer(&b);
        OK(ip_member_leave(&arena)); /* retires: nothing is poisoned */
        _exit(0);
    }
    take_ends(&ping, WRITERS);
    take_ends(&pong, READERS);
    ask(&a);
    drop_ends(&ping, WRITERS);
    CHECK_EQ(child_end(pid), CHILD_DONE);
    OK(ip_object_check_holders(&arena, pong.object, IP_WRITES, &held));
    CHECK(!held && look_at(&pong).retired[IP_WRITES] && !look_at(&pong).poisoned);
    drop_ends(&pong, READERS | KEEPERS);
    drop_ends(&ping, KEEPERS);
    dismiss(&a);
    end();
}

/* Its ends were let go of in another thread meanwhile, and another channel lies where it lay: that one is left alone. */
static void a_channel_that_is_gone(void) {
    for (uint64_t capacity = 0; capacity < 2; capacity++) {
        begin();
        person a = person_new(), b = person_new();
        deal d = deal_of(2), e = deal_of(1);
        conduit c = conduit_new(capacity, 0, NULL, BOTH);
        reading(&d, &c);
        drop_ends(&c, BOTH);
        conduit other = conduit_new(capacity, 0, NULL, BOTH);
        CHECK_EQ(other.object, c.object);
        reading(&e, &other);
        CHECK_EQ(try_deal(&e, &b, 0, true), IP_AGAIN);
        OK(ip_channel_poke_one(&arena, c.id, IP_READS));
        CHECK_EQ(settle_deal(&e, &b), IP_BUSY);
        for (unsigned offer = 0; offer < 2; offer++) {
            ip_choice choice;
            ip_guard guard = {.object = c.object, .id = c.id, .side = IP_WRITES};
            CHECK_EQ(ip_choice_try(&arena, a.party, a.id, &guard, 1, 0, offer, IP_PATIENT, deal_scratch, &choice), IP_FREED);
        }
        OK(ip_channel_poke_one(&arena, other.id, IP_READS));
        CHECK_EQ(settle_deal(&e, &b), IP_AGAIN);
        drop_ends(&other, BOTH);
        end_deal(&d);
        end_deal(&e);
        dismiss(&a);
        dismiss(&b);
        end();
    }
}

/* A channel in the place of one that a guard has named is another, however many there were in between. */
static void a_place_is_used_again_and_again(void) {
    begin();
    person a = person_new(), b = person_new();
    for (unsigned bits = 0; bits < 32; bits += 4) {
        deal d = deal_of(1), e = deal_of(1);
        conduit c = conduit_new(0, 0, NULL, BOTH);
        reading(&d, &c);
        CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
        CHECK_EQ(withdraw_deal(&d, &a), IP_AGAIN);
        drop_ends(&c, BOTH);
        clear_deal(&d);
        ip_word *state = &((ip_entry *)ip_at(&arena, arena.directory))[c.id.index].state;
        ip_set(state, word_of(state) + (((UINT64_C(1) << bits) - 1) << 8)); /* kind | generation: as if others had been there */
        conduit later = conduit_new(0, 0, NULL, BOTH);
        CHECK_EQ(later.id.index, c.id.index);
        CHECK_EQ(later.id.generation, c.id.generation + (1u << bits));
        reading(&d, &later);
        CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
        writing(&e, &later, bits, 20);
        OK(try_deal(&e, &b, 0, false));
        OK(settle_deal(&d, &a));
        IS_MESSAGE(d.got, bits, 20);
        drop_ends(&later, BOTH);
        end_deal(&d);
        end_deal(&e);
    }
    dismiss(&a);
    dismiss(&b);
    end();
}

int main(void) {
    alarm(110);
    RUN(a_rendezvous_in_either_order);
    RUN(an_inbox_goes_with_its_party);
    RUN(offers_are_served_in_order);
    RUN(stale_offers_are_tidied);
    RUN(stale_offers_are_not_answered);
    RUN(a_choice_of_any_size);
    RUN(the_search_begins_where_it_is_told);
    RUN(a_party_never_meets_itself);
    RUN(a_channel_that_is_gone);
    RUN(a_place_is_used_again_and_again);
    RUN(withdrawing_may_be_too_late);
    RUN(threads_wait_for_each_other);
    RUN(processes_wait_for_each_other);
    return 0;
}

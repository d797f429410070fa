/* test_channel_buffer.c: channels with a buffer: order, bounds, who waits is poked and tries again, how they end; beside rendezvous in
 * one choice. */
#include <pthread.h>

#include "channel_world.h"

static void a_buffer_takes_as_many_as_it_holds(void) {
    static const uint64_t capacities[] = {1, 3, 40, IP_UNBOUNDED};
    for (unsigned k = 0; k < 4; k++) {
        begin();
        uint64_t capacity = capacities[k], n = capacity == IP_UNBOUNDED ? 500 : capacity;
        conduit c = conduit_new(capacity, IP_BLOCKING, "buffered", BOTH);
        person a = person_new(), b = person_new();
        port inner = queue_new(&arena, 0, 0, NULL);
        ip_handle_ref ref = {inner.id, 0};
        deal w = deal_of(1), r = deal_of(1);
        message m;
        reading(&r, &c);
        for (int round = 0; round < 3; round++) {
            CHECK(!ip_channel_ready(c.object, c.channel, IP_READS) && ip_channel_ready(c.object, c.channel, IP_WRITES));
            CHECK_EQ(try_deal(&r, &b, 0, false), IP_AGAIN);
            for (uint64_t i = 0; i < n; i++) {
                writing_with(&w, &c, i, i % 5 == 2 ? 9000 : 15, &ref, i % 4 == 0);
                OK(try_deal(&w, &a, 0, true));
                clear_deal(&w);
            }
            CHECK_EQ(look_at(&c).buffered, n);
            CHECK(ip_channel_ready(c.object, c.channel, IP_READS));
            if (capacity != IP_UNBOUNDED) {
                CHECK(!ip_channel_ready(c.object, c.channel, IP_WRITES));
                writing(&w, &c, n, 15);
                CHECK_EQ(try_deal(&w, &a, 0, true), IP_AGAIN);
                OK(receive_from(&b, &c, &m)); /* pokes it */
                IS_MESSAGE(m, 0, 15);
                CHECK_EQ(phase_of_person(&a), IP_PARTY_POKED);
                CHECK_EQ(settle_deal(&w, &a), IP_AGAIN);
                OK(try_deal(&w, &a, 0, true));
                clear_deal(&w);
            } else {
                OK(receive_from(&b, &c, &m));
            }
            for (uint64_t i = 1; i < n; i++) {
                OK(receive_from(&b, &c, &m));
                IS_MESSAGE(m, i, i % 5 == 2 ? 9000 : 15);
                CHECK_EQ(m.n_handles, i % 4 == 0);
            }
            if (capacity != IP_UNBOUNDED) OK(receive_from(&b, &c, &m));
            CHECK_EQ(look_at(&c).buffered, 0);
            CHECK_EQ(handles_in_transit(&inner), 0);
        }
        CHECK_EQ(look_at(&c).passed, 3 * (n + (capacity != IP_UNBOUNDED)));
        for (uint64_t i = 0; i < n; i++) OK(send_with(&a, &c, i, 800, &ref, 1)); /* freed with it */
        end_deal(&w);
        end_deal(&r);
        dismiss(&a);
        dismiss(&b);
        drop_ends(&c, BOTH);
        CHECK_EQ(handles_in_transit(&inner), 0);
        OK(ip_object_release(&arena, inner.id, 0));
        end();
    }
}

static void each_message_pokes_one_who_waits(void) {
    enum { N = 30 };
    person people[N];
    deal d[N];
    begin();
    conduit c = conduit_new(100, IP_BLOCKING, NULL, BOTH);
    person me = person_new();
    for (unsigned i = 0; i < N; i++) {
        people[i] = person_new();
        d[i] = deal_of(1);
        reading(&d[i], &c);
        CHECK_EQ(try_deal(&d[i], &people[i], 0, true), IP_AGAIN);
    }
    for (unsigned i = 0; i < N; i += 2) OK(ip_party_poke(&arena, people[i].id)); /* these do not wait any more */
    for (unsigned i = 0; i < N / 2; i++) {
        OK(send_to(&me, &c, i, 10));
        for (unsigned k = 0; k < N / 2; k++) CHECK_EQ(phase_of_person(&people[2 * k + 1]), k <= i ? IP_PARTY_POKED : IP_PARTY_WAITING);
    }
    OK(send_to(&me, &c, N, 10)); /* pokes nobody */
    for (unsigned i = 0; i < N; i++) {
        CHECK_EQ(settle_deal(&d[i], &people[i]), IP_AGAIN);
        if (i % 2 == 0) continue;
        OK(try_deal(&d[i], &people[i], 0, true));
        IS_MESSAGE(d[i].got, i / 2, 10);
    }
    for (unsigned i = 0; i < N; i++) {
        end_deal(&d[i]);
        dismiss(&people[i]);
    }
    dismiss(&me);
    drop_ends(&c, BOTH);
    end();
}

static void a_buffer_is_read_before_it_ends(void) {
    begin();
    conduit c = conduit_new(5, IP_BLOCKING, NULL, ALL);
    person a = person_new(), b = person_new();
    deal d = deal_of(1);
    message m;
    for (uint64_t i = 0; i < 3; i++) OK(send_to(&a, &c, i, 10));
    drop_ends(&c, WRITERS);
    for (uint64_t i = 0; i < 3; i++) {
        OK(ip_channel_open_for(c.object, c.channel, IP_READS));
        OK(receive_from(&b, &c, &m));
        IS_MESSAGE(m, i, 10);
    }
    CHECK(ip_channel_ready(c.object, c.channel, IP_READS)); /* for what it is told */
    CHECK_EQ(receive_from(&b, &c, &m), IP_RETIRED);
    drop_ends(&c, READERS | KEEPERS);

    c = conduit_new(5, IP_BLOCKING, NULL, ALL); /* a waiter is told of a retirement */
    reading(&d, &c);
    CHECK_EQ(try_deal(&d, &b, 0, true), IP_AGAIN);
    drop_ends(&c, WRITERS);
    CHECK_EQ(settle_deal(&d, &b), IP_AGAIN);
    CHECK_EQ(try_deal(&d, &b, 0, true), IP_RETIRED);
    clear_deal(&d);
    drop_ends(&c, READERS | KEEPERS);

    c = conduit_new(2, IP_BLOCKING, NULL, ALL); /* readers go: writers are told at once */
    for (uint64_t i = 0; i < 2; i++) OK(send_to(&a, &c, i, 1000));
    writing(&d, &c, 2, 1000);
    CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
    drop_ends(&c, READERS);
    CHECK_EQ(settle_deal(&d, &a), IP_AGAIN);
    CHECK_EQ(try_deal(&d, &a, 0, true), IP_RETIRED);
    clear_deal(&d);
    drop_ends(&c, WRITERS | KEEPERS);

    c = conduit_new(2, IP_BLOCKING, NULL, ALL); /* poison does not wait for anything */
    for (uint64_t i = 0; i < 2; i++) OK(send_to(&a, &c, i, 1000));
    writing(&d, &c, 2, 1000);
    CHECK_EQ(try_deal(&d, &a, 0, true), IP_AGAIN);
    OK(ip_channel_poison(&arena, c.object));
    CHECK_EQ(settle_deal(&d, &a), IP_AGAIN);
    CHECK_EQ(try_deal(&d, &a, 0, true), IP_POISONED);
    CHECK_EQ(receive_from(&b, &c, &m), IP_POISONED);
    end_deal(&d);
    drop_ends(&c, ALL);
    dismiss(&a);
    dismiss(&b);
    end();
}

static void lost_messages_are_counted(void) {
    begin();
    conduit c = conduit_new(5, IP_SLIDING, NULL, ALL);
    for (unsigned i = 0; i < 7; i++) ip_channel_note_lost(c.channel);
    CHECK_EQ(look_at(&c).lost, 7);
    person a = person_new();
    for (uint64_t i = 0; i < 5; i++) OK(send_to(&a, &c, i, 10));
    CHECK(ip_channel_ready(c.object, c.channel, IP_WRITES)); /* makes room itself */
    dismiss(&a);
    drop_ends(&c, ALL);
    end();
}

static void buffers_and_rendezvous_in_one_choice(void) {
    begin();
    conduit full = conduit_new(1, IP_BLOCKING, NULL, BOTH), empty = conduit_new(1, IP_BLOCKING, NULL, BOTH), c = conduit_new(0, 0, NULL, BOTH);
    person a = person_new(), b = person_new();
    deal d = deal_of(4), w = deal_of(1);
    message m;
    OK(send_to(&b, &full, 7, 10));
    for (int which = 0; which < 3; which++) {
        writing(&d, &full, 8, 2000);
        reading(&d, &empty);
        reading(&d, &c);
        CHECK_EQ(try_deal(&d, &a, (unsigned)which, true), IP_AGAIN);
        if (which == 0) OK(receive_from(&b, &full, &m));
        if (which == 1) OK(send_to(&b, &empty, 9, 10));
        if (which == 2) {
            writing(&w, &c, 10, 10);
            OK(try_deal(&w, &b, 0, true));
            clear_deal(&w);
        }
        ip_status status = settle_deal(&d, &a);
        CHECK_EQ(status, which == 2 ? IP_OK : IP_AGAIN);
        if (status == IP_AGAIN) OK(try_deal(&d, &a, (unsigned)which + 1, true));
        CHECK_EQ(d.choice.guard, which);
        if (which) IS_MESSAGE(d.got, 8 + which, 10);
        CHECK(!ip_channel_awaited(full.channel, IP_WRITES) || look_at(&full).waiting[IP_WRITES] <= 1);
        clear_deal(&d);
    }
    OK(receive_from(&b, &full, &m));
    IS_MESSAGE(m, 8, 2000);
    end_deal(&d);
    end_deal(&w);
    dismiss(&a);
    dismiss(&b);
    drop_ends(&full, BOTH);
    drop_ends(&empty, BOTH);
    drop_ends(&c, BOTH);
    end();
}

static conduit stream;
static _Atomic uint64_t total;
enum { SENDERS = 3, EACH = 2000 };

static void *send_many(void *context) {
    const person *p = context;
    for (uint64_t i = 0; i < EACH; i++) OK(send_to(p, &stream, i, i % 97 == 0 ? 800 : 12));
    return NULL;
}

static void *receive_many(void *context) {
    const person *p = context;
    message m;
    ip_status status;
    while ((status = receive_from(p, &stream, &m)) == IP_OK) {
        CHECK(m.whole);
        atomic_fetch_add(&total, m.number + 1);
    }
    CHECK_EQ(status, IP_RETIRED);
    return NULL;
}

static void many_threads_share_a_buffer(void) {
    static const uint64_t capacities[] = {1, 8};
    for (unsigned k = 0; k < 2; k++) {
        pthread_t threads[2 * SENDERS];
        person people[2 * SENDERS];
        begin();
        total = 0;
        stream = conduit_new(capacities[k], IP_BLOCKING, NULL, ALL);
        for (unsigned i = 0; i < 2 * SENDERS; i++) {
            people[i] = person_new();
            CHECK_EQ(pthread_create(&threads[i], NULL, i % 2 ? send_many : receive_many, &people[i]), 0);
        }
        for (unsigned i = 1; i < 2 * SENDERS; i += 2) pthread_join(threads[i], NULL);
        drop_ends(&stream, WRITERS);
        for (unsigned i = 0; i < 2 * SENDERS; i += 2) pthread_join(threads[i], NULL);
        CHECK_EQ(total, (uint64_t)SENDERS * EACH * (EACH + 1) / 2);
        for (unsigned i = 0; i < 2 * SENDERS; i++) dismiss(&people[i]);
        drop_ends(&stream, READERS | KEEPERS);
        end();
    }
}

int main(void) {
    alarm(110);
    RUN(a_buffer_takes_as_many_as_it_holds);
    RUN(each_message_pokes_one_who_waits);
    RUN(a_buffer_is_read_before_it_ends);
    RUN(lost_messages_are_counted);
    RUN(buffers_and_rendezvous_in_one_choice);
    RUN(many_threads_share_a_buffer);
    return 0;
}

/* test_stuck.c: deadlock: exactly those are found whose waits can never end; they are told, unless it is not so any more.
 *
 * Other processes are played by reserved places: they hold ends, and parties are said to be theirs. This process has no party of its
 * own unless a case says so: it counts as one that runs, but keeps channels only.
 */
#include "channel_world.h"

enum { MOST = 16 };
static ip_stuck_party found[MOST];

typedef struct {
    uint32_t slot;
    int fd;
    uint64_t owner; /* as parties name it */
} process;

static process process_new(void) {
    process p;
    OK(ip_member_reserve(&arena, &p.fd, &p.slot));
    uint64_t state = word_of(&((ip_member *)ip_at(&arena, arena.members))[p.slot].state);
    p.owner = (uint64_t)(p.slot + 1) | (state >> 8 & 0xFFFF) << 12;
    return p;
}

static void process_end(process *p) {
    close(p->fd);
    OK(ip_member_cancel(&arena, p->slot));
}

static person party_of(const process *p) {
    person x = person_new();
    ip_set(&x.party->member, p->owner);
    return x;
}

static void has(const process *p, const conduit *c, unsigned end) { OK(ip_object_hold(&arena, c->id, end, p->slot)); }

static conduit plain(void) { return conduit_new(0, IP_BLOCKING, NULL, KEEPERS); }

static bool is_found(const person *p) {
    for (unsigned i = 0; i < MOST; i++)
        if (found[i].id.generation && found[i].id.index == p->id.index && found[i].id.generation == p->id.generation) return true;
    return false;
}

static unsigned count_stuck(void) {
    unsigned n;
    memset(found, 0, sizeof found);
    OK(ip_stuck_find(&arena, found, MOST, &n));
    return n;
}

static deal waits(const person *p, const conduit *c, unsigned side) {
    deal d = deal_of(4);
    if (side == IP_READS) reading(&d, c);
    else writing(&d, c, 1, 10);
    CHECK_EQ(try_deal(&d, p, 0, true), IP_AGAIN);
    return d;
}

static void wait_again(deal *d, const person *p) { CHECK_EQ(try_deal(d, p, 0, true), IP_AGAIN); }

static void told(deal *d, const person *p, const char *text, uint64_t size) {
    port none = {.arena = &arena};
    message m;
    CHECK_EQ(phase_of_person(p), IP_PARTY_STUCK);
    CHECK_EQ(settle_deal(d, p), IP_STUCK);
    CHECK_EQ(d->choice.incoming.size, size);
    const void *data = d->choice.incoming.block ? ip_at(&arena, d->choice.incoming.block) : d->choice.incoming.data;
    CHECK(memcmp(data, text, size) == 0);
    OK(examine(&none, &d->choice.incoming, &m));
}

/* Parties in a ring, each waiting for what the one before it would write. */
static void a_cycle(unsigned n, bool one_process) {
    static char text[20000];
    person people[MOST];
    process processes[MOST];
    conduit channels[MOST];
    deal d[MOST];
    begin();
    memset(text, 'x', sizeof text);
    for (unsigned i = 0; i < n; i++) channels[i] = plain();
    for (unsigned i = 0; i < n; i++) {
        processes[i] = one_process && i ? processes[0] : process_new();
        people[i] = party_of(&processes[i]);
        has(&processes[i], &channels[i], IP_READS);
        has(&processes[i], &channels[(i + 1) % n], IP_WRITES);
    }
    CHECK_EQ(count_stuck(), 0);
    for (unsigned i = 0; i < n; i++) {
        d[i] = waits(&people[i], &channels[i], IP_READS);
        CHECK_EQ(count_stuck(), i + 1 < n ? 0 : n); /* as long as one runs all may go on */
    }
    for (unsigned i = 0; i < n; i++) {
        CHECK(is_found(&people[i]));
        CHECK(found[i].n_guards == 1 && found[i].guards_shown == 1 && found[i].guards[0].side == IP_READS);
        CHECK_EQ(found[i].guards[0].object.index, channels[i].id.index);
        CHECK_EQ(found[i].member, processes[i].slot);
    }
    unsigned all;
    OK(ip_stuck_find(&arena, found, 1, &all)); /* counts all, whatever there is room for */
    CHECK_EQ(all, n);
    CHECK_EQ(count_stuck(), n);
    CHECK_EQ(withdraw_deal(&d[0], &people[0]), IP_AGAIN);
    CHECK_EQ(ip_stuck_declare(&arena, found, n, text, 4), IP_AGAIN);
    wait_again(&d[0], &people[0]); /* that is another wait: look again */
    CHECK_EQ(ip_stuck_declare(&arena, found, n, text, 4), IP_AGAIN);
    for (unsigned i = 0; i < n; i++) CHECK_EQ(settle_deal(&d[i], &people[i]), IP_BUSY);
    CHECK_EQ(count_stuck(), n);
    uint64_t size = n % 2 ? 20 : 900;
    OK(ip_stuck_declare(&arena, found, n, text, size));
    for (unsigned i = 0; i < n; i++) told(&d[i], &people[i], text, size);
    CHECK_EQ(count_stuck(), 0);
    for (unsigned i = 0; i < n; i++) wait_again(&d[i], &people[i]); /* they can do as they like */
    CHECK_EQ(count_stuck(), n);
    for (unsigned i = 0; i < n; i++) {
        end_deal(&d[i]);
        dismiss(&people[i]);
        if (!one_process || !i) process_end(&processes[i]);
    }
    for (unsigned i = 0; i < n; i++) drop_ends(&channels[i], KEEPERS);
    end();
}

static void cycles(void) {
    for (unsigned n = 1; n <= 9; n = n < 3 ? n + 1 : n * 3) {
        a_cycle(n, false);
        a_cycle(n, true);
    }
}

/* Two that wait for each other, and what there may be beside them. */
typedef struct {
    process a, b;
    person p, q;
    conduit to_p, to_q;
    deal d, e;
} pair;

static pair pair_new(void) {
    pair x = {.a = process_new(), .b = process_new(), .to_p = plain(), .to_q = plain()};
    x.p = party_of(&x.a);
    x.q = party_of(&x.b);
    has(&x.a, &x.to_p, IP_READS);
    has(&x.b, &x.to_p, IP_WRITES);
    has(&x.b, &x.to_q, IP_READS);
    has(&x.a, &x.to_q, IP_WRITES);
    x.d = waits(&x.p, &x.to_p, IP_READS);
    x.e = waits(&x.q, &x.to_q, IP_READS);
    return x;
}

static void pair_end(pair *x) {
    end_deal(&x->d);
    end_deal(&x->e);
    dismiss(&x->p);
    dismiss(&x->q);
    process_end(&x->a);
    process_end(&x->b);
    drop_ends(&x->to_p, KEEPERS);
    drop_ends(&x->to_q, KEEPERS);
}

static void who_runs_could_help(void) {
    begin();
    pair x = pair_new();
    CHECK_EQ(count_stuck(), 2);
    person third = party_of(&x.a); /* of a process that waits otherwise */
    CHECK_EQ(count_stuck(), 0);
    conduit other = plain();
    has(&x.b, &other, IP_WRITES);
    has(&x.a, &other, IP_READS);
    deal d = waits(&third, &other, IP_READS);
    CHECK_EQ(count_stuck(), 3); /* it waits for the stuck */
    OK(ip_party_poke(&arena, third.id));
    CHECK_EQ(count_stuck(), 0);
    wait_again(&d, &third);
    process c = process_new(); /* of which no party is known */
    CHECK_EQ(count_stuck(), 3);
    has(&c, &x.to_p, IP_READS); /* it could take, too, but not give */
    CHECK_EQ(count_stuck(), 3);
    has(&c, &x.to_q, IP_WRITES);
    CHECK_EQ(count_stuck(), 0);
    person fourth = party_of(&c);
    CHECK_EQ(count_stuck(), 0);
    conduit away = plain();
    has(&c, &away, IP_READS);
    deal e = waits(&fourth, &away, IP_READS); /* for a side that nobody has taken, but this process could, which runs */
    CHECK_EQ(count_stuck(), 0);
    has(&x.a, &away, IP_WRITES); /* now it waits for one of the stuck */
    CHECK_EQ(count_stuck(), 4);
    CHECK(is_found(&fourth) && is_found(&third) && is_found(&x.p) && is_found(&x.q));
    person loop = party_of(&c); /* whose thread waits for its tasks, which are parties */
    CHECK_EQ(count_stuck(), 0);
    ip_set(&loop.party->mode, IP_LOOP);
    CHECK_EQ(count_stuck(), 4);
    dismiss(&loop);
    end_deal(&d);
    end_deal(&e);
    dismiss(&third);
    dismiss(&fourth);
    process_end(&c);
    pair_end(&x);
    drop_ends(&other, KEEPERS);
    drop_ends(&away, KEEPERS);
    end();
}

static void waits_that_may_end_by_themselves(void) {
    static const unsigned modes[] = {IP_TIMED, IP_OUTSIDE, IP_CROWD, IP_TIMED | IP_OUTSIDE};
    begin();
    pair x = pair_new();
    CHECK_EQ(count_stuck(), 2);
    for (unsigned i = 0; i < 4; i++) {
        ip_set(&x.p.party->mode, modes[i]);
        CHECK_EQ(count_stuck(), 0);
        CHECK_EQ(ip_stuck_declare(&arena, found, 1, "", 0), IP_AGAIN);
        ip_set(&x.p.party->mode, 0);
        CHECK_EQ(count_stuck(), 2);
    }
    pair_end(&x);
    end();
}

/* Two wait for each other while the rest goes on, as it has nothing to do with them. */
static void a_part_is_stuck(void) {
    begin();
    pair x = pair_new(), y = pair_new(); /* of two such, both are found */
    CHECK_EQ(count_stuck(), 4);
    process c = process_new();
    person busy = party_of(&c), patient = party_of(&c);
    conduit own = plain();
    has(&c, &own, IP_READS);
    has(&c, &own, IP_WRITES);
    deal d = waits(&patient, &own, IP_READS); /* for the busy one */
    CHECK_EQ(count_stuck(), 4);
    CHECK(!is_found(&busy) && !is_found(&patient));
    ip_stuck_party first[2] = {0};
    for (unsigned i = 0, n = 0; i < 4; i++)
        if (found[i].id.index == x.p.id.index || found[i].id.index == x.q.id.index) first[n++] = found[i];
    OK(ip_stuck_declare(&arena, first, 2, "deadlock", 8));
    told(&x.d, &x.p, "deadlock", 8);
    told(&x.e, &x.q, "deadlock", 8);
    told(&y.d, &y.p, "deadlock", 8); /* so are all that are stuck by then */
    CHECK_EQ(settle_deal(&d, &patient), IP_BUSY);
    end_deal(&d);
    dismiss(&busy);
    dismiss(&patient);
    process_end(&c);
    pair_end(&x);
    pair_end(&y);
    drop_ends(&own, KEEPERS);
    end();
}

static void who_joins_is_stuck_with_its_children(void) {
    begin();
    process a = process_new(), b = process_new();
    person parent = party_of(&a), child = party_of(&b), second = party_of(&b);
    conduit c = plain();
    has(&a, &c, IP_WRITES);
    has(&b, &c, IP_READS);
    deal d = waits(&child, &c, IP_READS), e = waits(&second, &c, IP_READS);
    CHECK_EQ(count_stuck(), 0); /* the parent runs */
    ip_set(&child.party->parent, ip_party_name(parent.id));
    OK(ip_party_join(&arena, parent.party, 1));
    CHECK_EQ(phase_of_person(&parent), IP_PARTY_WAITING);
    CHECK_EQ(count_stuck(), 3);
    CHECK_EQ(found[0].parent | found[1].parent | found[2].parent, ip_party_name(parent.id));
    ip_choice choice;
    CHECK_EQ(ip_choice_withdraw(&arena, parent.party, NULL, 0, IP_PATIENT, deal_scratch, &choice), IP_AGAIN);
    CHECK_EQ(count_stuck(), 0);
    OK(ip_party_join(&arena, parent.party, 2)); /* one of them has no party yet, or none any more */
    CHECK_EQ(count_stuck(), 0);
    ip_set(&second.party->parent, ip_party_name(parent.id));
    CHECK_EQ(count_stuck(), 3);
    OK(ip_party_poke(&arena, second.id));
    CHECK_EQ(count_stuck(), 0);
    wait_again(&e, &second);
    CHECK_EQ(count_stuck(), 3);
    OK(ip_stuck_declare(&arena, found, 3, "deadlock", 8));
    told(&d, &child, "deadlock", 8);
    told(&e, &second, "deadlock", 8);
    CHECK_EQ(phase_of_person(&parent), IP_PARTY_WAITING); /* it learns from the children's ends */
    dismiss(&child);
    dismiss(&second);
    CHECK_EQ(count_stuck(), 0);
    end_deal(&d);
    end_deal(&e);
    dismiss(&parent);
    process_end(&a);
    process_end(&b);
    drop_ends(&c, KEEPERS);
    end();
}

/* A thread runs an event loop and waits itself, in one of its tasks: until that is over none of them acts. */
static void tasks_are_stalled_by_their_thread(void) {
    begin();
    process a = process_new(), b = process_new();
    person thread = party_of(&a), loop = party_of(&a), runs = party_of(&a), receives = party_of(&a), other = party_of(&b);
    conduit c = plain(), to_a = plain(), to_b = plain();
    ip_set(&loop.party->mode, IP_LOOP);
    ip_set(&runs.party->bell, ip_party_name(loop.id));
    ip_set(&receives.party->bell, ip_party_name(loop.id));
    has(&a, &c, IP_WRITES);
    has(&a, &c, IP_READS);
    has(&a, &to_a, IP_READS);
    has(&b, &to_a, IP_WRITES);
    has(&a, &to_b, IP_WRITES);
    has(&b, &to_b, IP_READS);
    deal d = waits(&thread, &c, IP_WRITES), e = waits(&receives, &to_a, IP_READS);
    CHECK_EQ(count_stuck(), 0); /* the tasks could come for it */
    ip_set(&thread.party->stalls, ip_party_name(loop.id));
    CHECK_EQ(count_stuck(), 1);
    CHECK(is_found(&thread));
    ip_set(&receives.party->mode, IP_OUTSIDE); /* whatever they wait for besides */
    CHECK_EQ(count_stuck(), 1);
    CHECK_EQ(found[0].n_guards, 1);
    static const unsigned modes[] = {IP_TIMED, IP_OUTSIDE, IP_CROWD};
    for (unsigned i = 0; i < 3; i++) {
        ip_set(&thread.party->mode, modes[i]);
        CHECK_EQ(count_stuck(), 0);
    }
    ip_set(&thread.party->mode, IP_STALLS);
    CHECK_EQ(count_stuck(), 1);
    person second = party_of(&a); /* a thread of the same process that runs */
    CHECK_EQ(count_stuck(), 0);
    dismiss(&second);
    has(&b, &c, IP_READS); /* as does another process that could take it, until that waits for one of the tasks */
    CHECK_EQ(count_stuck(), 0);
    deal f = waits(&other, &to_b, IP_READS);
    CHECK_EQ(count_stuck(), 2);
    CHECK(is_found(&thread) && is_found(&other));
    /* who waits for the end of tasks: one in another process, and a task beside them, whose own children have ended */
    person joins = party_of(&b);
    CHECK_EQ(count_stuck(), 0);
    ip_set(&runs.party->parent, ip_party_name(joins.id));
    ip_set(&receives.party->parent, ip_party_name(joins.id));
    OK(ip_party_join(&arena, joins.party, 2));
    CHECK_EQ(count_stuck(), 3);
    OK(ip_party_join(&arena, runs.party, 1));
    CHECK_EQ(count_stuck(), 3);
    ip_set(&thread.party->mode, IP_CROWD);
    CHECK_EQ(count_stuck(), 0);
    ip_set(&thread.party->mode, IP_STALLS);
    CHECK_EQ(count_stuck(), 3);
    OK(ip_stuck_declare(&arena, found, 3, "deadlock", 8));
    told(&d, &thread, "deadlock", 8);
    told(&f, &other, "deadlock", 8);
    CHECK_EQ(phase_of_person(&receives), IP_PARTY_WAITING); /* the tasks may go on */
    CHECK_EQ(phase_of_person(&runs), IP_PARTY_WAITING);
    CHECK_EQ(count_stuck(), 0);
    ip_set(&thread.party->stalls, ip_party_name(thread.id)); /* damage does no harm */
    ip_set(&thread.party->bell, ip_party_name(thread.id));
    wait_again(&d, &thread);
    CHECK_EQ(count_stuck(), 0);
    ip_set(&thread.party->bell, 0);
    end_deal(&d);
    end_deal(&e);
    end_deal(&f);
    person *all[] = {&thread, &loop, &runs, &receives, &other, &joins};
    for (unsigned i = 0; i < 6; i++) dismiss(all[i]);
    process_end(&a);
    process_end(&b);
    drop_ends(&c, KEEPERS);
    drop_ends(&to_a, KEEPERS);
    drop_ends(&to_b, KEEPERS);
    end();
}

static void other_ways_out(void) {
    begin();
    pair x = pair_new();
    CHECK_EQ(count_stuck(), 2);
    conduit c = plain(), buffer = conduit_new(1, IP_BLOCKING, NULL, KEEPERS);
    process helper = process_new();
    person h = party_of(&helper), me = person_new();
    ip_set(&me.party->mode, IP_LOOP); /* does not count */
    /* a choice is stuck if all of its guards are */
    has(&x.a, &c, IP_READS);
    has(&helper, &c, IP_WRITES);
    CHECK_EQ(withdraw_deal(&x.d, &x.p), IP_AGAIN);
    reading(&x.d, &c);
    wait_again(&x.d, &x.p);
    CHECK_EQ(count_stuck(), 0);
    has(&helper, &buffer, IP_READS);
    has(&x.b, &buffer, IP_WRITES);
    deal d = waits(&h, &buffer, IP_READS);
    CHECK_EQ(count_stuck(), 3);
    CHECK_EQ(found[0].n_guards + found[1].n_guards + found[2].n_guards, 4);
    /* one whose buffer has something for it only has not looked yet */
    take_ends(&buffer, BOTH);
    CHECK_EQ(count_stuck(), 0); /* this process holds a side, and runs */
    OK(send_to(&me, &buffer, 1, 10));
    CHECK_EQ(phase_of_person(&h), IP_PARTY_POKED);
    CHECK_EQ(settle_deal(&d, &h), IP_AGAIN);
    message m;
    OK(receive_from(&me, &buffer, &m));
    wait_again(&d, &h);
    OK(ip_object_release(&arena, buffer.id, IP_WRITES));
    OK(ip_object_release(&arena, buffer.id, IP_READS));
    CHECK_EQ(settle_deal(&d, &h), IP_AGAIN); /* poked, as somebody left */
    wait_again(&d, &h);
    CHECK_EQ(count_stuck(), 3);
    /* an end on its way may come to whoever can use it */
    port mail = queue_new(&arena, 0, 0, NULL);
    take_ends(&c, WRITERS);
    ip_handle_ref ref = {c.id, IP_WRITES};
    OK(put_with(&mail, 1, 10, &ref, 1));
    drop_ends(&c, WRITERS);
    CHECK_EQ(settle_deal(&x.d, &x.p), IP_AGAIN);
    wait_again(&x.d, &x.p);
    CHECK_EQ(count_stuck(), 0);
    OK(take_one(&mail, &m));
    drop_ends(&c, WRITERS);
    CHECK_EQ(settle_deal(&x.d, &x.p), IP_AGAIN);
    wait_again(&x.d, &x.p);
    CHECK_EQ(count_stuck(), 3);
    OK(ip_object_release(&arena, mail.id, 0));
    /* the poisoned are told */
    OK(ip_channel_poison(&arena, c.object));
    CHECK_EQ(count_stuck(), 0);
    CHECK_EQ(try_deal(&x.d, &x.p, 0, true), IP_POISONED);
    end_deal(&d);
    dismiss(&h);
    dismiss(&me);
    process_end(&helper);
    pair_end(&x);
    drop_ends(&c, KEEPERS);
    drop_ends(&buffer, KEEPERS);
    end();
}

static void full_buffers(void) {
    begin();
    process a = process_new(), b = process_new();
    person p = party_of(&a), q = party_of(&b), me = person_new();
    ip_set(&me.party->mode, IP_LOOP);
    conduit c = conduit_new(2, IP_BLOCKING, NULL, ALL), back = plain();
    for (uint64_t i = 0; i < 2; i++) OK(send_to(&me, &c, i, 10));
    has(&a, &c, IP_WRITES);
    has(&b, &c, IP_READS);
    has(&a, &back, IP_READS);
    has(&b, &back, IP_WRITES);
    drop_ends(&c, BOTH);
    deal d = waits(&p, &c, IP_WRITES), e = waits(&q, &back, IP_WRITES);
    CHECK_EQ(count_stuck(), 2); /* one cannot write as it is full, the other as nobody reads */
    end_deal(&d);
    end_deal(&e);
    dismiss(&p);
    dismiss(&q);
    dismiss(&me);
    process_end(&a);
    process_end(&b);
    drop_ends(&c, KEEPERS);
    drop_ends(&back, KEEPERS);
    end();
}

static void barriers(void) {
    begin();
    process a = process_new(), b = process_new();
    person p = party_of(&a), q = party_of(&b);
    meeting m = meeting_new(NULL);
    conduit c = plain();
    uint64_t serials[2];
    for (int i = 0; i < 2; i++) OK(ip_barrier_enrol(&arena, m.object, &serials[i]));
    deal d = deal_of(1);
    syncing(&d, &m, serials[0]);
    wait_again(&d, &p);
    has(&a, &c, IP_WRITES);
    has(&b, &c, IP_READS);
    deal e = waits(&q, &c, IP_READS);
    CHECK_EQ(count_stuck(), 0); /* enrolled is this process, which runs */
    OK(bequeath(&m, serials[0], a.slot));
    CHECK_EQ(count_stuck(), 0);
    OK(depart(&m, serials[1])); /* on its way */
    CHECK_EQ(count_stuck(), 0);
    OK(arrive(&m, serials[1], true));
    OK(bequeath(&m, serials[1], b.slot));
    CHECK_EQ(count_stuck(), 2); /* one waits for the other at the barrier, that for a message */
    CHECK(is_found(&p) && is_found(&q));
    OK(ip_party_poke(&arena, q.id));
    CHECK_EQ(count_stuck(), 0);
    end_deal(&d);
    end_deal(&e);
    dismiss(&p);
    dismiss(&q);
    process_end(&a);
    process_end(&b);
    drop_ends(&c, KEEPERS);
    OK(ip_object_release(&arena, m.id, 0));
    end();
}

/* Random networks: the set that is found against the union of all sets that nobody outside could help, looked for one by one. */
static void found_is_the_largest_closed_set(void) {
    enum { PROCESSES = 4, PEOPLE = 9, CHANNELS = 6, ROUNDS = 400 };
    uint64_t random = 3;
    unsigned some = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        process processes[PROCESSES];
        person people[PEOPLE];
        conduit channels[CHANNELS];
        deal d[PEOPLE];
        unsigned home[PEOPLE], held[CHANNELS][2] = {{0}}, helpers[PEOPLE] = {0}, of[PROCESSES] = {0}, waiting = 0, expected = 0;
        begin();
        for (unsigned i = 0; i < PROCESSES; i++) processes[i] = process_new();
        for (unsigned i = 0; i < CHANNELS; i++) { /* at the even ones all wait to read, at the odd ones to write: none meet */
            channels[i] = plain();
            for (unsigned side = 0; side < 2; side++)
                for (unsigned k = 0; k < PROCESSES; k++)
                    if (next_random(&random) % 3 == 0 || k == (i + side) % PROCESSES) {
                        has(&processes[k], &channels[i], side);
                        held[i][side] |= 1u << k;
                    }
        }
        for (unsigned i = 0; i < PEOPLE; i++) {
            home[i] = (unsigned)(next_random(&random) % PROCESSES);
            people[i] = party_of(&processes[home[i]]);
            of[home[i]] |= 1u << i;
            d[i] = deal_of(3);
            for (unsigned n = 1 + next_random(&random) % 2; n; n--) {
                unsigned c = (unsigned)(next_random(&random) % CHANNELS);
                if (c % 2) writing(&d[i], &channels[c], i, 10);
                else reading(&d[i], &channels[c]);
                helpers[i] |= held[c][c % 2 ? IP_READS : IP_WRITES];
            }
            if (next_random(&random) % 12 == 0) continue; /* runs */
            wait_again(&d[i], &people[i]);
            if (next_random(&random) % 12 == 0) ip_set(&people[i].party->mode, IP_TIMED);
            else waiting |= 1u << i;
        }
        for (unsigned set = 1; set < 1u << PEOPLE; set++) {
            bool closed = !(set & ~waiting);
            for (unsigned i = 0; i < PEOPLE && closed; i++)
                for (unsigned k = 0; set >> i & 1 && k < PROCESSES && closed; k++)
                    if (helpers[i] >> k & 1) closed = of[k] && !(of[k] & ~set);
            if (closed) expected |= set;
        }
        CHECK_EQ(count_stuck(), (unsigned)__builtin_popcount(expected));
        for (unsigned i = 0; i < PEOPLE; i++) {
            CHECK_EQ(is_found(&people[i]), expected >> i & 1);
            end_deal(&d[i]);
            dismiss(&people[i]);
        }
        some += expected != 0;
        for (unsigned i = 0; i < PROCESSES; i++) process_end(&processes[i]);
        for (unsigned i = 0; i < CHANNELS; i++) drop_ends(&channels[i], KEEPERS);
        end();
    }
    CHECK(some > ROUNDS / 20 && some < ROUNDS);
    printf("%u of %u stuck...", some, ROUNDS);
}

/* Real processes: each waits for the other, one finds out, both are told; also by a text that takes a block. */
/* ---- looking, beside others ---- */

static person *mover;

static void step_beside_the_search(const char *step) {
    if (strcmp(step, "stuck.read") != 0) return;
    CHECK_EQ(word_of(&arena.header->lock.owner), 0); /* who communicates is not held up */
    if (mover) OK(ip_party_poke(&arena, mover->id));
}

/* Each waits for the next, so that who runs, behind the last, frees one after the other, the first last. */
static void long_chains(void) {
    enum { LONG = 150 };
    process processes[LONG];
    person people[LONG];
    deal deals[LONG];
    conduit channels[LONG];
    begin();
    for (unsigned i = 0; i < LONG; i++) {
        processes[i] = process_new();
        channels[i] = plain();
        people[i] = party_of(&processes[i]);
    }
    for (unsigned i = 0; i < LONG; i++) {
        has(&processes[i], &channels[i], IP_READS);
        has(&processes[(i + 1) % LONG], &channels[i], IP_WRITES);
        deals[i] = waits(&people[i], &channels[i], IP_READS);
    }
    ip_fault_hook = step_beside_the_search;
    CHECK_EQ(count_stuck(), LONG); /* the last waits for the first */
    ip_set(&people[LONG - 1].party->mode, IP_TIMED);
    CHECK_EQ(count_stuck(), 0);
    ip_set(&people[LONG - 1].party->mode, 0);
    ip_set(&people[0].party->mode, IP_TIMED);
    CHECK_EQ(count_stuck(), 0);
    ip_set(&people[0].party->mode, 0);
    mover = &people[LONG / 2];
    CHECK_EQ(count_stuck(), 0); /* it has moved while others thought */
    mover = NULL;
    CHECK_EQ(settle_deal(&deals[LONG / 2], &people[LONG / 2]), IP_AGAIN);
    CHECK_EQ(count_stuck(), 0);
    wait_again(&deals[LONG / 2], &people[LONG / 2]);
    CHECK_EQ(count_stuck(), LONG);
    ip_fault_hook = NULL;
    for (unsigned i = 0; i < LONG; i++) {
        CHECK_EQ(withdraw_deal(&deals[i], &people[i]), IP_AGAIN);
        end_deal(&deals[i]);
        dismiss(&people[i]);
        drop_ends(&channels[i], KEEPERS);
    }
    for (unsigned i = 0; i < LONG; i++) process_end(&processes[i]);
    end();
}

static void one_look_is_for_all(void) {
    enum { TENTH = 100000000 };
    uint64_t start, looks = 0, now;
    begin();
    start = now = ip_now_ns() / TENTH;
    while (now < start + 2) {
        looks += ip_stuck_due(&arena);
        now = ip_now_ns() / TENTH;
    }
    CHECK(looks >= 1 && looks <= now - start + 1);
    end();
}

static void processes_are_told(void) {
    static char text[20000];
    begin();
    memset(text, 'y', sizeof text);
    conduit c = plain(), back = plain();
    pid_t pid = fork_member(&arena);
    if (pid == 0) {
        alarm(60);
        take_ends(&c, READERS);
        take_ends(&back, WRITERS);
        person p = person_new();
        deal d = waits(&p, &c, IP_READS);
        bool slept;
        while (!ip_party_wait(p.party, UINT64_MAX, &slept)) continue;
        told(&d, &p, text, sizeof text);
        OK(ip_member_leave(&arena));
        _exit(0);
    }
    take_ends(&back, READERS);
    take_ends(&c, WRITERS);
    person p = person_new();
    deal d = waits(&p, &back, IP_READS);
    while (count_stuck() != 2) {
        look_around(&d);
        usleep(500);
    }
    CHECK((found[0].pid == pid && found[1].pid == getpid()) || (found[1].pid == pid && found[0].pid == getpid()));
    OK(ip_stuck_declare(&arena, found, 2, text, sizeof text));
    told(&d, &p, text, sizeof text);
    CHECK_EQ(child_end(pid), CHILD_DONE);
    end_deal(&d);
    dismiss(&p);
    drop_ends(&c, WRITERS | KEEPERS);
    drop_ends(&back, READERS | KEEPERS);
    end();
}

int main(void) {
    alarm(110);
    RUN(cycles);
    RUN(who_runs_could_help);
    RUN(waits_that_may_end_by_themselves);
    RUN(a_part_is_stuck);
    RUN(who_joins_is_stuck_with_its_children);
    RUN(tasks_are_stalled_by_their_thread);
    RUN(other_ways_out);
    RUN(full_buffers);
    RUN(barriers);
    RUN(found_is_the_largest_closed_set);
    RUN(long_chains);
    RUN(one_look_is_for_all);
    RUN(processes_are_told);
    return 0;
}

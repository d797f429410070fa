/* test_channel_damage.c: change any byte of parties, channels and barriers where many wait: each operation says that it is damaged or
 * does what it should. Nobody's offer is lost, nobody is told of what has not come, nobody is left waiting for what has.
 */
#include "channel_world.h"
#include "damage.h"

/* READER waits; WRITER, LONG and BLOCK offer what lies in the outbox, in a block of that, and in a block of its own; CHOOSER has more
 * guards than fit a party; GIVEN has a message in its inbox; TWO wait at a barrier, and one for a buffer; SLEEPERS fill a queue. */
enum { ME, READER, WRITER, LONG, BLOCK, CHOOSER, GIVEN, TWO, AT_BUFFER = TWO + 2, SLEEPERS, PEOPLE = SLEEPERS + 9 };
enum { TO_READER, OF_WRITER, OF_LONG, OF_BLOCK, TO_GIVEN, CHOSEN, ASLEEP = CHOSEN + 6, BUFFER, CHANNELS };
enum { GUARDS = 6 };

static person people[PEOPLE];
static deal deals[PEOPLE];
static conduit channels[CHANNELS];
static meeting barrier;
static uint64_t serials[3];
static port inner;
static const char card[] = "who it is, at some length, in a block", note[] = "what it does";

static void offers(unsigned who) { CHECK_EQ(try_deal(&deals[who], &people[who], 0, true), IP_AGAIN); }

static void build(void) {
    OK(ip_arena_create(&arena, -1, UINT64_C(4) << 20));
    for (unsigned i = 0; i < CHANNELS; i++) channels[i] = conduit_new(i == BUFFER ? 3 : 0, IP_BLOCKING, "waters", ALL);
    barrier = meeting_new("stones");
    for (unsigned i = 0; i < 3; i++) OK(ip_barrier_enrol(&arena, barrier.object, &serials[i]));
    inner = queue_new(&arena, 0, 0, NULL);
    ip_handle_ref refs[2] = {{inner.id, 0}, {inner.id, 0}};
    for (unsigned i = 0; i < PEOPLE; i++) {
        people[i] = person_new();
        deals[i] = deal_of(GUARDS);
    }
    reading(&deals[READER], &channels[TO_READER]);
    writing(&deals[WRITER], &channels[OF_WRITER], WRITER, 40);
    writing(&deals[LONG], &channels[OF_LONG], LONG, 500);
    writing_with(&deals[BLOCK], &channels[OF_BLOCK], BLOCK, 900, refs, 2);
    reading(&deals[GIVEN], &channels[TO_GIVEN]);
    for (unsigned i = 0; i < GUARDS; i++) {
        if (i % 2) writing(&deals[CHOOSER], &channels[CHOSEN + i], CHOOSER + i, 30);
        else reading(&deals[CHOOSER], &channels[CHOSEN + i]);
    }
    for (unsigned i = 0; i < 2; i++) syncing(&deals[TWO + i], &barrier, serials[i]);
    reading(&deals[AT_BUFFER], &channels[BUFFER]);
    for (unsigned i = SLEEPERS; i < PEOPLE; i++) reading(&deals[i], &channels[ASLEEP]);
    for (unsigned i = READER; i < PEOPLE; i++) offers(i);
    writing_with(&deals[ME], &channels[TO_GIVEN], GIVEN, 20, refs, 2);
    OK(try_deal(&deals[ME], &people[ME], 0, false));
    clear_deal(&deals[ME]);
    OK(ip_party_set_card(&arena, people[SLEEPERS].party, card, sizeof card));
    OK(ip_party_set_note(people[SLEEPERS].party, note, sizeof note));
}

/* ---- in the child ---- */

static bool is_right(const message *m, uint64_t number, uint64_t size, unsigned n_handles) {
    return m->whole && m->size == size && m->number == number && m->n_handles == n_handles;
}

/* This one's deal is made at once, by whichever of its guards. */
static bool makes(unsigned who) {
    return FINE(try_deal(&deals[who], &people[who], 0, false));
}

static bool was_chosen(unsigned who, unsigned guard) {
    if (!FINE(settle_deal(&deals[who], &people[who]))) return false;
    RIGHT(deals[who].choice.guard == guard);
    return true;
}

static void i_receive(unsigned from, unsigned channel, unsigned guard, uint64_t number, uint64_t size, unsigned n_handles) {
    reading(&deals[ME], &channels[channel]);
    if (makes(ME)) {
        RIGHT(is_right(&deals[ME].got, number, size, n_handles));
        was_chosen(from, guard);
    }
    deals[ME].n = 0;
}

static void i_send(unsigned to, unsigned channel, unsigned guard, uint64_t size) {
    writing(&deals[ME], &channels[channel], 7, size);
    if (makes(ME) && was_chosen(to, guard)) RIGHT(is_right(&deals[to].got, 7, size, 0));
    free(deals[ME].data[0]);
    deals[ME].data[0] = NULL;
    deals[ME].n = 0;
}

static void we_meet(void) {
    uint64_t enrolled, waiting, met;
    if (FINE(ip_barrier_look(&arena, barrier.object, &enrolled, &waiting, &met)))
        RIGHT(enrolled == 3 && waiting == 2 && met == 0);
    syncing(&deals[ME], &barrier, serials[2]);
    if (makes(ME))
        for (unsigned i = TWO; i < TWO + 2; i++) was_chosen(i, 0);
    deals[ME].n = 0;
}

static void i_fill_the_buffer(void) {
    static unsigned char data[20];
    static _Alignas(8) unsigned char scratch[IP_SCRATCH_MIN];
    const conduit *c = &channels[BUFFER];
    ip_ring *ring = ip_channel_ring(c->channel);
    ip_outgoing m = {.kind = 5, .data = data, .size = sizeof data};
    ip_incoming in;
    unsigned n;
    if (!FINE(ip_ring_put(&arena, c->object, ring, IP_READS, &m, 1, IP_PATIENT, &n))) return;
    if (FINE(ip_channel_poke_one(&arena, c->id, IP_READS)))
        ANSWERS(settle_deal(&deals[AT_BUFFER], &people[AT_BUFFER]), IP_AGAIN);
    RIGHT(ip_channel_ready(c->object, c->channel, IP_READS));
    if (FINE(ip_ring_take(&arena, c->object, ring, IP_WRITES, scratch, sizeof scratch, IP_PATIENT, &in, 1, &n)))
        RIGHT(in.kind == 5 && in.size == sizeof data);
}

static void the_sleepers_are_seen(void) {
    static ip_stuck_party p;
    ip_channel_info info;
    ip_status status;
    uint32_t index = 0;
    unsigned n = 0, n_stuck;
    int phase;
    if (FINE(ip_channel_look(&arena, channels[ASLEEP].object, channels[ASLEEP].channel, &info)))
        RIGHT(info.waiting[IP_READS] == PEOPLE - SLEEPERS && strcmp(info.label, "waters") == 0 && !info.poisoned);
    while ((status = ip_party_next(&arena, &index, &phase, &p)) == IP_OK) {
        n++;
        if (p.id.index != people[SLEEPERS].id.index) continue;
        RIGHT(phase == IP_PARTY_WAITING && p.n_guards == 1 && p.guards_shown == 1 && p.guards[0].side == IP_READS);
        RIGHT(p.guards[0].object.index == channels[ASLEEP].id.index && p.guards[0].object.generation == channels[ASLEEP].id.generation);
        RIGHT(p.card_size == sizeof card && memcmp(p.card, card, sizeof card) == 0);
        RIGHT(!p.note_size || (p.note_size == sizeof note && memcmp(p.note, note, sizeof note) == 0));
    }
    if (ANSWERS(status, IP_AGAIN)) RIGHT(n == PEOPLE);
    if (FINE(ip_stuck_find(&arena, NULL, 0, &n_stuck))) RIGHT(n_stuck == 0); /* I run */
}

/* Each is poked; or, if it cannot be found, sees it at the end of its slice. */
static void the_sleepers_are_poisoned(void) {
    const conduit *c = &channels[ASLEEP];
    if (!FINE(ip_channel_poison(&arena, c->object))) return;
    ANSWERS(ip_channel_open_for(c->object, c->channel, IP_READS), IP_POISONED);
    for (unsigned i = SLEEPERS; i < PEOPLE; i++) {
        ip_status status = settle_deal(&deals[i], &people[i]);
        if (status == IP_BUSY && ip_channel_ready(c->object, c->channel, IP_READS)) status = withdraw_deal(&deals[i], &people[i]);
        if (ANSWERS(status, IP_AGAIN)) ANSWERS(try_deal(&deals[i], &people[i], 0, true), IP_POISONED);
    }
}

static void the_sleepers_withdraw(void) {
    bool all = true;
    for (unsigned i = SLEEPERS; i < PEOPLE; i++) all = ANSWERS(withdraw_deal(&deals[i], &people[i]), IP_AGAIN) && all;
    writing(&deals[ME], &channels[ASLEEP], 7, 20);
    if (all) ANSWERS(try_deal(&deals[ME], &people[ME], 0, false), IP_AGAIN);
    free(deals[ME].data[0]);
    deals[ME].data[0] = NULL;
    deals[ME].n = 0;
}

static void use_everything(unsigned how) {
    if (how % 4 != 3) { /* else all that they have goes with them */
        if (was_chosen(GIVEN, 0)) RIGHT(is_right(&deals[GIVEN].got, GIVEN, 20, 2));
        the_sleepers_are_seen();
        i_send(READER, TO_READER, 0, how % 2 ? 900 : how % 4 ? 400 : 20);
        i_receive(WRITER, OF_WRITER, 0, WRITER, 40, 0);
        i_receive(LONG, OF_LONG, 0, LONG, 500, 0);
        i_receive(BLOCK, OF_BLOCK, 0, BLOCK, 900, 2);
        if (how % 2) i_send(CHOOSER, CHOSEN + 4, 4, 20);
        else i_receive(CHOOSER, CHOSEN + 5, 5, CHOOSER + 5, 30, 0);
        we_meet();
        i_fill_the_buffer();
        if (how % 2) the_sleepers_are_poisoned();
        else the_sleepers_withdraw();
    }
    for (unsigned i = 0; i < PEOPLE; i++) FINE(ip_object_release(&arena, people[i].id, 0));
    for (unsigned i = 0; i < CHANNELS; i++)
        for (unsigned end = 0; end < 3; end++) FINE(ip_object_release(&arena, channels[i].id, end));
    FINE(ip_object_release(&arena, barrier.id, 0));
    FINE(ip_object_release(&arena, inner.id, 0));
    leave_nothing();
}

/* ---- the changes ---- */

static void (*what_is_used)(unsigned how);

/* The messages are as they are when blocks have not been given away, for the next. */
static void use_and_put_back(unsigned how) {
    static ip_outgoing messages[PEOPLE][GUARDS];
    for (unsigned i = 0; i < PEOPLE; i++)
        if (deals[i].n) memcpy(messages[i], deals[i].messages, sizeof messages[i]);
    what_is_used(how);
    for (unsigned i = 0; i < PEOPLE; i++)
        if (deals[i].n) memcpy(deals[i].messages, messages[i], sizeof messages[i]);
}

/* Of the directory and of the heap. */
static void try_all_that_is_there(void (*what)(unsigned how)) {
    what_is_used = what;
    begin_damage(use_and_put_back);
    try_all("directory", (range){arena.directory, arena.directory + word_of(&arena.header->directory_used) * sizeof(ip_entry), STRIDE, false});
    try_all_of_the_heap(STRIDE);
    end_damage();
    for (unsigned i = 0; i < PEOPLE; i++) {
        for (unsigned k = 0; k < deals[i].n; k++) deals[i].messages[k].block = 0; /* it went with the arena */
        if (deals[i].room) end_deal(&deals[i]);
        deals[i] = (deal){0};
    }
}

static void any_changed_byte_is_noticed_or_harmless(void) {
    build();
    try_all_that_is_there(use_everything);
}

/* ---- a deadlock ---- */

enum { RING = 3 };
static const char told[] = "each waits for the next, and the last for the first; as it is said to those who are in it, at such length that "
                           "it needs a block";

/* Parties in a ring, each of which waits to read what the one before it would write. */
static void build_a_deadlock(void) {
    OK(ip_arena_create(&arena, -1, UINT64_C(4) << 20));
    for (unsigned i = 0; i < RING; i++) {
        channels[i] = conduit_new(0, IP_BLOCKING, "ring", BOTH);
        people[i] = person_new();
        deals[i] = deal_of(GUARDS);
        reading(&deals[i], &channels[i]);
        offers(i);
    }
}

static void use_a_deadlock(unsigned how) {
    static ip_stuck_party found[RING + 1];
    unsigned n;
    (void)how;
    memset(found, 0, sizeof found);
    for (unsigned i = 0; i < RING; i++) /* what each looks at when its slice ends */
        FINE(ip_channel_open_for(channels[i].object, channels[i].channel, IP_READS));
    if (FINE(ip_stuck_find(&arena, found, RING + 1, &n)) && !corrupt) RIGHT(n == RING);
    for (unsigned i = 0; i < RING && !failed && !corrupt; i++) RIGHT(found[i].guards_shown == 1 && found[i].n_guards == 1);
    if (!failed && !corrupt && FINE(ip_stuck_declare(&arena, found, RING, told, sizeof told)))
        for (unsigned i = 0; i < RING; i++) {
            if (!ANSWERS(settle_deal(&deals[i], &people[i]), IP_STUCK)) continue;
            const ip_incoming *in = &deals[i].choice.incoming;
            if (in->block && !FINE(ip_block_verify(&arena, in))) continue;
            const void *text = in->block ? ip_at(&arena, in->block) : in->data;
            RIGHT(in->size == sizeof told && memcmp(text, told, sizeof told) == 0);
            if (in->block) FINE(ip_block_drop(&arena, in->block));
        }
    for (unsigned i = 0; i < RING; i++) {
        FINE(ip_object_release(&arena, people[i].id, 0));
        for (unsigned end = 0; end < 2; end++) FINE(ip_object_release(&arena, channels[i].id, end));
    }
    leave_nothing();
}

static void nor_does_it_hide_a_deadlock(void) {
    build_a_deadlock();
    try_all_that_is_there(use_a_deadlock);
}

int main(void) {
    RUN(any_changed_byte_is_noticed_or_harmless);
    RUN(nor_does_it_hide_a_deadlock);
    return 0;
}

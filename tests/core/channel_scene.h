/* channel_scene.h: what trials of channels and barriers share: channels, persons of the parent's who wait there, an actor that is killed.
 *
 * The actor either has a side, so that its death poisons the channel, or has none, so that the survivors go on with what it left.
 */
#ifndef IP_CHANNEL_SCENE_H
#define IP_CHANNEL_SCENE_H

#include "trial.h"

#include "channel_world.h"

#if defined(UNDER_TSAN) /* which sees nothing between processes, and takes long to fork */
enum { FIRST = 3, STRIDE = 40, RECOVERIES = 1 };
#elif defined(UNDER_ASAN)
enum { FIRST = 5, STRIDE = 17, RECOVERIES = 2 };
#else
enum { FIRST = 0, STRIDE = 1, RECOVERIES = 25 };
#endif

enum { SIDES = 1, ORPHAN = 2, WIDE = 4 }; /* the actor has its sides; is the only one to hold what is sent; there are many guards */
enum { NUMBER = 1007, PEOPLE = 30, CHANNELS = 12 };

static const struct {
    const char *name;
    uint64_t size;
    unsigned n_handles;
} kinds[] = {{"inline", 20, 0}, {"with handles", 20, 2}, {"a block", 3000, 0}, {"a block with handles", 900, 2}, {"long", 500, 0}};

static unsigned kind, flags; /* of the operation just now */
static uint64_t size;
static unsigned n_handles;

static conduit channels[CHANNELS];
static person people[PEOPLE];
static deal deals[PEOPLE];
static unsigned n_channels, n_people;
static port inner; /* what messages have handles on */
static ip_handle_ref refs[2];

/* What processes tell each other, beside `shared`. */
static struct {
    _Atomic int go;
    _Atomic int answer; /* a survivor's, + 1 */
} *scene;

static void make_inner(void) {
    inner = queue_new(&arena, 0, 0, NULL);
    refs[0] = refs[1] = (ip_handle_ref){inner.id, 0};
    OK(put_one(&inner, 5, 50));
}

static void set_scene(unsigned n, unsigned hold) {
    memset(scene, 0, sizeof *scene);
    size = kinds[kind].size;
    n_handles = kinds[kind].n_handles;
    n_people = 0;
    n_channels = n;
    recover_more = NULL;
    if (!(flags & ORPHAN)) make_inner();
    for (unsigned i = 0; i < n; i++) channels[i] = conduit_new(0, 0, "faulty", hold | KEEPERS);
}

static unsigned new_person(unsigned guards) {
    CHECK(n_people < PEOPLE);
    people[n_people] = person_new();
    deals[n_people] = deal_of(guards);
    return n_people++;
}

MAYBE_UNUSED static conduit *last_channel(void) { return &channels[n_channels - 1]; }

MAYBE_UNUSED static void actor_takes(unsigned mask) {
    for (unsigned i = 0; flags & SIDES && i < n_channels; i++) take_ends(&channels[i], mask);
    if (flags & ORPHAN) make_inner();
}

/* It is as it was sent; what it has brought is there, and is let go of if nobody else had it. */
MAYBE_UNUSED static void is_the_message(const message *m) {
    IS_MESSAGE(*m, NUMBER, size);
    CHECK_EQ(m->n_handles, n_handles);
    if (!n_handles || !(flags & ORPHAN)) return;
    port p = {.arena = &arena, .kind = IP_QUEUE, .readers_end = -1, .writers_end = -1, .id = m->handles[0].id};
    OK(ip_object_find(&arena, p.id, &p.kind, &p.object));
    p.in = p.out = ip_ring_of(p.object, IP_QUEUE, 0);
    TAKE(&p, 5, 50);
    OK(ip_object_release(&arena, p.id, 0));
}

/* What became of the offers of person i: IP_OK, IP_POISONED, IP_RETIRED; IP_BUSY: they are out, now as before. */
static ip_status fate(unsigned i) {
    ip_status status = settle_deal(&deals[i], &people[i]);
    if (status == IP_AGAIN) status = try_deal(&deals[i], &people[i], 0, true);
    return status == IP_AGAIN ? IP_BUSY : status;
}

/* A death is told to those who wait for what has died; if it had no side they wait on. */
MAYBE_UNUSED static void is_told(ip_status status) { CHECK_EQ(status, flags & SIDES ? IP_POISONED : IP_BUSY); }

static void strike(void) {
    for (unsigned i = 0; i < n_people; i++) {
        end_deal(&deals[i]);
        dismiss(&people[i]);
    }
    for (unsigned i = 0; i < n_channels; i++)
        for (unsigned end = 0; end < 3; end++) {
            ip_status status = ip_object_release(&arena, channels[i].id, end);
            CHECK(status == IP_OK || status == IP_FREED);
        }
    if (flags & ORPHAN) return;
    CHECK_EQ(handles_in_transit(&inner), 0);
    TAKE(&inner, 5, 50);
    OK(ip_object_release(&arena, inner.id, 0));
}

/* The channels that are not poisoned do as ever, whatever lies in their queues. Nobody waits there. */
MAYBE_UNUSED static void channels_work(void) {
    unsigned a = new_person(2), b = new_person(2);
    for (unsigned i = 0; i < n_channels; i++) {
        if (look_at(&channels[i]).poisoned) continue;
        for (unsigned round = 0; round < 2; round++) {
            unsigned first = round ? a : b, second = round ? b : a;
            clear_deal(&deals[a]);
            clear_deal(&deals[b]);
            writing(&deals[a], &channels[i], i, 800);
            reading(&deals[b], &channels[i]);
            CHECK_EQ(try_deal(&deals[first], &people[first], 0, true), IP_AGAIN);
            OK(try_deal(&deals[second], &people[second], 0, false));
            OK(settle_deal(&deals[first], &people[first]));
            IS_MESSAGE(deals[b].got, i, 800);
        }
    }
}

static unsigned anywhere; /* how often each is killed at any of its instructions, instead of at each fault point */

static void with_kinds(const char *name, void (*prepare)(void), void (*act)(void), void (*verify)(void), unsigned its_flags, unsigned n_kinds) {
    for (kind = 0; kind < n_kinds; kind++) {
        char title[120];
        flags = its_flags;
        if (flags & ORPHAN && !kinds[kind].n_handles) continue;
        snprintf(title, sizeof title, "%s%s%s%s%s%s", name, n_kinds > 1 ? ", " : "", n_kinds > 1 ? kinds[kind].name : "",
                 flags & SIDES ? ", by a holder" : "", flags & ORPHAN ? ", of one's own" : "", flags & WIDE ? ", of many" : "");
        operation op = {title, prepare, act, verify, false};
#ifdef HAS_INSTRUCTIONS
        static uint64_t random = 3;
        if (anywhere) {
            kill_anywhere(&op, anywhere, &random);
            continue;
        }
#endif
        kill_everywhere(&op, FIRST, STRIDE, RECOVERIES);
    }
}

/* Shared memory for a program's trials. */
static void begin_trials(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    scene = mmap(NULL, sizeof *scene, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && scene != MAP_FAILED);
    find_points();
}

#endif

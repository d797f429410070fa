/* waits.c: reading who waits for what, and finding those whose waits can never end. */
#include "waits.h"

#include <stdlib.h>
#include <string.h>

#include "barrier.h"

#define SIDES 3u

struct ip_awaited {
    uint64_t helpers[IP_HOLDER_WORDS]; /* a bitmap of the processes that could bring it about */
    uint32_t first;                    /* its first waiter + 1, or 0 */
    bool comes;                        /* whoever waits for it goes on */
};

struct ip_waiter {
    uint32_t wait, next; /* next: + 1, or 0 */
};

/* Room for one more element. */
static ip_status make_room(void *array, unsigned n, unsigned *room, size_t size) {
    void **elements = array;
    if (n < *room) return IP_OK;
    unsigned wanted = *room ? 2 * *room : 64;
    void *more = realloc(*elements, wanted * size);
    if (!more) return IP_NO_MEMORY;
    *elements = more;
    *room = wanted;
    return IP_OK;
}

/* ---- reading ---- */

ip_status ip_wait_read(ip_arena *arena, ip_id id, ip_object *object, ip_wait *wait) {
    uint64_t member;
    memset(wait, 0, sizeof *wait);
    wait->id = id;
    IP_TRY(ip_party_of(arena, object, &wait->party));
    IP_READ(&wait->party->state, wait->state);
    IP_READ(&wait->party->mode, wait->mode);
    IP_READ(&wait->party->parent, wait->parent);
    IP_READ(&wait->party->children, wait->children);
    IP_READ(&wait->party->bell, wait->bell);
    IP_READ(&wait->party->member, member);
    wait->member = (uint32_t)(member & 0xFFF) - 1;
    return wait->member < IP_MEMBERS_MAX ? IP_OK : IP_CORRUPT;
}

static ip_status read_parties(ip_waits *w) {
    for (uint32_t index = 0;; index++) {
        ip_id id;
        int kind;
        ip_object *object;
        ip_status status = ip_object_at(w->arena, index, &id, &kind, &object);
        if (status == IP_AGAIN) return IP_OK;
        if (status == IP_FREED || (status == IP_OK && kind != IP_PARTY)) continue;
        if (status != IP_OK) return status;
        IP_TRY(make_room(&w->waits, w->n, &w->room, sizeof *w->waits));
        ip_wait *wait = &w->waits[w->n];
        IP_TRY(ip_wait_read(w->arena, id, object, wait));
        wait->in = ip_party_phase(wait->state) == IP_PARTY_WAITING && !(wait->mode & (IP_TIMED | IP_OUTSIDE | IP_CROWD | IP_LOOP));
        w->wait_of[index] = ++w->n;
        if (!(wait->mode & IP_LOOP)) w->known[wait->member] = true; /* a bell only wakes tasks, which are parties themselves */
    }
}

static ip_status read_channel(ip_waits *w, ip_object *object, unsigned side, ip_awaited *awaited) {
    ip_channel *channel;
    uint64_t unborn, transit;
    IP_TRY(ip_channel_of(w->arena, object, &channel));
    if (ip_channel_ready(object, channel, side) || ip_channel_open_for(object, channel, side) != IP_OK) {
        awaited->comes = true;
        return IP_OK;
    }
    IP_READ(&object->unborn, unborn);
    const ip_end *end = &object->ends[unborn >> !side & 1 ? IP_KEEPS : !side];
    IP_READ(&end->transit, transit);
    awaited->comes = transit != 0; /* a handle is on its way */
    for (unsigned i = 0; i < IP_HOLDER_WORDS; i++) IP_READ(&end->holders[i], awaited->helpers[i]);
    return IP_OK;
}

static ip_status read_barrier(ip_waits *w, ip_object *object, ip_awaited *awaited) {
    ip_barrier *barrier;
    uint64_t position = 0;
    uint32_t member;
    ip_status status;
    IP_TRY(ip_barrier_of(w->arena, object, &barrier));
    while ((status = ip_barrier_member(w->arena, barrier, &position, &member)) == IP_OK) {
        if (member < IP_MEMBERS_MAX)
            awaited->helpers[member / IP_HOLDER_BITS] |= UINT64_C(1) << member % IP_HOLDER_BITS;
        else
            awaited->comes = true; /* an enrolment is on its way */
    }
    return status == IP_AGAIN ? IP_OK : status;
}

/* What a guard waits for; NULL: it is no more, so its party is about to find out. */
static ip_status read_awaited(ip_waits *w, uint64_t where, ip_awaited **awaited) {
    ip_id id;
    int kind;
    ip_object *object;
    uint64_t index = where & 0xFFFFF;
    unsigned side = ip_where_side(where);
    *awaited = NULL;
    ip_status status = ip_object_at(w->arena, (uint32_t)index, &id, &kind, &object);
    if (status == IP_FREED || status == IP_AGAIN) return IP_OK;
    if (status != IP_OK) return status;
    if ((ip_where(id, side) ^ where) & ~IP_QUEUED || kind != (side == IP_SYNCS ? IP_BARRIER : IP_CHANNEL)) return IP_OK;
    uint32_t *place = &w->awaited_of[index * SIDES + side];
    if (!*place) {
        IP_TRY(make_room(&w->awaited, w->n_awaited, &w->awaited_room, sizeof *w->awaited));
        ip_awaited *fresh = &w->awaited[w->n_awaited];
        memset(fresh, 0, sizeof *fresh);
        IP_TRY(kind == IP_CHANNEL ? read_channel(w, object, side, fresh) : read_barrier(w, object, fresh));
        *place = ++w->n_awaited;
    }
    *awaited = &w->awaited[*place - 1];
    return IP_OK;
}

static ip_status read_guards(ip_waits *w, uint32_t place) {
    ip_wait *wait = &w->waits[place];
    uint64_t n, where;
    IP_READ(&wait->party->guards, n);
    if (n == 0) wait->in = false;
    for (uint64_t i = 0; i < n && wait->in; i++) {
        ip_awaited *awaited;
        ip_party_guard *guard = ip_party_guard_at(w->arena, wait->party, i);
        if (!guard) return IP_CORRUPT;
        IP_READ(&guard->where, where);
        IP_TRY(read_awaited(w, where, &awaited));
        if (!awaited || awaited->comes) {
            wait->in = false;
            break;
        }
        IP_TRY(make_room(&w->waiters, w->n_waiters, &w->waiters_room, sizeof *w->waiters));
        w->waiters[w->n_waiters] = (ip_waiter){place, awaited->first};
        awaited->first = ++w->n_waiters;
    }
    return IP_OK;
}

ip_wait *ip_waits_find(const ip_waits *w, ip_id party) {
    uint32_t place = party.index < w->objects ? w->wait_of[party.index] : 0;
    return place && w->waits[place - 1].id.generation == party.generation ? &w->waits[place - 1] : NULL;
}

/* By ip_party_name; 0: NULL. */
static ip_wait *find_named(const ip_waits *w, uint64_t name) {
    return name ? ip_waits_find(w, (ip_id){(uint32_t)(name & 0x1FFFFF) - 1, (uint32_t)(name >> 21)}) : NULL;
}

/* Whose thread waits: a task goes on with that, and with nothing before. */
static ip_status read_stalls(ip_waits *w) {
    for (uint32_t i = 0; i < w->n; i++) {
        uint64_t stalls;
        IP_READ(&w->waits[i].party->stalls, stalls);
        ip_wait *bell = w->waits[i].in ? find_named(w, stalls) : NULL;
        if (bell) bell->stalled_by = i + 1;
    }
    for (uint32_t i = 0; i < w->n; i++) {
        ip_wait *wait = &w->waits[i], *bell = find_named(w, wait->bell);
        if (!bell || !bell->stalled_by) continue;
        ip_wait *thread = &w->waits[bell->stalled_by - 1];
        wait->stalled_by = bell->stalled_by;
        wait->next_stalled = thread->stalled;
        thread->stalled = i + 1;
        wait->in = false; /* its guards do not matter */
    }
    return IP_OK;
}

ip_status ip_waits_read(ip_arena *arena, ip_waits *w) {
    memset(w, 0, sizeof *w);
    w->arena = arena;
    IP_READ(&arena->header->directory_used, w->objects);
    if (w->objects > IP_OBJECTS_MAX) return IP_CORRUPT;
    w->wait_of = calloc(w->objects + 1, sizeof *w->wait_of);
    w->awaited_of = calloc(SIDES * w->objects + 1, sizeof *w->awaited_of);
    if (!w->wait_of || !w->awaited_of) return IP_NO_MEMORY;
    IP_TRY(read_parties(w));
    IP_TRY(read_stalls(w));
    for (uint32_t i = 0; i < w->n; i++)
        if (w->waits[i].in && !(w->waits[i].mode & IP_JOINING)) IP_TRY(read_guards(w, i));
    return IP_OK;
}

void ip_waits_free(ip_waits *w) {
    free(w->waits);
    free(w->awaited);
    free(w->waiters);
    free(w->wait_of);
    free(w->awaited_of);
    free(w->gone);
}

/* ---- taking out ---- */

/* Who started it, and waits for its end: or NULL. */
static ip_wait *joiner_of(const ip_waits *w, const ip_wait *wait) {
    ip_wait *parent = find_named(w, wait->parent);
    return parent && parent->mode & IP_JOINING ? parent : NULL;
}

/* A task whose loop's thread waits. */
static bool is_stalled(const ip_wait *wait) { return wait->bell && wait->stalled_by; }

static void take_out(ip_waits *w, ip_wait *wait) {
    if (!wait->in) return;
    wait->in = false;
    w->gone[w->n_gone++] = (uint32_t)(wait - w->waits);
}

static void now_runs(ip_waits *w, uint32_t member) {
    uint64_t bit = UINT64_C(1) << member % IP_HOLDER_BITS, *word = &w->runs[member / IP_HOLDER_BITS];
    if (*word & bit) return;
    *word |= bit;
    w->running[w->n_running++] = member;
}

static void now_comes(ip_waits *w, ip_awaited *awaited) {
    awaited->comes = true;
    for (uint32_t i = awaited->first; i; i = w->waiters[i - 1].next) take_out(w, &w->waits[w->waiters[i - 1].wait]);
}

/* Who is not in from the beginning, and what that means. */
static void begin(ip_waits *w) {
    for (uint32_t i = 0; i < w->n; i++)
        if (is_stalled(&w->waits[i])) w->waits[i].in = w->waits[w->waits[i].stalled_by - 1].in;
    for (uint32_t i = 0; i < w->n; i++) {
        ip_wait *wait = &w->waits[i], *joiner = joiner_of(w, wait);
        if (wait->in && joiner) joiner->stuck_children++;
        if (!wait->in && !(wait->mode & IP_LOOP)) now_runs(w, wait->member);
    }
    for (uint32_t member = 0; member < IP_MEMBERS_MAX; member++)
        if (!w->known[member]) now_runs(w, member);
    for (uint32_t i = 0; i < w->n; i++) {
        ip_wait *wait = &w->waits[i];
        if (!(wait->mode & IP_JOINING) || is_stalled(wait)) continue; /* stalled: it could not even see its children end */
        if (wait->stuck_children < wait->children || !wait->children) take_out(w, wait);
    }
    for (unsigned i = 0; i < w->n_awaited; i++) {
        uint64_t could = 0;
        for (unsigned k = 0; k < IP_HOLDER_WORDS; k++) could |= w->awaited[i].helpers[k] & w->runs[k];
        if (could) now_comes(w, &w->awaited[i]);
    }
    w->n_running = 0; /* all these have been reckoned with */
}

ip_status ip_waits_reduce(ip_waits *w) {
    w->gone = malloc((w->n + 1) * sizeof *w->gone); /* each goes once */
    if (!w->gone) return IP_NO_MEMORY;
    begin(w);
    while (w->n_gone || w->n_running) {
        while (w->n_gone) {
            ip_wait *wait = &w->waits[w->gone[--w->n_gone]], *joiner = joiner_of(w, wait);
            now_runs(w, wait->member);
            if (joiner && --joiner->stuck_children < joiner->children && !is_stalled(joiner)) take_out(w, joiner);
            for (uint32_t i = wait->stalled; i; i = w->waits[i - 1].next_stalled) take_out(w, &w->waits[i - 1]);
        }
        if (!w->n_running) break;
        uint32_t member = w->running[--w->n_running];
        for (unsigned i = 0; i < w->n_awaited; i++)
            if (!w->awaited[i].comes && w->awaited[i].helpers[member / IP_HOLDER_BITS] >> member % IP_HOLDER_BITS & 1)
                now_comes(w, &w->awaited[i]);
    }
    for (unsigned i = 0; i < w->n; i++) {
        if (is_stalled(&w->waits[i])) w->waits[i].in = false;
        w->n_stuck += w->waits[i].in;
    }
    return IP_OK;
}

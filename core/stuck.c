/* stuck.c: deadlock: which waits can never end.
 *
 * Stuck is the largest set of waiting parties such that nobody outside of it could end a wait inside: for a guard, the holders of the
 * other side of its channel (or who is enrolled at its barrier) are processes all of whose parties are in the set; for one that joins,
 * all it has started are. It is found by beginning with all who wait for nothing else, and taking out whoever could be helped until
 * nobody is left to take out. A process of which no party is known counts as one that runs.
 */
#include <stdlib.h>
#include <string.h>

#include "choice.h"
#include "fault.h"
#include "member.h"

typedef struct {
    ip_id id;
    ip_object *object;
    ip_party *party;
    uint32_t member;
    uint64_t state, mode, name, parent, children;
    int phase;
    bool in;
} node;

typedef struct {
    ip_arena *arena;
    node *nodes;
    unsigned n, room;
    uint32_t known[IP_MEMBERS_MAX]; /* parties of each member */
    uint32_t out[IP_MEMBERS_MAX];   /* of them, how many are not in the set */
} network;

static ip_status collect(network *w) {
    ip_arena *arena = w->arena;
    for (uint32_t index = 0;; index++) {
        node x = {0};
        int kind;
        uint64_t member;
        ip_status status = ip_object_at(arena, index, &x.id, &kind, &x.object);
        if (status == IP_AGAIN) return IP_OK;
        if (status == IP_FREED || (status == IP_OK && kind != IP_PARTY)) continue;
        if (status != IP_OK) return status;
        IP_TRY(ip_party_of(arena, x.object, &x.party));
        IP_READ(&x.party->state, x.state);
        IP_READ(&x.party->mode, x.mode);
        IP_READ(&x.party->parent, x.parent);
        IP_READ(&x.party->children, x.children);
        IP_READ(&x.party->member, member);
        x.phase = ip_party_phase(x.state);
        x.member = (uint32_t)(member & 0xFFF) - 1;
        x.name = ip_party_name(x.id);
        if (x.member >= IP_MEMBERS_MAX) return IP_CORRUPT;
        if (w->n == w->room) {
            unsigned room = w->room ? 2 * w->room : 64;
            node *more = realloc(w->nodes, room * sizeof *more);
            if (!more) return IP_NO_MEMORY;
            w->nodes = more;
            w->room = room;
        }
        w->nodes[w->n++] = x;
    }
}

static bool runs(const network *w, uint32_t member) {
    return member >= IP_MEMBERS_MAX || !w->known[member] || w->out[member];
}

/* Is there a holder of the end who runs, or a handle on its way? */
static ip_status held_by_runner(const network *w, ip_object *object, unsigned end, bool *found) {
    uint64_t word;
    IP_READ(&object->ends[end].transit, word);
    *found = word != 0;
    for (unsigned i = 0; i < IP_HOLDER_WORDS && !*found; i++) {
        IP_READ(&object->ends[end].holders[i], word);
        for (; word && !*found; word &= word - 1)
            *found = runs(w, i * IP_HOLDER_BITS + (unsigned)__builtin_ctzll(word));
    }
    return IP_OK;
}

static ip_status channel_may_move(const network *w, ip_object *object, unsigned side, bool *may) {
    ip_channel *channel;
    uint64_t unborn;
    IP_TRY(ip_channel_of(w->arena, object, &channel));
    *may = ip_channel_ready(object, channel, side) || ip_channel_open_for(object, channel, side) != IP_OK;
    if (*may) return IP_OK;
    IP_READ(&object->unborn, unborn);
    return held_by_runner(w, object, unborn >> !side & 1 ? IP_KEEPS : !side, may);
}

static ip_status barrier_may_move(const network *w, ip_object *object, bool *may) {
    ip_barrier *barrier;
    uint64_t position = 0;
    uint32_t member;
    ip_status status;
    IP_TRY(ip_barrier_of(w->arena, object, &barrier));
    *may = false;
    while (!*may && (status = ip_barrier_member(w->arena, barrier, &position, &member)) != IP_AGAIN) {
        if (status != IP_OK) return status;
        *may = runs(w, member);
    }
    return IP_OK;
}

/* Could the wait of this one end? */
static ip_status may_move(const network *w, const node *x, bool *may) {
    uint64_t n, where;
    *may = false;
    if (x->mode & IP_JOINING) {
        uint64_t stuck = 0;
        for (unsigned i = 0; i < w->n; i++) stuck += w->nodes[i].in && w->nodes[i].parent == x->name;
        *may = stuck < x->children || !x->children;
        return IP_OK;
    }
    IP_READ(&x->party->guards, n);
    *may = n == 0;
    for (uint64_t i = 0; i < n && !*may; i++) {
        ip_id id;
        int kind;
        ip_object *object;
        ip_party_guard *guard = ip_party_guard_at(w->arena, x->party, i);
        if (!guard) return IP_CORRUPT;
        IP_READ(&guard->where, where);
        ip_status status = ip_object_at(w->arena, (uint32_t)(where & 0xFFFFF), &id, &kind, &object);
        *may = status != IP_OK || ((id.generation ^ where >> 20) & 0xFFFFFF);
        if (*may) continue;
        if (kind == IP_CHANNEL)
            IP_TRY(channel_may_move(w, object, ip_where_side(where), may));
        else if (kind == IP_BARRIER)
            IP_TRY(barrier_may_move(w, object, may));
        else
            *may = true;
    }
    return IP_OK;
}

static ip_status find(network *w) {
    IP_TRY(collect(w));
    for (unsigned i = 0; i < w->n; i++) {
        node *x = &w->nodes[i];
        if (x->mode & IP_LOOP) continue; /* it only wakes tasks, which are parties themselves */
        x->in = x->phase == IP_PARTY_WAITING && !(x->mode & (IP_TIMED | IP_OUTSIDE | IP_CROWD));
        w->known[x->member]++;
        w->out[x->member] += !x->in;
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (unsigned i = 0; i < w->n; i++) {
            node *x = &w->nodes[i];
            bool may;
            if (!x->in) continue;
            IP_TRY(may_move(w, x, &may));
            if (!may) continue;
            x->in = false;
            w->out[x->member]++;
            changed = true;
        }
    }
    return IP_OK;
}

static ip_status describe(ip_arena *arena, const node *x, ip_stuck_party *out) {
    uint64_t n, where;
    memset(out, 0, offsetof(ip_stuck_party, note));
    out->id = x->id;
    out->ticket = ip_party_ticket(x->state);
    out->parent = x->parent;
    out->mode = (unsigned)x->mode;
    out->member = x->member;
    IP_READ(&x->party->guards, n);
    out->n_guards = (unsigned)n;
    for (uint64_t i = 0; i < n && i < IP_GUARDS_FEW; i++) {
        ip_party_guard *guard = ip_party_guard_at(arena, x->party, i);
        if (!guard) return IP_CORRUPT;
        IP_READ(&guard->where, where);
        ip_object *object;
        int kind;
        ip_id id;
        if (ip_object_at(arena, (uint32_t)(where & 0xFFFFF), &id, &kind, &object) != IP_OK) continue;
        out->guards[out->guards_shown].object = id;
        out->guards[out->guards_shown++].side = ip_where_side(where);
    }
    IP_TRY(ip_party_read_note(x->party, out->note, sizeof out->note, &out->note_size));
    return ip_party_read_card(arena, x->party, out->card, sizeof out->card, &out->card_size);
}

static void fill_in_pids(ip_arena *arena, ip_stuck_party *found, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        uint32_t generation = ip_member_incarnation(arena, found[i].member);
        found[i].pid = generation ? ip_member_pid(arena, found[i].member, generation) : 0;
    }
}

ip_status ip_stuck_find(ip_arena *arena, ip_stuck_party *found, unsigned room, unsigned *n) {
    network *w = calloc(1, sizeof *w);
    unsigned shown = 0;
    *n = 0;
    if (!w) return IP_NO_MEMORY;
    w->arena = arena;
    ip_status status = ip_lock_take(arena, &arena->header->lock, IP_PATIENT);
    if (status == IP_OK) {
        status = find(w);
        for (unsigned i = 0; i < w->n && status == IP_OK; i++) {
            if (!w->nodes[i].in) continue;
            if (*n < room) status = describe(arena, &w->nodes[i], &found[shown++]);
            ++*n;
        }
        ip_lock_release(&arena->header->lock);
    }
    free(w->nodes);
    free(w);
    if (status == IP_OK) fill_in_pids(arena, found, shown);
    return status;
}

/* Gives one party the text and ends its wait. */
static ip_status tell(ip_arena *arena, const node *x, const void *text, uint64_t size) {
    ip_outgoing message = {.data = text, .size = size};
    ip_piece piece = {text, size};
    uint64_t used, owner, sum = size;
    ip_event *wake;
    if (ip_parcel_size(&message) > 8 * IP_PARCEL_WORDS) {
        IP_READ(&x->party->member, owner);
        IP_TRY(ip_heap_alloc(arena, size, owner, &message.block));
        sum = ip_copy_sum(ip_at(arena, message.block), text, size, sum);
        message.block_sum = sum & IP_PAYLOAD_MAX;
        message.pieces = &piece;
        message.n_pieces = 1;
    }
    IP_TRY(ip_parcel_write(x->party->inbox, IP_PARCEL_WORDS, &message, &used));
    uint64_t stuck = ip_party_pack(IP_PARTY_STUCK, 0, ip_party_ticket(x->state));
    if (message.block) /* in the change that makes it the party's: who is not told has no block either */
        ip_journal_publish(arena, &x->party->state, stuck);
    else
        atomic_exchange_explicit(&x->party->state, ip_seal(stuck), memory_order_seq_cst);
    FAULT("stuck.told");
    IP_TRY(ip_party_call(arena, x->party, &wake, NULL));
    if (wake) ip_event_wake(wake);
    return IP_OK;
}

ip_status ip_stuck_declare(ip_arena *arena, const ip_stuck_party *found, unsigned n, const void *text, uint64_t size) {
    network *w = calloc(1, sizeof *w);
    unsigned again = 0;
    if (!w) return IP_NO_MEMORY;
    w->arena = arena;
    ip_status status = ip_lock_take(arena, &arena->header->lock, IP_PATIENT);
    if (status == IP_OK) {
        status = find(w);
        for (unsigned i = 0; i < w->n; i++)
            for (unsigned k = 0; k < n && w->nodes[i].in; k++)
                again += w->nodes[i].name == ip_party_name(found[k].id) &&
                         ip_party_ticket(w->nodes[i].state) == found[k].ticket;
        if (status == IP_OK && again < n) status = IP_AGAIN;
        for (unsigned i = 0; i < w->n && status == IP_OK; i++) {
            if (!w->nodes[i].in || w->nodes[i].mode & IP_JOINING) continue; /* who joins learns it from those it has started */
            status = tell(arena, &w->nodes[i], text, size);
            if (status != IP_OK) ip_journal_rollback(arena);
        }
        ip_lock_release(&arena->header->lock);
    }
    free(w->nodes);
    free(w);
    return status;
}

ip_status ip_party_next(ip_arena *arena, uint32_t *index, int *phase, ip_stuck_party *party) {
    node x = {0};
    int kind;
    uint64_t member;
    ip_status status;
    IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_PATIENT));
    for (;; ++*index) {
        status = ip_object_at(arena, *index, &x.id, &kind, &x.object);
        if (status == IP_FREED || (status == IP_OK && kind != IP_PARTY)) continue;
        break;
    }
    if (status == IP_OK) {
        ++*index;
        status = ip_party_of(arena, x.object, &x.party);
        if (status == IP_OK && (!ip_get(&x.party->state, &x.state) || !ip_get(&x.party->mode, &x.mode) ||
                                !ip_get(&x.party->parent, &x.parent) || !ip_get(&x.party->member, &member)))
            status = IP_CORRUPT;
        if (status == IP_OK) {
            x.member = (uint32_t)(member & 0xFFF) - 1;
            *phase = ip_party_phase(x.state);
            status = describe(arena, &x, party);
        }
    }
    ip_lock_release(&arena->header->lock);
    if (status == IP_OK) fill_in_pids(arena, party, 1);
    return status;
}

/* directory.c: objects: creation, holding, letting go, freeing. */
#include "directory.h"

#include <string.h>

#include "barrier.h"
#include "channel.h"
#include "fault.h"
#include "heap.h"
#include "list.h"
#include "member.h"
#include "party.h"
#include "ring.h"
#include "table.h"

#define DOOMED 0x80u
#define LOST 0x7F /* the kind of a doomed object that cannot be freed since it is damaged */
#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))

static uint64_t pack(int kind, bool doomed, uint32_t generation) {
    return (uint64_t)kind | (doomed ? DOOMED : 0) | (uint64_t)generation << 8;
}
static int kind_of(uint64_t state) { return (int)(state & 0x7F); }
static bool is_doomed(uint64_t state) { return state & DOOMED; }
static uint32_t generation_of(uint64_t state) { return (uint32_t)(state >> 8); }

uint64_t ip_object_size(unsigned ends) {
    uint64_t size = sizeof(ip_object) + ends * sizeof(ip_end);
    return (size + IP_CACHE_LINE - 1) & ~(uint64_t)(IP_CACHE_LINE - 1);
}

static ip_entry *entry_at(const ip_arena *arena, uint64_t index) {
    return (ip_entry *)ip_at(arena, arena->directory) + index;
}

static ip_status used_entries(ip_arena *arena, uint64_t *used) {
    IP_READ(&arena->header->directory_used, *used);
    return *used <= IP_OBJECTS_MAX ? IP_OK : IP_CORRUPT;
}

static ip_status take(ip_arena *arena) { return ip_lock_take(arena, &arena->header->lock, IP_PATIENT); }

/* The checked body of an entry in use. */
static ip_status body_of(ip_arena *arena, uint64_t index, uint64_t state, ip_object **object, unsigned *ends) {
    uint64_t at, kind, back, size;
    ip_block *block;
    IP_READ(&entry_at(arena, index)->body, at);
    IP_TRY(ip_heap_block(arena, at, &block, &size));
    *object = ip_at(arena, at);
    IP_READ(&(*object)->kind, kind);
    IP_READ(&(*object)->index, back);
    *ends = (unsigned)(kind >> 8 & 0xFF);
    if ((int)(kind & 0xFF) != kind_of(state) || back != index || *ends < 1 || *ends > IP_ENDS_MAX || size < ip_object_size(*ends))
        return IP_CORRUPT;
    return IP_OK;
}

ip_status ip_object_find(ip_arena *arena, ip_id id, int *kind, ip_object **object) {
    uint64_t used, state;
    unsigned ends;
    IP_TRY(used_entries(arena, &used));
    if (id.index >= used) return IP_FREED;
    IP_READ(&entry_at(arena, id.index)->state, state);
    *kind = kind_of(state);
    if (!*kind || is_doomed(state) || generation_of(state) != id.generation) return IP_FREED;
    return body_of(arena, id.index, state, object, &ends);
}

static bool is_enrolment(unsigned end) { return end & IP_ENROLMENT; }

static ip_status find_end(ip_arena *arena, ip_id id, unsigned end, ip_object **object, unsigned *ends) {
    int kind;
    uint64_t word;
    IP_TRY(ip_object_find(arena, id, &kind, object));
    IP_READ(&(*object)->kind, word);
    *ends = (unsigned)(word >> 8 & 0xFF);
    return end < *ends || (kind == IP_BARRIER && is_enrolment(end)) ? IP_OK : IP_FREED;
}

static ip_status is_born(ip_arena *arena, ip_object *object, unsigned end) {
    uint64_t unborn;
    IP_READ(&object->unborn, unborn);
    return unborn >> end & 1 ? ip_journal_set(arena, &object->unborn, unborn & ~(UINT64_C(1) << end)) : IP_OK;
}

static ip_status set_bit(ip_arena *arena, ip_object *object, unsigned end, uint32_t member, bool on) {
    uint64_t word, bit = UINT64_C(1) << member % IP_HOLDER_BITS;
    ip_word *holders = &object->ends[end].holders[member / IP_HOLDER_BITS];
    IP_READ(holders, word);
    if (((word & bit) != 0) == on) return IP_OK;
    if (on) IP_TRY(is_born(arena, object, end));
    return ip_journal_set(arena, holders, on ? word | bit : word & ~bit);
}

static ip_status end_is_empty(ip_object *object, unsigned end, bool *empty) {
    uint64_t word;
    *empty = false;
    IP_READ(&object->ends[end].transit, word);
    if (word) return IP_OK;
    for (unsigned i = 0; i < IP_HOLDER_WORDS; i++) {
        IP_READ(&object->ends[end].holders[i], word);
        if (word) return IP_OK;
    }
    *empty = true;
    return IP_OK;
}

/* Has the object no holder at all? Notes ends that are empty, for good; but those of a channel's keepers may be taken hold of again. */
static ip_status is_abandoned(ip_arena *arena, ip_object *object, unsigned ends, bool *abandoned) {
    uint64_t vacated, now, unborn, kind;
    bool empty;
    IP_READ(&object->vacated, vacated);
    IP_READ(&object->unborn, unborn);
    IP_READ(&object->kind, kind);
    now = vacated;
    *abandoned = true;
    for (unsigned end = 0; end < ends; end++) {
        if ((now | unborn) >> end & 1) continue;
        IP_TRY(end_is_empty(object, end, &empty));
        if (!empty)
            *abandoned = false;
        else if ((kind & 0xFF) != IP_CHANNEL || end != IP_KEEPS)
            now |= UINT64_C(1) << end;
    }
    return now == vacated ? IP_OK : ip_journal_set(arena, &object->vacated, now);
}

/* After a bit was cleared or a handle arrived: notes empty ends; dooms the object if all are. */
static ip_status settle(ip_arena *arena, ip_object *object, unsigned ends) {
    uint64_t index, state, doomed;
    bool abandoned;
    IP_TRY(is_abandoned(arena, object, ends, &abandoned));
    if (!abandoned) return IP_OK;
    IP_READ(&object->index, index);
    IP_READ(&entry_at(arena, index)->state, state);
    if (is_doomed(state)) return IP_OK;
    SET(&entry_at(arena, index)->state, state | DOOMED);
    IP_READ(&arena->header->directory_doomed, doomed);
    SET(&arena->header->directory_doomed, doomed + 1);
    return IP_OK;
}

static ip_status take_entry(ip_arena *arena, uint64_t *index) {
    ip_header *header = arena->header;
    uint64_t free, next, used;
    IP_READ(&header->directory_free, free);
    if (free) {
        *index = free - 1;
        IP_TRY(used_entries(arena, &used));
        if (*index >= used) return IP_CORRUPT;
        IP_READ(&entry_at(arena, *index)->next, next);
        SET(&header->directory_free, next);
        return IP_OK;
    }
    IP_TRY(used_entries(arena, &used));
    if (used == IP_OBJECTS_MAX) return IP_CROWDED;
    IP_TRY(ip_arena_commit(arena, arena->directory, &header->committed_directory, (used + 1) * sizeof(ip_entry)));
    ip_entry *entry = entry_at(arena, used);
    ip_set(&entry->state, 0);
    ip_set(&entry->body, 0);
    ip_set(&entry->next, 0);
    ip_set(&entry->name, 0);
    SET(&header->directory_used, used + 1);
    *index = used;
    return IP_OK;
}

static uint64_t hash_of(const char *name, uint64_t size) {
    uint64_t hash = ip_sum(name, size, 1) & IP_PAYLOAD_MAX;
    return hash ? hash : 1;
}

static ip_status read_name(ip_arena *arena, ip_object *object, char *name, uint64_t *size) {
    uint64_t at, sum, room;
    ip_block *block;
    IP_READ(&object->name, at);
    IP_READ(&object->name_size, *size);
    IP_READ(&object->name_sum, sum);
    if (!at) {
        *size = 0;
        return IP_OK;
    }
    IP_TRY(ip_heap_block(arena, at, &block, &room));
    if (*size > IP_NAME_MAX || *size > room) return IP_CORRUPT;
    memcpy(name, ip_at(arena, at), *size);
    return hash_of(name, *size) == sum ? IP_OK : IP_CORRUPT;
}

static ip_status find_name(ip_arena *arena, const char *name, uint64_t size, uint64_t *index) {
    uint64_t used, state, hash, mine = hash_of(name, size), its_size;
    char its[IP_NAME_MAX];
    ip_object *object;
    unsigned ends;
    IP_TRY(used_entries(arena, &used));
    for (*index = 0; *index < used; ++*index) {
        IP_READ(&entry_at(arena, *index)->name, hash);
        if (hash != mine) continue;
        IP_READ(&entry_at(arena, *index)->state, state);
        if (!kind_of(state) || is_doomed(state)) continue;
        IP_TRY(body_of(arena, *index, state, &object, &ends));
        IP_TRY(read_name(arena, object, its, &its_size));
        if (its_size == size && memcmp(its, name, size) == 0) return IP_OK;
    }
    return IP_FREED;
}

typedef struct {
    int kind;
    unsigned ends, hold_mask;
    uint64_t body_size;
    const char *name;
    uint64_t name_size;
    ip_maker make;
    void *context;
} recipe;

static ip_status create(ip_arena *arena, const recipe *r, ip_id *id, ip_object **object) {
    uint64_t index, at, state, name_at = 0;
    IP_TRY(take_entry(arena, &index));
    IP_TRY(ip_heap_alloc(arena, r->body_size, 0, &at));
    if (r->name_size) {
        IP_TRY(ip_heap_alloc(arena, r->name_size, 0, &name_at));
        memcpy(ip_at(arena, name_at), r->name, r->name_size);
    }
    *object = ip_at(arena, at);
    uint64_t words = ip_object_size(r->ends) / sizeof(ip_word);
    for (uint64_t i = 0; i < words; i++) ip_set((ip_word *)*object + i, 0);
    ip_set(&(*object)->index, index);
    ip_set(&(*object)->kind, (uint64_t)r->kind | (uint64_t)r->ends << 8);
    ip_set(&(*object)->name, name_at);
    ip_set(&(*object)->name_size, r->name_size);
    ip_set(&(*object)->name_sum, r->name_size ? hash_of(r->name, r->name_size) : 0);
    if (r->kind == IP_CHANNEL) ip_set(&(*object)->unborn, (UINT64_C(1) << IP_KEEPS) - 1);
    IP_TRY(r->make(arena, *object, r->context));
    for (unsigned end = 0; end < r->ends; end++)
        if (r->hold_mask >> end & 1) IP_TRY(set_bit(arena, *object, end, arena->self, true));
    ip_entry *entry = entry_at(arena, index);
    IP_READ(&entry->state, state);
    uint32_t generation = generation_of(state) + 1;
    SET(&entry->body, at);
    SET(&entry->name, r->name_size ? hash_of(r->name, r->name_size) : 0);
    SET(&entry->state, pack(r->kind, false, generation));
    *id = (ip_id){(uint32_t)index, generation};
    return IP_OK;
}

static ip_status open_or_create(ip_arena *arena, const recipe *r, ip_id *id, ip_object **object, bool *created) {
    uint64_t index, state;
    unsigned ends;
    *created = true;
    if (!r->name_size) return create(arena, r, id, object);
    ip_status status = find_name(arena, r->name, r->name_size, &index);
    if (status == IP_FREED) return create(arena, r, id, object);
    if (status != IP_OK) return status;
    *created = false;
    IP_READ(&entry_at(arena, index)->state, state);
    if (kind_of(state) != r->kind) return IP_EXISTS;
    IP_TRY(body_of(arena, index, state, object, &ends));
    for (unsigned end = 0; end < ends; end++)
        if (r->hold_mask >> end & 1) IP_TRY(set_bit(arena, *object, end, arena->self, true));
    *id = (ip_id){(uint32_t)index, generation_of(state)};
    return IP_OK;
}

ip_status ip_object_open(ip_arena *arena, int kind, unsigned ends, unsigned hold_mask, uint64_t body_size,
                         const char *name, uint64_t name_size, ip_maker make, void *context, ip_id *id,
                         ip_object **object, bool *created) {
    recipe r = {kind, ends, hold_mask, body_size, name, name_size, make, context};
    if (name_size > IP_NAME_MAX) return IP_TOO_LONG;
    IP_TRY(take(arena));
    return ip_journal_conclude(arena, open_or_create(arena, &r, id, object, created));
}

/* Wakes whoever waits on the object, to look at who is still there. */
static void wake_all(ip_arena *arena, ip_object *object, int kind) {
    if (kind == IP_QUEUE || kind == IP_PIPE) ip_ring_wake_all(arena, object, kind);
    if (kind == IP_CHANNEL) ip_channel_poke_all(arena, object);
    if (kind == IP_BARRIER) ip_barrier_poke_all(arena, object);
}

/* `from`: of an enrolment, who has it now. */
static ip_status hold(ip_arena *arena, ip_id id, unsigned end, uint32_t member, uint64_t from) {
    ip_object *object;
    unsigned ends;
    uint64_t vacated;
    if (member >= IP_MEMBERS_MAX) return IP_CORRUPT;
    IP_TRY(find_end(arena, id, end, &object, &ends));
    if (is_enrolment(end)) {
        uint32_t generation = ip_member_incarnation(arena, member);
        uint64_t to = ip_heap_owner_of(member, generation);
        if (!generation) return IP_FREED; /* nobody would end it */
        ip_status status = ip_barrier_move(arena, object, end, from, to);
        return status == IP_FREED ? ip_barrier_move(arena, object, end, to, to) : status; /* it may have it already */
    }
    IP_READ(&object->vacated, vacated);
    if (vacated >> end & 1) return IP_FREED;
    return set_bit(arena, object, end, member, true);
}

ip_status ip_object_hold(ip_arena *arena, ip_id id, unsigned end, uint32_t member) {
    IP_TRY(take(arena));
    return ip_journal_conclude(arena, hold(arena, id, end, member, ip_heap_owner(arena)));
}

ip_status ip_object_hold_locked(ip_arena *arena, ip_id id, unsigned end, uint64_t other) {
    return hold(arena, id, end, arena->self, other);
}

static ip_status let_go(ip_arena *arena, ip_object *object, unsigned ends, unsigned end, uint32_t member) {
    IP_TRY(set_bit(arena, object, end, member, false));
    return settle(arena, object, ends);
}

static ip_status find_and_let_go(ip_arena *arena, ip_id id, unsigned end, ip_object **object) {
    unsigned ends;
    IP_TRY(find_end(arena, id, end, object, &ends));
    if (is_enrolment(end)) return ip_barrier_end(arena, *object, end, ip_heap_owner(arena));
    return let_go(arena, *object, ends, end, arena->self);
}

static ip_status free_doomed(ip_arena *arena, uint64_t index);

/* Was the object doomed by what was just done? Called without the lock: its memory may be another's by now, so it is the entry that is looked at. */
static ip_status after_letting_go(ip_arena *arena, ip_id id) {
    uint64_t state;
    IP_READ(&entry_at(arena, id.index)->state, state);
    if (generation_of(state) != id.generation || !kind_of(state) || !is_doomed(state)) return IP_OK;
    IP_TRY(free_doomed(arena, id.index));
    return ip_directory_sweep(arena); /* of what its messages carried */
}

ip_status ip_object_release(ip_arena *arena, ip_id id, unsigned end) {
    ip_object *object = NULL;
    uint64_t kind = 0;
    IP_TRY(take(arena));
    ip_status status = find_and_let_go(arena, id, end, &object);
    bool told = status == IP_OK && ip_get(&object->kind, &kind);
    if (told && !is_enrolment(end) && ((kind & 0xFF) != IP_CHANNEL || end != IP_KEEPS)) wake_all(arena, object, (int)(kind & 0xFF));
    IP_TRY(ip_journal_conclude(arena, status));
    return after_letting_go(arena, id);
}

ip_status ip_object_depart(ip_arena *arena, ip_id id, unsigned end) {
    ip_object *object;
    unsigned ends;
    uint64_t transit, vacated;
    IP_TRY(find_end(arena, id, end, &object, &ends));
    if (is_enrolment(end)) return ip_barrier_move(arena, object, end, ip_heap_owner(arena), 0);
    IP_READ(&object->vacated, vacated);
    if (vacated >> end & 1) return IP_FREED; /* the sender's own handle was closed meanwhile */
    IP_READ(&object->ends[end].transit, transit);
    SET(&object->ends[end].transit, transit + 1);
    return IP_OK;
}

ip_status ip_object_arrive(ip_arena *arena, ip_id id, unsigned end, bool hold_it) {
    ip_object *object;
    unsigned ends;
    uint64_t transit;
    IP_TRY(find_end(arena, id, end, &object, &ends));
    if (is_enrolment(end))
        return hold_it ? ip_barrier_move(arena, object, end, 0, ip_heap_owner(arena)) : ip_barrier_end(arena, object, end, 0);
    IP_READ(&object->ends[end].transit, transit);
    if (!transit) return IP_CORRUPT;
    if (hold_it) IP_TRY(set_bit(arena, object, end, arena->self, true));
    SET(&object->ends[end].transit, transit - 1);
    return settle(arena, object, ends);
}

static ip_status share_all(ip_arena *arena, uint32_t member) {
    uint64_t used, state, word;
    ip_object *object;
    unsigned ends;
    IP_TRY(used_entries(arena, &used));
    for (uint64_t i = 0; i < used; i++) {
        IP_READ(&entry_at(arena, i)->state, state);
        if (!kind_of(state) || is_doomed(state) || kind_of(state) == IP_PARTY) continue;
        IP_TRY(body_of(arena, i, state, &object, &ends));
        for (unsigned end = kind_of(state) == IP_CHANNEL ? IP_KEEPS : 0; end < ends; end++) {
            IP_READ(&object->ends[end].holders[arena->self / IP_HOLDER_BITS], word);
            if (!(word >> arena->self % IP_HOLDER_BITS & 1)) continue;
            /* Not journaled: should this process die here, the reserved slot is buried, with whatever bits it has. */
            ip_word *holders = &object->ends[end].holders[member / IP_HOLDER_BITS];
            IP_READ(holders, word);
            ip_set(holders, word | UINT64_C(1) << member % IP_HOLDER_BITS);
            FAULT("directory.shared");
        }
    }
    return IP_OK;
}

ip_status ip_directory_share_all(ip_arena *arena, uint32_t member) {
    if (member >= IP_MEMBERS_MAX) return IP_CORRUPT;
    IP_TRY(take(arena));
    return ip_journal_conclude(arena, share_all(arena, member));
}

/* Clears the member's bits on the object of one entry; under the arena lock. */
static ip_status release_entry(ip_arena *arena, uint64_t index, uint32_t member, bool rings_only) {
    uint64_t state, word;
    ip_object *object;
    unsigned ends;
    bool had = false;
    IP_READ(&entry_at(arena, index)->state, state);
    if (!kind_of(state) || is_doomed(state) || (rings_only && kind_of(state) == IP_MEMORY)) return IP_OK;
    IP_TRY(body_of(arena, index, state, &object, &ends));
    if (kind_of(state) == IP_BARRIER) IP_TRY(ip_barrier_bereave(arena, object, member));
    for (unsigned end = 0; end < ends; end++) {
        IP_READ(&object->ends[end].holders[member / IP_HOLDER_BITS], word);
        if (!(word >> member % IP_HOLDER_BITS & 1)) continue;
        had = true;
        if (kind_of(state) == IP_CHANNEL && end != IP_KEEPS && member != arena->self)
            IP_TRY(ip_channel_bereave(arena, object));
        IP_TRY(let_go(arena, object, ends, end, member));
        FAULT("directory.let_go");
    }
    if (had) wake_all(arena, object, kind_of(state));
    return IP_OK;
}

ip_status ip_directory_release_all(ip_arena *arena, uint32_t member, uint32_t generation, bool rings_only) {
    uint64_t used;
    if (member >= IP_MEMBERS_MAX) return IP_CORRUPT;
    IP_TRY(used_entries(arena, &used));
    for (uint64_t i = 0; i < used;) {
        IP_TRY(take(arena));
        ip_status status = IP_OK;
        if (!ip_member_may_clear(arena, member, generation)) { /* another undertaker was faster */
            ip_lock_release(&arena->header->lock);
            return IP_OK;
        }
        for (unsigned n = 0; n < 64 && i < used && status == IP_OK; n++) {
            status = release_entry(arena, i++, member, rings_only);
            if (status == IP_OK) ip_journal_commit(arena);
        }
        IP_TRY(ip_journal_conclude(arena, status));
    }
    return ip_directory_sweep(arena);
}

/* One step towards freeing a doomed object: IP_AGAIN while there is more to do; under the arena lock. */
static ip_status free_step(ip_arena *arena, uint64_t index, uint64_t state, ip_object *object) {
    uint64_t name_at, body_at, free, doomed;
    ip_range freed_name = {0, 0}, freed;
    int kind = kind_of(state);
    if (kind == IP_QUEUE || kind == IP_PIPE) {
        ip_status status = ip_ring_dismantle(arena, object, kind);
        if (status != IP_OK) return status;
    }
    if (kind == IP_TABLE) IP_TRY(ip_table_dismantle(arena, object));
    if (kind == IP_LIST) IP_TRY(ip_list_dismantle(arena, object));
    if (kind == IP_CHANNEL) IP_TRY(ip_channel_dismantle(arena, object));
    if (kind == IP_BARRIER) IP_TRY(ip_barrier_dismantle(arena, object));
    if (kind == IP_PARTY) IP_TRY(ip_party_dismantle(arena, object));
    IP_READ(&object->name, name_at);
    IP_READ(&entry_at(arena, index)->body, body_at);
    if (name_at) IP_TRY(ip_heap_free(arena, name_at, &freed_name));
    IP_TRY(ip_heap_free(arena, body_at, &freed));
    IP_READ(&arena->header->directory_free, free);
    IP_READ(&arena->header->directory_doomed, doomed);
    if (!doomed) return IP_CORRUPT;
    SET(&arena->header->directory_doomed, doomed - 1);
    SET(&entry_at(arena, index)->state, pack(0, false, generation_of(state)));
    SET(&entry_at(arena, index)->name, 0);
    SET(&entry_at(arena, index)->next, free);
    SET(&arena->header->directory_free, index + 1);
    ip_journal_commit(arena);
    FAULT("directory.freed");
    return ip_heap_trim(arena, &freed);
}

static ip_status mark_lost(ip_arena *arena, uint64_t index) {
    uint64_t state, doomed;
    IP_READ(&entry_at(arena, index)->state, state);
    IP_READ(&arena->header->directory_doomed, doomed);
    if (!kind_of(state) || !is_doomed(state) || kind_of(state) == LOST || !doomed) return IP_OK;
    SET(&arena->header->directory_doomed, doomed - 1);
    SET(&entry_at(arena, index)->state, pack(LOST, true, generation_of(state)));
    return IP_OK;
}

/* An object that is damaged cannot be freed: its memory is given up, so that this is told once, not at every sweep. */
static void set_aside(ip_arena *arena, uint64_t index) {
    if (take(arena) == IP_OK) ip_journal_conclude(arena, mark_lost(arena, index));
}

static ip_status free_doomed(ip_arena *arena, uint64_t index) {
    ip_status status = IP_AGAIN;
    while (status == IP_AGAIN) {
        uint64_t state;
        ip_object *object;
        unsigned ends;
        IP_READ(&entry_at(arena, index)->state, state);
        if (!kind_of(state) || !is_doomed(state) || kind_of(state) == LOST) return IP_OK;
        IP_TRY(take(arena));
        status = IP_OK;
        if (!ip_get(&entry_at(arena, index)->state, &state)) status = IP_CORRUPT;
        if (status == IP_OK && kind_of(state) && is_doomed(state) && kind_of(state) != LOST) {
            status = body_of(arena, index, state, &object, &ends);
            if (status == IP_OK) status = free_step(arena, index, state, object);
        }
        ip_journal_conclude(arena, status == IP_AGAIN ? IP_OK : status);
    }
    if (status == IP_CORRUPT) set_aside(arena, index);
    return status;
}

ip_status ip_directory_sweep(ip_arena *arena) {
    uint64_t used, state, doomed;
    bool found = true;
    while (found) { /* freeing a queue may doom what its messages carried */
        found = false;
        IP_READ(&arena->header->directory_doomed, doomed);
        if (!doomed) return IP_OK;
        IP_TRY(used_entries(arena, &used));
        for (uint64_t i = 0; i < used; i++) {
            IP_READ(&entry_at(arena, i)->state, state);
            if (!kind_of(state) || !is_doomed(state) || kind_of(state) == LOST) continue;
            IP_TRY(free_doomed(arena, i));
            found = true;
        }
    }
    return IP_OK;
}

/* Who was killed within a change, letting go of an end, say, has left the arena lock, and its change, to whoever takes the lock next.
 * If all others sleep, that is who looks whether the holders live. */
static ip_status settle_what_the_dead_left(ip_arena *arena) {
    ip_lock *lock = &arena->header->lock;
    uint64_t owner;
    IP_READ(&lock->owner, owner);
    if (!owner) return IP_OK;
    ip_status status = ip_lock_take(arena, lock, IP_INHERIT);
    if (status == IP_OK) ip_lock_release(lock);
    return status == IP_BUSY ? IP_OK : status; /* it lives */
}

/* Calls look for all who hold the end, but this process. */
static ip_status each_holder(ip_arena *arena, ip_object *object, unsigned end, ip_status (*look)(ip_arena *, uint32_t, uint64_t), uint64_t now) {
    uint64_t word;
    for (unsigned i = 0; i < IP_HOLDER_WORDS; i++) {
        IP_READ(&object->ends[end].holders[i], word);
        for (; word; word &= word - 1) {
            uint32_t member = i * IP_HOLDER_BITS + (unsigned)__builtin_ctzll(word);
            if (member != arena->self) IP_TRY(look(arena, member, now));
        }
    }
    return IP_OK;
}

static ip_status bury_if_dead(ip_arena *arena, uint32_t member, uint64_t now) {
    (void)now;
    return ip_member_bury_if_dead(arena, member);
}

ip_status ip_object_check_holders(ip_arena *arena, ip_object *object, unsigned end, bool *held) {
    uint64_t vacated;
    IP_TRY(settle_what_the_dead_left(arena));
    IP_TRY(each_holder(arena, object, end, bury_if_dead, 0));
    IP_READ(&object->vacated, vacated);
    *held = !(vacated >> end & 1);
    return IP_OK;
}

ip_status ip_object_watch_holders(ip_arena *arena, ip_object *object, unsigned end, uint64_t now) {
    IP_TRY(settle_what_the_dead_left(arena));
    return each_holder(arena, object, end, ip_member_watch, now);
}

ip_status ip_object_next(ip_arena *arena, uint32_t *index, ip_object_info *info) {
    uint64_t used, state, word, size;
    ip_object *object;
    IP_TRY(take(arena));
    ip_status status = used_entries(arena, &used);
    for (; status == IP_OK; ++*index) {
        if (*index >= used) {
            status = IP_AGAIN;
            break;
        }
        if (!ip_get(&entry_at(arena, *index)->state, &state)) status = IP_CORRUPT;
        if (status != IP_OK || !kind_of(state) || is_doomed(state)) continue;
        *info = (ip_object_info){.id = {*index, generation_of(state)}, .kind = kind_of(state)};
        status = body_of(arena, *index, state, &object, &info->ends);
        if (status != IP_OK) break;
        info->body = ip_offset_of(arena, object);
        for (unsigned end = 0; end < info->ends; end++) {
            for (unsigned i = 0; i < IP_HOLDER_WORDS; i++)
                if (ip_get(&object->ends[end].holders[i], &word)) info->holders[end] += (unsigned)__builtin_popcountll(word);
            if (arena->self < IP_MEMBERS_MAX && ip_get(&object->ends[end].holders[arena->self / IP_HOLDER_BITS], &word))
                info->mine[end] = word >> arena->self % IP_HOLDER_BITS & 1;
            ip_get(&object->ends[end].transit, &info->transit[end]);
        }
        status = read_name(arena, object, info->name, &size);
        if (status == IP_OK) info->name[size] = 0;
        ++*index;
        break;
    }
    ip_lock_release(&arena->header->lock);
    return status;
}

ip_status ip_object_at(ip_arena *arena, uint32_t index, ip_id *id, int *kind, ip_object **object) {
    uint64_t used, state;
    unsigned ends;
    IP_TRY(used_entries(arena, &used));
    if (index >= used) return IP_AGAIN;
    IP_READ(&entry_at(arena, index)->state, state);
    *kind = kind_of(state);
    if (!*kind || is_doomed(state)) return IP_FREED;
    *id = (ip_id){index, generation_of(state)};
    return body_of(arena, index, state, object, &ends);
}

ip_status ip_object_id(ip_arena *arena, ip_object *object, ip_id *id) {
    uint64_t index, used, state;
    IP_READ(&object->index, index);
    IP_TRY(used_entries(arena, &used));
    if (index >= used) return IP_CORRUPT;
    IP_READ(&entry_at(arena, index)->state, state);
    *id = (ip_id){(uint32_t)index, generation_of(state)};
    return IP_OK;
}

/* transaction.c: transactions: their record, the log, settling it. */
#include "transaction.h"

#include "fault.h"

#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))
#define ROOM_FIRST 15u /* entries of the first block of a log, a cache line less than 1/2 KiB */
#define ROOM_MAX 511u
#define STEPS 16u     /* entries settled in one change, at most */
#define ENOUGH 1000u  /* journal entries, after which a change takes on no more */
#define LARGE (UINT64_C(64) << 10) /* a free range that is looked at by itself, for its memory to go back */

enum { OPEN = 0x7A0, COMMITTED = 0x7A1 }; /* no numbers that other blocks begin with */

typedef struct {
    ip_word state, refs;
} record;

typedef struct {
    ip_word older, room, used, spare;
    ip_log_entry entries[];
} log_block;

static ip_status read_record(ip_arena *arena, uint64_t at, record **r, ip_block **block, uint64_t *state, uint64_t *refs) {
    uint64_t size;
    IP_TRY(ip_heap_block(arena, at, block, &size));
    *r = ip_at(arena, at);
    IP_READ(&(*r)->state, *state);
    IP_READ(&(*r)->refs, *refs);
    return size >= sizeof(record) && (*state == OPEN || *state == COMMITTED) ? IP_OK : IP_CORRUPT;
}

static ip_status read_log(ip_arena *arena, uint64_t at, log_block **log, uint64_t *room, uint64_t *used) {
    uint64_t size;
    ip_block *block;
    IP_TRY(ip_heap_block(arena, at, &block, &size));
    *log = ip_at(arena, at);
    IP_READ(&(*log)->room, *room);
    IP_READ(&(*log)->used, *used);
    return *room <= ROOM_MAX && *used <= *room && sizeof(log_block) + *room * sizeof(ip_log_entry) <= size ? IP_OK : IP_CORRUPT;
}

/* ---- the record ---- */

ip_status ip_transaction_begin(ip_arena *arena, uint64_t *at) {
    IP_TRY(ip_block_new(arena, sizeof(record), at));
    record *r = ip_at(arena, *at);
    ip_set(&r->state, OPEN);
    ip_set(&r->refs, 0);
    FAULT("transaction.begun");
    return IP_OK;
}

ip_status ip_transaction_end(ip_arena *arena, uint64_t at) { return ip_block_drop(arena, at); }

static ip_status join_change(ip_arena *arena, uint64_t at, ip_container *container) {
    uint64_t state, refs, log, owner;
    record *r;
    ip_block *block;
    IP_TRY(read_record(arena, at, &r, &block, &state, &refs));
    IP_READ(&block->owner, owner);
    IP_READ(&container->log, log);
    if (state != OPEN || log || owner != (refs ? 0 : ip_heap_owner(arena))) return IP_CORRUPT;
    if (!refs) SET(&block->owner, 0);
    SET(&r->refs, refs + 1);
    SET(&container->transaction, at);
    return IP_OK;
}

static ip_status join(ip_arena *arena, uint64_t at, ip_container *container) {
    const ip_object *object = (const ip_object *)(const void *)((unsigned char *)container - ip_object_size(1));
    uint64_t kind;
    bool within;
    if (!ip_gate_mine(arena, container)) return IP_NOT_OWNER;
    IP_TRY(ip_transaction_of(container, &within));
    if (within) return IP_EXISTS;
    IP_READ(&object->kind, kind);
    if ((kind & 0xFF) == IP_TABLE) IP_TRY(ip_table_compact(arena, container));
    IP_TRY(ip_container_take_arena(arena));
    return ip_container_conclude(arena, join_change(arena, at, container), NULL, &(ip_range){0, 0});
}

ip_status ip_transaction_join(ip_arena *arena, uint64_t at, ip_container *container) {
    IP_TRY(ip_lock_take(arena, &container->lock, IP_BRIEFLY));
    ip_status status = join(arena, at, container);
    ip_lock_release(&container->lock);
    return status;
}

/* Under the container's lock, which only a member can have taken: the record is still this transaction's. */
static ip_status commit(ip_arena *arena, uint64_t at, ip_container *container) {
    uint64_t state, refs, now;
    record *r;
    ip_block *block;
    IP_READ(&container->transaction, now);
    if (now != at || !ip_gate_mine(arena, container)) return IP_NOT_OWNER;
    IP_TRY(read_record(arena, at, &r, &block, &state, &refs));
    FAULT("transaction.committing");
    atomic_exchange_explicit(&r->state, ip_seal(COMMITTED), memory_order_seq_cst);
    FAULT("transaction.committed");
    return IP_OK;
}

ip_status ip_transaction_commit(ip_arena *arena, uint64_t at, ip_container *container) {
    IP_TRY(ip_lock_take(arena, &container->lock, IP_BRIEFLY));
    ip_status status = commit(arena, at, container);
    ip_lock_release(&container->lock);
    return status;
}

bool ip_transaction_mine(ip_arena *arena, const ip_container *container) {
    bool within;
    return ip_gate_mine(arena, container) && ip_transaction_of(container, &within) == IP_OK && within;
}

/* ---- the log ---- */

static ip_status new_log(ip_arena *arena, ip_container *container, uint64_t older, uint64_t room, log_block **log) {
    uint64_t at;
    IP_TRY(ip_heap_alloc(arena, sizeof(log_block) + room * sizeof(ip_log_entry), 0, &at));
    *log = ip_at(arena, at);
    ip_set(&(*log)->older, older);
    ip_set(&(*log)->room, room);
    ip_set(&(*log)->used, 0);
    ip_set(&(*log)->spare, 0);
    return ip_journal_set(arena, &container->log, at);
}

ip_status ip_log_push(ip_arena *arena, ip_container *container, uint64_t op, uint64_t a, uint64_t b, uint64_t c) {
    uint64_t at, room = 0, used = 0;
    log_block *log;
    IP_READ(&container->log, at);
    if (at) IP_TRY(read_log(arena, at, &log, &room, &used));
    if (used == room) {
        uint64_t wanted = room ? 2 * room + 1 : ROOM_FIRST; /* so that all of them fill whole cache lines */
        IP_TRY(new_log(arena, container, at, wanted < ROOM_MAX ? wanted : ROOM_MAX, &log));
        used = 0;
    }
    ip_log_entry *entry = &log->entries[used];
    ip_set(&entry->op, op);
    ip_set(&entry->a, a);
    ip_set(&entry->b, b);
    ip_set(&entry->c, c);
    FAULT("transaction.logged");
    return ip_journal_set(arena, &log->used, used + 1);
}

ip_status ip_log_next(ip_arena *arena, const ip_container *container, uint64_t *block, uint64_t *left, ip_log_entry **entry) {
    uint64_t room, used, at = *block;
    log_block *log = NULL;
    if (at) IP_TRY(read_log(arena, at, &log, &room, &used));
    while (!*left) {
        IP_READ(log ? &log->older : &container->log, at);
        if (!at) return IP_EOF;
        IP_TRY(read_log(arena, at, &log, &room, left));
    }
    *block = at;
    *entry = &log->entries[--*left];
    return IP_OK;
}

/* ---- settling ---- */

static ip_status settle_entry(ip_arena *arena, ip_container *container, ip_log_entry *entry, bool undo, ip_range *freed) {
    uint64_t op;
    IP_READ(&entry->op, op);
    if ((op & IP_LOG_OP) >= IP_LOG_LISTS)
        return undo ? ip_list_undo(arena, container, entry, freed) : ip_list_forget(arena, container, entry, freed);
    return undo ? ip_table_undo(arena, container, entry, freed) : ip_table_forget(arena, container, entry, freed);
}

/* Takes the container, whose log is empty, out of its transaction. */
static ip_status leave(ip_arena *arena, ip_container *container, ip_range *freed) {
    uint64_t at, state, refs;
    record *r;
    ip_block *block;
    IP_READ(&container->transaction, at);
    IP_TRY(read_record(arena, at, &r, &block, &state, &refs));
    if (!refs) return IP_CORRUPT;
    SET(&container->transaction, 0);
    if (refs == 1) return ip_heap_free(arena, at, freed);
    SET(&r->refs, refs - 1);
    return IP_OK;
}

/* Within a change: settles some of the newest entries; *done: the container has left the transaction. *undone: something was undone. */
static ip_status settle_some(ip_arena *arena, ip_container *container, bool undo, bool *undone, bool *done, ip_range *freed) {
    uint64_t at, room, used, older, noted = 0;
    log_block *log;
    for (unsigned n = 0; n < STEPS && noted < ENOUGH && freed->to - freed->from < LARGE; n++) {
        IP_READ(&container->log, at);
        if (!at) {
            *done = true;
            return leave(arena, container, freed);
        }
        IP_TRY(read_log(arena, at, &log, &room, &used));
        if (used) {
            ip_status status = settle_entry(arena, container, &log->entries[used - 1], undo, freed);
            *undone = undo;
            if (status == IP_AGAIN) return IP_OK;
            IP_TRY(status);
            SET(&log->used, used - 1);
        } else {
            IP_READ(&log->older, older);
            SET(&container->log, older);
            IP_TRY(ip_heap_free(arena, at, freed));
        }
        IP_READ(&arena->header->journal.count, noted);
    }
    return IP_OK;
}

static ip_status settle_all(ip_arena *arena, ip_container *container) {
    uint64_t at, state, refs;
    record *r;
    ip_block *block;
    bool done = false;
    IP_READ(&container->transaction, at);
    IP_TRY(read_record(arena, at, &r, &block, &state, &refs));
    while (!done) {
        ip_range freed = {0, 0};
        bool undone = false;
        IP_TRY(ip_container_take_arena(arena));
        ip_status status = settle_some(arena, container, state == OPEN, &undone, &done, &freed);
        IP_TRY(ip_container_conclude(arena, status, undone ? container : NULL, &freed));
        FAULT("transaction.settled");
    }
    return IP_OK;
}

ip_status ip_transaction_settle_locked(ip_arena *arena, ip_container *container) {
    ip_status status = settle_all(arena, container);
    /* What is damaged cannot be settled: who waits for the gate, or comes later, is to learn that, not to wait for ever. */
    if (status == IP_CORRUPT) atomic_store_explicit(&container->gate.owner, 0, memory_order_release); /* no sealed word */
    return status;
}

ip_status ip_transaction_settle(ip_arena *arena, uint64_t at, ip_container *container) {
    uint64_t now;
    IP_TRY(ip_lock_take(arena, &container->lock, IP_BRIEFLY));
    ip_status status = ip_get(&container->transaction, &now) ? IP_OK : IP_CORRUPT;
    bool within = status == IP_OK && now && now == at;
    if (within) status = ip_gate_mine(arena, container) ? ip_transaction_settle_locked(arena, container) : IP_NOT_OWNER;
    ip_lock_release(&container->lock);
    if (!within) return status;
    ip_status after = ip_container_after_change(arena, container, true);
    return status == IP_OK ? after : status;
}

ip_status ip_transaction_dismantle_step(ip_arena *arena, ip_container *container) {
    bool within, undone, done;
    ip_range freed = {0, 0};
    IP_TRY(ip_transaction_of(container, &within));
    if (!within) return IP_OK;
    IP_TRY(settle_some(arena, container, false, &undone, &done, &freed));
    ip_journal_commit(arena);
    FAULT("transaction.dismantled");
    if (freed.to) IP_TRY(ip_heap_trim(arena, &freed));
    return IP_AGAIN;
}

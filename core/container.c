/* container.c: what is done to tables and lists alike: locking, looking, waiting, ending a change, the gate. */
#include "container.h"

#include <limits.h>
#include <string.h>

#include "fault.h"
#include "member.h"
#include "transaction.h"

void ip_container_init(ip_container *container, const uint64_t *flavour) {
    memset(container, 0, sizeof *container);
    ip_lock_init(&container->lock);
    ip_lock_init(&container->gate);
    ip_word *words[] = {&container->changes, &container->shape, &container->count, &container->transaction,
                        &container->log,     &container->depth, &container->slabs};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) ip_set(words[i], 0);
    for (unsigned i = 0; i < IP_CELL_CLASSES; i++) ip_set(&container->partial[i], 0);
    ip_set(&container->flavour, flavour ? *flavour : 0);
}

ip_status ip_container_of(ip_arena *arena, ip_object *object, ip_container **container) {
    uint64_t room, kind;
    ip_block *block;
    IP_TRY(ip_heap_block(arena, ip_offset_of(arena, object), &block, &room));
    IP_READ(&object->kind, kind);
    if (((kind & 0xFF) != IP_TABLE && (kind & 0xFF) != IP_LIST) || kind >> 8 != 1) return IP_CORRUPT;
    if (room < ip_object_size(1) + sizeof(ip_container)) return IP_CORRUPT;
    *container = (ip_container *)(void *)((unsigned char *)object + ip_object_size(1));
    return IP_OK;
}

ip_status ip_container_flavour(const ip_container *container, uint64_t *flavour) {
    IP_READ(&container->flavour, *flavour);
    return IP_OK;
}

/* ---- calls and changes ---- */

ip_status ip_container_look_at_gate(ip_arena *arena, ip_container *container) {
    uint64_t owner;
    ip_status status = ip_get(&container->gate.owner, &owner) ? IP_OK : IP_CORRUPT;
    if (status == IP_OK && owner && owner != ip_lock_identity(arena)) status = IP_HELD;
    if (status != IP_OK) ip_lock_release(&container->lock);
    return status;
}

ip_status ip_container_bump_shape(ip_arena *arena, ip_container *container) {
    uint64_t shape;
    IP_READ(&container->shape, shape);
    return ip_journal_set(arena, &container->shape, (shape + 1) & IP_PAYLOAD_MAX);
}

ip_status ip_container_take_arena(ip_arena *arena) { return ip_lock_take(arena, &arena->header->lock, IP_BRIEFLY); }

ip_status ip_container_conclude(ip_arena *arena, ip_status status, ip_container *container, const ip_range *freed) {
    uint64_t n;
    if (status == IP_OK && container && !ip_get(&container->changes, &n)) status = IP_CORRUPT;
    if (status == IP_OK) {
        FAULT("container.changed");
        if (container)
            ip_journal_publish(arena, &container->changes, (n + 1) & IP_PAYLOAD_MAX);
        else
            ip_journal_commit(arena);
        if (freed->to) ip_heap_trim(arena, freed); /* damage there is found by whom it concerns */
    } else {
        ip_journal_rollback(arena);
    }
    ip_lock_release(&arena->header->lock);
    return status;
}

ip_status ip_container_after_change(ip_arena *arena, ip_container *container, bool let_go) {
    ip_event_notify(&container->changed, INT_MAX);
    return let_go ? ip_directory_sweep(arena) : IP_OK;
}

/* ---- looking, waiting ---- */

ip_status ip_container_look(ip_arena *arena, ip_container *container, ip_patience patience, ip_container_state *state) {
    IP_TRY(ip_container_take(arena, container, patience));
    ip_status status = IP_OK;
    if (!ip_get(&container->count, &state->count) || !ip_get(&container->changes, &state->changes) ||
        !ip_get(&container->shape, &state->shape))
        status = IP_CORRUPT;
    ip_container_release(container);
    return status;
}

typedef struct {
    const ip_container *container;
    uint64_t seen;
} watched;

static bool has_changed(const void *context) {
    const watched *w = context;
    uint64_t now;
    return !ip_get(&w->container->changes, &now) || now != w->seen;
}

bool ip_container_wait(ip_container *container, uint64_t seen, uint64_t deadline_ns, bool *slept) {
    watched w = {container, seen};
    return ip_event_wait(&container->changed, has_changed, &w, deadline_ns, slept);
}

/* ---- the gate ---- */

bool ip_gate_mine(ip_arena *arena, const ip_container *container) {
    uint64_t owner;
    return ip_get(&container->gate.owner, &owner) && owner && owner == ip_lock_identity(arena);
}

/* Under the lock. A dead owner has the gate until what it left is settled, so that it will be, whoever is killed here. */
static ip_status acquire(ip_arena *arena, ip_container *container, bool look, bool *settled) {
    uint64_t owner, me = ip_lock_identity(arena), depth;
    bool within;
    IP_READ(&container->gate.owner, owner);
    if (owner == me) {
        IP_READ(&container->depth, depth);
        ip_set(&container->depth, depth + 1);
        return IP_OK;
    }
    if (owner) {
        if (!look) return IP_HELD;
        ip_life life = ip_owner_life(arena, owner);
        if (life != IP_DEAD) return life == IP_ALIVE ? IP_HELD : IP_CORRUPT;
        FAULT("gate.inherited");
    }
    IP_TRY(ip_transaction_of(container, &within));
    if (within) {
        if (!owner) return IP_CORRUPT;
        *settled = true;
        IP_TRY(ip_transaction_settle_locked(arena, container));
    }
    if (!ip_swap(&container->gate.owner, owner, me)) return IP_BUSY;
    FAULT("gate.taken");
    ip_set(&container->depth, 1);
    return IP_OK;
}

ip_status ip_gate_acquire(ip_arena *arena, ip_container *container, ip_patience patience) {
    bool settled = false;
    IP_TRY(ip_lock_take(arena, &container->lock, patience));
    ip_status status = acquire(arena, container, patience != IP_NOW, &settled);
    ip_lock_release(&container->lock);
    if (settled) ip_container_after_change(arena, container, true); /* damage there is found by whom it concerns */
    return status;
}

ip_status ip_gate_release(ip_arena *arena, ip_container *container) {
    uint64_t depth;
    bool within;
    if (!ip_gate_mine(arena, container)) return IP_NOT_OWNER;
    IP_READ(&container->depth, depth);
    if (depth > 1) {
        ip_set(&container->depth, depth - 1);
        return IP_OK;
    }
    IP_TRY(ip_transaction_of(container, &within));
    if (within) return IP_NOT_OWNER;
    atomic_exchange_explicit(&container->gate.owner, ip_seal(0), memory_order_seq_cst);
    FAULT("gate.released");
    ip_event_notify(&container->gate.event, INT_MAX); /* calls of all kinds wait, not just for the gate */
    return IP_OK;
}

bool ip_gate_wait(ip_arena *arena, ip_container *container, uint64_t deadline_ns, bool *slept) {
    (void)arena;
    return ip_lock_wait(&container->gate, deadline_ns, slept);
}

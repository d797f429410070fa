/* lock.c: robust locks, and the journal of the arena lock. */
#include "lock.h"

#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arena.h"
#include "fault.h"
#include "member.h"

#define SPINS 200

/* owner: | thread 23 | generation 16 | member + 1 12 | */
static uint64_t pack_owner(uint32_t member, uint32_t generation, uint32_t thread) {
    return (uint64_t)(member + 1) | (uint64_t)(generation & 0xFFFF) << 12 | (uint64_t)(thread & 0x7FFFFF) << 28;
}

static _Thread_local uint32_t my_thread;
static _Thread_local pid_t my_thread_of; /* fork() copies thread-locals: the number is then the parent's */

uint64_t ip_lock_identity(const ip_arena *arena) {
    if (my_thread_of != arena->pid || !my_thread) {
        my_thread = (uint32_t)syscall(SYS_gettid);
        my_thread_of = arena->pid;
    }
    return pack_owner(arena->self, arena->generation, my_thread);
}

void ip_lock_init(ip_lock *lock) {
    ip_set(&lock->owner, 0);
    atomic_store(&lock->event.seq, 0);
    atomic_store(&lock->event.sleepers, 0);
}

ip_life ip_owner_life(ip_arena *arena, uint64_t owner) {
    return ip_member_life(arena, (uint32_t)(owner & 0xFFF) - 1, (uint32_t)(owner >> 12 & 0xFFFF));
}

/* Who was buried alive (it has closed the descriptor that told its life, say) must touch nothing any more. */
static ip_status still_a_member(ip_arena *arena, ip_lock *lock) {
    uint64_t state = atomic_load_explicit(arena->state, memory_order_relaxed);
    if (state == arena->alive) return IP_OK;
    if (ip_sealed(state)) arena->generation = 0;
    ip_lock_release(lock);
    return ip_sealed(state) ? IP_LEFT : IP_CORRUPT;
}

ip_status ip_lock_try(ip_arena *arena, ip_lock *lock, bool check_owner, bool *inherited) {
    uint64_t owner, me = ip_lock_identity(arena);
    *inherited = false;
    if (!arena->generation) return IP_LEFT;
    if (ip_swap(&lock->owner, 0, me)) return still_a_member(arena, lock);
    IP_READ(&lock->owner, owner);
    if (owner == 0) return ip_swap(&lock->owner, 0, me) ? still_a_member(arena, lock) : IP_BUSY;
    if (!check_owner) return IP_BUSY;
    ip_life life = ip_owner_life(arena, owner);
    if (life != IP_DEAD) return life == IP_ALIVE ? IP_BUSY : IP_CORRUPT;
    if (!ip_swap(&lock->owner, owner, me)) return IP_BUSY;
    FAULT("lock.inherited");
    *inherited = true;
    return IP_OK;
}

static bool is_free(const void *context) {
    const ip_lock *lock = context;
    uint64_t owner;
    return !ip_get(&lock->owner, &owner) || owner == 0;
}

bool ip_lock_wait(ip_lock *lock, uint64_t deadline_ns, bool *slept) {
    return ip_event_wait(&lock->event, is_free, lock, deadline_ns, slept);
}

/* The lock is ours; put right what a dead owner has left. */
static ip_status settle(ip_arena *arena, ip_lock *lock, bool inherited) {
    uint64_t count;
    if (lock != &arena->header->lock) {
        if (!inherited) return IP_OK;
        IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_PATIENT));
        ip_lock_release(&arena->header->lock);
        return IP_OK;
    }
    IP_READ(&arena->header->journal.count, count);
    return count == 0 ? IP_OK : ip_journal_rollback(arena);
}

ip_status ip_lock_take(ip_arena *arena, ip_lock *lock, ip_patience patience) {
    bool inherited = false;
    ip_status status = ip_lock_try(arena, lock, false, &inherited);
    for (int i = 0; status == IP_BUSY && i < SPINS; i++) {
        ip_pause();
        if (is_free(lock)) status = ip_lock_try(arena, lock, false, &inherited);
    }
    if (status == IP_BUSY && patience == IP_BRIEFLY) {
        bool slept = false;
        ip_lock_wait(lock, UINT64_MAX, &slept);
    }
    if (status == IP_BUSY && (patience == IP_INHERIT || patience == IP_BRIEFLY)) status = ip_lock_try(arena, lock, true, &inherited);
    while (status == IP_BUSY && patience == IP_PATIENT) {
        bool slept = false;
        if (!ip_lock_wait(lock, UINT64_MAX, &slept))
            status = ip_lock_try(arena, lock, true, &inherited);
        else
            status = ip_lock_try(arena, lock, false, &inherited);
    }
    if (status != IP_OK) return status;
    FAULT("lock.taken");
    status = settle(arena, lock, inherited);
    if (status != IP_OK) ip_lock_release(lock);
    return status;
}

void ip_lock_release(ip_lock *lock) {
    atomic_exchange_explicit(&lock->owner, ip_seal(0), memory_order_seq_cst);
    FAULT("lock.released");
    ip_event_notify(&lock->event, 1);
}

ip_status ip_journal_set(ip_arena *arena, ip_word *word, uint64_t payload) {
    ip_journal *journal = &arena->header->journal;
    ip_journal_entry *entries = ip_at(arena, arena->journal);
    uint64_t count, old;
    IP_READ(&journal->count, count);
    if (count >= IP_JOURNAL_ENTRIES) return IP_TOO_LONG;
    IP_READ(word, old);
    if (count == 0) ip_set(&journal->decided_at, 0);
    ip_set(&entries[count].at, ip_offset_of(arena, word));
    ip_set(&entries[count].old, old);
    FAULT("journal.noted");
    ip_set(&journal->count, count + 1);
    FAULT("journal.counted");
    ip_set(word, payload);
    FAULT("journal.set");
    return IP_OK;
}

void ip_journal_commit(ip_arena *arena) {
    ip_set(&arena->header->journal.count, 0);
    FAULT("journal.committed");
}

void ip_journal_publish(ip_arena *arena, ip_word *word, uint64_t payload) {
    ip_journal *journal = &arena->header->journal;
    ip_set(&journal->decided_value, payload);
    FAULT("journal.value");
    ip_set(&journal->decided_at, ip_offset_of(arena, word));
    FAULT("journal.decided");
    atomic_exchange_explicit(word, ip_seal(payload), memory_order_seq_cst);
    FAULT("journal.published");
    ip_set(&journal->count, 0);
    FAULT("journal.committed");
}

ip_status ip_journal_rollback(ip_arena *arena) {
    ip_journal *journal = &arena->header->journal;
    ip_journal_entry *entries = ip_at(arena, arena->journal);
    uint64_t count, at, old, value, now;
    IP_READ(&journal->count, count);
    if (count > IP_JOURNAL_ENTRIES) return IP_CORRUPT;
    IP_READ(&journal->decided_at, at);
    if (count && at) {
        if (at % sizeof(ip_word) || !ip_within(arena, at, sizeof(ip_word))) return IP_CORRUPT;
        IP_READ(&journal->decided_value, value);
        IP_READ((ip_word *)ip_at(arena, at), now);
        if (now == value) count = 0; /* it was published: the change stands */
    }
    while (count) {
        IP_READ(&entries[count - 1].at, at);
        IP_READ(&entries[count - 1].old, old);
        if (at % sizeof(ip_word) || !ip_within(arena, at, sizeof(ip_word))) return IP_CORRUPT;
        ip_set(ip_at(arena, at), old);
        FAULT("journal.restored");
        count--;
        ip_set(&journal->count, count);
        FAULT("journal.uncounted");
    }
    ip_set(&journal->count, 0);
    return IP_OK;
}

ip_status ip_journal_conclude(ip_arena *arena, ip_status status) {
    if (status == IP_OK)
        ip_journal_commit(arena);
    else
        ip_journal_rollback(arena);
    ip_lock_release(&arena->header->lock);
    return status;
}

/* lock.h: robust locks between structures, and the journal of the change that is under way under the arena lock.
 *
 *   owner    0, or the member (index, generation) and the thread that holds it; sealed
 *   event    where waiters park
 *
 *   count    how many journal entries are in force; 0 outside of a change
 *   decided_at, decided_value   a word whose having this value means that the change is committed
 *   entries  (offset of a word, its old value)
 *
 * The journal: a change first notes the old value of each word that it overwrites, then overwrites it. It commits
 * with one store: of count = 0, or of a word that others see (publish). Whoever locks next after an owner's death
 * finds count != 0 and rolls back, unless the published word has its new value already. So a change
 * is all or nothing, wherever its author is killed.
 *
 * A lock is held for nanoseconds, never across a wait or a call into Python. An owner is dead if the member
 * slot it names is free, of another generation, or that of a process that has ended; the next locker takes over by
 * compare-and-swap. A lock names its member, not just a thread: fork() leaves no lock behind in the child.
 *
 * There is one journal, the arena lock's, and whoever takes the arena lock settles it first. So no change is half done
 * when a dead member's blocks are freed, or its bits cleared. A change that needs an object's lock takes the arena lock
 * inside it. Who takes over an object's lock therefore takes the arena lock once, so that such a change is rolled
 * back before the object's words are looked at.
 */
#ifndef IP_LOCK_H
#define IP_LOCK_H

#include "event.h"
#include "status.h"
#include "word.h"

struct ip_arena;

typedef struct {
    ip_word at, old;
} ip_journal_entry;

typedef struct {
    ip_word count, decided_at, decided_value;
} ip_journal;

typedef struct {
    ip_word owner;
    ip_event event;
} ip_lock;

void ip_lock_init(ip_lock *lock);

typedef enum {
    IP_NOW,     /* give up after a short spin */
    IP_PATIENT, /* wait as long as it takes */
    IP_BRIEFLY, /* wait for one slice: long for a lock held for nanoseconds, unless its owner was stopped */
    IP_INHERIT  /* as IP_NOW, but look whether the owner lives: what a waiter with a time limit does between its waits */
} ip_patience;

/* Takes the lock; IP_BUSY: another has it. */
ip_status ip_lock_take(struct ip_arena *arena, ip_lock *lock, ip_patience patience);
void ip_lock_release(ip_lock *lock);

/* One try for a lock whose holder may keep it long (a mutex of the user's): takes it if it is free or if its owner is
 * dead (then *inherited is set). check_owner: look whether the owner lives, which costs a system call. */
ip_status ip_lock_try(struct ip_arena *arena, ip_lock *lock, bool check_owner, bool *inherited);

/* One slice of waiting until the lock is free; see ip_event_wait. */
bool ip_lock_wait(ip_lock *lock, uint64_t deadline_ns, bool *slept);

/* Who I am as an owner: member, generation and thread. */
uint64_t ip_lock_identity(const struct ip_arena *arena);

/* All of these under the arena lock. */

/* Notes the old value of a word of the arena, then overwrites it. IP_TOO_LONG if the journal is full. */
ip_status ip_journal_set(struct ip_arena *arena, ip_word *word, uint64_t payload);
/* Commits all that was set. */
void ip_journal_commit(struct ip_arena *arena);
/* Commits all that was set by storing payload to a word that others look at. It must change the word. */
void ip_journal_publish(struct ip_arena *arena, ip_word *word, uint64_t payload);
/* Undoes all that was set since the last commit. */
ip_status ip_journal_rollback(struct ip_arena *arena);
/* Commits if the status is IP_OK, else undoes; releases the arena lock; returns the status. */
ip_status ip_journal_conclude(struct ip_arena *arena, ip_status status);

#endif

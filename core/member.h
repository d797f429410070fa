/* member.h: the processes attached to an arena, and what happens when one dies.
 *
 * A slot:   state    phase | generation << 8      (0: virgin)
 *           pid, started                          (started: clock ticks after boot, from /proc/PID/stat)
 *           exiting  1: it ends in order, and needs the arena's name no more
 *           starter  who has started it as a process of a network, named as the owner of a block is, or 0
 *           seen     when somebody last found it alive
 *
 *     FREE -> RESERVED -> MEMBER -> LEAVING -> FREE
 *
 * Who takes a FREE slot first locks its byte of the arena file (an open-file-description lock), then swaps FREE for
 * RESERVED; so strangers, who can own no lock in the arena yet, can join. A child's slot is reserved, and made a holder
 * of what the child will have, by its parent before the child exists; so nothing that the child relies on is freed in
 * between. The descriptor with the lock goes to the child; the kernel drops the lock with its last copy, so a child
 * that never arrives is noticed. Once MEMBER, it lives as long as its pid exists with that start time, not as a zombie,
 * and still has the lock: a descriptor that is closed on exec carries it, since a pid and its start time outlive exec.
 *
 * Any member may bury a dead one: swap its phase for LEAVING, tell those whom it has started (family.h), clear its bits, free
 * what nobody holds, free the blocks it owned, and only then mark the slot FREE. Each step can be repeated, so an undertaker may die too; each is done
 * under the arena lock after a look that the slot is still LEAVING, so a slow undertaker does not harm
 * a successor in the slot. The generation goes up when a slot is taken.
 */
#ifndef IP_MEMBER_H
#define IP_MEMBER_H

#include "arena.h"

typedef struct {
    ip_word state, pid, started, exiting, starter;
    ip_word seen; /* when somebody last found it alive: ip_now_ns(); unsealed: never */
    ip_word spare[2];
} ip_member;

enum { IP_FREE = 0, IP_RESERVED = 1, IP_MEMBER = 2, IP_LEAVING = 3 };

typedef enum { IP_DEAD, IP_ALIVE, IP_UNKNOWABLE } ip_life;

typedef struct {
    uint32_t index, generation;
    int phase;
    pid_t pid;
} ip_member_info;

ip_life ip_member_life(ip_arena *arena, uint32_t index, uint32_t generation);

/* Has it died, as its file lock tells by itself? It costs one system call, and may take a dead one for alive, unlike ip_member_life. */
bool ip_member_has_died(ip_arena *arena, uint32_t index, uint32_t generation);

/* The life of the member that a lock's owner word names. */
ip_life ip_owner_life(ip_arena *arena, uint64_t owner);

/* Becomes a member in a fresh slot (the creator of an arena, or a stranger). */
ip_status ip_member_join(ip_arena *arena);
/* Reserves a slot for a child: *fd is a descriptor of the arena that carries the lock; give it to the child, then close it. */
ip_status ip_member_reserve(ip_arena *arena, int *fd, uint32_t *index);
/* In the child: becomes the member the slot was reserved for, and keeps fd. */
ip_status ip_member_claim(ip_arena *arena, uint32_t index, int fd);
/* The child will not come: frees its slot and what it holds. */
ip_status ip_member_cancel(ip_arena *arena, uint32_t index);
/* Lets go of queues and pipes, so that others see their ends at once. Memory, which may still be looked at, and the slot
 * stay until this process has ended and is buried. */
ip_status ip_member_withdraw(ip_arena *arena);
/* This process has started the one that a slot is reserved for, as a process of its network. */
ip_status ip_member_note_starter(ip_arena *arena, uint32_t index);
/* Was the member of a slot started by that one, or by one that was, and so on? Who started it and has ended in order breaks the chain. */
bool ip_member_descends(ip_arena *arena, uint32_t index, uint32_t starter, uint32_t generation);
/* This process is about to end, in order: it does not count for ip_member_others from now on. */
void ip_member_announce_exit(ip_arena *arena);
/* Are there other live members, which are not about to end? */
bool ip_member_others(ip_arena *arena);
/* Leaves: lets go of all that this process holds. The arena cannot be used through this mapping any more. */
ip_status ip_member_leave(ip_arena *arena);
/* Buries the dead; *buried counts them. */
ip_status ip_member_reap(ip_arena *arena, uint32_t *buried);
/* The same, at most once a second for all members together: called where something is created. */
ip_status ip_member_reap_sometimes(ip_arena *arena);
/* Has anybody died, and is not buried? IP_DIED: *dead has; then it is to be buried, and asked again. It is looked for at most ten
 * times a second, for all members together: else IP_OK. now: ip_ticks(). */
ip_status ip_member_look(ip_arena *arena, uint64_t now, uint32_t *dead);
/* Buries the given member if it is dead. */
ip_status ip_member_bury_if_dead(ip_arena *arena, uint32_t index);
/* The same, for those who look every slice while they wait: whom any of them found alive less than half a slice before `now`
 * (ip_now_ns) counts as alive, as a look takes several system calls, and many may wait for many. */
ip_status ip_member_watch(ip_arena *arena, uint32_t index, uint64_t now);

/* Under the arena lock: may what this member has be cleared away (it is LEAVING, or it is this process)? */
bool ip_member_may_clear(ip_arena *arena, uint32_t index, uint32_t generation);

/* The pid of a live member of that generation, or 0. */
pid_t ip_member_pid(ip_arena *arena, uint32_t index, uint32_t generation);
/* The generation of the member that lives in this slot, or 0. */
uint32_t ip_member_incarnation(ip_arena *arena, uint32_t index);

/* Fills in up to max infos, of slots in use; returns how many, or -1 if damaged. */
int ip_member_list(ip_arena *arena, ip_member_info *infos, int max);

#endif

/* fork.h: what fork() does to a process's arenas.
 *
 * Before a fork, the parent reserves a place in each of its arenas for the child, which holds what the parent holds, from
 * then on. In the child, before fork() returns and so before anything else runs there, each arena becomes that of
 * the child: it claims its place; without one (another library forked by itself) it has left the arena and every use is
 * IP_LEFT. So at no moment does a child pass for its parent.
 *
 * Places are kept by the thread that is about to fork, as it alone goes on in the child. The list of a process's arenas
 * and of its watches changes under one lock, which fork() takes and gives back on both sides.
 */
#ifndef IP_FORK_H
#define IP_FORK_H

#include "arena.h"

struct ip_watch;

/* Reserves a place for the child in the arena. */
ip_status ip_fork_prepare(ip_arena *arena);
/* The place that this thread has reserved in the arena for its next child, so that the child can be given more. IP_FREED: none. */
ip_status ip_fork_slot(const ip_arena *arena, uint32_t *slot, uint32_t *generation);
/* In the parent, after the fork or its failure: gives up this side of the places. */
void ip_fork_parent(void);

/* An arena is in the list from attaching to detaching, a watch from its start to its stop. */
void ip_fork_add_arena(ip_arena *arena);
void ip_fork_remove_arena(ip_arena *arena);
void ip_fork_add_watch(struct ip_watch *watch);
void ip_fork_remove_watch(struct ip_watch *watch);

#endif

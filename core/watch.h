/* watch.h: a descriptor that is readable when a ring is, for select(), epoll and asyncio.
 *
 * It costs nothing until somebody asks: then this process makes an eventfd and a thread (without the GIL, with a small
 * stack) that waits on the ring as any consumer does and keeps the eventfd's state in step. All of it is private to
 * the process: a death elsewhere cannot leave it half-done. It names itself in the ring as a watcher; who puts waits until
 * its watchers have raised their descriptors, so that a message can be seen no later than what its sender does next (its
 * exit, say, which the kernel shows at once). It does not survive fork(): ip_watch_after_fork puts a
 * fresh eventfd under the old number, and the thread is started again on demand.
 */
#ifndef IP_WATCH_H
#define IP_WATCH_H

#include "ring.h"

typedef struct ip_watch ip_watch;

/* NULL: no memory, descriptor or thread to be had (errno). The ring's object must be held until ip_watch_stop. */
ip_watch *ip_watch_start(ip_arena *arena, ip_object *object, ip_ring *ring, int writers_end);
/* Stops and closes. */
void ip_watch_stop(ip_watch *watch);
/* The descriptor; starts the thread if it does not run. -1: errno. */
int ip_watch_descriptor(ip_watch *watch);
/* Brings the descriptor in step at once; called by those who take or look. */
void ip_watch_sync(ip_watch *watch);
void ip_watch_after_fork(ip_watch *watch);
/* The next in the list of the process's watches (fork.h). */
ip_watch **ip_watch_link(ip_watch *watch);

#endif

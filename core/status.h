/* status.h: what a call into the core can answer. */
#ifndef IP_STATUS_H
#define IP_STATUS_H

typedef enum {
    IP_OK = 0,
    IP_AGAIN,    /* nothing to take, or no room: wait and try again */
    IP_BUSY,     /* a lock is held by another: call again, allowed to block */
    IP_NO_MEMORY,/* the arena's limit, or the machine's memory */
    IP_CORRUPT,  /* what was read fails its check */
    IP_SHUT_DOWN,/* the queue was shut down */
    IP_EOF,      /* the last writer has left and all is read */
    IP_BROKEN,   /* the last reader has left */
    IP_FREED,    /* the id names an object that is no more */
    IP_EXISTS,   /* the name is taken by an object of another kind */
    IP_CROWDED,  /* a fixed table (members, objects) is full */
    IP_LEFT,     /* this process has left the arena */
    IP_TOO_LONG, /* a message, name or list beyond what a frame can carry */
    IP_NOT_OWNER,/* unlocking what one does not hold */
    IP_OVERFLOW, /* one more than the counter may hold */
    IP_HELD,     /* another has the gate of the container: wait for it, and call again */
    IP_POISONED, /* the channel was poisoned */
    IP_RETIRED,  /* the other side of the channel has retired */
    IP_DIED,     /* another process has died: bury it, and call again */
    IP_STUCK,    /* a wait that can never end: a deadlock */
    IP_OS_ERROR  /* see errno */
} ip_status;

#endif

/* watch.c: the thread that keeps an eventfd in step with a ring. */
#define _GNU_SOURCE
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "fork.h"
#include "member.h"

struct ip_watch {
    ip_watch *next;
    ip_arena *arena;
    ip_object *object;
    ip_ring *ring;
    int writers_end;
    int fd;
    ip_watcher *place; /* or NULL: more watchers than the ring has room for */
    bool running, raised, stopping; /* under mutex */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* raised fell, or stopping rose */
    pthread_t thread;
};

static void show(ip_watch *w, bool raised) {
    w->raised = raised;
    if (!w->place) return;
    atomic_store(&w->place->raised, raised);
    if (raised) ip_event_notify(&w->ring->raised, INT_MAX);
}

/* Under the mutex. */
static void step(ip_watch *w) {
    uint64_t n = 1;
    bool ready = ip_ring_readable(w->object, w->ring, w->writers_end);
    if (!ready && w->raised) {
        show(w, false); /* before the look that follows: who puts after it waits */
        if (read(w->fd, &n, sizeof n) != sizeof n && errno != EAGAIN) return;
        pthread_cond_signal(&w->changed);
        ready = ip_ring_readable(w->object, w->ring, w->writers_end);
        n = 1;
    }
    if (ready && !w->raised && write(w->fd, &n, sizeof n) == sizeof n) show(w, true);
}

static void *watch_thread(void *context) {
    ip_watch *w = context;
    pthread_mutex_lock(&w->mutex);
    while (!w->stopping) {
        step(w);
        if (w->raised) { /* until it is taken, here or, seen a slice later, elsewhere */
            struct timespec t;
            clock_gettime(CLOCK_MONOTONIC, &t);
            t.tv_nsec += IP_SLICE_NS;
            if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
            pthread_cond_timedwait(&w->changed, &w->mutex, &t);
            continue;
        }
        pthread_mutex_unlock(&w->mutex);
        bool slept = false, held;
        if (!ip_ring_wait_items(w->object, w->ring, w->writers_end, UINT64_MAX, &slept) && w->writers_end >= 0)
            ip_object_check_holders(w->arena, w->object, (unsigned)w->writers_end, &held);
        pthread_mutex_lock(&w->mutex);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

static void init_mutex(ip_watch *w) {
    pthread_condattr_t attributes;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

ip_watch *ip_watch_start(ip_arena *arena, ip_object *object, ip_ring *ring, int writers_end) {
    ip_watch *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    *w = (ip_watch){.arena = arena, .object = object, .ring = ring, .writers_end = writers_end};
    init_mutex(w);
    ip_fork_add_watch(w);
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->fd < 0 || ip_watch_descriptor(w) < 0) {
        int error = errno;
        ip_watch_stop(w);
        errno = error;
        return NULL;
    }
    return w;
}

int ip_watch_descriptor(ip_watch *w) {
    pthread_mutex_lock(&w->mutex);
    if (!w->running) w->place = ip_ring_watch(w->arena, w->ring);
    step(w);
    if (!w->running) {
        pthread_attr_t attributes;
        sigset_t all, before;
        sigfillset(&all); /* signals are for the interpreter's threads */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 256 << 10);
        int error = pthread_create(&w->thread, &attributes, watch_thread, w);
        pthread_attr_destroy(&attributes);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (error) {
            if (w->place) ip_ring_unwatch(w->place);
            w->place = NULL;
            pthread_mutex_unlock(&w->mutex);
            errno = error;
            return -1;
        }
        w->running = true;
    }
    pthread_mutex_unlock(&w->mutex);
    return w->fd;
}

void ip_watch_sync(ip_watch *w) {
    pthread_mutex_lock(&w->mutex);
    step(w);
    pthread_mutex_unlock(&w->mutex);
}

void ip_watch_stop(ip_watch *w) {
    pthread_mutex_lock(&w->mutex);
    bool running = w->running;
    w->stopping = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->mutex);
    if (running) {
        struct timespec soon;
        do { /* spurious wake-ups until the thread has looked at stopping: one may come just before it sleeps */
            atomic_store(&w->ring->items.sleepers, 1);
            ip_event_notify(&w->ring->items, INT_MAX);
            clock_gettime(CLOCK_REALTIME, &soon);
            soon.tv_nsec += 1000 * 1000;
            if (soon.tv_nsec >= 1000000000) soon.tv_sec++, soon.tv_nsec -= 1000000000;
        } while (pthread_timedjoin_np(w->thread, NULL, &soon) == ETIMEDOUT);
        if (w->place) ip_ring_unwatch(w->place);
    }
    ip_fork_remove_watch(w);
    if (w->fd >= 0) close(w->fd);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

void ip_watch_after_fork(ip_watch *w) {
    /* whatever the parent's thread was doing with the mutex, here it is a new one */
    init_mutex(w);
    w->running = w->raised = w->stopping = false;
    w->place = NULL; /* it is the parent's */
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return;
    dup3(fd, w->fd, O_CLOEXEC);
    close(fd);
}

ip_watch **ip_watch_link(ip_watch *w) { return &w->next; }

/* fork.c: making a forked child the member that its parent has reserved a place for. */
#include "fork.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "directory.h"
#include "member.h"
#include "watch.h"

typedef struct place {
    struct place *next;
    ip_arena *arena;
    int fd;
    uint32_t slot, generation;
} place;

static _Thread_local place *places;
static ip_arena *arenas;
static ip_watch *watches;
static pthread_mutex_t lists = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void before(void) { pthread_mutex_lock(&lists); }

static void in_parent(void) { pthread_mutex_unlock(&lists); }

static void in_child(void) {
    for (ip_arena *arena = arenas; arena; arena = arena->next) {
        struct stat info; /* the parent's: a copy would make it seem alive; if it is still what it was */
        if (arena->life_fd >= 0 && fstat(arena->life_fd, &info) == 0 && info.st_dev == arena->device &&
            info.st_ino == arena->inode)
            close(arena->life_fd);
        arena->life_fd = -1;
        arena->generation = 0;
    }
    while (places) {
        place *p = places;
        places = p->next;
        if (ip_member_claim(p->arena, p->slot, p->fd) != IP_OK) close(p->fd);
        free(p);
    }
    for (ip_watch *watch = watches; watch; watch = *ip_watch_link(watch)) ip_watch_after_fork(watch);
    pthread_mutex_unlock(&lists);
}

static void install(void) { pthread_atfork(before, in_parent, in_child); }

ip_status ip_fork_prepare(ip_arena *arena) {
    place *p = malloc(sizeof *p);
    if (!p) return IP_NO_MEMORY;
    *p = (place){.next = places, .arena = arena};
    ip_status status = ip_member_reserve(arena, &p->fd, &p->slot);
    if (status != IP_OK) {
        free(p);
        return status;
    }
    p->generation = ip_member_incarnation(arena, p->slot);
    places = p;
    return ip_directory_share_all(arena, p->slot);
}

ip_status ip_fork_slot(const ip_arena *arena, uint32_t *slot, uint32_t *generation) {
    for (const place *p = places; p; p = p->next) {
        if (p->arena != arena) continue;
        *slot = p->slot;
        *generation = p->generation;
        return IP_OK;
    }
    return IP_FREED;
}

void ip_fork_parent(void) {
    while (places) {
        place *p = places;
        places = p->next;
        close(p->fd);
        free(p);
    }
}

void ip_fork_add_arena(ip_arena *arena) {
    pthread_once(&once, install);
    pthread_mutex_lock(&lists);
    arena->next = arenas;
    arenas = arena;
    pthread_mutex_unlock(&lists);
}

void ip_fork_remove_arena(ip_arena *arena) {
    pthread_mutex_lock(&lists);
    for (ip_arena **at = &arenas; *at; at = &(*at)->next) {
        if (*at == arena) {
            *at = arena->next;
            break;
        }
    }
    pthread_mutex_unlock(&lists);
}

void ip_fork_add_watch(ip_watch *watch) {
    pthread_mutex_lock(&lists);
    *ip_watch_link(watch) = watches;
    watches = watch;
    pthread_mutex_unlock(&lists);
}

void ip_fork_remove_watch(ip_watch *watch) {
    pthread_mutex_lock(&lists);
    for (ip_watch **at = &watches; *at; at = ip_watch_link(*at)) {
        if (*at == watch) {
            *at = *ip_watch_link(watch);
            break;
        }
    }
    pthread_mutex_unlock(&lists);
}

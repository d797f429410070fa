/* member.c: joining, reserving, leaving, and burying the dead. */
#define _GNU_SOURCE
#include "member.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "directory.h"
#include "family.h"
#include "fault.h"
#include "heap.h"

#define LOOK_TICKS 95u /* 100 ms */

static ip_member *slot_at(const ip_arena *arena, uint32_t index) {
    return (ip_member *)ip_at(arena, arena->members) + index;
}

static uint64_t pack(int phase, uint32_t generation) { return (uint64_t)phase | (uint64_t)(generation & 0xFFFF) << 8; }
static int phase_of(uint64_t state) { return (int)(state & 0xFF); }
static uint32_t generation_of(uint64_t state) { return (uint32_t)(state >> 8 & 0xFFFF); }

static uint32_t next_generation(uint32_t generation) {
    generation = (generation + 1) & 0xFFFF;
    return generation ? generation : 1; /* 0 means: not a member */
}

/* Start time of a process that runs, 0 if there is none (or just its zombie), -1 if /proc does not tell. */
static int64_t start_time(pid_t pid) {
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT || errno == ESRCH ? 0 : -1;
    ssize_t n = read(fd, text, sizeof text - 1);
    int error = errno;
    close(fd);
    if (n <= 0) return n == 0 || error == ESRCH ? 0 : -1;
    text[n] = 0;
    char *p = strrchr(text, ')'); /* the name may hold anything, also brackets */
    if (!p || !p[1]) return -1;
    p += 2;
    if (*p == 'Z' || *p == 'X' || *p == 'x') return 0;
    for (int field = 3; field < 22 && p; field++) {
        p = strchr(p, ' ');
        if (p) p++;
    }
    return p ? strtoll(p, NULL, 10) : -1;
}

static struct flock byte_of(const ip_arena *arena, uint32_t index, short type) {
    return (struct flock){.l_type = type,
                          .l_whence = SEEK_SET,
                          .l_start = (off_t)(arena->members + index * sizeof(ip_member)),
                          .l_len = 1};
}

ip_life ip_member_life(ip_arena *arena, uint32_t index, uint32_t generation) {
    uint64_t used, state, pid, started;
    if (!ip_get(&arena->header->members_used, &used)) return IP_UNKNOWABLE;
    if (index >= used || index >= IP_MEMBERS_MAX) return IP_DEAD;
    ip_member *slot = slot_at(arena, index);
    if (!ip_get(&slot->state, &state)) return IP_UNKNOWABLE;
    if (generation_of(state) != generation || phase_of(state) == IP_FREE || phase_of(state) == IP_LEAVING) return IP_DEAD;
    if (index == arena->self && generation == arena->generation) return IP_ALIVE;
    struct flock lock = byte_of(arena, index, F_WRLCK);
    if (fcntl(arena->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK) return IP_DEAD;
    if (phase_of(state) == IP_RESERVED) return IP_ALIVE;
    if (!ip_get(&slot->pid, &pid) || !ip_get(&slot->started, &started)) return IP_UNKNOWABLE;
    int64_t now = start_time((pid_t)pid);
    return now < 0 || (uint64_t)now == started ? IP_ALIVE : IP_DEAD;
}

bool ip_member_has_died(ip_arena *arena, uint32_t index, uint32_t generation) {
    uint64_t state;
    if (index >= IP_MEMBERS_MAX || (index == arena->self && generation == arena->generation)) return false;
    if (!ip_get(&slot_at(arena, index)->state, &state) || generation_of(state) != generation || phase_of(state) == IP_FREE) return false;
    if (phase_of(state) == IP_LEAVING) return true;
    struct flock lock = byte_of(arena, index, F_WRLCK);
    return fcntl(arena->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}

/* Another open file description of the arena, since locks belong to descriptions. */
static int reopen(const ip_arena *arena) {
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", arena->fd);
    return open(path, O_RDWR | O_CLOEXEC);
}

/* Raises the high-water mark to used. */
static ip_status note_used(ip_arena *arena, uint64_t used) {
    uint64_t now;
    do {
        IP_READ(&arena->header->members_used, now);
    } while (now < used && !ip_swap(&arena->header->members_used, now, used));
    return IP_OK;
}

ip_status ip_member_reserve(ip_arena *arena, int *fd, uint32_t *index) {
    ip_status status = IP_CROWDED;
    *fd = reopen(arena);
    if (*fd < 0) return IP_OS_ERROR;
    for (uint32_t i = 0; i < IP_MEMBERS_MAX; i++) {
        ip_word *word = &slot_at(arena, i)->state;
        uint64_t raw = atomic_load(word), state = ip_payload(raw);
        if (raw == 0)
            state = pack(IP_FREE, 0); /* virgin */
        else if (!ip_sealed(raw)) {
            status = IP_CORRUPT;
            break;
        }
        if (phase_of(state) != IP_FREE) continue;
        struct flock lock = byte_of(arena, i, F_WRLCK);
        if (fcntl(*fd, F_OFD_SETLK, &lock) != 0) continue; /* a descriptor of an earlier reservation is still about */
        FAULT("member.locked");
        uint64_t reserved = ip_seal(pack(IP_RESERVED, next_generation(generation_of(state))));
        if (atomic_compare_exchange_strong(word, &raw, reserved)) {
            FAULT("member.reserved");
            ip_set(&slot_at(arena, i)->exiting, 0);
            ip_set(&slot_at(arena, i)->starter, 0);
            *index = i;
            status = note_used(arena, i + 1);
            if (status == IP_OK) return IP_OK;
            break;
        }
        lock.l_type = F_UNLCK;
        fcntl(*fd, F_OFD_SETLK, &lock);
    }
    close(*fd);
    *fd = -1;
    return status;
}

ip_status ip_member_claim(ip_arena *arena, uint32_t index, int fd) {
    uint64_t state;
    if (index >= IP_MEMBERS_MAX) return IP_CORRUPT;
    ip_member *slot = slot_at(arena, index);
    IP_READ(&slot->state, state);
    if (phase_of(state) != IP_RESERVED) return IP_LEFT; /* given up for dead */
    pid_t pid = getpid();
    int64_t started = start_time(pid);
    ip_set(&slot->pid, (uint64_t)pid);
    ip_set(&slot->exiting, 0);
    ip_set(&slot->started, started > 0 ? (uint64_t)started : 0); /* without /proc the pid alone has to do */
    FAULT("member.described");
    if (!ip_swap(&slot->state, state, pack(IP_MEMBER, generation_of(state)))) return IP_LEFT;
    FAULT("member.claimed");
    arena->pid = pid;
    arena->self = index;
    arena->state = &slot->state;
    arena->alive = ip_seal(pack(IP_MEMBER, generation_of(state)));
    arena->generation = generation_of(state);
    arena->life_fd = fd;
    return IP_OK;
}

ip_status ip_member_join(ip_arena *arena) {
    int fd;
    uint32_t index;
    IP_TRY(ip_member_reserve(arena, &fd, &index));
    ip_status status = ip_member_claim(arena, index, fd);
    if (status != IP_OK) close(fd);
    return status;
}

/* Frees what the member has, in steps that can be repeated. Its phase is LEAVING, or it is this process. */
static ip_status clear(ip_arena *arena, uint32_t index, uint32_t generation) {
    IP_TRY(ip_directory_release_all(arena, index, generation, false));
    FAULT("member.released");
    IP_TRY(ip_heap_free_owned(arena, index, generation));
    FAULT("member.emptied");
    return IP_OK;
}

bool ip_member_may_clear(ip_arena *arena, uint32_t index, uint32_t generation) {
    uint64_t state;
    if (index == arena->self && generation == arena->generation) return true;
    return ip_get(&slot_at(arena, index)->state, &state) && state == pack(IP_LEAVING, generation);
}

static ip_status bury(ip_arena *arena, uint32_t index, uint64_t state) {
    uint32_t generation = generation_of(state);
    uint64_t exiting;
    ip_member *slot = slot_at(arena, index);
    if (phase_of(state) != IP_LEAVING && !ip_swap(&slot->state, state, pack(IP_LEAVING, generation))) return IP_OK;
    FAULT("member.leaving");
    IP_READ(&slot->exiting, exiting);
    if (!exiting) IP_TRY(ip_family_bereave(arena, index, generation));
    IP_TRY(clear(arena, index, generation));
    IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_PATIENT));
    ip_swap(&slot->state, pack(IP_LEAVING, generation), pack(IP_FREE, generation));
    FAULT("member.freed");
    ip_lock_release(&arena->header->lock);
    return IP_OK;
}

ip_status ip_member_cancel(ip_arena *arena, uint32_t index) {
    uint64_t state;
    IP_READ(&slot_at(arena, index)->state, state);
    return phase_of(state) == IP_RESERVED ? bury(arena, index, state) : IP_OK;
}

ip_status ip_member_bury_if_dead(ip_arena *arena, uint32_t index) {
    uint64_t state;
    if (index >= IP_MEMBERS_MAX) return IP_CORRUPT;
    IP_READ(&slot_at(arena, index)->state, state);
    if (phase_of(state) == IP_FREE) return IP_OK;
    ip_life life = ip_member_life(arena, index, generation_of(state));
    if (life == IP_UNKNOWABLE) return IP_CORRUPT;
    return life == IP_DEAD ? bury(arena, index, state) : IP_OK;
}

ip_status ip_member_watch(ip_arena *arena, uint32_t index, uint64_t now) {
    uint64_t seen;
    if (index >= IP_MEMBERS_MAX) return IP_CORRUPT;
    ip_word *word = &slot_at(arena, index)->seen;
    if (ip_get(word, &seen) && seen <= now && now - seen < IP_SLICE_NS / 2) return IP_OK;
    IP_TRY(ip_member_bury_if_dead(arena, index));
    ip_set(word, now & IP_PAYLOAD_MAX); /* now there is nobody, or one who is alive */
    return IP_OK;
}

ip_status ip_member_withdraw(ip_arena *arena) {
    if (!arena->generation) return IP_OK;
    return ip_directory_release_all(arena, arena->self, arena->generation, true);
}

void ip_member_announce_exit(ip_arena *arena) {
    if (arena->generation) ip_set(&slot_at(arena, arena->self)->exiting, 1);
}

ip_status ip_member_note_starter(ip_arena *arena, uint32_t index) {
    if (index >= IP_MEMBERS_MAX) return IP_CORRUPT;
    ip_set(&slot_at(arena, index)->starter, ip_heap_owner(arena));
    return IP_OK;
}

bool ip_member_descends(ip_arena *arena, uint32_t index, uint32_t starter, uint32_t generation) {
    uint64_t state, its;
    uint32_t expected = 0; /* generation of a starter; 0: of the member itself, whichever */
    for (unsigned steps = 0; steps < IP_MEMBERS_MAX && index < IP_MEMBERS_MAX; steps++) {
        ip_member *slot = slot_at(arena, index);
        if (!ip_get(&slot->state, &state) || phase_of(state) == IP_FREE) return false;
        if ((expected && generation_of(state) != expected) || !ip_get(&slot->starter, &its) || !its) return false;
        index = (uint32_t)(its & 0xFFF) - 1;
        expected = (uint32_t)(its >> 12);
        if (index == starter && expected == generation) return true;
    }
    return false;
}

bool ip_member_others(ip_arena *arena) {
    uint64_t used, state, exiting;
    if (!ip_get(&arena->header->members_used, &used) || used > IP_MEMBERS_MAX) return true;
    for (uint32_t i = 0; i < used; i++) {
        if (i == arena->self || atomic_load(&slot_at(arena, i)->state) == 0) continue;
        if (!ip_get(&slot_at(arena, i)->state, &state) || !ip_get(&slot_at(arena, i)->exiting, &exiting)) return true;
        if ((phase_of(state) != IP_RESERVED && phase_of(state) != IP_MEMBER) || exiting) continue;
        struct flock lock = byte_of(arena, i, F_WRLCK); /* alone: pids mean nothing across pid namespaces */
        if (fcntl(arena->fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK) return true;
    }
    return false;
}

ip_status ip_member_leave(ip_arena *arena) {
    if (!arena->generation) return IP_OK;
    ip_status status = clear(arena, arena->self, arena->generation);
    ip_swap(&slot_at(arena, arena->self)->state, pack(IP_MEMBER, arena->generation), pack(IP_FREE, arena->generation));
    arena->generation = 0;
    close(arena->life_fd);
    arena->life_fd = -1;
    return status;
}

ip_status ip_member_reap(ip_arena *arena, uint32_t *buried) {
    uint64_t used, state;
    *buried = 0;
    IP_READ(&arena->header->members_used, used);
    if (used > IP_MEMBERS_MAX) return IP_CORRUPT;
    for (uint32_t i = 0; i < used; i++) {
        uint64_t raw = atomic_load(&slot_at(arena, i)->state);
        if (raw == 0) continue;
        IP_READ(&slot_at(arena, i)->state, state);
        if (phase_of(state) == IP_FREE) continue;
        IP_TRY(ip_member_bury_if_dead(arena, i));
        uint64_t after;
        IP_READ(&slot_at(arena, i)->state, after);
        if (after != state && phase_of(after) == IP_FREE) ++*buried;
    }
    return ip_directory_sweep(arena);
}

ip_status ip_member_reap_sometimes(ip_arena *arena) {
    uint64_t last, now = ip_now_ns() / 1000000000u;
    uint32_t buried;
    IP_READ(&arena->header->last_reap, last);
    if (now == last || !ip_swap(&arena->header->last_reap, last, now)) return IP_OK;
    return ip_member_reap(arena, &buried);
}

ip_status ip_member_look(ip_arena *arena, uint64_t now, uint32_t *dead) {
    uint64_t looked, used, state;
    ip_header *header = arena->header;
    IP_READ(&header->looked, looked);
    if ((now >= looked && now - looked < LOOK_TICKS) || !ip_swap(&header->looked, looked, now)) return IP_OK;
    IP_READ(&header->members_used, used);
    if (used > IP_MEMBERS_MAX) return IP_CORRUPT;
    for (*dead = 0; *dead < used; ++*dead) {
        if (atomic_load(&slot_at(arena, *dead)->state) == 0) continue; /* virgin */
        IP_READ(&slot_at(arena, *dead)->state, state);
        if (!ip_member_has_died(arena, *dead, generation_of(state))) continue;
        ip_set(&header->looked, looked); /* there may be more */
        return IP_DIED;
    }
    return IP_OK;
}

int ip_member_list(ip_arena *arena, ip_member_info *infos, int max) {
    uint64_t used, state, pid;
    int n = 0;
    if (!ip_get(&arena->header->members_used, &used) || used > IP_MEMBERS_MAX) return -1;
    for (uint32_t i = 0; i < used && n < max; i++) {
        ip_member *slot = slot_at(arena, i);
        if (atomic_load(&slot->state) == 0) continue;
        if (!ip_get(&slot->state, &state)) return -1;
        if (phase_of(state) == IP_FREE) continue;
        if (phase_of(state) == IP_RESERVED || !ip_get(&slot->pid, &pid)) pid = 0;
        infos[n++] = (ip_member_info){i, generation_of(state), phase_of(state), (pid_t)pid};
    }
    return n;
}

uint32_t ip_member_incarnation(ip_arena *arena, uint32_t index) {
    uint64_t state;
    if (index == arena->self && arena->generation) return arena->generation;
    if (index >= IP_MEMBERS_MAX || !ip_get(&slot_at(arena, index)->state, &state)) return 0;
    return ip_member_life(arena, index, generation_of(state)) == IP_ALIVE ? generation_of(state) : 0;
}

pid_t ip_member_pid(ip_arena *arena, uint32_t index, uint32_t generation) {
    uint64_t pid;
    if (ip_member_life(arena, index, generation) != IP_ALIVE || !ip_get(&slot_at(arena, index)->pid, &pid)) return 0;
    return (pid_t)pid;
}

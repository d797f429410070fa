/* arena.c: making and mapping arenas, committing memory. */
#define _GNU_SOURCE
#include "arena.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "fork.h"
#include "member.h"

#define MAGIC UINT64_C(0x696E7465727072) /* "interpr" */
#define VERSION 1
#define CHUNKS_MAX 65536u

static uint64_t round_up(uint64_t x, uint64_t unit) { return (x + unit - 1) / unit * unit; }

/* Where the regions lie follows from the limit. */
static void lay_out(ip_arena *arena, uint64_t limit) {
    arena->chunk_shift = 18;
    while (limit >> arena->chunk_shift > CHUNKS_MAX) arena->chunk_shift++;
    uint64_t chunk = UINT64_C(1) << arena->chunk_shift;
    arena->limit = round_up(limit, chunk);
    arena->journal = round_up(sizeof(ip_header), IP_PAGE);
    arena->members = arena->journal + round_up(IP_JOURNAL_ENTRIES * sizeof(ip_journal_entry), IP_PAGE);
    arena->directory = arena->members + round_up(IP_MEMBERS_MAX * sizeof(ip_member), IP_PAGE);
    arena->chunks = arena->directory + round_up((uint64_t)IP_OBJECTS_MAX * 4 * sizeof(ip_word), IP_PAGE);
    uint64_t chunk_count = arena->limit >> arena->chunk_shift;
    arena->heap = round_up(arena->chunks + chunk_count * sizeof(ip_word), chunk);
    arena->heap_end = arena->heap + arena->limit;
    arena->size = arena->heap_end;
}

static ip_status allocate(int fd, uint64_t from, uint64_t to) {
    int result;
    do {
        result = fallocate(fd, 0, (off_t)from, (off_t)(to - from));
    } while (result != 0 && errno == EINTR);
    if (result == 0) return IP_OK;
    return errno == ENOSPC || errno == ENOMEM || errno == EFBIG ? IP_NO_MEMORY : IP_OS_ERROR;
}

static ip_status map(ip_arena *arena) {
    void *base = mmap(NULL, arena->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, arena->fd, 0);
    if (base == MAP_FAILED) return errno == ENOMEM ? IP_NO_MEMORY : IP_OS_ERROR;
    struct stat info;
    if (fstat(arena->fd, &info) == 0) {
        arena->device = info.st_dev;
        arena->inode = info.st_ino;
    }
    arena->base = base;
    arena->header = base;
    ip_fork_add_arena(arena);
    return IP_OK;
}

static void unmap(ip_arena *arena) {
    ip_fork_remove_arena(arena);
    munmap(arena->base, arena->size);
    arena->base = NULL;
    arena->header = NULL;
    if (arena->life_fd >= 0) close(arena->life_fd);
    arena->life_fd = -1;
}

static ip_status fill_header(ip_arena *arena) {
    ip_header *h = arena->header;
    if (getrandom(arena->identity, sizeof arena->identity, 0) != sizeof arena->identity) return IP_OS_ERROR;
    /* all but the first, magic: as long as its bytes are zero, who opens the file knows that it was never finished */
    for (ip_word *w = (ip_word *)h + 1; w < (ip_word *)&h->lock; w++) ip_set(w, 0);
    ip_lock_init(&h->lock);
    ip_set(&h->journal.count, 0);
    ip_set(&h->journal.decided_at, 0);
    ip_set(&h->journal.decided_value, 0);
    ip_set(&h->looked, 0);
    for (int i = 0; i < 3; i++) {
        arena->identity[i] &= (UINT64_C(1) << 48) - 1;
        ip_set(&h->identity[i], arena->identity[i]);
    }
    ip_journal_entry *entries = ip_at(arena, arena->journal);
    for (unsigned i = 0; i < IP_JOURNAL_ENTRIES; i++) {
        ip_set(&entries[i].at, 0);
        ip_set(&entries[i].old, 0);
    }
    ip_set(&h->version, VERSION);
    ip_set(&h->size, arena->size);
    ip_set(&h->limit, arena->limit);
    ip_set(&h->committed_members, arena->directory - arena->members);
    ip_set(&h->heap_top, arena->heap);
    ip_set(&h->magic, MAGIC); /* last: from here on it is an arena */
    return IP_OK;
}

static ip_status create(ip_arena *arena, int fd, uint64_t limit) {
    lay_out(arena, limit);
    arena->fd = fd;
    if (ftruncate(fd, (off_t)arena->size) != 0) return errno == EFBIG ? IP_NO_MEMORY : IP_OS_ERROR;
    IP_TRY(allocate(fd, 0, arena->directory));
    IP_TRY(map(arena));
    ip_status status = fill_header(arena);
    if (status == IP_OK) status = ip_member_join(arena);
    if (status != IP_OK) unmap(arena);
    return status;
}

ip_status ip_arena_create(ip_arena *arena, int fd, uint64_t limit) {
    memset(arena, 0, sizeof *arena);
    arena->self = UINT32_MAX; /* nobody, so far */
    arena->life_fd = -1;
    if (fd >= 0) return create(arena, fd, limit);
    fd = memfd_create("interproc", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return IP_OS_ERROR;
    ip_status status = create(arena, fd, limit);
    if (status == IP_OK && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        unmap(arena);
        status = IP_OS_ERROR;
    }
    if (status != IP_OK) {
        int error = errno;
        close(fd);
        errno = error;
    }
    return status;
}

ip_status ip_arena_attach(ip_arena *arena, int fd) {
    struct stat st;
    _Alignas(ip_header) ip_word words[sizeof(ip_header) / sizeof(ip_word)];
    const ip_header *h = (const ip_header *)words;
    uint64_t magic, version, size, limit;
    memset(arena, 0, sizeof *arena);
    arena->self = UINT32_MAX; /* nobody, so far */
    arena->life_fd = -1;
    if (fstat(fd, &st) != 0) return IP_OS_ERROR;
    /* read(), not mapped: a file that is too short must not become a SIGBUS */
    if (pread(fd, words, sizeof words, 0) != (ssize_t)sizeof words) return IP_CORRUPT;
    IP_READ(&h->magic, magic);
    IP_READ(&h->version, version);
    IP_READ(&h->size, size);
    IP_READ(&h->limit, limit);
    lay_out(arena, limit);
    if (magic != MAGIC || version != VERSION || arena->size != size || arena->limit != limit ||
        (uint64_t)st.st_size != size)
        return IP_CORRUPT;
    for (int i = 0; i < 3; i++) IP_READ(&h->identity[i], arena->identity[i]);
    arena->fd = fd;
    return map(arena);
}

void ip_arena_detach(ip_arena *arena) {
    if (arena->base) unmap(arena);
    if (arena->fd >= 0) close(arena->fd);
    arena->fd = -1;
}

ip_status ip_arena_commit(ip_arena *arena, uint64_t region, ip_word *word, uint64_t need) {
    uint64_t have;
    IP_READ(word, have);
    if (need <= have) return IP_OK;
    need = round_up(need, IP_PAGE);
    IP_TRY(allocate(arena->fd, region + have, region + need));
    FAULT("arena.allocated");
    /* not journaled: what is committed may stay so when the change is undone */
    ip_set(word, need);
    return IP_OK;
}

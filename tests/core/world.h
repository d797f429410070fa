/* world.h: what core tests share: an arena, objects in it, messages that carry their own number, forked members. */
#ifndef IP_WORLD_H
#define IP_WORLD_H

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "arena.h"
#include "check.h"
#include "directory.h"
#include "fault.h"
#include "heap.h"
#include "member.h"
#include "ring.h"
#include "sync.h"

#if defined(__has_feature) /* everything takes several times as long then */
#if __has_feature(address_sanitizer)
#define UNDER_ASAN
#elif __has_feature(thread_sanitizer)
#define UNDER_TSAN
#endif
#endif

#define MAYBE_UNUSED __attribute__((unused))
#define OK(call) CHECK_EQ((call), IP_OK)

/* A child that a fault killed ends by SIGKILL; anything else that is not exit(0) is a failure. */
enum { CHILD_DONE, CHILD_KILLED };

MAYBE_UNUSED static int child_end(pid_t pid) {
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return CHILD_KILLED;
    if (WIFSIGNALED(status)) fprintf(stderr, "child ended by signal %d\n", WTERMSIG(status));
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return CHILD_DONE;
}

/* Forks a member that holds all that this process holds. Returns 0 in the child, which is a member then. */
MAYBE_UNUSED static pid_t fork_member(ip_arena *arena) {
    int fd;
    uint32_t slot;
    OK(ip_member_reserve(arena, &fd, &slot));
    OK(ip_directory_share_all(arena, slot));
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        OK(ip_member_claim(arena, slot, fd));
        return 0;
    }
    close(fd);
    return pid;
}

MAYBE_UNUSED static uint64_t word_of(const ip_word *word) {
    uint64_t payload;
    CHECK(ip_get(word, &payload));
    return payload;
}

MAYBE_UNUSED static uint64_t heap_used(ip_arena *arena) { return word_of(&arena->header->heap_used); }

/* ---- a queue, or one end of a pipe, as a test uses it ---- */

typedef struct {
    ip_arena *arena;
    ip_id id;
    int kind;
    ip_object *object;
    ip_ring *in, *out;           /* take from in, put to out */
    int writers_end, readers_end; /* of in, of out */
    unsigned end;
} port;

MAYBE_UNUSED static port queue_new(ip_arena *arena, uint64_t max_count, uint64_t max_bytes, const char *name) {
    ip_ring_settings settings = {max_count, max_bytes};
    port p = {.arena = arena, .kind = IP_QUEUE, .writers_end = -1, .readers_end = -1};
    bool created;
    OK(ip_object_open(arena, IP_QUEUE, 1, 1, ip_ring_body_size(IP_QUEUE), name, name ? strlen(name) : 0, ip_ring_make,
                      &settings, &p.id, &p.object, &created));
    p.in = p.out = ip_ring_of(p.object, IP_QUEUE, 0);
    return p;
}

MAYBE_UNUSED static port pipe_end(port p, unsigned end) {
    p.end = end;
    p.in = ip_ring_of(p.object, IP_PIPE, end);
    p.out = ip_ring_of(p.object, IP_PIPE, 1 - end);
    p.writers_end = p.readers_end = (int)(1 - end);
    return p;
}

MAYBE_UNUSED static void pipe_new(ip_arena *arena, uint64_t max_bytes, port ends[2]) {
    ip_ring_settings settings = {0, max_bytes};
    port p = {.arena = arena, .kind = IP_PIPE};
    bool created;
    OK(ip_object_open(arena, IP_PIPE, 2, 3, ip_ring_body_size(IP_PIPE), NULL, 0, ip_ring_make, &settings, &p.id,
                      &p.object, &created));
    ends[0] = pipe_end(p, 0);
    ends[1] = pipe_end(p, 1);
}

MAYBE_UNUSED static ip_id memory_new(ip_arena *arena, uint64_t size, ip_memory **memory) {
    ip_memory_settings settings = {.size = size, .flavour = 7};
    ip_object *object;
    ip_id id;
    uint64_t its_size;
    bool created;
    OK(ip_object_open(arena, IP_MEMORY, 1, 1, ip_memory_body_size(size), NULL, 0, ip_memory_make, &settings, &id,
                      &object, &created));
    OK(ip_memory_of(arena, object, 7, memory, &its_size));
    CHECK_EQ(its_size, size);
    return id;
}

/* ---- messages: the contents follow from a number, whose low byte is the kind; a reader can tell they are whole ---- */

MAYBE_UNUSED static unsigned char byte_of_message(uint64_t number, uint64_t i) {
    return (unsigned char)((number & 0xFF) * 29 + i * 7 + (i >> 8) * 13);
}

MAYBE_UNUSED static void fill_message(unsigned char *data, uint64_t size, uint64_t number) {
    for (uint64_t i = 0; i < size; i++) data[i] = byte_of_message(number, i);
    if (size >= 8) memcpy(data, &number, 8);
}

MAYBE_UNUSED static bool message_is(const unsigned char *data, uint64_t size, uint64_t number) {
    uint64_t i = 0;
    if (size >= 8) {
        if (memcmp(data, &number, 8) != 0) return false;
        i = 8;
    }
    for (; i < size; i++)
        if (data[i] != byte_of_message(number, i)) return false;
    return true;
}

/* A lock whose owner does not run just now is waited for in vain, for a moment: call again. */
#define UNTIL_NOT_BUSY(status, call)  \
    do {                              \
        (status) = (call);            \
    } while ((status) == IP_BUSY)

static uint64_t block_from = IP_INLINE_MAX - 256; /* messages of that size and longer go into a block, of two pieces */

MAYBE_UNUSED static ip_status put_with(const port *p, uint64_t number, uint64_t size, const ip_handle_ref *handles,
                                       unsigned n_handles) {
    unsigned put;
    unsigned char *data = malloc(size ? size : 1);
    CHECK(data);
    fill_message(data, size, number);
    ip_piece pieces[2] = {{data, size / 3}, {data + size / 3, size - size / 3}};
    ip_outgoing m = {.kind = (uint8_t)number, .data = data, .size = size, .handles = handles, .n_handles = n_handles};
    ip_status status = IP_OK;
    if (size >= block_from) {
        m.data = NULL;
        m.pieces = pieces;
        m.n_pieces = 2;
        UNTIL_NOT_BUSY(status, ip_block_fill(p->arena, pieces, 2, &m.block, &m.block_sum));
    }
    if (status == IP_OK) {
        UNTIL_NOT_BUSY(status, ip_ring_put(p->arena, p->object, p->out, p->readers_end, &m, 1, IP_PATIENT, &put));
        if (status != IP_OK && m.block) ip_block_drop(p->arena, m.block);
        if (status == IP_OK) CHECK_EQ(put, 1);
    }
    free(data);
    return status;
}

MAYBE_UNUSED static ip_status put_one(const port *p, uint64_t number, uint64_t size) {
    return put_with(p, number, size, NULL, 0);
}

typedef struct {
    uint64_t number, size; /* number: just its low byte if the message has less than 8 bytes */
    bool whole;            /* the contents are as put */
    unsigned n_handles;
    ip_handle_ref handles[16];
} message;

/* What was taken; drops its block. */
MAYBE_UNUSED static ip_status examine(const port *p, const ip_incoming *in, message *m) {
    const unsigned char *data = in->data;
    *m = (message){.number = in->kind, .size = in->size, .n_handles = in->n_handles};
    CHECK(in->n_handles <= 16);
    for (unsigned i = 0; i < in->n_handles; i++) m->handles[i] = in->handles[i];
    if (in->block) {
        ip_status status = ip_block_verify(p->arena, in);
        if (status != IP_OK) return status;
        data = ip_at(p->arena, in->block);
    }
    if (in->size >= 8) memcpy(&m->number, data, 8);
    m->whole = (uint8_t)m->number == in->kind && message_is(data, in->size, m->number);
    return in->block ? ip_block_drop(p->arena, in->block) : IP_OK;
}

MAYBE_UNUSED static ip_status take_one(const port *p, message *m) {
    static _Thread_local _Alignas(8) unsigned char scratch[IP_SCRATCH_MIN];
    ip_incoming in;
    unsigned taken;
    ip_status status;
    UNTIL_NOT_BUSY(status, ip_ring_take(p->arena, p->object, p->in, p->writers_end, scratch, sizeof scratch, IP_PATIENT,
                                        &in, 1, &taken));
    if (status != IP_OK) return status;
    CHECK_EQ(taken, 1);
    return examine(p, &in, m);
}

/* Takes the message that was put under that number, and no other. */
#define TAKE(port_, number_, size_)                     \
    do {                                                \
        message m_;                                     \
        OK(take_one((port_), &m_));                     \
        CHECK_EQ(m_.size, (size_));                     \
        CHECK_EQ(m_.number, m_.size >= 8 ? (uint64_t)(number_) : (uint8_t)(number_)); \
        CHECK(m_.whole);                                \
    } while (0)

MAYBE_UNUSED static uint64_t queued(const port *p) {
    uint64_t put, taken, done, bytes;
    bool shut;
    OK(ip_ring_counts(p->in, &put, &taken, &done, &bytes, &shut));
    return put - taken;
}

/* Small multiplicative generator (Steele and Vigna's splitmix64): the same run each time. */
MAYBE_UNUSED static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

#endif

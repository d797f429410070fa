/* script.h: short scripts of puts and takes, run by a child that may be killed in them, and what the ring must hold after.
 *
 * Tokens, separated by blanks:  p100  put 100 bytes      h100  the same with two handles to another queue
 *                               P9    put 9 in one call  M9    the same, every third with a block, every fourth with handles
 *                               t     take one           T9    take up to 9 in one call
 * Messages are numbered in the order in which they are put.
 */
#ifndef IP_SCRIPT_H
#define IP_SCRIPT_H

#include "trial.h"

#define MESSAGES_MAX 400

typedef struct {
    uint64_t size;
    unsigned n_handles;
} planned;

static planned plan[MESSAGES_MAX];
static unsigned n_planned;
static port writer, reader, inner; /* what a script puts to and takes from, and the queue that handles refer to */
static ip_handle_ref inner_refs[2];

static planned of_batch(char token, uint64_t i) {
    if (token == 'P') return (planned){i * 37 % 400, 0};
    return (planned){i % 3 == 2 ? 20000 + i : i * 37 % 400, i % 4 == 3 ? 2 : 0};
}

/* Calls each(token, argument) for the tokens of a script. */
static void each_token(const char *script, void (*each)(char token, uint64_t argument)) {
    while (*script) {
        char token = *script++, *rest = NULL;
        uint64_t argument = strtoull(script, &rest, 10);
        each(token, argument);
        script = rest;
        while (*script == ' ') script++;
    }
}

static void plan_token(char token, uint64_t argument) {
    CHECK(n_planned + (token == 'P' || token == 'M' ? argument : 1) <= MESSAGES_MAX);
    if (token == 'p' || token == 'h') plan[n_planned++] = (planned){argument, token == 'h' ? 2 : 0};
    if (token == 'P' || token == 'M')
        for (uint64_t i = 0; i < argument; i++) plan[n_planned++] = of_batch(token, i);
}

static void put_batch(unsigned n) {
    static ip_outgoing out[MESSAGES_MAX];
    static ip_piece pieces[MESSAGES_MAX];
    unsigned put;
    for (unsigned i = 0; i < n; i++) {
        uint64_t number = shared->put_done + i;
        const planned *p = &plan[number];
        unsigned char *data = malloc(p->size + 1);
        CHECK(data);
        fill_message(data, p->size, number);
        pieces[i] = (ip_piece){data, p->size};
        out[i] = (ip_outgoing){.kind = (uint8_t)number, .data = data, .size = p->size, .handles = inner_refs, .n_handles = p->n_handles};
        if (p->size > IP_INLINE_MAX) {
            out[i].pieces = &pieces[i];
            out[i].n_pieces = 1;
            OK(ip_block_fill(&arena, &pieces[i], 1, &out[i].block, &out[i].block_sum));
        }
    }
    OK(ip_ring_put(&arena, writer.object, writer.out, writer.readers_end, out, n, IP_PATIENT, &put));
    CHECK_EQ(put, n);
    for (unsigned i = 0; i < n; i++) free((void *)pieces[i].data);
}

static unsigned take_batch(unsigned n) {
    static _Alignas(8) unsigned char scratch[3 * IP_SCRATCH_MIN];
    static ip_incoming in[MESSAGES_MAX];
    unsigned taken;
    OK(ip_ring_take(&arena, reader.object, reader.in, reader.writers_end, scratch, sizeof scratch, IP_PATIENT, in, n, &taken));
    for (unsigned i = 0; i < taken; i++) {
        message m;
        uint64_t number = shared->take_done + i;
        OK(examine(&reader, &in[i], &m));
        CHECK(m.whole && m.size == plan[number].size && m.n_handles == plan[number].n_handles);
        CHECK_EQ((uint8_t)m.number, (uint8_t)number);
    }
    return taken;
}

static void run_token(char token, uint64_t argument) {
    uint64_t n = token == 'P' || token == 'M' || token == 'T' ? argument : 1;
    if (token == 't' || token == 'T') {
        shared->take_tried = shared->take_done + n;
        shared->take_done += take_batch((unsigned)n);
        shared->take_tried = shared->take_done;
    } else {
        shared->put_tried = shared->put_done + n;
        put_batch((unsigned)n);
        shared->put_done += n;
    }
}

/* A queue or a pipe, after the script has run, in the state that the operation finds; act's script is planned too. */
static void set_stage(bool pipe, const char *script, const char *act) {
    n_planned = 0;
    inner = queue_new(&arena, 0, 0, NULL);
    inner_refs[0] = inner_refs[1] = (ip_handle_ref){inner.id, 0};
    OK(put_one(&inner, 5, 50));
    if (pipe) {
        port ends[2];
        pipe_new(&arena, 0, ends);
        writer = ends[0];
        reader = ends[1];
    } else {
        writer = reader = queue_new(&arena, 0, 0, NULL);
    }
    locks_of[0] = &writer;
    locks_of[1] = &reader;
    locks_of[2] = &inner;
    n_locks_of = 3;
    each_token(script, plan_token);
    each_token(act, plan_token);
    each_token(script, run_token);
}

/* How many handles on it are in transit; checks how many hold it. */
static uint64_t transit_of(ip_id id, unsigned holders) {
    ip_object_info info;
    uint32_t index = id.index;
    if (ip_object_next(&arena, &index, &info) != IP_OK || info.id.index != id.index || info.id.generation != id.generation)
        return 0;
    CHECK_EQ(info.holders[0], holders);
    return info.transit[0];
}

/* All that was put, as far as the child knew, is there, once, in order, and nothing else; then the ring still works.
 * holds_inner: does the parent hold the queue that handles refer to? */
static void check_and_strike(bool holds_inner) {
    uint64_t put, taken, done, bytes, handles = 0, sum = 0;
    bool shut;
    OK(ip_ring_check(&arena, reader.in));
    OK(ip_ring_counts(reader.in, &put, &taken, &done, &bytes, &shut));
    CHECK(put >= shared->put_done && put <= shared->put_tried);
    CHECK(taken >= shared->take_done && taken <= shared->take_tried);
    for (uint64_t i = taken; i < put; i++) handles += plan[i].n_handles, sum += plan[i].size;
    CHECK_EQ(bytes, sum);
    CHECK_EQ(transit_of(inner.id, holds_inner), handles);
    if (handles) holds_inner = true; /* by taking them */
    shared->put_done = put;
    shared->take_done = taken;
    while (shared->take_done < put) shared->take_done += take_batch((unsigned)(put - shared->take_done));
    message m;
    CHECK_EQ(take_one(&reader, &m), IP_AGAIN);
    CHECK_EQ(transit_of(inner.id, holds_inner), 0);
    for (uint64_t i = 0; i < 5; i++) OK(put_one(&writer, i, i * 7000));
    for (uint64_t i = 0; i < 5; i++) TAKE(&reader, i, i * 7000);
    if (holds_inner) {
        OK(put_with(&writer, 9, 100, inner_refs, 2));
        OK(take_one(&reader, &m));
        CHECK(m.whole && m.n_handles == 2);
        TAKE(&inner, 5, 50);
        OK(ip_object_release(&arena, inner.id, 0));
    }
    OK(ip_ring_check(&arena, reader.in));
    OK(ip_object_release(&arena, writer.id, writer.end));
    if (reader.kind == IP_PIPE) OK(ip_object_release(&arena, reader.id, reader.end));
}

#endif

/* ring.c: making, waiting on, counting, shutting down and freeing rings. */
#include "ring.h"

#include <limits.h>
#include <string.h>

#include "fault.h"
#include "heap.h"
#include "member.h"
#include "ring_frame.h"

#define WATCHER_PATIENCE_NS (UINT64_C(300) * 1000 * 1000)

uint64_t ip_ring_body_size(int kind) {
    return ip_object_size(kind == IP_PIPE ? 2 : 1) + (kind == IP_PIPE ? 2 : 1) * sizeof(ip_ring);
}

ip_ring *ip_ring_of(ip_object *object, int kind, unsigned which) {
    unsigned char *rings = (unsigned char *)object + ip_object_size(kind == IP_PIPE ? 2 : 1);
    return (ip_ring *)rings + which;
}

ip_status ip_segment_new(ip_arena *arena, uint64_t capacity, uint64_t *at) {
    IP_TRY(ip_heap_alloc(arena, sizeof(segment) + capacity, 0, at));
    segment *s = ip_at(arena, *at);
    ip_set(&s->capacity, capacity);
    for (unsigned i = 0; i < 7; i++) ip_set(&s->spare[i], 0);
    return IP_OK;
}

ip_status ip_ring_make_one(ip_arena *arena, ip_ring *ring, const ip_ring_settings *settings) {
    uint64_t at;
    IP_TRY(ip_segment_new(arena, FIRST_CAPACITY, &at));
    memset(ring, 0, sizeof *ring);
    ip_lock_init(&ring->put_lock);
    ip_lock_init(&ring->get_lock);
    spot s = {at, 0, FIRST_CAPACITY, 0};
    for (int i = 0; i < 2; i++) {
        write_place(&ring->tail_place[i], &s);
        write_place(&ring->head_place[i], &s);
    }
    ip_set(&ring->tail, 0);
    ip_set(&ring->head, 0);
    ip_set(&ring->max_count, settings->max_count);
    ip_set(&ring->max_bytes, settings->max_bytes);
    ip_set(&ring->done_count, 0);
    ip_set(&ring->dropped, 0);
    ip_set(&ring->shut, 0);
    for (unsigned i = 0; i < IP_WATCHERS; i++) ip_set(&ring->watchers[i].who, 0);
    return IP_OK;
}

ip_status ip_ring_make(ip_arena *arena, ip_object *object, void *settings) {
    uint64_t word;
    IP_READ(&object->kind, word);
    int kind = (int)(word & 0xFF);
    IP_TRY(ip_ring_make_one(arena, ip_ring_of(object, kind, 0), settings));
    return kind == IP_PIPE ? ip_ring_make_one(arena, ip_ring_of(object, kind, 1), settings) : IP_OK;
}

ip_status ip_ring_bounds(ip_ring *ring, uint64_t put, uint64_t bytes, uint64_t size, bool *room) {
    uint64_t max_count, max_bytes, taken;
    spot c;
    *room = true;
    IP_READ(&ring->max_count, max_count);
    IP_READ(&ring->max_bytes, max_bytes);
    if (!max_count && !max_bytes) return IP_OK;
    IP_TRY(read_side(&ring->head, ring->head_place, &taken, &c));
    if (max_count && taken <= put && put - taken >= max_count) *room = false;
    /* a message beyond the bound may pass an empty queue alone */
    if (max_bytes && taken < put && bytes - c.bytes + size > max_bytes) *room = false;
    return IP_OK;
}

/* ---- waiting: a damaged word ends the wait, so that the call that follows finds it ---- */

typedef struct {
    ip_object *object;
    ip_ring *ring;
    int end;
    uint64_t size;
} subject;

static bool over(const subject *s) {
    uint64_t shut;
    bool vacated;
    if (end_vacated(s->object, s->end, &vacated) != IP_OK || !ip_get(&s->ring->shut, &shut)) return true;
    return vacated || shut;
}

static bool has_items(const void *context) {
    const subject *s = context;
    uint64_t head, tail;
    /* tail first: both only grow, so what is less than an older tail is really there */
    if (!ip_get(&s->ring->tail, &tail) || !ip_get(&s->ring->head, &head)) return true;
    return COUNT(head) < COUNT(tail) || over(s);
}

static bool has_space(const void *context) {
    const subject *s = context;
    uint64_t count;
    spot p;
    bool room;
    if (read_side(&s->ring->tail, s->ring->tail_place, &count, &p) != IP_OK) return true;
    if (ip_ring_bounds(s->ring, count, p.bytes, s->size, &room) != IP_OK) return true;
    return room || over(s);
}

/* How many messages are done with. */
static ip_status read_done(ip_ring *ring, uint64_t *done) {
    uint64_t dropped;
    IP_READ(&ring->done_count, *done);
    IP_READ(&ring->dropped, dropped);
    *done += dropped;
    return IP_OK;
}

static bool all_done(const void *context) {
    const subject *s = context;
    uint64_t tail, done;
    if (read_done(s->ring, &done) != IP_OK || !ip_get(&s->ring->tail, &tail)) return true;
    return done >= COUNT(tail);
}

bool ip_ring_wait_items(ip_object *object, ip_ring *ring, int writers_end, uint64_t deadline_ns, bool *slept) {
    subject s = {object, ring, writers_end, 0};
    return ip_event_wait(&ring->items, has_items, &s, deadline_ns, slept);
}

bool ip_ring_wait_space(ip_object *object, ip_ring *ring, int readers_end, uint64_t size, uint64_t deadline_ns,
                        bool *slept) {
    subject s = {object, ring, readers_end, size};
    return ip_event_wait(&ring->space, has_space, &s, deadline_ns, slept);
}

bool ip_ring_wait_done(ip_ring *ring, uint64_t deadline_ns, bool *slept) {
    subject s = {NULL, ring, -1, 0};
    return ip_event_wait(&ring->done, all_done, &s, deadline_ns, slept);
}

bool ip_ring_readable(ip_object *object, ip_ring *ring, int writers_end) {
    subject s = {object, ring, writers_end, 0};
    return has_items(&s);
}

/* ---- watchers ---- */

ip_watcher *ip_ring_watch(ip_arena *arena, ip_ring *ring) {
    uint64_t who;
    for (unsigned i = 0; i < IP_WATCHERS; i++) {
        ip_watcher *w = &ring->watchers[i];
        if (!ip_get(&w->who, &who) || (who && ip_owner_life(arena, who) != IP_DEAD)) continue;
        if (!ip_swap(&w->who, who, ip_lock_identity(arena))) continue;
        atomic_store(&w->raised, 0);
        atomic_store(&ring->watched, 1);
        return w;
    }
    return NULL;
}

void ip_ring_unwatch(ip_watcher *watcher) { ip_set(&watcher->who, 0); }

typedef struct {
    ip_ring *ring;
    const ip_watcher *watcher;
} awaited;

static bool has_seen(const void *context) {
    const awaited *a = context;
    uint64_t head, tail, who;
    if (atomic_load(&a->watcher->raised) || !ip_get(&a->watcher->who, &who) || !who) return true;
    return !ip_get(&a->ring->tail, &tail) || !ip_get(&a->ring->head, &head) || COUNT(head) >= COUNT(tail);
}

void ip_ring_await_watchers(ip_arena *arena, ip_ring *ring) {
    uint64_t deadline = ip_now_ns() + WATCHER_PATIENCE_NS; /* for all of them together */
    for (unsigned i = 0; i < IP_WATCHERS; i++) {
        awaited a = {ring, &ring->watchers[i]};
        uint64_t who;
        bool slept = false;
        while (!has_seen(&a)) {
            if (ip_event_wait(&ring->raised, has_seen, &a, deadline, &slept)) break;
            if (ip_get(&ring->watchers[i].who, &who) && who && ip_owner_life(arena, who) == IP_DEAD) {
                ip_swap(&ring->watchers[i].who, who, 0);
            } else if (ip_now_ns() >= deadline) { /* stopped, or starved: it will see by itself, later */
                uint32_t low = 0;
                atomic_compare_exchange_strong(&ring->watchers[i].raised, &low, 2);
            }
        }
    }
}

/* ---- counting ---- */

ip_status ip_ring_counts(ip_ring *ring, uint64_t *put, uint64_t *taken, uint64_t *done, uint64_t *bytes, bool *shut) {
    spot in = {0}, out = {0};
    uint64_t word;
    /* taken first: it can only grow, up to what was put */
    IP_TRY(read_side(&ring->head, ring->head_place, taken, &out));
    IP_TRY(read_done(ring, done));
    IP_TRY(read_side(&ring->tail, ring->tail_place, put, &in));
    IP_READ(&ring->shut, word);
    *shut = word != 0;
    *bytes = in.bytes - out.bytes;
    return *taken <= *put ? IP_OK : IP_CORRUPT;
}

ip_status ip_ring_task_done(ip_ring *ring) {
    uint64_t done, dropped, tail;
    do {
        IP_READ(&ring->done_count, done);
        IP_READ(&ring->dropped, dropped);
        IP_READ(&ring->tail, tail);
        if (done + dropped >= COUNT(tail)) return IP_OVERFLOW;
    } while (!ip_swap(&ring->done_count, done, done + 1));
    FAULT("ring.done");
    if (done + dropped + 1 == COUNT(tail)) ip_event_notify(&ring->done, INT_MAX);
    return IP_OK;
}

void ip_ring_wake_all(ip_arena *arena, ip_object *object, int kind) {
    (void)arena;
    for (unsigned which = 0; which < (kind == IP_PIPE ? 2u : 1u); which++) {
        ip_ring *ring = ip_ring_of(object, kind, which);
        ip_event_notify(&ring->items, INT_MAX);
        ip_event_notify(&ring->space, INT_MAX);
        ip_event_notify(&ring->done, INT_MAX);
    }
}

/* ---- the end ---- */

ip_status ip_ring_clear(ip_arena *arena, ip_ring *ring, ip_patience patience) {
    IP_TRY(ip_lock_take(arena, &ring->put_lock, patience)); /* a tail that moves could not be told from damage */
    ip_status status = ip_lock_take(arena, &ring->get_lock, patience);
    if (status == IP_OK) {
        while (status == IP_OK) {
            status = ip_lock_take(arena, &arena->header->lock, IP_PATIENT);
            if (status != IP_OK) break;
            status = ip_ring_drop_one(arena, ring);
            ip_lock_release(&arena->header->lock);
        }
        ip_lock_release(&ring->get_lock);
    }
    ip_lock_release(&ring->put_lock);
    return status == IP_AGAIN ? ip_directory_sweep(arena) : status;
}

ip_status ip_ring_shut_down(ip_arena *arena, ip_object *object, ip_ring *ring, bool immediate) {
    uint64_t kind;
    IP_TRY(ip_lock_take(arena, &ring->put_lock, IP_PATIENT));
    ip_set(&ring->shut, 1);
    FAULT("ring.shut");
    ip_lock_release(&ring->put_lock);
    ip_status status = immediate ? ip_ring_clear(arena, ring, IP_PATIENT) : IP_OK;
    IP_READ(&object->kind, kind);
    ip_ring_wake_all(arena, object, (int)(kind & 0xFF));
    return status;
}

ip_status ip_ring_empty_step(ip_arena *arena, ip_ring *ring) {
    for (int steps = 0; steps < 256; steps++) {
        ip_status status = ip_ring_drop_one(arena, ring);
        if (status == IP_AGAIN) return IP_OK;
        if (status != IP_OK) return status;
    }
    return IP_AGAIN;
}

ip_status ip_ring_free_segment(ip_arena *arena, ip_ring *ring) {
    ip_range freed;
    uint64_t head;
    spot s;
    IP_READ(&ring->head, head);
    IP_TRY(read_place(&ring->head_place[SLOT(head)], &s));
    return ip_heap_free(arena, s.segment, &freed);
}

ip_status ip_ring_dismantle(ip_arena *arena, ip_object *object, int kind) {
    unsigned n = kind == IP_PIPE ? 2 : 1;
    for (unsigned which = 0; which < n; which++) IP_TRY(ip_ring_empty_step(arena, ip_ring_of(object, kind, which)));
    /* in the change that frees the body too */
    for (unsigned which = 0; which < n; which++) IP_TRY(ip_ring_free_segment(arena, ip_ring_of(object, kind, which)));
    return IP_OK;
}

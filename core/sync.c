/* sync.c: mutexes, semaphores, signals, atomic numbers. */
#include "sync.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "fault.h"
#include "heap.h"

#define BRIEF_SPINS 200

uint64_t ip_memory_body_size(uint64_t size) {
    return ip_object_size(1) + sizeof(ip_memory) + (size <= IP_SMALL ? 0 : size);
}

static ip_memory *memory_at(ip_object *object) { return (ip_memory *)((unsigned char *)object + ip_object_size(1)); }

ip_status ip_memory_make(ip_arena *arena, ip_object *object, void *context) {
    const ip_memory_settings *settings = context;
    ip_memory *memory = memory_at(object);
    (void)arena;
    ip_lock_init(&memory->lock);
    ip_set(&memory->depth, 0);
    ip_set(&memory->flavour, settings->flavour);
    ip_set(&memory->size, settings->size);
    unsigned char *bytes = ip_memory_bytes(memory, settings->size);
    memset(memory->small, 0, sizeof memory->small);
    memset(bytes, 0, settings->size);
    if (settings->initial_size) memcpy(bytes, settings->initial, settings->initial_size);
    return IP_OK;
}

ip_status ip_memory_of(ip_arena *arena, ip_object *object, uint64_t flavour, ip_memory **memory, uint64_t *size) {
    uint64_t its_flavour, room;
    ip_block *block;
    *memory = memory_at(object);
    IP_TRY(ip_heap_block(arena, ip_offset_of(arena, object), &block, &room));
    if (room < ip_memory_body_size(0)) return IP_CORRUPT;
    IP_READ(&(*memory)->flavour, its_flavour);
    IP_READ(&(*memory)->size, *size);
    if (*size > IP_SMALL && *size > room - ip_memory_body_size(0)) return IP_CORRUPT;
    return its_flavour == flavour ? IP_OK : IP_EXISTS;
}

/* ---- mutex ---- */

ip_status ip_mutex_try(ip_arena *arena, ip_memory *memory, bool recursive, bool check_owner, bool *inherited) {
    uint64_t owner, depth;
    ip_status status = ip_lock_try(arena, &memory->lock, check_owner, inherited);
    if (status == IP_OK) {
        FAULT("mutex.locked");
        ip_set(&memory->depth, 1);
        return IP_OK;
    }
    if (status != IP_BUSY || !recursive) return status;
    IP_READ(&memory->lock.owner, owner);
    if (owner != ip_lock_identity(arena)) return IP_BUSY;
    IP_READ(&memory->depth, depth);
    ip_set(&memory->depth, depth + 1);
    return IP_OK;
}

ip_status ip_mutex_try_briefly(ip_arena *arena, ip_memory *memory, bool recursive) {
    bool inherited;
    ip_status status = ip_mutex_try(arena, memory, recursive, false, &inherited);
    for (int i = 0; status == IP_BUSY && i < BRIEF_SPINS; i++) {
        ip_pause();
        if (atomic_load_explicit(&memory->lock.owner, memory_order_relaxed) == ip_seal(0))
            status = ip_mutex_try(arena, memory, recursive, false, &inherited);
    }
    return status;
}

ip_status ip_mutex_release(ip_arena *arena, ip_memory *memory, bool recursive) {
    uint64_t owner, depth;
    IP_READ(&memory->lock.owner, owner);
    if (recursive) {
        if (owner != ip_lock_identity(arena)) return IP_NOT_OWNER;
        IP_READ(&memory->depth, depth);
        if (depth > 1) {
            ip_set(&memory->depth, depth - 1);
            return IP_OK;
        }
    } else if (owner == 0) {
        return IP_OVERFLOW;
    }
    ip_lock_release(&memory->lock);
    return IP_OK;
}

ip_status ip_mutex_state(ip_arena *arena, ip_memory *memory, bool *mine, uint64_t *depth) {
    uint64_t owner;
    IP_READ(&memory->lock.owner, owner);
    IP_READ(&memory->depth, *depth);
    *mine = owner == ip_lock_identity(arena);
    if (!owner) *depth = 0;
    return IP_OK;
}

/* ---- semaphore ---- */

void ip_semaphore_init(ip_semaphore *semaphore, uint64_t value, uint64_t maximum) {
    ip_set(&semaphore->value, value);
    ip_set(&semaphore->maximum, maximum);
    atomic_store(&semaphore->event.seq, 0);
    atomic_store(&semaphore->event.sleepers, 0);
}

ip_status ip_semaphore_try(ip_semaphore *semaphore) {
    uint64_t value;
    do {
        IP_READ(&semaphore->value, value);
        if (value == 0) return IP_AGAIN;
    } while (!ip_swap(&semaphore->value, value, value - 1));
    FAULT("semaphore.taken");
    return IP_OK;
}

ip_status ip_semaphore_release(ip_semaphore *semaphore, uint64_t n) {
    uint64_t value, maximum;
    IP_READ(&semaphore->maximum, maximum);
    if (n > INT_MAX) return IP_OVERFLOW;
    do {
        IP_READ(&semaphore->value, value);
        if (value + n > maximum) return IP_OVERFLOW;
    } while (!ip_swap(&semaphore->value, value, value + n));
    FAULT("semaphore.released");
    ip_event_notify(&semaphore->event, (int)n);
    return IP_OK;
}

static bool has_permit(const void *context) {
    const ip_semaphore *semaphore = context;
    uint64_t value;
    return !ip_get(&semaphore->value, &value) || value;
}

bool ip_semaphore_wait(ip_semaphore *semaphore, uint64_t deadline_ns, bool *slept) {
    return ip_event_wait(&semaphore->event, has_permit, semaphore, deadline_ns, slept);
}

/* ---- signal ---- */

void ip_signal_init(ip_signal *signal) {
    ip_set(&signal->count, 0);
    atomic_store(&signal->event.seq, 0);
    atomic_store(&signal->event.sleepers, 0);
}

ip_status ip_signal_notify(ip_signal *signal, int how_many) {
    uint64_t count;
    do {
        IP_READ(&signal->count, count);
    } while (!ip_swap(&signal->count, count, (count + 1) & IP_PAYLOAD_MAX));
    FAULT("signal.counted");
    ip_event_notify(&signal->event, how_many);
    return IP_OK;
}

typedef struct {
    const ip_signal *signal;
    uint64_t seen;
} watched;

static bool has_changed(const void *context) {
    const watched *w = context;
    uint64_t count;
    return !ip_get(&w->signal->count, &count) || count != w->seen;
}

bool ip_signal_wait(ip_signal *signal, uint64_t seen, uint64_t deadline_ns, bool *slept) {
    watched w = {signal, seen};
    return ip_event_wait(&signal->event, has_changed, &w, deadline_ns, slept);
}

/* ---- numbers ---- */

bool ip_number_is_float(char type) { return type == 'd' || type == 'f'; }

#define EACH_INTEGER(X)       \
    X('b', signed char)       \
    X('B', unsigned char)     \
    X('h', short)             \
    X('H', unsigned short)    \
    X('i', int)               \
    X('I', unsigned)          \
    X('l', long)              \
    X('L', unsigned long)     \
    X('q', long long)         \
    X('Q', unsigned long long)

unsigned ip_number_size(char type) {
    switch (type) {
#define X(code, T) \
    case code: return sizeof(T);
        EACH_INTEGER(X)
#undef X
        case '?': return 1;
        case 'f': return sizeof(float);
        case 'd': return sizeof(double);
        default: return 0;
    }
}

ip_number ip_number_load(const void *at, char type) {
    ip_number n = {0};
    switch (type) {
#define X(code, T) \
    case code: n.i = (int64_t)__atomic_load_n((const T *)at, __ATOMIC_ACQUIRE); break;
        EACH_INTEGER(X)
#undef X
        case '?': n.i = __atomic_load_n((const unsigned char *)at, __ATOMIC_ACQUIRE) != 0; break;
        case 'f': {
            float f;
            __atomic_load((const float *)at, &f, __ATOMIC_ACQUIRE);
            n.d = f;
            break;
        }
        case 'd': __atomic_load((const double *)at, &n.d, __ATOMIC_ACQUIRE); break;
    }
    return n;
}

void ip_number_store(void *at, char type, ip_number value) {
    switch (type) {
#define X(code, T) \
    case code: __atomic_store_n((T *)at, (T)value.i, __ATOMIC_RELEASE); break;
        EACH_INTEGER(X)
#undef X
        case '?': __atomic_store_n((unsigned char *)at, value.i != 0, __ATOMIC_RELEASE); break;
        case 'f': {
            float f = (float)value.d;
            __atomic_store((float *)at, &f, __ATOMIC_RELEASE);
            break;
        }
        case 'd': __atomic_store((double *)at, &value.d, __ATOMIC_RELEASE); break;
    }
}

/* old += x for the floating types, which have no such instruction: until nobody came in between. */
#define ADD_FLOAT(T, at, x, old)                                                                           \
    do {                                                                                                   \
        T before_, after_;                                                                                 \
        __atomic_load((T *)(at), &before_, __ATOMIC_ACQUIRE);                                              \
        do {                                                                                               \
            after_ = before_ + (T)(x);                                                                     \
        } while (!__atomic_compare_exchange((T *)(at), &before_, &after_, true, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)); \
        (old) = before_;                                                                                   \
    } while (0)

ip_number ip_number_add(void *at, char type, ip_number value) {
    ip_number old = {0};
    switch (type) {
#define X(code, T) \
    case code: old.i = (int64_t)__atomic_fetch_add((T *)at, (T)value.i, __ATOMIC_SEQ_CST); break;
        EACH_INTEGER(X)
#undef X
        case '?': old.i = __atomic_exchange_n((unsigned char *)at, 1, __ATOMIC_SEQ_CST); break;
        case 'f': ADD_FLOAT(float, at, value.d, old.d); break;
        case 'd': ADD_FLOAT(double, at, value.d, old.d); break;
    }
    return old;
}

ip_number ip_number_exchange(void *at, char type, ip_number value) {
    ip_number old = {0};
    switch (type) {
#define X(code, T) \
    case code: old.i = (int64_t)__atomic_exchange_n((T *)at, (T)value.i, __ATOMIC_SEQ_CST); break;
        EACH_INTEGER(X)
#undef X
        case '?': old.i = __atomic_exchange_n((unsigned char *)at, value.i != 0, __ATOMIC_SEQ_CST); break;
        case 'f': {
            float f = (float)value.d, was;
            __atomic_exchange((float *)at, &f, &was, __ATOMIC_SEQ_CST);
            old.d = was;
            break;
        }
        case 'd': __atomic_exchange((double *)at, &value.d, &old.d, __ATOMIC_SEQ_CST); break;
    }
    return old;
}

bool ip_number_compare_exchange(void *at, char type, ip_number expected, ip_number value) {
    switch (type) {
#define X(code, T)                                                                                         \
    case code: {                                                                                           \
        T old = (T)expected.i;                                                                             \
        return (int64_t)old == expected.i &&                                                               \
               __atomic_compare_exchange_n((T *)at, &old, (T)value.i, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
    }
        EACH_INTEGER(X)
#undef X
        case '?': {
            unsigned char old = expected.i != 0;
            return __atomic_compare_exchange_n((unsigned char *)at, &old, value.i != 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        }
        case 'f':
        case 'd':
            for (;;) { /* compared as numbers, so -0.0 is 0.0, and nan nothing */
                ip_number now = ip_number_load(at, type);
                if (type == 'f' ? (float)now.d != (float)expected.d : now.d != expected.d) return false;
                if (type == 'f') {
                    float old = (float)now.d, new = (float)value.d;
                    if (__atomic_compare_exchange((float *)at, &old, &new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return true;
                } else if (__atomic_compare_exchange((double *)at, &now.d, &value.d, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
                    return true;
                }
            }
    }
    return false;
}

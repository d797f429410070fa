/* sync.h: what users synchronise with: memory with a mutex, semaphores, signals, atomic numbers.
 *
 * One kind of object, IP_MEMORY: a mutex, then zeroed bytes of the user's. A semaphore and a signal lie in those bytes.
 *
 *     memory   lock | depth | flavour | size | up to 16 bytes
 *     bytes    more than 16 bytes, aligned to a cache line
 *
 * A number lies in the cache line of its mutex: one line to fetch instead of two when processes contend.
 *
 * The mutex is a robust lock that may be held for long: who waits for it looks now and then whether its owner
 * lives, and inherits it if not. depth counts a recursive mutex; it belongs to the owner.
 * A semaphore has no owner, so a permit that a killed process had taken is not given back, as in POSIX.
 */
#ifndef IP_SYNC_H
#define IP_SYNC_H

#include "directory.h"

#define IP_SMALL 16u

typedef struct {
    _Alignas(IP_CACHE_LINE) ip_lock lock;
    ip_word depth;
    ip_word flavour; /* what the bytes are, so that one is not opened as another */
    ip_word size;
    _Alignas(8) unsigned char small[IP_SMALL];
    _Alignas(IP_CACHE_LINE) unsigned char data[];
} ip_memory;

typedef struct {
    ip_word value, maximum;
    ip_event event;
} ip_semaphore;

typedef struct {
    ip_word count;
    ip_event event;
} ip_signal;

typedef struct {
    uint64_t size, flavour;
    const void *initial; /* the first initial_size bytes; the rest are zeroes */
    uint64_t initial_size;
} ip_memory_settings;

/* The maker of a memory object (context: ip_memory_settings), and its body's size. */
ip_status ip_memory_make(ip_arena *arena, ip_object *object, void *settings);
uint64_t ip_memory_body_size(uint64_t size);
/* The checked memory of an object. */
ip_status ip_memory_of(ip_arena *arena, ip_object *object, uint64_t flavour, ip_memory **memory, uint64_t *size);

static inline unsigned char *ip_memory_bytes(ip_memory *memory, uint64_t size) {
    return size <= IP_SMALL ? memory->small : memory->data;
}

/* One try. IP_BUSY: another has it (or, if not recursive, this thread). check_owner as in ip_lock_try. */
ip_status ip_mutex_try(ip_arena *arena, ip_memory *memory, bool recursive, bool check_owner, bool *inherited);
/* Tries for a moment: for what is held as shortly as a number's operation. */
ip_status ip_mutex_try_briefly(ip_arena *arena, ip_memory *memory, bool recursive);
/* IP_NOT_OWNER: a recursive one held by another; IP_OVERFLOW: held by nobody. */
ip_status ip_mutex_release(ip_arena *arena, ip_memory *memory, bool recursive);
ip_status ip_mutex_state(ip_arena *arena, ip_memory *memory, bool *mine, uint64_t *depth);

void ip_semaphore_init(ip_semaphore *semaphore, uint64_t value, uint64_t maximum);
ip_status ip_semaphore_try(ip_semaphore *semaphore); /* IP_AGAIN: none left */
ip_status ip_semaphore_release(ip_semaphore *semaphore, uint64_t n); /* IP_OVERFLOW: above the maximum */
bool ip_semaphore_wait(ip_semaphore *semaphore, uint64_t deadline_ns, bool *slept);

void ip_signal_init(ip_signal *signal);
ip_status ip_signal_notify(ip_signal *signal, int how_many);
bool ip_signal_wait(ip_signal *signal, uint64_t seen, uint64_t deadline_ns, bool *slept);

/* A number of one of the types of the struct module: b B h H i I l L q Q f d ?. Integers wrap as in C. */
typedef union {
    int64_t i; /* all integers; unsigned ones by their bits */
    double d;  /* f and d */
} ip_number;

bool ip_number_is_float(char type);
unsigned ip_number_size(char type); /* bytes; 0: not a type */
ip_number ip_number_load(const void *at, char type);
void ip_number_store(void *at, char type, ip_number value);
/* Atomic; they answer the old value. */
ip_number ip_number_add(void *at, char type, ip_number value);
ip_number ip_number_exchange(void *at, char type, ip_number value);
bool ip_number_compare_exchange(void *at, char type, ip_number expected, ip_number value);

#endif

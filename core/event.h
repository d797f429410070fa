/* event.h: parking, i.e. sleeping on a futex after a bounded spin, and waking sleepers.
 *
 *   seq       bumped by each notification; the futex word
 *   sleepers  1 if somebody may be asleep, so that notifying nobody costs one load
 *
 * A waiter reads seq, sets sleepers, looks at its condition again, and only then sleeps on the seq it read; a
 * notifier changes the condition, then looks at sleepers. So a wake-up cannot be missed, in either order. A killed
 * waiter leaves at most a stale sleepers flag behind, which costs the next notifier one system call. A killed
 * notifier, or a damaged word, delays a waiter by one slice: nobody sleeps longer than IP_SLICE_NS at a time.
 * Both words are free of meaning beyond that, so they are not sealed.
 */
#ifndef IP_EVENT_H
#define IP_EVENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#ifndef IP_SLICE_NS /* tests make it shorter */
#define IP_SLICE_NS (40 * 1000 * 1000)
#endif

typedef struct {
    _Atomic uint32_t seq;
    _Atomic uint32_t sleepers;
} ip_event;

/* What a waiter waits for; called often, so it must be cheap and must not block. */
typedef bool (*ip_condition)(const void *context);

/* Waits until the condition holds, at most for one slice or until deadline_ns (CLOCK_MONOTONIC) if that is sooner; a signal ends it
 * early. Returns whether the condition holds. `slept` is set if the caller was asleep: it should then notify the
 * next waiter if there is more to be had. */
bool ip_event_wait(ip_event *event, ip_condition ready, const void *context, uint64_t deadline_ns, bool *slept);

void ip_event_notify_slow(ip_event *event, int how_many);

/* Wakes up to how_many waiters. What they wait for must have been stored sequentially consistent before. */
static inline void ip_event_notify(ip_event *event, int how_many) {
    if (atomic_load_explicit(&event->sleepers, memory_order_seq_cst)) ip_event_notify_slow(event, how_many);
}

/* The same in two parts, for an event whose memory may be freed once a lock is released: ip_event_announce under the lock; if it
 * says that somebody may sleep, ip_event_wake after it, which looks at the address only. Wakes all. */
static inline bool ip_event_announce(ip_event *event) {
    if (!atomic_load_explicit(&event->sleepers, memory_order_seq_cst)) return false;
    atomic_store_explicit(&event->sleepers, 0, memory_order_seq_cst);
    atomic_fetch_add_explicit(&event->seq, 1, memory_order_seq_cst);
    return true;
}
void ip_event_wake(ip_event *event);

uint64_t ip_now_ns(void);
/* CLOCK_MONOTONIC_COARSE, in units of 2^20 ns: it moves on every 1 to 10 ms, and costs a tenth of ip_now_ns. */
uint64_t ip_ticks(void);

static inline void ip_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

#endif

/* event.c: parking with an adaptive spin. */
#define _GNU_SOURCE
#include "event.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Spinning pays when the answer comes sooner than a sleep and a wake-up would take. Each thread remembers how its recent
 * waits went: after waits that the spin caught it spins up to SPIN_MAX_NS, after those it missed it soon gives up. */
#define SPIN_MAX_NS 50000
#define SPIN_MIN_NS 1000
#define PAUSE_ONLY_NS 500 /* past this, yield the core between looks: the peer may need it */

static _Thread_local int64_t spin_ns = 20000;

uint64_t ip_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t ip_ticks(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return ((uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec) >> 20;
}

static long futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *timeout) {
    return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

/* The machine's: that this thread is pinned to one of them does not tell where its peer runs. */
static long cores(void) {
    static _Atomic long known;
    long n = atomic_load_explicit(&known, memory_order_relaxed);
    if (!n) {
        n = sysconf(_SC_NPROCESSORS_ONLN);
        atomic_store_explicit(&known, n, memory_order_relaxed);
    }
    return n;
}

static bool spin(ip_condition ready, const void *context, uint64_t start, uint64_t deadline_ns) {
    uint64_t budget = (uint64_t)spin_ns, now = start;
    if (cores() < 2) budget = 0;
    while (now - start < budget && now < deadline_ns) {
        for (int i = 0; i < 16; i++) {
            if (ready(context)) return true;
            ip_pause();
        }
        now = ip_now_ns();
        if (now - start > PAUSE_ONLY_NS) sched_yield();
    }
    return ready(context);
}

bool ip_event_wait(ip_event *event, ip_condition ready, const void *context, uint64_t deadline_ns, bool *slept) {
    if (ready(context)) return true;
    uint64_t start = ip_now_ns();
    if (spin(ready, context, start, deadline_ns)) {
        int64_t took = (int64_t)(ip_now_ns() - start);
        int64_t wish = took * 4 > SPIN_MAX_NS ? SPIN_MAX_NS : took * 4 + SPIN_MIN_NS;
        spin_ns += (wish - spin_ns) / 8;
        if (spin_ns < SPIN_MIN_NS) spin_ns = SPIN_MIN_NS;
        return true;
    }
    uint32_t seen = atomic_load_explicit(&event->seq, memory_order_seq_cst);
    atomic_store_explicit(&event->sleepers, 1, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst); /* the condition is read with acquire only, which some processors do before the store */
    if (ready(context)) return true;
    uint64_t now = ip_now_ns();
    if (now >= deadline_ns) return false;
    uint64_t left = deadline_ns - now;
    if (left > IP_SLICE_NS) left = IP_SLICE_NS;
    struct timespec t = {.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
    *slept = true;
    futex(&event->seq, FUTEX_WAIT, seen, &t);
    bool done = ready(context);
    int64_t took = (int64_t)(ip_now_ns() - start);
    if (done && took < SPIN_MAX_NS)
        spin_ns += (SPIN_MAX_NS - spin_ns) / 4; /* a little more patience would have saved the sleep */
    else
        spin_ns -= (spin_ns - SPIN_MIN_NS) / 2;
    return done;
}

void ip_event_notify_slow(ip_event *event, int how_many) {
    atomic_store_explicit(&event->sleepers, 0, memory_order_seq_cst);
    atomic_fetch_add_explicit(&event->seq, 1, memory_order_seq_cst);
    if (futex(&event->seq, FUTEX_WAKE, (uint32_t)how_many, NULL) > 0 && how_many != INT_MAX)
        atomic_store_explicit(&event->sleepers, 1, memory_order_seq_cst); /* there may be more of them */
}

void ip_event_wake(ip_event *event) { futex(&event->seq, FUTEX_WAKE, INT_MAX, NULL); }

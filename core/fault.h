/* fault.h: fault points, the named steps between two stores that matter.
 *
 * Compiled in for tests only (-DIP_FAULT_POINTS); otherwise FAULT() is nothing. A test sets ip_fault_hook and dies in
 * it at the n-th step, for every n, and then checks that the survivors find every invariant intact.
 */
#ifndef IP_FAULT_H
#define IP_FAULT_H

#ifdef IP_FAULT_POINTS
extern __attribute__((visibility("default"))) void (*ip_fault_hook)(const char *step); /* tests in Python find it, too */
#define FAULT(step)                             \
    do {                                        \
        if (ip_fault_hook) ip_fault_hook(step); \
    } while (0)
#else
#define FAULT(step) ((void)0)
#endif

#endif

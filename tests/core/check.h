/* check.h: what a core test program is made of: CHECK, and RUN for each of its cases.
 *
 * A program exits with 0 when every CHECK held. A failed CHECK says where and what, and ends the process at once with
 * status 1, so that it may also be used in forked children: the parent checks how they ended.
 */
#ifndef IP_CHECK_H
#define IP_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: CHECK(%s) failed\n", __FILE__, __LINE__, __func__, #condition); \
            fflush(NULL);                                                                          \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* CHECK that two integers are equal, and show both when they are not. */
#define CHECK_EQ(got, expected)                                                                    \
    do {                                                                                           \
        unsigned long long got_ = (unsigned long long)(got), expected_ = (unsigned long long)(expected); \
        if (got_ != expected_) {                                                                   \
            fprintf(stderr, "%s:%d: %s: %s is %llu (%#llx), not %llu (%#llx)\n", __FILE__, __LINE__, __func__, #got, \
                    got_, got_, expected_, expected_);                                             \
            fflush(NULL);                                                                          \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* Runs a case, a function without arguments, and names it; a name without "ok" is the case that failed or hung. */
#define RUN(test_case)                                  \
    do {                                                \
        printf("  %s ...", #test_case), fflush(stdout); \
        test_case();                                    \
        printf(" ok\n"), fflush(stdout);                \
    } while (0)

#endif

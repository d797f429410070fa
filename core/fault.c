/* fault.c: the hook that fault points call, in builds that have them. */
#include "fault.h"

#ifdef IP_FAULT_POINTS
void (*ip_fault_hook)(const char *step);
#else
typedef int ip_no_fault_points; /* ISO C wants a declaration in every unit */
#endif

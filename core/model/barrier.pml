/* All meet at a barrier, unless two of them choose to communicate; one may die. */
#define N 3
#define G 2
#define ENROLLED 7
#define SPECS { SYNC, OUT0, IN0, SYNC, SYNC, 0 }
#include "rendezvous.pmlh"

/* Two of three may die, the undertaker of the first too. */
#define N 3
#define G 1
#define DEATHS 2
#define SPECS { OUT0, IN0, IN0 }
#include "rendezvous.pmlh"

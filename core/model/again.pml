/* Two rounds at one channel; one may die. */
#define N 3
#define G 1
#define ROUNDS 2
#define SPECS { OUT0, 0, IN0, IN0, OUT0, 0 }
#include "rendezvous.pmlh"

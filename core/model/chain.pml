/* Who waits for the dead is another than who may find its offer; one may die. */
#define N 3
#define G 1
#define ROUNDS 2
#define SPECS { OUT0, IN1, OUT1, 0, IN0, 0 }
#include "rendezvous.pmlh"

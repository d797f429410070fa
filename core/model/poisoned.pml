/* One who holds no end of the channel that the others wait at poisons it; one may die. */
#define N 3
#define G 2
#define POISONER(p) (p == 2)
#define SPECS { OUT0, IN1, IN0, OUT1, 0, 0 }
#include "rendezvous.pmlh"

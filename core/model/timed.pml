/* Waits with a time limit, whose offers are withdrawn; one may die. */
#define N 3
#define G 2
#define TIMED(p) (p != 0)
#define SPECS { OUT0, IN1, IN0, OUT1, IN0, 0 }
#include "rendezvous.pmlh"

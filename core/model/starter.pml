/* One who holds nothing, but has started the two others, is killed; one more may die, who was just about to tell them. */
#define N 3
#define G 1
#define ROUNDS 2
#define DEATHS 2
#define MORTAL(p) (p == 2 || HAS(dead, 2))
#define CHILDREN(p) (p == 2 -> 3 : 0)
#define SPECS { OUT0, IN1, IN0, OUT1, 0, 0 }
#include "rendezvous.pmlh"

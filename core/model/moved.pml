/* Guards that name other channels in the second round, while their offers are still in the queues of the first. */
#define N 3
#define G 2
#define ROUNDS 2
#define DEATHS 0
#define SPECS { OUT0, OUT1, OUT1, OUT0, IN0, IN1, IN1, 0, IN0, 0, 0, 0 }
#include "rendezvous.pmlh"

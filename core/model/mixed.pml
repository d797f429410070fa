/* Selects at both ends of two channels, of inputs and outputs mixed; one may die. */
#define N 3
#define G 2
#define SPECS { OUT0, IN1, IN0, OUT1, IN0, IN1 }
#include "rendezvous.pmlh"

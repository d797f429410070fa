/* Who buries the first dead, enrolled at the barrier, waits elsewhere; it may die, too, in the middle of that. */
#define N 3
#define G 1
#define ROUNDS 2
#define DEATHS 2
#define MORTAL(p) (p == deaths) /* 0, then 1 */
#define ENROLLED 7
#define SPECS { SYNC, OUT0, IN0, SYNC, OUT0, SYNC }
#include "rendezvous.pmlh"

"""Looking at a network: who waits for whom, deadlocks, and the picture."""

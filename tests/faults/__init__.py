"""Deaths, damage, exhaustion and misuse: what interproc promises when things go wrong."""

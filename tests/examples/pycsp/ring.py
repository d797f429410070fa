"""Tokens in a ring whose processes are spawned; the root retires what it has, and so all of them end."""

from interproc.csp.pycsp import *

ELEMENTS = 20


@process
def element(cin, cout):
    while True:
        cout(cin() + 1)


@process
def root(cycles, tokens, cin, cout):
    for token in range(tokens):
        cout(token)
    for _ in range(cycles * tokens):
        cout(cin())
    print(sum(cin() for _ in range(tokens)))
    retire(cout, cin)


this = head = Channel()
for _ in range(ELEMENTS - 1):
    following = Channel()
    Spawn(element(this.reader(), following.writer()))
    this = following
Parallel(root(3, 4, this.reader(), head.writer()))
shutdown()

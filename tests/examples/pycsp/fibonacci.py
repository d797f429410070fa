"""Fibonacci's numbers from small parts, one of which chooses to whom it writes first."""

from interproc.csp.pycsp import *


@process
def prefix(cin, cout, first):
    cout(first)
    while True:
        cout(cin())


@process
def delta(cin, one, other):
    while True:
        msg = cin()
        Alternation([{(one, msg): "other(msg)", (other, msg): "one(msg)"}]).execute()


@process
def plus(cin, another, cout):
    while True:
        cout(cin() + another())


@process
def tail(cin, cout):
    cin()
    while True:
        cout(cin())


@process
def pairs(cin, cout):
    a, b, c = Channel("pairs a"), Channel("pairs b"), Channel("pairs c")
    Parallel(delta(cin, -a, -b), plus(+a, +c, cout), tail(+b, -c))


@process
def show(cin, limit):
    print(*(cin() for _ in range(limit)))
    poison(cin)


A, B, C, D, shown = Channel("A"), Channel("B"), Channel("C"), Channel("D"), Channel()
Parallel(
    prefix(+B, -A, first=0),
    prefix(+C, -B, first=1),
    pairs(+D, -C),
    delta(+A, -D, -shown),
    show(+shown, limit=15),
)
shutdown()

"""Commstime, with each process a thread, then each an OS process; the consumer poisons it."""

from interproc.csp.pycsp import *

LOOPS = 200


def prefix(cin, cout, item=None):
    value = item
    while True:
        cout(value)
        value = cin()


def delta(cin, first, second):
    while True:
        value = cin()
        first(value)
        second(value)


def successor(cin, cout):
    while True:
        cout(cin() + 1)


def consumer(cin, kind):
    seen = [cin() for _ in range(LOOPS)]
    poison(cin)
    print(kind, seen == list(range(LOOPS)), flush=True)


@process
def network(kind, make):
    a, b, c, d = Channel("a"), Channel("b"), Channel("c"), Channel("d")
    Parallel(
        make(prefix)(+c, -a, item=0),
        make(delta)(+a, -b, -d),
        make(successor)(+b, -c),
        make(consumer)(+d, kind),
    )


if __name__ == "__main__":
    for kind, make in (("threads", process), ("OS processes", multiprocess)):
        Parallel(network(kind, make))
    shutdown()

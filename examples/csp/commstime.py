"""Commstime: four processes in a ring count upwards; what does one communication cost?

        prefix(0) ---a--> delta ---d--> consume
            ^               |
            c               b
            |               v
            +--------- successor

Each number goes through four channels. `commstime.py thread` runs the same network with threads, `task` in
one event loop.
"""

import sys
from time import perf_counter

from interproc.csp import Channel, Parallel, Reader, parts, process


@process
def consume(numbers: Reader[int], count: int) -> tuple[list[int], float]:
    """The first `count` numbers, and the seconds that all but the first took."""
    got = [numbers.recv()]
    started = perf_counter()
    while len(got) < count:
        got.append(numbers.recv())
    return got, perf_counter() - started


@process
async def consume_in_task(numbers: Reader[int], count: int) -> tuple[list[int], float]:
    got = [await numbers.arecv()]
    started = perf_counter()
    while len(got) < count:
        got.append(await numbers.arecv())
    return got, perf_counter() - started


def main(kind: str = "process", count: int = 2000) -> list[int]:
    a, b, c, d = (Channel[int](name) for name in "abcd")
    ring = [
        parts.prefix(0, c.reader(), a.writer()),
        parts.delta(a.reader(), b.writer(), d.writer(), parallel=False),
        parts.successor(b.reader(), c.writer()),
    ]
    consumer = consume_in_task if kind == "task" else consume.with_kind(kind)
    # When the consumer returns, its end retires; so delta ends, then its neighbours.
    *_, (numbers, seconds) = Parallel([part.with_kind(kind) for part in ring], consumer(d.reader(), count))
    print(f"{kind}: {count} numbers, {seconds / (count - 1) / 4 * 1e6:.1f} µs a communication")
    return numbers


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A token goes round a ring; each process that it passes adds one.

`token_ring.py 1000 3 task` does so with a thousand processes, each a coroutine; `thread` and `process` are
the other kinds.
"""

import sys
from time import perf_counter

from interproc.csp import Channel, Parallel, Reader, Writer, parts, process


@process
def starter(inp: Reader[int], out: Writer[int], rounds: int) -> int:
    token = 0
    for _ in range(rounds):
        out.send(token + 1)
        token = inp.recv()
    return token  # and retires: so does the next in the ring, and so on


def main(size: int = 8, rounds: int = 100, kind: str = "process") -> int:
    ring = [Channel[int](f"link {n}") for n in range(size)]
    begun = perf_counter()
    token, *_ = Parallel(
        starter(ring[-1].reader(), ring[0].writer(), rounds),
        [parts.successor(ring[n - 1].reader(), ring[n].writer()).with_kind(kind) for n in range(1, size)],
    )
    print(f"{token} hops in {perf_counter() - begun:.2f} s, start and end of the ring included")
    return token


if __name__ == "__main__":
    size, rounds, *kind = sys.argv[1:] or ("8", "100")
    main(int(size), int(rounds), *kind)

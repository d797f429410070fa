"""The station of a network: a sieve of Eratosthenes in which each prime is a process, drawn and run."""

from __future__ import annotations

import itertools

from interproc.cli.tour.station import Stage, Station
from interproc.csp import Channel, Parallel, Reader, Writer, process

SIEVES = 6


@process
def numbers(out: Writer[int]) -> None:
    for n in itertools.count(2):  # until nobody reads them any more
        out.send(n)


@process
def sieve(
    inp: Reader[int], primes: Writer[int], out: Writer[int] | None
) -> None:
    prime = inp.recv()  # what all sieves before this one let pass
    primes.send(prime)
    if out is not None:
        for n in inp:
            if n % prime:
                out.send(n)


@process
def collect(primes: Reader[int]) -> list[int]:
    return list(primes)  # until all who write have returned


def parent(n: int) -> tuple[str, list[int]]:
    links = [Channel[int](f"link {i + 1}") for i in range(n)]
    primes = Channel[int]("primes")
    outs = [*(link.writer() for link in links[1:]), None]
    network = Parallel.of(
        numbers(links[0].writer()),
        [sieve(+links[i], -primes, outs[i]) for i in range(n)],
        collect(primes.reader()),
    )
    picture = network.graph().text(60)
    print(picture)
    *_, found = network.run()
    print(*found)
    return picture, found


def run(stage: Stage) -> None:
    picture, primes = parent(SIEVES)
    stage.check("the primes, in their order", primes, [2, 3, 5, 7, 11, 13])
    shown = picture.count("[sieve"), picture.count("link ")
    stage.check("the picture shows each sieve and each link", shown, (2 * SIEVES, SIEVES))


STATION = Station(
    number=80,
    name="csp_sieve",
    title="CSP: a network",
    point="A sieve of Eratosthenes: each prime is a process that holds back its multiples. When the last has "
    "its prime, it returns; so its end retires, and one after the other, all processes end.",
    code=(numbers, sieve, collect, parent),
    run=run,
    limit=60.0,
)

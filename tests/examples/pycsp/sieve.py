"""A sieve that grows: each prime's filter spawns the next, and all of them print by one and the same end."""

from interproc.csp.pycsp import *


@process
def numbers(cout, below):
    for number in range(2, below):
        cout(number)
    poison(cout)


@process
def sift(cin, primes):
    further = None
    try:
        prime = cin()
        primes(prime)
        channel = Channel()
        further = channel.writer()
        Spawn(sift(channel.reader(), primes))
        while True:
            number = cin()
            if number % prime:
                further(number)
    except ChannelPoisonException:
        poison(primes if further is None else further)


@process
def collect(cin):
    found = []
    try:
        while True:
            found.append(cin())
    except ChannelPoisonException:
        print(*found)


candidates, primes = Channel(), Channel()
Parallel(
    numbers(candidates.writer(), 60), sift(candidates.reader(), primes.writer()), collect(primes.reader())
)
shutdown()

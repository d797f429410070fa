"""The sieve of Eratosthenes as a network that grows: each prime adds a process, which takes out multiples.

    source 2, 3, 4, ... --> [ 2 | sift ] --> [ 3 | sift ] --> [ 5 | sift ] --> ...
                               |               |                |
                               +---------------+----------------+--> collect
"""

from interproc.csp import Channel, Parallel, Reader, Writer, parts, process


@process
def sieve(numbers: Reader[int], primes: Writer[int]) -> None:
    prime = numbers.recv()  # what no process before us divides
    primes.send(prime)
    rest = Channel[int](f"no multiples of {prime}")
    Parallel(sift(prime, numbers, rest.writer()), sieve(rest.reader(), primes))


@process
def sift(prime: int, numbers: Reader[int], rest: Writer[int]) -> None:
    for number in numbers:
        if number % prime:
            rest.send(number)


def main(limit: int = 30) -> list[int]:
    numbers, primes = Channel[int]("numbers"), Channel[int]("primes")
    # When the source is done, its end retires, and so, one after the other, does all that comes after it.
    *_, found = Parallel(
        parts.source(range(2, limit), numbers.writer()),
        sieve(numbers.reader(), primes.writer()),
        parts.collect(primes.reader()),
    )
    print(*found)
    return found


if __name__ == "__main__":
    main()

"""A server that survives its workers: one that dies is replaced, and what it was doing is done again.

A process that dies poisons the channels in its hands, so the supervisor's wait ends at once. It hires another
worker, with new channels; the clients, who have other channels, notice nothing.
"""

import os
import signal

from interproc.csp import Channel, ChannelPoison, Parallel, Reader, Spawn, Writer, process

Request = tuple[int, Writer[int]]  # a number, and where to send its square
LIFE = 3  # jobs


@process
def worker(jobs: Reader[int], results: Writer[int]) -> None:
    for done, number in enumerate(jobs):
        if done == LIFE:
            os.kill(os.getpid(), signal.SIGKILL)  # a bug
        results.send(number * number)


class Hired:
    """A worker, and the other ends of its channels."""

    def __init__(self) -> None:
        jobs, results = Channel[int]("jobs"), Channel[int]("results")
        self.process = Spawn(worker(jobs.reader(), results.writer()))
        self.jobs, self.results = jobs.writer(), results.reader()

    def do(self, number: int) -> int:
        self.jobs.send(number)
        return self.results.recv()


@process
def supervisor(requests: Reader[Request]) -> list[str]:
    """Serves until all clients have retired; what became of the workers that died."""
    died = []
    hired = Hired()
    for number, reply in requests:
        while True:
            try:
                square = hired.do(number)
                break
            except ChannelPoison:
                died.append(obituary(hired))
                hired = Hired()
        reply.send(square)
    return died


def obituary(hired: Hired) -> str:
    try:
        hired.process.join()
    except* Exception as group:
        text = str(group.exceptions[0])
    return text


@process
def client(numbers: list[int], requests: Writer[Request]) -> list[int]:
    squares = []
    for number in numbers:
        reply = Channel[int]("reply")
        requests.send((number, reply.writer()))
        squares.append(reply.reader().recv())
    return squares


def main(count: int = 10) -> tuple[list[list[int]], list[str]]:
    """What each of two clients got for its numbers, and what became of the workers that died."""
    requests = Channel[Request]("requests")
    died, *squares = Parallel(
        supervisor(requests.reader()),
        [client(list(range(first, count, 2)), requests.writer()) for first in (0, 1)],
    )
    print(*died, *squares, sep="\n")
    return squares, died


if __name__ == "__main__":
    main()

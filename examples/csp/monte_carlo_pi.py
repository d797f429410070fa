"""Pi by throwing darts, with work stealing: who has no work left takes some of another's.

All work lies with the first worker. Between two jobs, each worker offers one to whoever waits for work, and
goes on at once if nobody does: a choice between a send and a skip. Who has nothing left, retires from
offering; once all have, the waits for more end.
"""

import random

from interproc.csp import Channel, Parallel, Reader, Sent, Skipped, Writer, process, retire, select, skip

DARTS = 20_000  # a job


def throw(seed: int) -> int:
    """How many of DARTS fall into the quarter of a circle."""
    dice = random.Random(seed)
    return sum(dice.random() ** 2 + dice.random() ** 2 < 1 for _ in range(DARTS))


@process
def worker(seeds: list[int], offer: Writer[int], steal: Reader[int]) -> tuple[int, int]:
    """The hits, and in how many jobs."""
    hits = jobs = 0
    while seeds:
        match select((offer, seeds[-1]), skip(), priority=True):
            case Sent():
                seeds.pop()
            case Skipped():
                hits += throw(seeds.pop(0))
                jobs += 1
    retire(offer)
    for seed in steal:
        hits += throw(seed)
        jobs += 1
    return hits, jobs


def main(jobs: int = 40, workers: int = 4) -> tuple[float, list[int]]:
    """Pi, about; and how many jobs each worker did."""
    spare = Channel[int]("spare work")
    piles = [list(range(jobs)), *([] for _ in range(workers - 1))]
    results = Parallel([worker(pile, spare.writer(), spare.reader()) for pile in piles])
    hits, done = (list(column) for column in zip(*results, strict=True))
    pi = 4 * sum(hits) / (jobs * DARTS)
    print(f"pi is about {pi:.4f}; jobs done by each worker: {done}")
    return pi, done


if __name__ == "__main__":
    main()

"""Pi by chance: jobs for ten workers made by multiplication; they end by being retired."""

from random import Random

from interproc.csp.pycsp import *


@process
def producer(job_out, size, bags):
    for seed in range(bags):
        job_out((seed, size))
    retire(job_out)


@multiprocess
def worker(job_in, result_out):
    while True:
        seed, count = job_in()
        chance = Random(seed).random
        result_out(sum(chance() ** 2 + chance() ** 2 < 1.0 for _ in range(count)))


@process
def consumer(result_in, size):
    hits = bags = 0
    try:
        while True:
            hits += result_in()
            bags += 1
    except ChannelRetireException:
        print(f"{bags} bags, {4 * hits / (bags * size):.2f}")


if __name__ == "__main__":
    jobs, results = Channel(), Channel()
    Parallel(
        producer(jobs.writer(), 1000, 60),
        10 * worker(jobs.reader(), results.writer()),
        consumer(results.reader(), 1000),
    )
    shutdown()

"""A pool that grows while nobody takes its jobs, and shrinks while there are none; and a poll."""

from interproc.csp.pycsp import *

JOBS = 12


@process
def worker(cin, done):
    while True:
        end, job = AltSelect(InputGuard(cin), TimeoutGuard(seconds=0.2))
        if end != cin:
            return
        done(job * 2)


@process
def boss(jobs, done):
    cout, started = -jobs, 0
    for job in range(JOBS):
        while True:
            guard, _ = PriSelect(OutputGuard(cout, msg=job), TimeoutGuard(seconds=0.05))
            if guard == cout:
                break
            started += 1
            Spawn(worker(+jobs, -done))
    return started


@process
def gather(cin):
    return sorted(cin() for _ in range(JOBS))


@process
def poll(cin):
    return PriSelect(InputGuard(cin), SkipGuard())[1]


jobs, done, silent = Channel(), Channel(), Channel()
started, results, polled = Parallel(boss(jobs, done), gather(+done), poll(+silent))
print(started > 0, results == list(range(0, 2 * JOBS, 2)), polled)
shutdown()

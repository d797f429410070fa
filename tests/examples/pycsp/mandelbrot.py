"""A farm: the manager offers the next job and takes a result, whichever comes; the picture is text."""

from interproc.csp.pycsp import *

WIDTH, HEIGHT, TURNS = 48, 14, 30


def row(number):
    line = ""
    for column in range(WIDTH):
        c = complex(-2.2 + 3 * column / WIDTH, -1.2 + 2.4 * number / (HEIGHT - 1))
        z, turns = 0j, 0
        while abs(z) < 2 and turns < TURNS:
            z, turns = z * z + c, turns + 1
        line += " .:-=+*#%@"[turns * 9 // TURNS]
    return line


@multiprocess
def worker(cin, cout):
    try:
        while True:
            number = cin()
            cout((number, row(number)))
    except ChannelRetireException:
        retire(cout)


@process
def manager(jobs_out, results_in):
    jobs = list(range(HEIGHT))
    picture = {}
    while len(picture) < HEIGHT:
        if jobs:
            end, msg = AltSelect(
                InputGuard(results_in), OutputGuard(jobs_out, jobs[-1], action="jobs.pop(-1)")
            )
        else:
            end, msg = results_in, results_in()
        if end == results_in:
            number, line = msg
            picture[number] = line
    retire(jobs_out)
    return [picture[number] for number in range(HEIGHT)]


if __name__ == "__main__":
    jobs, results = Channel(), Channel()
    picture, *_ = Parallel(
        manager(jobs.writer(), results.reader()), 3 * worker(jobs.reader(), results.writer())
    )
    print(picture == [row(number) for number in range(HEIGHT)])
    print("\n".join(picture))
    shutdown()

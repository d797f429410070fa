"""Five philosophers: a fork is taken from either side by a choice; actions are code in strings."""

from interproc.csp.pycsp import *

SEATS = 5


@process
def philosopher(left, right, down, up):
    meals = 0
    try:
        while True:
            down(True)
            for _ in ("take", "put back"):
                FairSelect(
                    OutputGuard(left, msg=True, action="right(True)"),
                    OutputGuard(right, msg=True, action="left(True)"),
                )
            meals += 1
            up(True)
    except ChannelRetireException:
        retire(left, right)
    return meals


@process
def fork(left, right):
    while True:
        FairSelect(InputGuard(left, action="left()"), InputGuard(right, action="right()"))


@process
def security(steps, down, up):
    seated = [0]
    for _ in range(steps):
        guards = [InputGuard(end, action="seated[0] -= 1") for end in up]
        if seated[0] < SEATS - 1:
            guards += [InputGuard(end, action="seated[0] += 1") for end in down]
        FairSelect(*guards)
    retire(*down)
    retire(*up)


@process
def college(steps):
    left, right, up, down = (Channel() * SEATS for _ in range(4))
    results = Parallel(
        security(steps, [d.reader() for d in down], [u.reader() for u in up]),
        [philosopher(-left[i], -right[i], -down[i], -up[i]) for i in range(SEATS)],
        [fork(+left[i], +right[(i + 1) % SEATS]) for i in range(SEATS)],
    )
    meals = results[1 : SEATS + 1]
    return sum(meals), min(meals) > 0


[(meals, all_ate)] = Sequence(college(400))
print("all have eaten" if all_ate else "somebody starved", abs(meals - 200) <= SEATS)
shutdown()

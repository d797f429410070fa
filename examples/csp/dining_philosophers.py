"""The dining philosophers: five at a round table, a fork between each two, and two forks to eat with.

If all take the fork to their left first, each may sit there with one fork, for ever: the waits end with
`Deadlock`, which says who waits for whom, and at which line. If one takes the other fork first, all will eat.
"""

from interproc.csp import Barrier, Channel, Deadlock, Enrolment, Parallel, Reader, Writer, process

NAMES = ["Plato", "Hypatia", "Laozi", "Avicenna", "Simone"]
Holder = Reader[None]  # an end of a channel that is open as long as somebody has the fork


@process
def fork(taken: Reader[Holder]) -> None:
    for holder in taken:
        for _ in holder:
            pass  # nothing ever comes, but the end


@process
def philosopher(
    name: str, first: Writer[Holder], second: Writer[Holder], meals: int, together: Enrolment | None
) -> int:
    for _ in range(meals):
        one, other = Channel[None](f"{name} has one"), Channel[None](f"{name} has two")
        with one.writer(), other.writer():
            first.send(one.reader())
            if together:
                together.sync()  # bad luck: now everybody has one
            second.send(other.reader())
            # ... eats, and puts both back as the block is left, which retires the writers
    return meals


def dine(meals: int, all_alike: bool) -> int:
    """How many meals were had; raises a group of Deadlock if they starve."""
    table = [Channel[Holder](f"fork {n}") for n in range(len(NAMES))]
    together = Barrier("all have one fork")
    forks = [fork(taken.reader()).with_name(taken.name) for taken in table]
    philosophers = []
    for n, name in enumerate(NAMES):
        left, right = table[n - 1].writer(), table[n].writer()
        if all_alike:
            diner = philosopher(name, left, right, meals, together.enrol())
        elif n == 0:
            diner = philosopher(name, right, left, meals, None)
        else:
            diner = philosopher(name, left, right, meals, None)
        philosophers.append(diner.with_name(name))
    return sum(Parallel(philosophers, forks)[: len(NAMES)])


def main(meals: int = 20) -> tuple[str, int]:
    """How it says that they starve, and how many meals they have otherwise."""
    starved = ""
    try:
        dine(meals, all_alike=True)
    except* Deadlock as found:
        starved = str(found.exceptions[0])
    print(starved)
    had = dine(meals, all_alike=False)
    print(f"With one who takes the other fork first: {had} meals")
    return starved, had


if __name__ == "__main__":
    main()

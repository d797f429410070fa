"""A producer sleeps until it is asked, and a consumer asks when nothing has come for a while.

The consumer's first choice has a time limit, its second an input and an output: it asks, unless something
to eat comes after all.
"""

from interproc.csp import (
    Channel,
    ChannelRetire,
    Parallel,
    Reader,
    Received,
    Sent,
    TimedOut,
    Writer,
    after,
    process,
    select,
)

PATIENCE = 0.02  # seconds


@process
def producer(batches: list[list[str]], items: Writer[str], orders: Reader[str]) -> None:
    for batch in batches:
        for item in batch:
            items.send(item)
        orders.recv()


@process
def consumer(items: Reader[str], orders: Writer[str]) -> tuple[list[str], int]:
    """What was eaten, and how often something had to be ordered."""
    eaten: list[str] = []
    ordered = 0
    try:
        while True:
            match select(items, after(PATIENCE)):
                case Received(value=item):
                    eaten.append(item)
                case TimedOut():
                    match select(items, (orders, "more!")):
                        case Received(value=item):
                            eaten.append(item)
                        case Sent():
                            ordered += 1
    except ChannelRetire:  # the producer has no more
        return eaten, ordered


BATCHES = [["bread", "cheese"], ["figs"], ["olives", "wine", "cake"]]


def main() -> tuple[list[str], int]:
    items, orders = Channel[str]("items"), Channel[str]("orders")
    _, (eaten, ordered) = Parallel(
        producer(BATCHES, items.writer(), orders.reader()),
        consumer(items.reader(), orders.writer()),
    )
    print(f"ate {', '.join(eaten)}; ordered {ordered} times")
    return eaten, ordered


if __name__ == "__main__":
    main()

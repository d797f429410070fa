"""A chat: guests bring the ends of their own channels; the hub repeats to all what one of them says.

The ends of channels are values: a guest sends two through the door, one that the hub is to read, one for it
to write to. The hub chooses among the door and all guests; a guest chooses between hearing and saying, so
nobody waits for somebody who waits for them.
"""

from interproc.csp import (
    Channel,
    ChannelRetire,
    Parallel,
    Reader,
    Received,
    Sent,
    Writer,
    process,
    retire,
    select,
)

Newcomer = tuple[str, Reader[str], Writer[str]]  # the name, what the guest says, what the guest hears


@process
def hub(door: Reader[Newcomer]) -> list[str]:
    """Returns all that was said, when the last guest has gone."""
    names: dict[Reader[str], str] = {}
    ears: list[Writer[str]] = []
    said: list[str] = []
    awaited = [door]
    while awaited:
        try:
            guard, value = select(*awaited)
        except ChannelRetire as gone:  # all are in, or this guest has no more to say
            awaited.remove(gone.end)
            continue
        if guard is door:
            name, mouth, ear = value
            names[mouth] = name
            awaited.append(mouth)
            ears.append(ear)
            line = f"* {name} is here"
        else:
            line = f"{names[guard]}: {value}"
        said.append(line)
        for ear in ears:
            ear.send(line)
    return said


@process
def guest(name: str, lines: list[str], door: Writer[Newcomer]) -> list[str]:
    """Returns all that it heard."""
    says, hears = Channel[str](f"{name} says"), Channel[str](f"{name} hears")
    mouth, ear = says.writer(), hears.reader()
    door.send((name, says.reader(), hears.writer()))
    retire(door)
    heard = []
    while lines:
        match select(ear, (mouth, lines[0])):
            case Received(value=line):
                heard.append(line)
            case Sent():
                lines.pop(0)
    retire(mouth)
    return heard + list(ear)  # until the hub closes


SCRIPT = {
    "Ada": ["Hello!", "I wrote a program.", "For a machine that is not built yet."],
    "Grace": ["A moth!", "I found a moth in mine."],
    "Tony": ["Do they run in parallel?", "Then let them communicate."],
}


def main() -> tuple[list[str], list[list[str]]]:
    """What was said, and what each guest heard."""
    door = Channel[Newcomer]("door")
    said, *heard = Parallel(
        hub(door.reader()),
        [guest(name, lines, door.writer()) for name, lines in SCRIPT.items()],
    )
    print(*said, sep="\n")
    return said, heard


if __name__ == "__main__":
    main()

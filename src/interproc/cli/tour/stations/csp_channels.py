"""The station Channel: two processes that ask and answer over two channels, and the picture of them."""

from __future__ import annotations

from interproc.cli.tour.station import Stage, Station
from interproc.csp import Channel, Parallel, Reader, Writer, process


@process
def P1(questions: Writer[int], answers: Reader[int]) -> list[int]:
    squares = []
    for n in range(1, 4):
        questions.send(n)
        squares.append(answers.recv())
        print(f"{n} squared is {squares[-1]}")
    return squares


@process
def P2(questions: Reader[int], answers: Writer[int]) -> None:
    for n in questions:  # until P1 has returned
        answers.send(n * n)


def parent() -> tuple[str, list[int]]:
    questions, answers = Channel[int]("questions"), Channel[int]("answers")
    network = Parallel.of(
        P1(questions.writer(), answers.reader()),
        P2(questions.reader(), answers.writer()),
    )
    picture = network.graph().text()
    print(picture)
    squares, _ = network.run()
    return picture, squares


def run(stage: Stage) -> None:
    picture, squares = parent()
    stage.check("the answers came to who had asked", squares, [1, 4, 9])
    stage.check(
        "the picture shows both processes and both channels",
        picture,
        "[P1] ── questions ─▶ [P2] ── answers ─▶ [P1]",
    )


STATION = Station(
    number=70,
    name="csp_channels",
    title="CSP: channels",
    point="A channel has ends; who is given an end may use it. When send returns, a reader has the value. "
    "A network can be drawn before it runs: as text, Mermaid, DOT or SVG.",
    code=(P1, P2, parent),
    run=run,
)

"""Ends that move: a server spawns a service for each client, which sends it the end to talk to it by."""

from interproc.csp.pycsp import *

CLIENTS, QUESTIONS = 6, 5


@process
def service(reply):
    questions = Channel()
    reply(questions.writer())
    cin = questions.reader()
    while True:
        reply(cin().upper())


@process
def server(cin):
    for _ in range(CLIENTS):
        Spawn(service(cin()))


@multiprocess
def client(cout, name):
    answers = Channel()
    cout(answers.writer())
    cin = answers.reader()
    ask = cin()
    heard = []
    for number in range(QUESTIONS):
        ask(f"{name}{number}")
        heard.append(cin())
    poison(ask)
    return heard


if __name__ == "__main__":
    door = Channel()
    _, *heard = Parallel(server(door.reader()), [client(door.writer(), name) for name in "abcdef"])
    print(heard == [[f"{name}{number}" for number in range(QUESTIONS)] for name in "ABCDEF"])
    shutdown()

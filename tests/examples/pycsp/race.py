"""Five writers and five readers of one channel: nothing is lost when each writer retires."""

from interproc.csp.pycsp import *


@process
def source(cout):
    for number in range(10):
        cout(number)
    retire(cout)


@process
def sink(cin, found):
    while True:
        found.append(cin())


channel = Channel()
found = []
Parallel(source(channel.writer()) * 5, [sink(channel.reader(), found) for _ in range(5)])
print(len(found), sorted(found) == sorted(5 * list(range(10))))
shutdown()

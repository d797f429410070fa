"""A producer, a row of one-place buffers, a consumer; then a channel with a buffer of its own."""

from itertools import pairwise

from interproc.csp.pycsp import *

PLACES, PRODUCTS = 8, 30
made = 0


@process
def producer(cout):
    global made
    for number in range(PRODUCTS):
        cout(number)
        made += 1
    retire(cout)


@process
def place(cin, cout):
    try:
        while True:
            cout(cin())
    except ChannelRetireException:
        retire(cin)
        retire(cout)


@process
def consumer(cin):
    eaten = 0
    try:
        while True:
            cin()
            eaten += 1
    except ChannelRetireException:
        print(f"{eaten} of {made} are eaten")


row = [Channel() for _ in range(PLACES)]
places = [place(a.reader(), b.writer()) for a, b in pairwise(row)]
Parallel(producer(row[0].writer()), places, consumer(row[-1].reader()))

channel = Channel(buffer=PRODUCTS)
Parallel(producer(channel.writer()))
Parallel(consumer(channel.reader()))
shutdown()

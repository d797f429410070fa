"""What processes return, of both kinds and multiplied; half of an odd number of them is a float."""

from interproc.csp.pycsp import *


@process
def square(number):
    return number * number


@multiprocess
def cube(number):
    return number**3


if __name__ == "__main__":
    print(Parallel(square(3), [cube(2), square(4)], (5 / 2) * cube(3)))
    print(Sequence(2 * square(5), cube(1)))
    shutdown()

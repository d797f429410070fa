"""How fast what a Manager makes is: `python -m benchmarks.manager`, or this file by itself.

The rows and how each is measured are in benchmarks/suites/managers.py.
"""

from __future__ import annotations

import os
import sys

if not __package__:  # run as a file, with this folder, and its queue.py, first in the path
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.path.dirname(_here), *(p for p in sys.path if os.path.abspath(p) != _here)]

from benchmarks.harness import main
from benchmarks.suites.managers import SUITE

if __name__ == "__main__":
    sys.exit(main(SUITE))

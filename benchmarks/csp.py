"""How fast CSP is: processes, channels, choice: `python -m benchmarks.csp`, or this file by itself.

The rows and how each is measured are in benchmarks/suites/csp.py.
"""

from __future__ import annotations

import os
import sys

if not __package__:  # run as a file, with this folder, and its queue.py, first in the path
    _here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.path.dirname(_here), *(p for p in sys.path if os.path.abspath(p) != _here)]

from benchmarks.harness import main
from benchmarks.suites.csp import SUITE

if __name__ == "__main__":
    sys.exit(main(SUITE))

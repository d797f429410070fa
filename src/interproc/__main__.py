"""`python -m interproc` is the command `interproc`."""

import sys

from interproc.cli import main

if __name__ == "__main__":
    sys.exit(main())

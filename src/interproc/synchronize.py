"""interproc.locks, under the name that multiprocessing has for it."""

import sys

from . import locks
from .locks import *  # noqa: F403

sys.modules[__name__] = locks

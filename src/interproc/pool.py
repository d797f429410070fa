"""multiprocessing.pool, as it is, under the name where a drop-in's user looks for it."""

import sys
from multiprocessing import pool
from multiprocessing.pool import *  # noqa: F403

sys.modules[__name__] = pool

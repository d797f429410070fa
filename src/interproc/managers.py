"""multiprocessing.managers, as it is, under the name where a drop-in's user looks for it."""

import sys
from multiprocessing import managers
from multiprocessing.managers import *  # noqa: F403

sys.modules[__name__] = managers

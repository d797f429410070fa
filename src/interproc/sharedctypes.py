"""interproc.shared, under the name that multiprocessing has for it."""

import sys

from . import shared
from .shared import *  # noqa: F403

sys.modules[__name__] = shared

"""How fast a Queue is: `python -m benchmarks.queue`, or this file by itself.

The rows and how each is measured are in benchmarks/suites/queues.py.
"""

from __future__ import annotations

import os
import sys

if __name__ == "queue":
    # Found instead of the standard library's module, from a sys.path with this folder: stand aside for it.
    import importlib.util
    import sysconfig

    _spec = importlib.util.spec_from_file_location(
        "queue", os.path.join(sysconfig.get_path("stdlib"), "queue.py")
    )
    assert _spec is not None and _spec.loader is not None
    sys.modules["queue"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["queue"])
else:
    if not __package__:  # run as a file, with this folder, and its queue.py, first in the path
        _here = os.path.dirname(os.path.abspath(__file__))
        sys.path[:] = [os.path.dirname(_here), *(p for p in sys.path if os.path.abspath(p) != _here)]

    from benchmarks.harness import main
    from benchmarks.suites.queues import SUITE

    if __name__ == "__main__":
        sys.exit(main(SUITE))

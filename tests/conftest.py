"""What every test shares: no child process is left behind, so that one failure does not become many."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator

import pytest
from dropin.support import METHODS, default_method


def pytest_configure(config: pytest.Config) -> None:
    """Tests fork while threads run, on purpose and with care; Python 3.12 warns of each.

    Whom a shell starts in the background ignores Ctrl-C, and so would the programs that are interrupted here.
    """
    config.addinivalue_line("filterwarnings", "ignore:.*multi-threaded, use of fork:DeprecationWarning")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_child_left() -> Iterator[None]:
    """End, by its pid, each child that a test started and did not wait for; a failed test leaves some."""
    before = set(multiprocessing.active_children())
    yield
    for child in multiprocessing.active_children():
        if child not in before and child.pid is not None:
            for number in (signal.SIGKILL, signal.SIGCONT):
                os.kill(child.pid, number)
            child.join(10)


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each start method, as the default one."""
    with default_method(request.param):
        yield request.param

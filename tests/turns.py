"""Turns of tests that run side by side: one that is marked ``alone`` shares the machine with no other.

Whether a server stops within three seconds can not be judged while others use its cores. Each test holds a
lock of all processes of the run together with the others, one that runs alone holds it by itself. Everybody
passes a gate first, so that whoever wants to be alone waits for the tests under way and for no further one.
"""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


@contextmanager
def turn(item: pytest.Item) -> Iterator[None]:
    """Until the test has ended nobody else disturbs it, or is disturbed by it."""
    if not hasattr(item.config, "workerinput"):
        yield
        return
    of_all: Path = item.config._tmp_path_factory.getbasetemp().parent  # type: ignore[attr-defined]
    with ExitStack() as opened:
        gate, room = (opened.enter_context((of_all / name).open("w")) for name in ("gate.lock", "room.lock"))
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(room, _kind(item))
        fcntl.flock(gate, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)  # a process that the test forked may hold the file, too


def _kind(item: pytest.Item) -> int:
    return fcntl.LOCK_SH if item.get_closest_marker("alone") is None else fcntl.LOCK_EX

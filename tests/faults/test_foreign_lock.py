"""Somebody else holds the lock: whoever wants to write waits or is told, and all recovers."""

import fcntl
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from time import monotonic

import httpx2
import pytest

from faults.load import UNAVAILABLE
from races.books import read_books, until
from races.laws import Heard, Told, complaints
from server import Server, client, signed_in

WRITERS = 6
MOST_STOP_SECONDS = 3.0

Hold = Callable[[Server], AbstractContextManager[None]]
"""For the length of the block, nobody else can write."""


@contextmanager
def write_lock(server: Server) -> Iterator[None]:
    """Another program is in the middle of a write transaction on the server's file."""
    with closing(sqlite3.connect(server.data / "opentill.db", isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        yield
        foreign.execute("ROLLBACK")


def create(http: httpx2.Client, reference: str) -> httpx2.Response:
    order = {"orderReference": reference, "amount": 10, "currency": "NGN", "customerEmail": "a@b.c"}
    return http.post("/v1/checkout/order", json={"order": order})


def cancel(http: httpx2.Client, reference: str) -> httpx2.Response:
    return http.post("/v1/checkout/order/cancel", json={"orderReference": reference})


def test_writers_wait_for_a_foreign_lock_and_readers_do_not(tmp_path: Path) -> None:
    """While the lock is held no write is answered, reads are, and nothing is ready; then all goes on."""
    with (
        Server(tmp_path) as server,
        client(server, headers=signed_in(server)) as http,
        ThreadPoolExecutor(WRITERS) as writers,
    ):
        assert create(http, "held").status_code == 200
        with write_lock(server):
            waiting = [writers.submit(create, http, f"waiting-{number}") for number in range(WRITERS)]
            assert http.get("/v1/checkout/order/held").status_code == 200
            assert http.get("/health/ready").status_code == 503
            assert not any(write.done() for write in waiting)
        assert [write.result().status_code for write in waiting] == [200] * WRITERS
        until(lambda: http.get("/health/ready").status_code == 200)
        heard = [Heard(f"waiting-{number}", Told.CREATED) for number in range(WRITERS)]
        assert complaints(read_books(server.data), heard) == []


@contextmanager
def siblings_turn(server: Server) -> Iterator[None]:
    """Another process of ours hangs while it is its turn to write."""
    with (server.data / "opentill.db.turn").open("ab") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize("hold", [write_lock, siblings_turn])
def test_a_lock_held_too_long_is_answered_503_and_nothing_was_done(tmp_path: Path, hold: Hold) -> None:
    """When the wait runs out the answer is 503, nothing is written, and the same request works afterwards."""
    with Server(tmp_path) as server, client(server) as http:
        assert create(http, "held").status_code == 200
        with hold(server):
            turned_down = cancel(http, "held")
            assert (turned_down.status_code, turned_down.json()) == (503, UNAVAILABLE)
            assert turned_down.headers["retry-after"]
            assert "refusal-reason" not in turned_down.headers
            assert read_books(server.data).by_reference["held"]["status"] == "PENDING"
        assert cancel(http, "held").status_code == 200
        assert complaints(read_books(server.data), [Heard("held", Told.CANCELLED)]) == []


@pytest.mark.alone
@pytest.mark.parametrize("hold", [write_lock, siblings_turn])
def test_a_stop_does_not_wait_for_the_lock(tmp_path: Path, hold: Hold) -> None:
    """SIGTERM while a write waits for the lock: exit code 0 in time, and the write is not acknowledged."""
    with (
        Server(tmp_path) as server,
        client(server) as http,
        client(server) as other,
        ThreadPoolExecutor(1) as writer,
    ):
        assert create(http, "held").status_code == 200
        with hold(server):
            waiting = writer.submit(cancel, http, "held")
            assert other.get("/health/ready").status_code == 503
            begun = monotonic()
            assert server.stop() == 0
            assert monotonic() - begun < MOST_STOP_SECONDS
            assert waiting.result().status_code == 503
        assert read_books(server.data).by_reference["held"]["status"] == "PENDING"

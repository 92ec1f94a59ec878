"""Alive, ready, stopped: what those who run a server see of it over HTTP."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from api.golden.state import cancel, create, submit_card
from databases import locking, reading, writing
from server import Server, client, operate

STOP_SECONDS = 3.0
IDLE = 20
READY_SECONDS = 5.0


@contextmanager
def foreign_lock(server: Server) -> Iterator[None]:
    """Another program holds the database's write lock meanwhile."""
    with writing(server.place) as run:
        for statement in locking(server.place):
            run(statement)
        yield
        run("ROLLBACK")


def is_ready(http: httpx2.Client) -> bool:
    answer = http.get("/health/ready")
    assert answer.status_code in {200, 503}
    assert answer.json()["code"] == ("00" if answer.status_code == 200 else "503")
    return answer.status_code == 200


def test_ready_means_that_writes_work(tmp_path: Path, database_url: str | None) -> None:
    """While another program holds the write lock the server is alive, reads, and is not ready."""
    with Server(tmp_path, database_url=database_url) as server, client(server) as http:
        create(http, "kept")
        assert is_ready(http)
        with foreign_lock(server):
            assert until(lambda: not is_ready(http))
            assert http.get("/health/live").status_code == 200
            assert http.get("/v1/checkout/order/kept").status_code == 200
        assert until(lambda: is_ready(http))
        assert cancel(http, "kept").status_code == 200


def until(seen: Callable[[], bool]) -> bool:
    """Ask again until it is so, at most a few seconds; each question takes its time by itself."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if seen():
            return True
    return False


def test_a_write_waits_for_a_foreign_lock(tmp_path: Path, database_url: str | None) -> None:
    """A cancel that comes while another program writes is carried out once that is done, once."""
    with (
        Server(tmp_path, database_url=database_url) as server,
        client(server) as http,
        ThreadPoolExecutor(1) as threads,
    ):
        create(http, "waits")
        with foreign_lock(server):
            asked = threads.submit(cancel, http, "waits")
            with client(server) as other:
                assert until(lambda: not is_ready(other))
            assert not asked.done()
        assert asked.result(20).json()["code"] == "00"
        assert cancel(http, "waits").headers["refusal-reason"] == "order-already-cancelled"


def test_other_programs_may_open_the_database(tmp_path: Path, database_url: str | None) -> None:
    """Reading it from outside, backing it up or running a command takes nothing from the server."""
    with Server(tmp_path, database_url=database_url) as server:
        with client(server) as http:
            create(http, "before")
            with writing(server.place) as run:
                assert run("SELECT count(*) FROM orders")
            operate(server, "clients", "list")
            create(http, "after")
        with reading(server.place) as run:
            kept = {row["reference"] for row in run("SELECT reference FROM orders")}
        server.kill()
    assert {"before", "after"} <= kept
    with Server(tmp_path, database_url=database_url) as again, client(again) as http:
        assert http.get("/v1/checkout/order/after").status_code == 200


# --- the end --------------------------------------------------------------------------------------

SLOW_RAIL = {"sandbox_rail_delay_milliseconds": 60_000, "card_timeout_seconds": 60}


@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_ends_it_in_time(tmp_path: Path, database_url: str | None, workers: int) -> None:
    """With twenty idle connections and a payment in flight it exits cleanly within three seconds."""
    with Server(tmp_path, database_url=database_url, workers=workers, **SLOW_RAIL) as server:
        idle = [idle_connection(server) for _ in range(IDLE)]
        with client(server) as http, ThreadPoolExecutor(1) as threads:
            create(http, "in-flight")
            paying = threads.submit(submit_card, http, "in-flight")
            assert until(lambda: was_asked(server, "in-flight"))

            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < STOP_SECONDS

            assert paying.result(10).status_code == 503
            assert paying.result(10).json() == {
                "code": "503",
                "description": "Service unavailable",
                "data": None,
            }
        for connection in idle:
            assert connection.recv(1) == b""
            connection.close()
        assert "Traceback" not in server.log_file.read_text()


def idle_connection(server: Server) -> socket.socket:
    """A connection that has had one answer and is kept alive."""
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    connection.request("GET", "/health/live")
    assert json.loads(connection.getresponse().read())["data"] == {"status": "live"}
    assert connection.sock is not None
    return connection.sock


def was_asked(server: Server, reference: str) -> bool:
    """Return whether a payment of this order has begun."""
    with client(server) as http:
        answer = http.get(f"/v1/transactions/accounts/single?orderReference={reference}")
    return answer.status_code == 200


def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path, database_url: str | None) -> None:
    """Orders, cancels and idempotent answers outlive a stop and a start on the same folder."""
    key = {"Idempotency-Key": "once"}
    with Server(tmp_path, database_url=database_url) as server, client(server) as http:
        create(http, "opened")
        create(http, "cancelled")
        first = http.post("/v1/checkout/order/cancel", json={"orderReference": "cancelled"}, headers=key)
        assert server.stop() == 0
    with Server(tmp_path, database_url=database_url) as server, client(server) as http:
        again = http.post("/v1/checkout/order/cancel", json={"orderReference": "cancelled"}, headers=key)
        opened = http.get("/v1/checkout/order/opened").json()["data"]["order"]

    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert opened["status"] == "PENDING"

"""A disk without room: writes are turned down honestly, reads go on, and room is all it takes to recover."""

import asyncio
import resource
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from shutil import disk_usage
from typing import Any

import httpx2
import pytest

from faults.load import UNAVAILABLE
from races.books import calls_under_way, read_books, sound_file, until
from races.laws import Heard, Told, complaints, unsettled
from races.lines import Line
from server import Server, client, signed_in

QUICK: dict[str, Any] = {"card_timeout_seconds": 2, "call_grace_seconds": 0.2, "sweep_interval_seconds": 0.1}
DISK_BYTES = 16 * 1024 * 1024
PAGE_BYTES = 4096
ROOM_BYTES = 512 * 1024
"""What is left when the time without room begins."""
MOST_FILLERS = 1000

Full = Callable[[Server], AbstractContextManager[None]]
"""For the length of the block, the server's files can not grow."""


def create(http: httpx2.Client, reference: str) -> httpx2.Response:
    order = {"orderReference": reference, "amount": 10, "currency": "NGN", "customerEmail": "a@b.c"}
    return http.post("/v1/checkout/order", json={"order": order})


def cancel(http: httpx2.Client, reference: str) -> httpx2.Response:
    return http.post("/v1/checkout/order/cancel", json={"orderReference": reference})


def is_unavailable(answer: httpx2.Response) -> bool:
    """Tell whether it is the envelope's 503 that invites to try again and refuses nothing."""
    if answer.status_code != 503:
        return False
    assert answer.json() == UNAVAILABLE
    assert answer.headers["retry-after"] == "1"
    assert "refusal-reason" not in answer.headers
    return True


def filled(http: httpx2.Client) -> list[Heard]:
    """Create orders, then cancel them, until there is no room for either; returns what was acknowledged."""
    made = list(carried_out(lambda n: create(http, f"filler-{n}"), range(MOST_FILLERS)))
    assert len(made) < MOST_FILLERS, "the disk did not become full"
    ended = list(carried_out(lambda n: cancel(http, f"filler-{n}"), made))
    heard = [Heard(f"filler-{number}", Told.CREATED) for number in made]
    return heard + [Heard(f"filler-{number}", Told.CANCELLED) for number in ended]


def carried_out(ask: Callable[[int], httpx2.Response], numbers: Iterable[int]) -> Iterator[int]:
    """The numbers whose requests were carried out, up to the first that was turned down."""
    for number in numbers:
        answer = ask(number)
        if is_unavailable(answer):
            return
        assert answer.status_code == 200, answer.text
        yield number


@contextmanager
def file_size_limit(server: Server) -> Iterator[None]:
    """The kernel lets the process write into no file beyond its first page, where no commit has room."""
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (PAGE_BYTES, hard))
    yield
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))


@contextmanager
def ballast(server: Server) -> Iterator[None]:
    """A file takes nearly all the room that is left on the server's small disk."""
    file = server.data / "ballast"
    file.write_bytes(bytes(disk_usage(server.data).free - ROOM_BYTES))
    yield
    file.unlink()


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """The folder as a disk of its own, where this user may mount one."""
    folder.mkdir(exist_ok=True)
    options = ("-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs")
    mounted = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk; the limit on file sizes is tested instead")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def lived_through(folder: Path, full: Full) -> None:
    """A server's life before, during and after a time without room."""
    with Server(folder, **QUICK) as server, client(server, headers=signed_in(server)) as http:
        heard = [Heard("early", Told.CREATED)]
        assert create(http, "early").status_code == 200
        with full(server):
            heard += filled(http)
            until(lambda: is_unavailable(http.get("/health/ready")))
            assert is_unavailable(cancel(http, "early"))
            assert http.get("/health/live").status_code == 200
            seen = http.get("/v1/checkout/order/early").json()["data"]["order"]
            assert (seen["status"], seen["amountPaid"]) == ("PENDING", "0.00")
        until(lambda: http.get("/health/ready").status_code == 200)
        assert create(http, "late").status_code == 200
        assert cancel(http, "early").status_code == 200
        heard += [Heard("late", Told.CREATED), Heard("early", Told.CANCELLED)]
        assert server.stop() == 0
        assert complaints(read_books(server.data), heard) == []
        assert sound_file(server.data)


@pytest.mark.parametrize("log", ["can be written", "can not be written"])
def test_without_room_for_files_to_grow(tmp_path: Path, log: str) -> None:
    """Writes answer 503 and not ready, reads go on, nothing is lost, and all is well once files may grow."""
    if log == "can not be written":
        (tmp_path / "stderr.log").symlink_to("/dev/full")
    lived_through(tmp_path, file_size_limit)


def test_on_a_full_disk(tmp_path: Path) -> None:
    """The same on a disk that is full."""
    with small_disk(tmp_path / "data"):
        lived_through(tmp_path, ballast)


def test_an_approval_that_can_not_be_written_is_not_forgotten(tmp_path: Path) -> None:
    """The rail takes the money while the books have no room: the payer hears 503, later the order is paid."""

    def at_the_rail(transaction: str) -> str:
        return str(read_books(server.data).at_the_rail[transaction]["state"])

    async def pay(line: Line) -> None:
        assert (await line.create("paying")).status_code == 200
        transaction = (await line.card("paying")).json()["data"]["transactionId"]
        payment = asyncio.create_task(line.otp("paying", transaction))
        await asyncio.to_thread(until, lambda: at_the_rail(transaction) == "approved")
        with file_size_limit(server):
            assert is_unavailable(await payment)
            assert await line.look_up("paying") == "PENDING"
        await asyncio.to_thread(until, lambda: calls_under_way(server.data) == 0)
        assert await line.look_up("paying") == "PAID"
        await line.close()

    with Server(tmp_path, sandbox_rail_delay_milliseconds=800, **QUICK) as server:
        asyncio.run(pay(Line(server.url, {}, most_connections=2)))
        books = read_books(server.data)
    assert complaints(books, [Heard("paying", Told.PAID)]) == []
    assert unsettled(books) == []

"""The receivers of docs/snippets, run as whoever copies them runs them, against deliveries signed by us."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import hypothesis
import pytest
from hypothesis import strategies as st
from msgspec.structs import replace

from domain import factories
from opentill.domain.commands import RailOutcome
from opentill.domain.events import EventType
from opentill.webhooks.payload import render
from opentill.webhooks.signature import SigningKeys, headers
from polling import until
from tidy.rules import ROOT
from webhooks import stories

SNIPPETS = ROOT / "docs/snippets"
OLD, NEW = "HkatexKDZg7CLWy96q5sfrVHSvtoz92B", "clé-nouvelle"
KEYS = SigningKeys(OLD, NEW)
STOP_SECONDS = 10
LANGUAGES = os.environ.get("SNIPPET_LANGUAGES", "python").split()
"""Python is there wherever tests run; `make test-snippets` installs the others and names all three."""
told = partial(render, account_name="opentill Checkout")


def program(language: str, port: int) -> list[str]:
    """How a receiver is started, as its first line says."""
    return {
        "python": [sys.executable, str(SNIPPETS / "verify_webhook.py"), str(port)],
        "node": ["node", str(SNIPPETS / "verify_webhook.mjs"), str(port)],
        "php": ["php", "-S", f"127.0.0.1:{port}", str(SNIPPETS / "verify_webhook.php")],
    }[language]


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module", params=LANGUAGES)
def receiver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx2.Client]:
    """A client of a receiver that knows the old and the new key, as in a rotation."""
    command = program(request.param, port := free_port())
    environment = {**os.environ, "OPENTILL_WEBHOOK_KEY": f"{OLD} {NEW}"}
    with (tmp_path_factory.mktemp("receiver") / "output").open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        until(lambda: answers(port), f"{request.param} listens")
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def a_payment() -> tuple[bytes, str]:
    """The body of a payment, with letters that are more than one byte, and its request id."""
    order = stories.asked(terms=replace(stories.TERMS, metadata=(("buyer", "Adébáyọ̀ 😀 </script>"),)))
    event, view = stories.only(stories.paid(order), EventType.PAYMENT_SUCCESS)
    rendered = told(event, view)
    assert rendered is not None
    return rendered.body, event.event_id


BODY, REQUEST_ID = a_payment()


def signed(body: bytes = BODY, keys: SigningKeys = KEYS, age_seconds: int = 0) -> dict[str, str]:
    """The headers of this body, sent so long ago."""
    return headers(body, REQUEST_ID, keys, int((time.time() - age_seconds) * 1000))


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in signed().items() if name not in names}


@pytest.mark.parametrize(
    "keys", [SigningKeys(OLD), SigningKeys(OLD, NEW), SigningKeys(NEW)], ids=["1", "2", "3"]
)
def test_a_receiver_accepts_what_we_sign(receiver: httpx2.Client, keys: SigningKeys) -> None:
    """Before, during and after a rotation a receiver that knows both keys takes every delivery."""
    assert receiver.post("/", content=BODY, headers=signed(keys=keys)).status_code == 204


def test_a_receiver_accepts_its_registration(receiver: httpx2.Client) -> None:
    """The empty object that an endpoint gets when it is registered is a good delivery."""
    assert receiver.post("/", content=b"{}", headers=signed(b"{}")).status_code == 204


def another_bodys(name: str) -> dict[str, str]:
    """Headers of which this one signs something else."""
    return signed() | {name: signed(b"{}")[name]}


REFUSED: dict[str, Callable[[], dict[str, str]]] = {
    "Nomba's signature is another's": lambda: another_bodys("nomba-signature"),
    "the standard signature is another's": lambda: another_bodys("webhook-signature"),
    "Nomba's signature is missing": lambda: without("nomba-signature"),
    "the standard signature is missing": lambda: without("webhook-signature"),
    "Nomba's time is missing": lambda: without("nomba-timestamp"),
    "the standard time is missing": lambda: without("webhook-timestamp"),
    "the id is missing": lambda: without("webhook-id"),
    "Nomba's time is none": lambda: signed() | {"nomba-timestamp": "soon"},
    "the standard time is none": lambda: signed() | {"webhook-timestamp": "soon"},
    "it is too old": lambda: signed(age_seconds=400),
    "it is from the future": lambda: signed(age_seconds=-400),
    "it is signed by another key": lambda: signed(keys=SigningKeys("another key")),
    "it has no signature": dict,
}
"""Each is signed when its test runs, so that only what it names is wrong with it."""


@pytest.mark.parametrize("why", REFUSED)
def test_a_receiver_refuses_what_is_not_ours(receiver: httpx2.Client, why: str) -> None:
    """One bad signature, or one that is too old, is enough for a 401."""
    assert receiver.post("/", content=BODY, headers=REFUSED[why]()).status_code == 401


@pytest.mark.parametrize("at", [0, len(BODY) // 2, len(BODY) - 1])
def test_a_receiver_notices_a_changed_body(receiver: httpx2.Client, at: int) -> None:
    """Another byte anywhere in the body is a 401."""
    changed = BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :]
    assert receiver.post("/", content=changed, headers=signed()).status_code == 401


@pytest.mark.parametrize("junk", [b"", b"[]", b"null", b'"x"', b"no JSON", b'{"data":[1]}', b"\xff" * 100])
def test_junk_does_not_hurt_a_receiver(receiver: httpx2.Client, junk: bytes) -> None:
    """Whatever the body is, the answer is 401, and the next good delivery is taken."""
    assert receiver.post("/", content=junk, headers=signed()).status_code == 401
    assert receiver.post("/", content=BODY, headers=signed()).status_code == 204


# --- the newest wins ------------------------------------------------------------------------------

SECOND = "WEB-ONLINE_C-282aa-00000000-0000-4000-8000-000000000009"
STORY = stories.play(
    stories.asked(due_at=stories.AT + 3_000),
    stories.begin(),
    stories.settle(RailOutcome.DECLINED),
    factories.begin(number=3, transaction_id=SECOND),
    factories.expire(number=4),
    factories.cancel(number=5),
    factories.settle(RailOutcome.APPROVED, number=6, transaction_id=SECOND),
    factories.settle(RailOutcome.VOIDED, number=7, transaction_id=SECOND),
)
"""Declined, expired, cancelled, and a late approval voided: four webhooks, of three statuses."""
ORDERS = [json.loads(each.body)["data"]["order"] for event in STORY if (each := told(*event))]


@hypothesis.settings(deadline=None)
@hypothesis.given(st.permutations(ORDERS * 2), st.integers(1, len(ORDERS) * 2))
def test_shuffled_and_repeated_deliveries_converge(arrived: list[dict[str, Any]], count: int) -> None:
    """In whatever order and however often deliveries come, the row says what the newest of them said."""
    assert len(ORDERS) == 4
    statement = (SNIPPETS / "newest_wins.sql").read_text(encoding="utf-8")
    arrived = arrived[:count]
    with closing(sqlite3.connect(":memory:")) as shop:
        shop.execute("CREATE TABLE shop_orders (reference TEXT PRIMARY KEY, status TEXT, sequence INTEGER)")
        for order in arrived:
            shop.execute(statement, {**order, "reference": order["orderReference"]})
        rows = shop.execute("SELECT reference, status, sequence FROM shop_orders").fetchall()
    newest = max(arrived, key=lambda order: order["sequence"])
    assert rows == [(newest["orderReference"], newest["status"], newest["sequence"])]


# --- the page -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(file.name for file in SNIPPETS.iterdir() if file.is_file()))
def test_the_page_quotes_the_file(name: str) -> None:
    """What a page of the docs shows is what is run here."""
    fence = {".py": "python", ".mjs": "js", ".php": "php", ".sql": "sql"}[Path(name).suffix]
    text = (SNIPPETS / name).read_text(encoding="utf-8")
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")]
    assert any(f"```{fence}\n{text}```\n" in page for page in pages)

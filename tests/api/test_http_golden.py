"""Every golden conversation, held with a real server.

``GOLDEN_UPDATE=1 pytest tests/api/test_http_golden.py`` writes the answers that the server gives now into
the files; read each changed one against the contract before keeping it.
"""

import http.client
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from api.golden.conversation import Conversation, Known, Replay
from databases import NewDatabase, locking, writing
from opentill.api import wire
from opentill.api.http.call import Operation
from opentill.api.http.routing import Router
from opentill.api.operations import OPERATIONS
from opentill.api.wire import REFUSALS, Reply
from opentill.domain import refusals
from opentill.domain.refusals import Refusal
from opentill.keys.keyring import open_keyring
from opentill.settings import load_settings
from opentill.store.accounts.contract import Mode
from server import Server, new_merchant, token

GOLDEN: Final = Path(__file__).with_name("golden")
CASES: Final = {
    file.stem: Conversation.read(file.read_text(encoding="utf-8")) for file in sorted(GOLDEN.glob("*.http"))
}
UPDATING: Final = "GOLDEN_UPDATE" in os.environ

SECRET_KEY: Final = "5e" * 32
STUCK_RAIL: Final = {
    "sandbox_rail_delay_milliseconds": 60_000,
    "idempotency_wait_seconds": 0,
    "refund_wait_seconds": 0.05,
}
ADVICE_KEY: Final = "bank-key-of-the-golden-files-0123456789"
SERVERS: Final[dict[str, dict[str, Any]]] = {
    "sandbox": {"sweep_interval_seconds": 0.1, "credit_advice_keys": f"{'old' * 12},{ADVICE_KEY}"},
    "strict": {
        "refusal_http_status": 200,
        "max_attempts": 1,
        "max_otp_sends": 1,
        "max_webhook_endpoints": 1,
    },
    "clock": {},  # its time is moved
    "limited": {"post_limit": 1, "other_limit": 1, "rate_window_seconds": 3600},
    "slow": STUCK_RAIL | {"card_timeout_seconds": 60},  # the rail is still thinking
    "silent": STUCK_RAIL | {"card_timeout_seconds": 0.1},  # the rail did not answer in time
    "live": {"mode": "live", "secret_key": SECRET_KEY},
    "bank": {  # live mode with a bank that tells of transfers
        "mode": "live",
        "secret_key": SECRET_KEY,
        "credit_advice_keys": ADVICE_KEY,
        "transfer_bank_code": "058",
        "transfer_bank_name": "Bank of Examples",
        "sweep_interval_seconds": 0.1,
    },
    "locked": {},  # another program holds the database's write lock
    "broken": {},  # a table is gone
}


class Servers:
    """The servers that cases need, each started when it is first asked for."""

    def __init__(self, folder: Path, new_database: NewDatabase, stack: ExitStack) -> None:
        self._folder = folder
        self._new_database = new_database
        self._stack = stack
        self._running: dict[str, tuple[Server, Known]] = {}

    def __getitem__(self, name: str) -> tuple[Server, Known]:
        if name not in self._running:
            settings = SERVERS[name] | {"database_url": self._new_database()}
            server = self._stack.enter_context(Server(self._folder / name, **settings))
            self._running[name] = server, known(server, live=SERVERS[name].get("mode") == "live")
            self._spoil(name, server)
        return self._running[name]

    def _spoil(self, name: str, server: Server) -> None:
        if name in {"locked", "broken"}:
            run = self._stack.enter_context(writing(server.place))
            for statement in locking(server.place) if name == "locked" else BREAKING:
                run(statement)


BREAKING: Final = ("ALTER TABLE events RENAME TO lost",)


def known(server: Server, *, live: bool) -> Known:
    """Return what a server's own placeholders stand for; merchants and tokens are made when asked for."""
    own = once(lambda: new_merchant(server, "Live shop") if live else server.credentials)
    other = once(lambda: new_merchant(server, "Other shop"))
    return {
        "text:server": lambda: server.url,
        "text:advice-key": lambda: ADVICE_KEY,
        "uuid:account": lambda: own()["OPENTILL_ACCOUNT_ID"],
        "uuid:sub-account": lambda: own()["OPENTILL_SUB_ACCOUNT_ID"],
        "uuid:client": lambda: own()["OPENTILL_CLIENT_ID"],
        "text:client-secret": lambda: own()["OPENTILL_CLIENT_SECRET"],
        "short:account": lambda: own()["OPENTILL_ACCOUNT_ID"][:5],
        "uuid:other-account": lambda: other()["OPENTILL_ACCOUNT_ID"],
        "uuid:other-sub-account": lambda: other()["OPENTILL_SUB_ACCOUNT_ID"],
        "text:webhook-key": lambda: own()["OPENTILL_WEBHOOK_KEY"],
        "jwt:token": once(lambda: token(server, own())),
        "jwt:other-token": once(lambda: token(server, other())),
        "jwt:expired-token": lambda: expired_token(server, own()),
        **merchant_of_one_case(server, "ledger"),
        **merchant_of_one_case(server, "feed"),
        **merchant_of_one_case(server, "orders"),
        **merchant_of_one_case(server, "hooks"),
        **merchant_of_one_case(server, "payers"),
        **merchant_of_one_case(server, "stream"),
    }


def merchant_of_one_case(server: Server, name: str) -> Known:
    """A merchant of which one case alone knows everything that ever happened."""
    made = once(lambda: new_merchant(server, f"Shop for {name}"))
    return {
        f"uuid:{name}-account": lambda: made()["OPENTILL_ACCOUNT_ID"],
        f"short:{name}-account": lambda: made()["OPENTILL_ACCOUNT_ID"][:5],
        f"jwt:{name}-token": once(lambda: token(server, made())),
    }


def once(make: Callable[[], Any]) -> Callable[[], Any]:
    """The same, made at most once."""
    made: list[Any] = []

    def get() -> Any:
        if not made:
            made.append(make())
        return made[0]

    return get


def expired_token(server: Server, credentials: Mapping[str, str]) -> str:
    """A token as the server would have made it in the year 2023."""
    settings = load_settings({}, {"data_dir": str(server.data)})
    account, client = credentials["OPENTILL_ACCOUNT_ID"], credentials["OPENTILL_CLIENT_ID"]
    made_at = 1_700_000_000_000
    return open_keyring(settings).sign_token(account, client, client, made_at, made_at + 1)


class Browser(Replay):
    """A conversation that may ask for pages and streams, too.

    Of a page it shows the status and where it leads, of a stream what comes first and the first event.
    """

    def _as_text(self, answer: http.client.HTTPResponse) -> str:
        if answer.headers.get_content_type() == "application/json":
            return super()._as_text(answer)
        if answer.headers.get_content_type() == "text/event-stream":
            return beginning(answer)
        answer.read()
        location = answer.headers["location"]
        return f"{answer.status}\nlocation: {location}" if location else str(answer.status)


def beginning(stream: http.client.HTTPResponse) -> str:
    """Return what every answer of a stream has, and its bytes up to the end of the first event."""
    assert stream.headers["x-request-id"]
    headers = [f"{name}: {stream.headers[name]}" for name in ("content-type", "cache-control")]
    pieces = [b"".join(iter(stream.readline, b"\n")).decode() for _ in ("the greeting", "an event")]
    return "\n".join([str(stream.status), *headers, "", *pieces]).strip()


@pytest.fixture(scope="module")
def servers(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("golden"), new_database, stack)


@pytest.mark.parametrize("name", CASES)
def test_a_golden_conversation_is_held_to_the_letter(name: str, servers: Servers) -> None:
    """Each answer has the golden status, headers and body; only what chance makes may differ."""
    case = CASES[name]
    server, own = servers[case.server]
    replay = Browser(server.address, own, show_rate=case.server == "limited")
    try:
        for exchange in case.exchanges:
            (replay.record if UPDATING else replay.check)(exchange)
    finally:
        replay.close()
    if UPDATING:
        (GOLDEN / f"{name}.http").write_text(case.write(), encoding="utf-8")


# --- nothing is left out --------------------------------------------------------------------------

ANSWERS: Final = [(exchange, case) for case in CASES.values() for exchange in case.exchanges]
INTERNAL: Final = {
    refusals.OrderNotDue,
    refusals.CurrencyMismatch,
    refusals.CreditNotHeld,
    refusals.CreditBelowAmount,
    refusals.ReturnCompleted,
    refusals.ReturnParked,
    refusals.ReturnInProgress,
}
"""Refusals of commands that no request can give: workers give them, and persons who see to transfers."""


def golden_operation(request_line: str) -> Operation | None:
    """The operation that a golden request reaches."""
    method, target = request_line.split(" ")
    found = Router(OPERATIONS, sandbox=True, refusal_http_status=400, advised=True).find(
        method, target.partition("?")[0].encode()
    )
    return found[0].operation if found else None


def is_success(operation: Operation, answer: str) -> bool:
    """Return whether the operation answers so when all went well; a stream has no envelope."""
    return answer.startswith("200") and (operation.streams or f'"code":"{operation.success_code}"' in answer)


SHOWN: Final = {
    (operation.name, is_success(operation, exchange.answer))
    for exchange, _ in ANSWERS
    if exchange.answer and (operation := golden_operation(exchange.first_line))
}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_every_operation_is_shown(operation: Operation) -> None:
    """Each row of the route table has a golden success, and a golden refusal unless it takes no input."""
    if operation.enveloped or operation.streams:
        assert (operation.name, True) in SHOWN
    takes_input = operation.name not in {"getOpenApi", "getLiveness"}
    if takes_input:
        assert (operation.name, False) in SHOWN


@pytest.mark.parametrize(
    "refusal", [each for each in REFUSALS if each not in INTERNAL], ids=lambda each: each.__name__
)
def test_every_refusal_is_shown(refusal: type[Refusal]) -> None:
    """Each row of the refusal table that a request can meet has a golden answer with its text and reason."""
    row = REFUSALS[refusal]
    statuses = {row.status} if row.status else {400, 200}
    assert any(
        int(exchange.answer[:3]) in statuses
        and f'"code":"{row.code}","description":"{row.text}"' in exchange.answer
        and (not refusal.reason or f"\nrefusal-reason: {refusal.reason}\n" in exchange.answer)
        for exchange, _ in ANSWERS
        if exchange.answer
    )


FIXED: Final = {name: value for name, value in vars(wire).items() if isinstance(value, Reply)}


@pytest.mark.parametrize("name", FIXED)
def test_every_fixed_answer_is_shown(name: str) -> None:
    """Each answer that the wire keeps ready has a golden file with its status, reason and body."""
    answer = FIXED[name]
    assert any(
        exchange.answer.startswith(str(answer.status))
        and exchange.answer.endswith("\n" + answer.body.decode())
        and (not answer.reason or f"\nrefusal-reason: {answer.reason}\n" in exchange.answer)
        for exchange, _ in ANSWERS
    )


@pytest.mark.parametrize("reason", ["order-already-paid", "order-already-cancelled"])
def test_the_setting_for_refusals_is_shown_both_ways(reason: str) -> None:
    """Cancel's refusals are golden with HTTP 400 and, in strict emulation, with HTTP 200 (ruling 2)."""
    shown = {
        (case.server, exchange.answer[:3])
        for exchange, case in ANSWERS
        if f"refusal-reason: {reason}" in exchange.answer
        and golden_operation(exchange.first_line) == next(o for o in OPERATIONS if o.name == "cancelOrder")
    }
    assert {("sandbox", "400"), ("strict", "200")} <= shown


def test_cases_say_what_they_claim() -> None:
    """Each file has a sentence, a server that exists, and ends with an answer."""
    for name, case in CASES.items():
        assert case.claim.endswith("."), name
        assert case.server in SERVERS, name
        assert case.exchanges[-1].answer, name
    assert {case.server for case in CASES.values()} == set(SERVERS)
    assert {Mode.LIVE.value, "sandbox"} <= set(SERVERS)

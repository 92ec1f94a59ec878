"""How long ``opentill ledger check`` takes over very many orders, on both databases.

    PYTHONPATH=tests python bench/ledger.py [--orders 1000000] [--only sqlite]

Nine in twenty orders were paid by card after a password, as many cancelled; one in twenty was paid and
refunded, and one in twenty expired.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ground import DurableCluster
from load import account_of
from many import add, books
from opentill.clock import SystemClock
from opentill.domain.commands import (
    BeginAttempt,
    BeginRefund,
    CancelOrder,
    Command,
    CreateOrder,
    ExpireOrder,
    RailOutcome,
    RefundOutcome,
    SettleAttempt,
    SettleRefund,
    SubmitOtp,
)
from opentill.domain.decisions import create, decide
from opentill.domain.order import Terms
from opentill.domain.sharing import FeeTerms
from opentill.domain.transition import Change
from opentill.store.databases.urls import is_postgres
from orders import IDS, OPERATOR

NOW: Final = SystemClock().now()
LATER: Final = NOW + 60_000
FEE: Final = FeeTerms(basis_points=140, cap=1_800_00)
TRANSACTION: Final = "WEB-ONLINE_C-model"


def lived(account_id: str, *commands: Command, due_at: int | None = None) -> Change:
    """Return what writes an order together with all that was done to it."""
    made = create(
        CreateOrder(
            **_by(account_id),
            order_id=IDS.uuid(),
            reference="model",
            amount=10_000_00,
            currency="NGN",
            terms=Terms("payer@example.com"),
            due_at=due_at,
        ),
        NOW,
    )
    order, events = made.after, made.events
    for command in commands:
        change = decide(order, command, LATER, FEE)
        order, events = change.after, events + change.events
    return Change(None, order, events, made.terms)


def _by(account_id: str) -> dict[str, Any]:
    return {"account_id": account_id, "command_id": IDS.uuid(), "actor": OPERATOR}


def paid(account_id: str) -> Sequence[Command]:
    """A card, its password, and the rail's answers."""
    by = {**_by(account_id), "name": "model", "transaction_id": TRANSACTION}

    def answer(outcome: RailOutcome, answers_try: int) -> SettleAttempt:
        said = {"response_code": "00", "message": "", "call_until": LATER, "max_otp_tries": 5}
        return SettleAttempt(**by, outcome=outcome, answers_try=answers_try, **said)  # type: ignore[arg-type]

    card = {"card_masked": "543462******2808", "card_brand": "Mastercard", "max_attempts": 10}
    return (
        BeginAttempt(**by, call_until=LATER, **card),  # type: ignore[arg-type]
        answer(RailOutcome.OTP_REQUIRED, 0),
        SubmitOtp(**by, call_until=LATER),
        answer(RailOutcome.APPROVED, 1),
    )


def refunded(account_id: str) -> Sequence[Command]:
    """Paid, and given back in whole."""
    by, refund_id = {**_by(account_id), "transaction_id": TRANSACTION}, IDS.uuid()
    return (
        *paid(account_id),
        BeginRefund(**by, refund_id=refund_id, amount=None, call_until=LATER),
        SettleRefund(**by, refund_id=refund_id, outcome=RefundOutcome.DONE, response_code="00", message=""),
    )


def fill(url: str, account_id: str, orders: int) -> None:
    """The database with so many orders."""
    by = {**_by(account_id), "name": "model"}
    part = orders // 20
    with books(url) as at:
        add(at, lived(account_id, *paid(account_id)), "paid-", 9 * part)
        add(at, lived(account_id, CancelOrder(**by)), "cancelled-", 9 * part)
        add(at, lived(account_id, *refunded(account_id)), "refunded-", part)
        add(at, lived(account_id, ExpireOrder(**by), due_at=NOW + 1), "expired-", part)


def measure(folder: Path, url: str, orders: int) -> None:
    """Fill the database and check it."""
    began = time.perf_counter()
    fill(url, account_of(folder, database_url=url, log_level="error"), orders)
    made = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "opentill", "ledger", "check", "--database", url],
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - made
    name = "PostgreSQL" if is_postgres(url) else "SQLite"
    said = done.stdout.rstrip().splitlines()[-1] if done.stdout else done.stderr
    print(f"{name:10}  made in {made - began:5.1f} s, checked in {took:5.1f} s: {said}")
    if done.returncode:
        raise SystemExit(done.stdout)


@contextmanager
def _postgres() -> Iterator[str]:
    cluster = DurableCluster(None)
    try:
        yield cluster.fresh_database()
    finally:
        cluster.stop()


def main() -> None:
    """Measure on both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.only != "postgresql":
            file = Path(folder) / "file"
            measure(file, f"sqlite:///{file}/opentill.db", chosen.orders)
        if chosen.only != "sqlite":
            with _postgres() as url:
                measure(Path(folder) / "postgresql", url, chosen.orders)


if __name__ == "__main__":
    main()

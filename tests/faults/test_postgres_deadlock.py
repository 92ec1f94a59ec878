"""Processes that want the same rows in opposite orders wait for each other, and never for ever."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import psycopg

from engine.builders import begin, claim
from engine.harness import rendered_later, running, together
from faults.opposite import (
    KINDS,
    ORDERS,
    PROCESSES,
    ROUNDS,
    Work,
    batches,
    engines,
    name_of,
    row_by_row,
    run_opposed,
)
from faults.postgres import ask, deadlocks, installed, sessions, waiting_for_locks
from opentill.store.databases.postgres import open_postgres
from races.books import until
from store_factories import add_orders

EACH = ROUNDS * ORDERS
_SLOWLY = """
    CREATE FUNCTION slowly() RETURNS trigger AS $$ BEGIN PERFORM pg_sleep(0.0003); RETURN NEW; END $$
    LANGUAGE plpgsql;
    CREATE TRIGGER slowly BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION slowly();
    CREATE TRIGGER slowly BEFORE INSERT ON idempotency_keys FOR EACH ROW EXECUTE FUNCTION slowly();
"""
"""Makes certain that batches which insert the same rows are at it at the same time."""


def _prepared() -> str:
    """A database in which all orders stand, and payments have begun under keys that are still running."""
    url = installed()
    database = url.rpartition("/")[2]
    ask(url, f"ALTER DATABASE {database} SET deadlock_timeout = '20ms'")
    payments = [name_of(round_, "pay", i) for round_ in range(ROUNDS) for i in range(ORDERS)]

    async def begun() -> None:
        async with running(store) as engine:
            await together(
                *(
                    engine.submit(
                        begin(r, f"T-{r}", key=f"pay-{r}"), claim=claim(f"pay-{r}"), render=rendered_later
                    )
                    for r in payments
                )
            )

    with closing(open_postgres(url)) as store:
        add_orders(store, *(name_of(round_, "old", i) for round_ in range(ROUNDS) for i in range(ORDERS)))
        add_orders(store, *payments)
        asyncio.run(begun())
    ask(url, _SLOWLY)
    return url


def _deadlocks_of(work: Work, url: str) -> tuple[int, list[Any]]:
    """Return how many deadlocks the database broke while the processes were at work, and what they told."""
    before = deadlocks(url)
    told = run_opposed(work, url)
    until(lambda: not sessions(url))  # a session tells what it counted when it ends
    return deadlocks(url) - before, told


@contextmanager
def _held_up(url: str) -> Iterator[None]:
    """In each round somebody else holds an order in the middle until all processes wait, one for another."""
    rounds = [round_ for round_ in range(ROUNDS) if "old" in KINDS[round_ % len(KINDS)]]
    with ExitStack() as opened, ThreadPoolExecutor(1) as beside:
        holding = [opened.enter_context(psycopg.connect(url)) for _ in rounds]
        for database, round_ in zip(holding, rounds, strict=True):
            middle = name_of(round_, "old", ORDERS // 2)
            database.execute("SELECT 1 FROM orders WHERE reference = %s FOR UPDATE", [middle])

        def let_go() -> None:
            for database in holding:
                until(lambda: waiting_for_locks(url) == PROCESSES)
                database.rollback()

        done = beside.submit(let_go)
        yield
        done.result()


def test_opposite_batches_do_not_deadlock() -> None:
    """Orders by reference or id, new orders, keys and replies, in opposite orders: all get through."""
    url = _prepared()
    with _held_up(url):
        broken, told = _deadlocks_of(batches, url)
    assert (broken, told) == (0, [ROUNDS] * PROCESSES)
    wanted = Counter(kind for round_ in range(ROUNDS) for kind in KINDS[round_ % len(KINDS)] * ORDERS)
    found = ask(url, "SELECT type, count(*) FROM events GROUP BY 1")
    assert dict(found) == {
        "order_created": 2 * EACH + wanted["new"],
        "order_cancelled": wanted["old"],
        "attempt_started": EACH,
    }


def test_opposite_commands_of_engines_do_not_deadlock() -> None:
    """The same through engines, with replies under keys that others ask for: each is done exactly once."""
    broken, told = _deadlocks_of(engines, _prepared())
    ends: Counter[str] = sum(map(Counter, told), Counter())
    assert broken == 0
    assert ends["done"] == 3 * EACH
    bare = len(range(0, ROUNDS, 2)) * ORDERS
    assert ends["OrderAlreadyCancelled"] == ends["OrderReferenceUsed"] == 2 * bare
    assert ends["IdempotencyKeyInProgress"] + ends["replayed"] == 6 * EACH - 4 * bare
    assert ends.total() == 9 * EACH


def test_rows_that_are_locked_as_they_come_do_deadlock() -> None:
    """The control: where processes lock row by row, unsorted, the database has to break deadlocks."""
    broken, told = _deadlocks_of(row_by_row, _prepared())
    assert broken > 0
    assert sum(told) > 0

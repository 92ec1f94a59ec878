"""Trouble that passes is tried again, so often and no more; trouble that does not is not."""

from contextlib import closing
from itertools import count
from time import monotonic

import psycopg
import pytest

from engine.harness import submitted
from faults.postgres import ask, event_types, installed
from opentill.store.databases import postgres
from opentill.store.databases.postgres import open_postgres
from store_factories import add_orders, cancel

references = map("order-{}".format, count())


# --- what the database says -----------------------------------------------------------------------------

_FAILING = """
    CREATE SEQUENCE failures;
    CREATE FUNCTION fail() RETURNS trigger AS $$
    BEGIN
      IF nextval('failures') <= TG_ARGV[1]::int THEN
        RAISE EXCEPTION 'as planned' USING ERRCODE = TG_ARGV[0];
      END IF;
      RETURN NEW;
    END $$ LANGUAGE plpgsql;
"""
_FAIL = "CREATE TRIGGER fail BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION fail('{}', {})"
PASSING = ("40001", "40P01", "55P03", "53100", "53200", "57P03", "25006", "25P03", "0A000")
"""Conflicts, lock timeout, disk or memory full, starting up, read only, given up, changed tables."""


@pytest.fixture(scope="module")
def failing() -> str:
    """A database whose events can be made to fail; a sequence counts, as it outlives a rollback."""
    url = installed()
    ask(url, _FAILING)
    return url


def _fail(url: str, state: str, times: int) -> None:
    """Each of the next so many tries to write an event fails in this way."""
    ask(url, "DROP TRIGGER IF EXISTS fail ON events")
    ask(url, "SELECT setval('failures', 1, false)")
    ask(url, _FAIL.format(state, times))


@pytest.mark.parametrize("state", PASSING)
def test_what_passes_is_tried_again(failing: str, state: str) -> None:
    """Twice in a row the batch is run again and succeeds, once; a third time in a row it is Overloaded."""
    with closing(open_postgres(failing)) as store:
        reference = next(references)
        ask(failing, "DROP TRIGGER IF EXISTS fail ON events")
        add_orders(store, reference)
        _fail(failing, state, 3)
        assert submitted(store, cancel(reference)) == ["Overloaded"]
        _fail(failing, state, 2)
        assert submitted(store, cancel(reference)) == ["done"]
    assert event_types(failing, reference) == ["order_created", "order_cancelled"]


def test_what_does_not_pass_is_not_tried_again(failing: str) -> None:
    """A broken rule of the tables fails the command at once, and only that one of its batch."""
    with closing(open_postgres(failing)) as store:
        good, bad = next(references), next(references)
        ask(failing, "DROP TRIGGER IF EXISTS fail ON events")
        add_orders(store, good, bad)
        ask(failing, f"ALTER TABLE orders ADD CHECK (reference <> '{bad}' OR status = 'PENDING')")
        assert submitted(store, cancel(good), cancel(bad)) == ["done", "CommandFailed"]


# --- somebody else holds the row ------------------------------------------------------------------------


@pytest.mark.alone
def test_a_foreign_lock_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a row is held the answer about it is a bounded Overloaded, and others of its batch are done."""
    hurry = postgres._BEGIN_WRITING.replace("lock_timeout = '2s'", "lock_timeout = '200ms'")
    assert hurry != postgres._BEGIN_WRITING
    monkeypatch.setattr(postgres, "_BEGIN_WRITING", hurry)
    url = installed()
    held, free = next(references), next(references)
    with closing(open_postgres(url)) as store:
        add_orders(store, held, free)
        with psycopg.connect(url) as foreign:
            foreign.execute("SELECT 1 FROM orders WHERE reference = %s FOR UPDATE", [held])
            begun = monotonic()
            assert submitted(store, cancel(free), cancel(held)) == ["done", "Overloaded"]
            assert 0.6 <= monotonic() - begun < 3
            assert submitted(store, cancel(free)) == ["OrderAlreadyCancelled"]
        assert submitted(store, cancel(held)) == ["done"]
    assert event_types(url, held) == ["order_created", "order_cancelled"]

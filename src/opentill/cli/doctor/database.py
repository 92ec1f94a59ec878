"""What the doctor looks at in the database: is it ours, does it work, is work left, do the books hold."""

from collections.abc import Iterator
from contextlib import closing
from typing import Final

from opentill.cli.doctor.diagnosis import Diagnosis, failed, ok, skipped, warning
from opentill.clock import MOST_BACK_MILLISECONDS, Clock, DatabaseClock, certain
from opentill.domain.order import ReturnStatus
from opentill.keys.keyring import open_keyring
from opentill.settings import InvalidSetting, Settings
from opentill.store.accounts.contract import Mode
from opentill.store.audit.examination import audit, count_orders, open_read_only
from opentill.store.databases.migrate import HEAD, is_usable, revision
from opentill.store.databases.opening import open_store, read_only, stamp
from opentill.store.databases.times import database_time
from opentill.store.databases.urls import shown
from opentill.store.errors import StoreError, StoreUnusable
from opentill.store.interface import Store
from opentill.store.orders.contract import Snapshot

OVERDUE_MILLISECONDS: Final = 60_000
"""How long work may wait; servers look for it every second or so."""
SKEW_FAILS_MILLISECONDS: Final = 5000
SKEW_WARNS_MILLISECONDS: Final = 1000
MOST_LOOKED_AT: Final = 1000
_LEFT_LYING: Final = ("seen-time", "due-orders", "calls", "money", "webhooks")
_OF_A_DATABASE: Final = ("stamp", "clock", "writes", *_LEFT_LYING, "ledger")
_SERVE: Final = "start a server; where one runs, its log says why it waits"


def database_checks(settings: Settings, clock: Clock) -> Iterator[Diagnosis]:
    """Check one after the other; what needs a database that can be used is skipped without one."""
    reached = database(settings.database_url)
    yield reached
    if reached.fix:
        yield from (skipped(name, "the database can not be used") for name in _OF_A_DATABASE)
        return
    yield belongs(settings)
    yield clock_skew(settings.database_url, clock)
    yield from _work(settings, clock)
    yield ledger(settings.database_url)


def database(url: str) -> Diagnosis:
    """Check that it can be read, and that its tables are those that this version works with."""
    name = "database"
    try:
        with read_only(url) as connection:
            found, usable = revision(connection), is_usable(connection)
    except StoreUnusable as error:
        return _unusable(name, error)
    if not usable:
        return failed(
            name, f"{shown(url)} is at schema {found or 'none'}, not {HEAD}", "run `opentill migrate`"
        )
    return ok(name, f"{shown(url)} is at schema {found}")


def _unusable(name: str, error: StoreUnusable) -> Diagnosis:
    said, _, fix = str(error).rstrip(".").partition("; ")
    return failed(name, said, fix or "see `opentill migrate --check`")


def belongs(settings: Settings) -> Diagnosis:
    """Check that mode and secret key are those that it was made with."""
    name = "stamp"
    with read_only(settings.database_url) as connection:
        made = stamp(connection)
    if made is None:
        return ok(name, "no server has started on it yet")
    if made.mode is not settings.mode:
        return failed(
            name,
            f"it was made in {made.mode} mode, not {settings.mode}",
            "name another folder or database for this mode",
        )
    try:
        same = open_keyring(settings).fingerprint_of_key == made.secret_fingerprint
    except (InvalidSetting, OSError):
        return skipped(name, "there is no secret key to compare")
    if not same:
        return failed(
            name, "it was made with another secret key", "start with that key; nothing else opens it"
        )
    return ok(name, f"it was made in {made.mode} mode with this secret key")


def clock_skew(url: str, clock: Clock) -> Diagnosis:
    """Check the clock against the database's, by which servers go: logs are dated by this one."""
    name = "clock"
    with read_only(url) as connection:
        before = clock.now()
        theirs = database_time(connection)
        after = clock.now()
    if theirs is None:
        return ok(name, "the database is on this machine")
    off = max(before - theirs, theirs - after, 0)
    said = f"this machine and the database's are {off} ms apart"
    if off > SKEW_WARNS_MILLISECONDS:
        say = failed if off > SKEW_FAILS_MILLISECONDS else warning
        return say(name, said, "let both machines set their clocks by NTP")
    return ok(name, said)


def seen_time(settings: Settings, store: Store, clock: Clock) -> Diagnosis:
    """Check the clock against the last time that servers have seen: things end for good by it (laws 7)."""
    name, now, seen_at = "seen-time", clock.now(), store.accounts.seen_at()
    if seen_at is None:
        return ok(name, "no server has noted the time yet")
    fix = "set the clock, or, if it is right now, run `opentill clock confirm`"
    if now < seen_at - MOST_BACK_MILLISECONDS:
        said = f"the clock is {(seen_at - now) // 1000} s behind the time that servers have seen"
        return failed(name, f"{said}; none starts now", fix)
    if settings.mode is Mode.LIVE and certain(now, seen_at) != now:
        said = f"the clock is {(now - seen_at) // 1000} s ahead of the time that servers have seen"
        return failed(name, f"{said}; nothing expires until a person has said that it is right", fix)
    return ok(name, "the clock is not behind the time that servers have seen, nor far ahead")


def _work(settings: Settings, clock: Clock) -> Iterator[Diagnosis]:
    try:
        prepare = settings.prepared_statements
        with closing(open_store(settings.database_url, migrate=False, prepare=prepare)) as store:
            clock = DatabaseClock(clock, store.time)
            clock.look()
            yield writes(store, clock)
            yield seen_time(settings, store, clock)
            with store.snapshot() as snapshot:
                due, calls, money = (
                    due_orders(snapshot, clock),
                    overdue_calls(snapshot, clock),
                    waiting_money(snapshot),
                )
            yield from (due, calls, money)
            yield webhooks(store, clock)
    except StoreUnusable as error:
        yield _unusable("writes", error)
        yield from (skipped(name, "the store can not be opened") for name in _LEFT_LYING)


def writes(store: Store, clock: Clock) -> Diagnosis:
    """Check that it takes a commit, as ``/health/ready`` makes one."""
    try:
        store.probe_write(clock.now())
    except StoreError as error:
        return failed(
            "writes",
            f"a write fails ({error})",
            "look for a full disk, a read-only file or server, or a program that holds a lock",
        )
    return ok("writes", "a write was committed")


def due_orders(snapshot: Snapshot, clock: Clock) -> Diagnosis:
    """Check that somebody ends what falls due."""
    first = snapshot.first_due_at()
    late = clock.now() + snapshot.facts(()).clock_offset - first if first is not None else 0
    if late > OVERDUE_MILLISECONDS:
        return failed("due-orders", f"an order fell due {late // 1000} s ago and has not ended", _SERVE)
    return ok("due-orders", "no order is overdue")


def overdue_calls(snapshot: Snapshot, clock: Clock) -> Diagnosis:
    """Check that somebody asks the rail about calls whose answer was lost."""
    late = snapshot.overdue_calls(clock.now() - OVERDUE_MILLISECONDS, 100)
    if late:
        number = f"{len(late)}{' or more' if len(late) == 100 else ''}"
        return failed("calls", f"{number} orders have a call to a rail that nobody has settled", _SERVE)
    return ok("calls", "no call to a rail is left over")


def waiting_money(snapshot: Snapshot) -> Diagnosis:
    """Look for money that nobody moves on until a person has said where it belongs."""
    held = len(snapshot.held_credits(MOST_LOOKED_AT))
    parked = sum(
        each.status is ReturnStatus.PARKED
        for view in snapshot.open_returns(MOST_LOOKED_AT)
        for each in view.order.returns
    )
    if held or parked:
        return warning(
            "money",
            f"transfers of {held} orders are held and {parked} returns were refused by the bank",
            "see `opentill credits list` and `opentill returns list --parked`",
        )
    return ok("money", "no transfer and no return waits for a person")


def webhooks(store: Store, clock: Clock) -> Diagnosis:
    """Check that merchants are told."""
    health, name = store.outbox.outbox_health(), "webhooks"
    since = health.oldest_unplaced_at
    if since is not None and clock.now() - since > OVERDUE_MILLISECONDS and health.unplaced:
        return failed(name, f"{health.unplaced} events wait to be told", _SERVE)
    if health.paused_endpoints:
        return failed(
            name,
            f"{health.paused_endpoints} endpoints are paused, having only failed",
            "mend the receiver, then resume it with PATCH /v1/opentill/webhook-endpoints/{id}",
        )
    if health.dead:
        return failed(
            name,
            f"{health.dead} deliveries are dead after their last try",
            "`opentill webhooks list --state dead` shows them, `opentill webhooks resend` sends one again",
        )
    return ok(name, f"{health.pending} deliveries wait, none is dead, no endpoint is paused")


def ledger(url: str) -> Diagnosis:
    """Check every invariant of every order, as ``opentill ledger check`` does."""
    try:
        with open_read_only(url) as connection:
            orders = count_orders(connection)
            broken = [each.check.name for each in audit(connection, 1) if each.count]
    except StoreUnusable as error:
        return skipped("ledger", str(error))
    if broken:
        return failed("ledger", f"broken: {', '.join(broken)}", "`opentill ledger check` names the orders")
    return ok("ledger", f"all invariants hold for {orders} orders")

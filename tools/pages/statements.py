"""``docs/statements.md``: every prepared statement as it is sent, to both databases."""

import inspect
import textwrap
from collections.abc import Iterable
from functools import cached_property
from typing import Final

from opentill.store.databases.dialect import POSTGRES, SQLITE
from opentill.store.orders.statements import Statements
from opentill.store.outbox.statements import OutboxStatements
from tools.pages.markdown import MADE_BY, joined

_ABOUT: Final = """\
The statements of all that runs all day, by the names under which `store/orders/statements.py` and
`store/outbox/statements.py` have them. Each takes a whole set of rows at once, as one JSON array of arrays:
its first parameter, whose rows are `w.value`. So their number does not grow with the commands that share a
commit. What is cold (accounts, cards, transfers, endpoints, lists with filters) is built by SQLAlchemy Core
in the module of its room that runs it."""

_ROOMS: Final = (("Orders and money", Statements), ("Feed, endpoints and deliveries", OutboxStatements))


def statements_page() -> str:
    """Show every prepared statement under its name, with its purpose, room by room."""
    parts = (part for title, room in _ROOMS for part in _room_parts(title, room))
    return joined("# Statements", MADE_BY, _ABOUT, *parts)


def _room_parts(title: str, room: type[Statements]) -> Iterable[str]:
    yield f"## {title}"
    for name, statement in vars(room).items():
        if isinstance(statement, cached_property):
            yield f"### `{name}`"
            yield inspect.getdoc(statement.func) or ""
            yield from _sent(name)


def _sent(name: str) -> Iterable[str]:
    """Show a statement once where both databases are sent the same."""
    sqlite, postgres = (_laid_out(getattr(OutboxStatements(d), name)) for d in (SQLITE, POSTGRES))
    if sqlite == postgres:
        yield f"```sql\n{sqlite}\n```"
        return
    yield f"```sql\n-- SQLite\n{sqlite}\n```"
    yield f"```sql\n-- PostgreSQL\n{postgres}\n```"


def _laid_out(statement: str) -> str:
    """Lay a statement out from the left margin, its long lines broken between words."""
    lines = [line.rstrip() for line in statement.splitlines() if line.strip()]
    return "\n".join(
        part for line in textwrap.dedent("\n".join(lines)).splitlines() for part in _broken(line)
    )


def _broken(line: str) -> list[str]:
    deeper = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(line, 110, subsequent_indent=deeper, break_long_words=False, break_on_hyphens=False)

"""What a database URL says: which database it names, where, and how to connect to it."""

from pathlib import Path
from typing import Any, Final

SQLITE_URL: Final = "sqlite:///"

ENCODING: Final = "UTF8"
"""Of texts, in a PostgreSQL database and on the way to it: the one that has every name and currency."""

_CONNECTING: Final[dict[str, Any]] = {
    "application_name": "opentill",
    "connect_timeout": 2,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""What a URL may say otherwise. A machine that vanished is given up after some ten seconds."""


def is_postgres(url: str) -> bool:
    """Return whether the URL names a PostgreSQL database; else it names a SQLite file."""
    return not url.startswith(SQLITE_URL)


def sqlite_path(url: str) -> Path:
    """Return the file that a SQLite URL names."""
    return Path(url.removeprefix(SQLITE_URL))


def shown(url: str) -> str:
    """Name the database as it may be shown to anybody: without user, password and parameters."""
    if not is_postgres(url):
        return str(sqlite_path(url))
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - a process needs one of the two drivers

    parts = conninfo_to_dict(url)
    return f"{parts.get('dbname', '')} at {parts.get('host', 'this machine')}:{parts.get('port', 5432)}"


def patient(url: str) -> str:
    """Add to a PostgreSQL URL how long to wait for a machine, unless it says so, and how we speak: in UTF-8.

    The encoding is no choice: texts that come in another one than we read are errors, or other texts.
    """
    from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415

    return make_conninfo(**(_CONNECTING | conninfo_to_dict(url) | {"client_encoding": ENCODING}))

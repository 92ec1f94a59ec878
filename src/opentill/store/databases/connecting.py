"""How every connection to PostgreSQL is opened, and what it must be like before anything is said over it."""

from typing import Any

import psycopg

from opentill.store.databases.urls import ENCODING, patient, shown
from opentill.store.errors import StoreUnusable


def connect(
    url: str, *, autocommit: bool = False, prepare_threshold: int | None = 5
) -> psycopg.Connection[Any]:
    """Open a connection that speaks UTF-8, whatever URL, environment, role or database say of encodings.

    Raises StoreUnusable where the database keeps texts in another one, psycopg.Error where none answers.
    """
    connection = psycopg.connect(patient(url), autocommit=autocommit, prepare_threshold=prepare_threshold)
    kept_in = connection.info.parameter_status("server_encoding")
    if kept_in != ENCODING:
        connection.close()
        raise StoreUnusable(
            f"The database {shown(url)} keeps texts in {kept_in}, which does not have every character; make "
            f"one with `CREATE DATABASE name TEMPLATE template0 ENCODING '{ENCODING}'`."
        )
    return connection


def expect_one_session(connection: psycopg.Connection[Any]) -> None:
    """Raise StoreUnusable behind a pooler that lends sessions and does not know what we prepare in them.

    Statements of two clients bear the same names there, so that one would run the other's. A pooler is who
    says another process number than the server; one that keeps account of statements gives them other names.
    """
    ours = r"SELECT pg_backend_pid(), EXISTS (SELECT FROM pg_prepared_statements WHERE name LIKE '\_pg3%')"
    try:
        found = connection.execute(ours, prepare=True).fetchone()
    except (psycopg.errors.DuplicatePreparedStatement, psycopg.errors.InvalidSqlStatementName):
        found = None
    if found is None or (found[0] != connection.info.backend_pid and found[1]):
        connection.close()
        raise StoreUnusable(
            "This database is reached through a pooler that mixes up prepared statements; set "
            "OPENTILL_PREPARED_STATEMENTS=false, or use PgBouncer 1.21 or later with max_prepared_statements."
        )

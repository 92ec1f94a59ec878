"""The books of a server on PostgreSQL, read as an auditor would: by plain SQL, past all code of ours."""

import psycopg
from psycopg.rows import dict_row

from races.books import Books, Row, _by_order


def read_books(url: str) -> Books:
    """The books in the database and those of the sandbox's rail beside them, as of one moment."""
    with psycopg.connect(url, row_factory=dict_row) as database:
        database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

        def rows(statement: str) -> list[Row]:
            return database.execute(statement.encode()).fetchall()

        return Books(
            orders={row["order_id"]: row for row in rows("SELECT * FROM orders")},
            attempts=_by_order(rows("SELECT * FROM attempts ORDER BY started_at")),
            refunds=_by_order(rows("SELECT * FROM refunds ORDER BY started_at")),
            events=_by_order(rows("SELECT * FROM events ORDER BY sequence")),
            entries=_by_order(rows("SELECT * FROM ledger_entries ORDER BY sequence, line")),
            at_the_rail={row["transaction_id"]: row for row in rows("SELECT * FROM rail_payments")},
            paid_out={row["payout_id"]: row for row in rows("SELECT * FROM rail_payouts")},
        )


def calls_under_way(url: str) -> int:
    """Count the attempts that wait for a rail's answer or for their money to go back; refunds as well."""
    with psycopg.connect(url) as database:
        found = database.execute(
            "SELECT count(a.call_until) FROM (SELECT call_until FROM attempts"
            " UNION ALL SELECT call_until FROM refunds) AS a"
        ).fetchone()
        assert found is not None
        return int(found[0])

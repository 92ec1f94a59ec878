"""Splitting the tables of a new PostgreSQL database by merchant, as a sharded database would."""

from typing import Final

from sqlalchemy import Connection, MetaData, NullPool, Table, create_engine, func, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable

from opentill.store import schema
from opentill.store.databases.connecting import connect
from opentill.store.databases.urls import shown
from opentill.store.errors import StoreUnusable

_BY: Final = "account_id"


def partition(url: str, partitions: int) -> None:
    """Give every table of merchants' rows so many partitions by the hash of the account id.

    The database is migrated and has not been used: raises StoreUnusable when there are rows already, or
    when the database says no.
    """
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(url), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            _partition(connection, url, partitions)
    except DatabaseError as error:
        raise StoreUnusable(f"The database {shown(url)} can not be partitioned ({error.orig}).") from error


def _partition(connection: Connection, url: str, partitions: int) -> None:
    connection.exec_driver_sql("LOCK TABLE installation")  # a server that starts meanwhile waits for us
    if connection.execute(select(func.count()).select_from(schema.installation)).scalar_one():
        raise StoreUnusable(
            f"The database {shown(url)} is in use; only a new one can be partitioned. Make it with "
            "`opentill migrate --partitions N` before the first server starts on it."
        )
    for table in schema.metadata.sorted_tables:
        if _BY in table.primary_key.columns:
            _split(connection, table, partitions)


def _split(connection: Connection, table: Table, partitions: int) -> None:
    """Make the table, which is empty, anew; what it says of storage holds for its partitions."""
    whole = table.to_metadata(MetaData())
    options = whole.dialect_options["postgresql"]
    storage = "".join(f" WITH ({name} = {value})" for name, value in (options["with"] or {}).items())
    options["with"], options["partition_by"] = None, f"HASH ({_BY})"
    connection.execute(DropTable(table))
    connection.execute(CreateTable(whole))
    for index in sorted(whole.indexes, key=lambda index: str(index.name)):
        connection.execute(CreateIndex(index))
    for number in range(partitions):
        connection.exec_driver_sql(
            f"CREATE TABLE {table.name}_{number} PARTITION OF {table.name} "
            f"FOR VALUES WITH (MODULUS {partitions}, REMAINDER {number}){storage}"
        )

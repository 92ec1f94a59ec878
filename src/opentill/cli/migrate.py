"""``opentill migrate``: the tables of a database, brought to what this version works with."""

import sys
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from opentill.cli.preflight import OperatorError, Where, check_folder, operator_errors
from opentill.cli.printing import say
from opentill.store.databases.migrate import HEAD, is_usable, revision
from opentill.store.databases.opening import open_store, read_only
from opentill.store.databases.urls import is_postgres, shown

BEHIND: Final = 1
"""Exit status of --check when there is something to migrate."""


def migrate(
    *,
    check: Annotated[bool, Parameter(negative="")] = False,
    partitions: Annotated[int | None, Parameter(validator=Number(gte=2, lte=1024))] = None,
    where: Where | None = None,
) -> None:
    """Bring the tables of a database up to date; servers of the version before go on working on them.

    Args:
        check: Change nothing; exit 1 when there is something to migrate.
        partitions: Split the tables of a new PostgreSQL database into so many partitions by merchant.
        where: Which database.
    """
    with operator_errors():
        settings = (where or Where()).settings()
        url = settings.database_url
        if check:
            _check(url)
            return
        if partitions and not is_postgres(url):
            raise OperatorError("only a PostgreSQL database has partitions; name one with --database.")
        if not is_postgres(url):
            check_folder(settings.data_dir)
        open_store(url, prepare=settings.prepared_statements).close()
        if partitions:
            from opentill.store.databases.partitions import partition  # noqa: PLC0415 - it loads PostgreSQL's driver

            partition(url, partitions)
        with read_only(url) as connection:
            say(f"{shown(url)} is at schema {revision(connection)}.")


def _check(url: str) -> None:
    with read_only(url) as connection:
        found, usable = revision(connection), is_usable(connection)
    say(f"{shown(url)} is at schema {found or 'none'}; this opentill works with {HEAD}.")
    if not usable:
        sys.exit(BEHIND)

"""How the commands that keep the registry open the store, name a merchant and print lists."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.table import Table

from opentill.app import prepare
from opentill.cli.preflight import OperatorError, Where, check_folder, operator_errors
from opentill.clock import RandomIds, SystemClock
from opentill.merchants import Registry
from opentill.settings import Settings

WIDE_COLUMNS: Final = 400
"""Wider than any list of ours."""


@contextmanager
def open_registry(where: Where) -> Iterator[tuple[Registry, Settings]]:
    """The registry of this database for the length of one command; operator errors end it in one sentence."""
    with operator_errors():
        settings = where.settings()
        check_folder(settings.data_dir)
        prepared = prepare(settings)
        try:
            registry = Registry(prepared.store, prepared.keyring, SystemClock(), RandomIds(), settings.mode)
            yield registry, settings
        finally:
            prepared.store.close()


def account_of(registry: Registry, merchant: str | None) -> str:
    """The account id of the merchant that is meant: the sandbox's default one unless another is named."""
    account_id = merchant or registry.store.default_account_id()
    if account_id is None:
        raise OperatorError("there is no default merchant; name one with --merchant ACCOUNT_ID.")
    if registry.store.merchant(account_id) is None:
        raise OperatorError(f"there is no merchant {account_id}; `opentill merchants list` shows all.")
    return account_id


def say(text: str) -> None:
    """Print text that someone may copy, so without wrapping and colour."""
    sys.stdout.write(text + "\n")


def shown_time(at: int) -> str:
    """UTC milliseconds as a person reads them, such as ``2026-11-23 16:33:28Z``."""
    return f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


def print_table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a list, never cutting a value: wide where no terminal sets a width, folded where one does."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else WIDE_COLUMNS
    Console(width=width, highlight=False, markup=False, emoji=False).print(table)

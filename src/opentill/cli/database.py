"""How the commands that work on the store open it and name a merchant.

Apart from ``preflight.py``, so that a command that asks a running server loads no database.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentill.bootstrap import prepare
from opentill.cli.preflight import OperatorError, Where, check_folder, operator_errors
from opentill.clock import RandomIds
from opentill.keys.provisioning import Registry
from opentill.settings import Settings


@contextmanager
def open_registry(where: Where, *, at_any_time: bool = False) -> Iterator[tuple[Registry, Settings]]:
    """Open this database for the length of one command; operator errors end it in one sentence.

    ``at_any_time`` as in ``prepare``.
    """
    with operator_errors():
        settings = where.settings()
        check_folder(settings.data_dir)
        bootstrap = prepare(settings, at_any_time=at_any_time)
        try:
            clock, ids = bootstrap.clock, RandomIds()
            yield Registry(bootstrap.store, bootstrap.keyring, clock, ids, settings.mode), settings
        finally:
            bootstrap.store.close()


def account_of(registry: Registry, merchant: str | None) -> str:
    """Return the account id of the merchant that is meant: the sandbox's default one unless another is named.

    Raises OperatorError if there is none.
    """
    account_id = merchant or registry.store.accounts.default_account_id()
    if account_id is None:
        raise OperatorError("there is no default merchant; name one with --merchant ACCOUNT_ID.")
    if registry.store.accounts.merchant(account_id) is None:
        raise OperatorError(f"there is no merchant {account_id}; `opentill merchants list` shows all.")
    return account_id

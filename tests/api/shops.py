"""Merchants of one test alone, added beside a running server without starting a program for each."""

from opentill.bootstrap import prepare
from opentill.clock import RandomIds, SystemClock
from opentill.keys.provisioning import Registry
from opentill.settings import load_settings
from opentill.store.accounts.contract import Mode
from server import Server


def open_shop(server: Server) -> dict[str, str]:
    """The credentials of one more merchant of a sandbox, as ``new_merchant`` gives them."""
    url = server.place if isinstance(server.place, str) else None
    prepared = prepare(load_settings({}, {"data_dir": str(server.data), "database_url": url}))
    try:
        registry = Registry(prepared.store, prepared.keyring, SystemClock(), RandomIds(), Mode.SANDBOX)
        credentials = registry.create_merchant("Shop", server.url)
    finally:
        prepared.store.close()
    return dict(line.split("=", 1) for line in credentials.env_lines().splitlines())

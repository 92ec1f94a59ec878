"""``opentill merchants``: parent accounts."""

from pathlib import Path

from opentill.cli.block import merchant_block, served_url
from opentill.cli.desk import open_registry
from opentill.cli.preflight import OperatorError, Where
from opentill.cli.printing import print_table, say, shown_time
from opentill.merchants import Credentials, write_env_file


def create(*, name: str, env: Path | None = None, where: Where | None = None) -> None:
    """Make a merchant with a sub-account and credentials, and print what its program must know.

    Args:
        name: What payers see as the business.
        env: Also write the lines to this file, readable by its owner only.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, settings):
        credentials = registry.create_merchant(name, served_url(settings))
        if env is not None:
            _write(env, credentials)
        say(merchant_block(name, credentials))


def _write(file: Path, credentials: Credentials) -> None:
    try:
        write_env_file(file, credentials)
    except OSError as error:
        raise OperatorError(
            f"{file} can not be written ({error.strerror}); the merchant was made, "
            f"and `opentill clients rotate {credentials.client_id} --merchant {credentials.account_id}` "
            "gives its client a new secret."
        ) from None


def show(*, where: Where | None = None) -> None:
    """List all merchants.

    Args:
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        default = registry.store.default_account_id()
        print_table(
            ("account id", "name", "created", "default"),
            (
                (
                    each.account_id,
                    each.name,
                    shown_time(each.created_at),
                    "yes" if each.account_id == default else "",
                )
                for each in registry.store.merchants()
            ),
        )

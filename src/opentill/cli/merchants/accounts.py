"""``opentill accounts``: sub-accounts of a merchant."""

from opentill.cli.database import account_of, open_registry
from opentill.cli.preflight import Where
from opentill.cli.printing import print_table, say, shown_time


def add(*, name: str, merchant: str | None = None, where: Where | None = None) -> None:
    """Add a sub-account and print its id.

    Args:
        name: What the merchant calls it.
        merchant: Account id of its merchant; the default merchant when left out.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        say(registry.add_sub_account(account_of(registry, merchant), name).sub_account_id)


def show(*, merchant: str | None = None, where: Where | None = None) -> None:
    """List a merchant's sub-accounts.

    Args:
        merchant: Account id of the merchant; the default merchant when left out.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        print_table(
            ("sub-account id", "name", "created"),
            (
                (each.sub_account_id, each.name, shown_time(each.created_at))
                for each in registry.store.accounts.sub_accounts(account_of(registry, merchant))
            ),
        )

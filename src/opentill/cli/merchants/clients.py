"""``opentill clients``: credentials of a merchant's programs."""

from opentill.cli.database import account_of, open_registry
from opentill.cli.preflight import OperatorError, Where
from opentill.cli.printing import print_table, say, shown_time
from opentill.keys.provisioning import ClientCredentials


def add(*, merchant: str | None = None, where: Where | None = None) -> None:
    """Add credentials and print them.

    Args:
        merchant: Account id of the merchant; the default merchant when left out.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        _print(registry.add_client(account_of(registry, merchant)))


def show(*, merchant: str | None = None, where: Where | None = None) -> None:
    """List a merchant's credentials, without their secrets.

    Args:
        merchant: Account id of the merchant; the default merchant when left out.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        print_table(
            ("client id", "created", "disabled"),
            (
                (
                    each.client_id,
                    shown_time(each.created_at),
                    shown_time(each.disabled_at) if each.disabled_at else "",
                )
                for each in registry.store.accounts.clients(account_of(registry, merchant))
            ),
        )


def disable(client: str, /, *, merchant: str | None = None, where: Where | None = None) -> None:
    """Disable credentials for ever and revoke every token they got, at once.

    Args:
        client: Client id.
        merchant: Account id of the merchant; the default merchant when left out.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        account_id = account_of(registry, merchant)
        if not registry.store.accounts.disable_client(account_id, client, registry.clock.now()):
            raise _unknown(client, account_id)
        say(f"{client} is disabled and its tokens are revoked.")


def rotate(client: str, /, *, merchant: str | None = None, where: Where | None = None) -> None:
    """Give credentials a new secret and print it; tokens they already got live on.

    Args:
        client: Client id.
        merchant: Account id of the merchant; the default merchant when left out.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        account_id = account_of(registry, merchant)
        rotated = registry.rotate_client(account_id, client)
        if rotated is None:
            raise _unknown(client, account_id)
        _print(rotated)


def _print(credentials: ClientCredentials) -> None:
    say(f"OPENTILL_CLIENT_ID={credentials.client_id}\nOPENTILL_CLIENT_SECRET={credentials.client_secret}")


def _unknown(client: str, account_id: str) -> OperatorError:
    return OperatorError(
        f"merchant {account_id} has no client {client}; `opentill clients list` shows those it has."
    )

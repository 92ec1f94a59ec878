"""``opentill merchants`` and ``opentill accounts``: parent accounts and their sub-accounts."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from opentill.cli.credentials_block import merchant_block, served_url
from opentill.cli.database import account_of, open_registry
from opentill.cli.preflight import OperatorError, Where
from opentill.cli.printing import print_table, say, seconds_of, shown_time
from opentill.domain.order import LateMoney
from opentill.domain.times import duration_text
from opentill.keys.provisioning import Credentials, InvalidLogo, write_env_file
from opentill.store.accounts.contract import Merchant

MOST_EXPIRY_SECONDS: Final = 315_360_000
"""As an order may say itself (contract 10)."""


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


def set_(
    merchant: str,
    /,
    *,
    expires_in: str | None = None,
    late_money: LateMoney | None = None,
    where: Where | None = None,
) -> None:
    """Set what a merchant's orders are that say nothing themselves; what is not named stays as it is.

    Running servers follow within five seconds.

    Args:
        merchant: Account id of the merchant.
        expires_in: After how long an unpaid order expires, such as 1800 (seconds), 30m or 2h; none for never.
        late_money: What becomes of money that arrives after an order expired.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        found = registry.store.accounts.merchant(account_of(registry, merchant))
        assert found is not None
        changed = replace(
            found,
            expires_in_seconds=found.expires_in_seconds if expires_in is None else _seconds(expires_in),
            late_money=late_money or found.late_money,
        )
        registry.store.accounts.set_defaults(
            changed.account_id, changed.expires_in_seconds, changed.late_money
        )
        say(f"{changed.name}: {_defaults(changed)}.")


def _seconds(expires_in: str) -> int | None:
    if expires_in == "none":
        return None
    seconds = seconds_of(expires_in)
    if seconds > MOST_EXPIRY_SECONDS:
        raise OperatorError("an order expires within ten years (3650d), or never (none).")
    return seconds


def _defaults(merchant: Merchant) -> str:
    seconds = merchant.expires_in_seconds
    expiry = "never" if seconds is None else f"after {duration_text(seconds)}"
    late_money = merchant.late_money or LateMoney.RETURN
    return f"an order that says nothing itself expires {expiry}; late money: {late_money}"


def logo(file: Path, *, merchant: str | None = None, where: Where | None = None) -> None:
    """Give a merchant the logo that its payers see.

    Args:
        file: A small PNG, JPEG or WebP image, as high as it is wide.
        merchant: Account id of the merchant; the default merchant when left out.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        try:
            registry.set_logo(account_of(registry, merchant), file.read_bytes())
        except OSError as error:
            raise OperatorError(f"{file} can not be read ({error.strerror}).") from None
        except InvalidLogo as error:
            raise OperatorError(str(error)) from None
        say(f"Payers now see {file}.")


def show(*, where: Where | None = None) -> None:
    """List all merchants.

    Args:
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        default = registry.store.accounts.default_account_id()
        print_table(
            ("account id", "name", "created", "expires in", "late money", "default"),
            (
                (
                    each.account_id,
                    each.name,
                    shown_time(each.created_at),
                    "" if each.expires_in_seconds is None else duration_text(each.expires_in_seconds),
                    each.late_money or "",
                    "yes" if each.account_id == default else "",
                )
                for each in registry.store.accounts.merchants()
            ),
        )


# --- sub-accounts ---------------------------------------------------------------------------------


def add_account(*, name: str, merchant: str | None = None, where: Where | None = None) -> None:
    """Add a sub-account and print its id.

    Args:
        name: What the merchant calls it.
        merchant: Account id of its merchant; the default merchant when left out.
        where: Which database.
    """
    with open_registry(where or Where()) as (registry, _):
        say(registry.add_sub_account(account_of(registry, merchant), name).sub_account_id)


def show_accounts(*, merchant: str | None = None, where: Where | None = None) -> None:
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

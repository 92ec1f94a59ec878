"""``opentill ledger``: whether the books are in order, and the books themselves."""

import sys
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Final

from cyclopts import Parameter

from opentill.cli.money.beancount import journal
from opentill.cli.preflight import OperatorError, Where, operator_errors
from opentill.cli.printing import print_table, say
from opentill.rails.sandbox.journal import journal_of, money_out
from opentill.store.audit.bookings import read_bookings
from opentill.store.audit.examination import Finding, audit, count_orders, open_read_only
from opentill.store.audit.rail import MoneyOut, held_against_rail

MOST_SHOWN: Final = 20
"""Offences that are told of one check; the rest is counted."""
BROKEN: Final = 1
"""Exit status when an invariant does not hold."""


def check(*, where: Where | None = None) -> None:
    """Hold every order, event and ledger entry against every invariant; exit 1 if one is broken.

    In a sandbox also against what its rail says that it gave out. Reads only, also beside a running server.

    Args:
        where: Which database.
    """
    with operator_errors():
        settings = (where or Where()).settings()
        journal = journal_of(settings.database_url, settings.data_dir)
        out_before = money_out(journal)
        with open_read_only(settings.database_url) as connection:
            orders = count_orders(connection)
            findings = list(audit(connection, MOST_SHOWN))
            if out_before is not None:
                moved = MoneyOut(out_before, partial(money_out, journal))
                findings.append(held_against_rail(connection, moved, MOST_SHOWN))
    print_table(("check", "offences"), ((each.check.name, str(each.count)) for each in findings))
    broken = [each for each in findings if each.count]
    for finding in broken:
        say("\n".join(_told(finding)))
    if broken:
        say(f"\n{orders} orders; {len(broken)} of {len(findings)} checks are broken.")
        sys.exit(BROKEN)
    say(f"\n{orders} orders; all {len(findings)} checks hold.")


def export(
    *,
    beancount: Annotated[bool, Parameter(negative="")] = False,
    account: str | None = None,
    where: Where | None = None,
) -> None:
    """Print the ledger as of this moment, for a program that checks it by rules of its own.

    Args:
        beancount: As a journal for beancount, which is the one format there is; must be given.
        account: Only what was booked for the merchant of this account id.
        where: Which database.
    """
    with operator_errors():
        if not beancount:
            raise OperatorError("say in which format: --beancount.")
        with open_read_only((where or Where()).settings().database_url) as connection:
            sys.stdout.writelines(journal(read_bookings(connection, account)))


def _told(finding: Finding) -> Iterator[str]:
    yield f"\n{finding.check.name}: {finding.check.claim}"
    for offence in finding.first:
        yield f"  account {offence.account_id}, order {offence.order_id}: {offence.what}"
    if finding.count > len(finding.first):
        yield f"  and {finding.count - len(finding.first)} more"

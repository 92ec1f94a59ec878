"""The whole store: its five parts, each with a contract of its own, and what concerns all of them.

Whoever needs one part asks for its contract; this union is for those who open a store or hand it on. All
verbs are synchronous and are called on the store's own threads (``engine.threads``).
"""

from collections.abc import Callable
from typing import Protocol

from opentill.store.accounts.contract import Accounts
from opentill.store.cards.contract import Cards
from opentill.store.orders.contract import Orders
from opentill.store.outbox.contract import Outbox
from opentill.store.transfers.contract import Transfers


class Store(Orders, Protocol):
    """A database that keeps the laws. ``store.conformance`` in the tests is this contract, executable.

    Orders and money change in its batches alone; each other part has verbs with a short transaction each.
    """

    @property
    def accounts(self) -> Accounts:
        """Give merchants, credentials, tokens and the facts of this installation."""

    @property
    def outbox(self) -> Outbox:
        """Give the feed of events, endpoints and deliveries."""

    @property
    def transfers(self) -> Transfers:
        """Give account numbers of orders, and advices of banks."""

    @property
    def cards(self) -> Cards:
        """Give saved cards and shoppers' one-time passwords."""

    def close(self) -> None:
        """Give back files and connections; the store is not used afterwards."""

    def interrupt(self) -> None:
        """Break off the write that a thread waits for, and every later one, so that the server can stop.

        They fail; what is read can still be read.
        """

    def checkpoint(self) -> None:
        """Move committed changes from a log to their place, beside the writer and without stopping it.

        Called several times a second on a thread of its own; does nothing where the database does it.
        """

    def probe_write(self, now: int) -> None:
        """Prove that writes work by committing one; raises StoreError otherwise."""

    def time(self) -> int | None:
        """Read the database's clock in UTC milliseconds; None where it is this machine's."""

    def purge(self, now: int, limit: int) -> int:
        """Delete up to ``limit`` rows of each kind that nobody can need again; returns how many went.

        In live mode no time counts that is too far ahead of the last seen one, see ``Facts.certain``.
        """


OpenStore = Callable[[], Store]
"""How the conformance suite opens a fresh or existing store of one kind."""

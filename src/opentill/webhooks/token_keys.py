"""The token key of a saved card on its way to the merchant: the only secret that a webhook carries.

A body is kept for as long as its delivery may be repeated, so it is kept with the token key sealed in its
place. It is opened for the moment of one try, and nothing that a receiver says back is kept with it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from opentill.store.outbox.contract import Outgoing

OpenTokenKey: TypeAlias = Callable[[str, str], str]
"""Takes an account id and what was sealed for it."""

SEALED: Final = "sealed:"
"""Begins a token key that is still sealed; no token key has a colon."""
WITHHELD: Final = "<withheld>"
_BEFORE: Final = b'"tokenizedCardData":{"tokenKey":"' + SEALED.encode()
"""Stands before it. Nothing of a merchant's choice comes earlier in a body, so the first is the one."""
_TELLING: Final = 8
"""So many first characters of a token key count as the token key."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A delivery as it goes out, and what of it nobody else may learn; empty where there is nothing."""

    outgoing: Outgoing
    secret: str = ""

    def without_secret(self, text: str) -> str:
        """Cut a text of the receiver's where it begins to say the secret back."""
        at = text.find(self.secret[:_TELLING]) if self.secret else -1
        return text if at < 0 else text[:at] + WITHHELD


def opened(outgoing: Outgoing, open_token_key: OpenTokenKey) -> Opened:
    """Open a delivery: its token key in the clear. Raises what ``open_token_key`` raises."""
    before, sealed, after = _parted(outgoing.body)
    if not sealed:
        return Opened(outgoing)
    secret = open_token_key(outgoing.endpoint.account_id, sealed.decode())
    return Opened(replace(outgoing, body=_joined(before, secret, after)), secret)


def withheld(body: bytes) -> bytes:
    """Withhold the token key of a body, so that it may be shown."""
    before, sealed, after = _parted(body)
    return _joined(before, WITHHELD, after) if sealed else body


def _parted(body: bytes) -> tuple[bytes, bytes, bytes]:
    before, _, rest = body.partition(_BEFORE)
    sealed, _, after = rest.partition(b'"')
    return before, sealed, after


def _joined(before: bytes, token_key: str, after: bytes) -> bytes:
    return b"".join((before, _BEFORE.removesuffix(SEALED.encode()), token_key.encode(), b'"', after))

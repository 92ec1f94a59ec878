"""What stands on the wire: the envelope, the fixed answers, and the table from refusals to answers.

Every body is exactly ``{"code": string, "description": string, "data": object or null}`` (ruling 1).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from opentill.domain import refusals
from opentill.domain.refusals import Refusal
from opentill.domain.times import calendar
from opentill.store.orders.contract import StoredReply

_encode = msgspec.json.Encoder().encode


SUCCESS: Final = "Success"
"""The description of a success for which contract 2.2 has no other."""


class WireStruct(msgspec.Struct, rename="camel"):
    """An object on the wire: members in camelCase, unknown ones ignored, JSON null counts as absent."""


@dataclass(frozen=True, slots=True)
class Reply(StoredReply):
    """An answer as it goes on the wire: HTTP status, value of ``Refusal-Reason`` (or empty) and body."""

    @classmethod
    def of(cls, stored: StoredReply) -> "Reply":
        """Return what was stored as the answer that it was."""
        return stored if isinstance(stored, cls) else cls(stored.status, stored.reason, stored.body)


class SecretStruct(msgspec.Struct):
    """An object on the wire that carries secrets, and so never shows its members."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<withheld>)"


def envelope(code: str, description: str, data: Any = None) -> bytes:
    """Return the body of an answer; ``data`` is a struct, a mapping or None."""
    return _encode({"code": code, "description": description, "data": data})


def reply(status: int, code: str, description: str, *, data: Any = None, reason: str = "") -> Reply:
    """Return an answer ready to be sent; ``reason`` is its ``Refusal-Reason``, empty for none."""
    return Reply(status, reason, envelope(code, description, data))


SUCCESS_CODE: Final = "00"
DEBUG_SUCCESS_CODE: Final = "200"
"""What the webhook debug endpoints say instead (contract 5.6)."""


class Success:
    """The successful answers of one operation, whose code and description never change."""

    __slots__ = ("_prefix",)

    def __init__(self, description: str, code: str = SUCCESS_CODE):
        self._prefix = envelope(code, description)[: -len(b"null}")]

    def reply(self, data: Any) -> Reply:
        """Return HTTP 200 with this struct, mapping or None as ``data``."""
        return Reply(200, "", self._prefix + _encode(data) + b"}")


class Rejected(Exception):
    """The request is answered before it reaches the engine or a reader."""

    def __init__(self, answer: Reply):
        super().__init__(answer.status)
        self.answer = answer


def invalid(sentence: str) -> Rejected:
    """Return the rejection of what can not be understood: HTTP 400, ``02``, the field's name (ruling 4)."""
    return Rejected(reply(400, "02", sentence))


ROUTE_NOT_FOUND: Final = reply(404, "404", "Resource not found")
RECORD_NOT_FOUND: Final = reply(404, "404", "Record not found")
TRANSACTION_NOT_FOUND: Final = reply(404, "404", "Transaction matching query not found")
UNAUTHORIZED: Final = reply(401, "401", "Unauthorized")
REQUEST_FAILED: Final = reply(400, "400", "Request failed.")
INVALID_CREDENTIALS: Final = reply(401, "01", "Invalid credentials")
FORBIDDEN: Final = reply(403, "403", "Forbidden")
TOO_MANY_REQUESTS: Final = reply(429, "429", "Too many requests. Please slow down.")
SERVER_ERROR: Final = reply(500, "500", "Server error")
UNAVAILABLE: Final = reply(503, "503", "Service unavailable")
CARD_ENTRY_NOT_PERMITTED: Final = reply(
    400, "05", "Card entry is not permitted", reason="card-entry-not-permitted"
)
"""Live mode never takes a card number over the API (ruling 15, contract 3.8)."""

TOO_MANY_ENDPOINTS: Final = reply(
    400, "01", "There are as many webhook endpoints as there may be", reason="too-many-endpoints"
)


def tokenized_charge_failed(message: str, reason: str = "") -> Reply:
    """Return that a saved card did not pay; the reference is used up all the same (contract 3.7)."""
    data = {"status": False, "message": message}
    return reply(400, "400", "tokenized transaction failed", data=data, reason=reason)


TOKENIZED_CHARGE_FAILED: Final = tokenized_charge_failed("Tokenized charge failed", "card-declined")

NO_CARD_TO_SAVE: Final = reply(
    400, "01", "The order was not paid by a card that was to be saved", reason="no-card-to-save"
)
NO_PASSWORD_SENT: Final = reply(
    400, "01", "No one-time password waits to be entered; ask for a new one", reason="no-password-sent"
)
NO_ROTATION: Final = reply(400, "01", "No rotation of the signing key is under way", reason="no-rotation")

TRANSFERS_NOT_TAKEN: Final = reply(
    400, "01", "Bank transfers are not taken here", reason="transfers-not-taken"
)
"""Of a live server that no bank tells of transfers: a payer must be given no account number."""

SESSION_ID_REUSED: Final = reply(
    409,
    "409",
    "This session id was told before with another amount, currency or account",
    reason="session-id-reused",
)
"""Two advices of one transfer contradict each other (contract 10); the first one counts."""

MAGIC_TRANSACTION: Final = "WEB-ONLINE_C-97922-db88d4c3-a0af-4887-a089-b5d2e51b8f19"
"""In sandbox mode its refund fails with code ``400`` (contract 6)."""

MAGIC_CUSTOMER: Final = "test@test.com"
"""In sandbox mode the list of this customer's saved cards fails with code ``400`` (contract 3.7)."""

MAGIC_REFERENCE: Final = "1234567890"
"""In sandbox mode every order endpoint answers 404 for it (contract 6)."""


def password_refused(message: str) -> Reply:
    """Return that the one-time password is not the one that was sent, in the rail's own words."""
    return reply(400, "01", message, reason="password-refused")


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """One refusal as it is told."""

    status: int | None
    """HTTP status; None for the setting ``refusal_http_status`` (ruling 2)."""
    code: str
    text: str
    data: dict[str, Any] | None = None


REFUSALS: Final[dict[type[Refusal], RefusalRow]] = {
    refusals.TokenRevoked: RefusalRow(401, "401", "Unauthorized"),
    refusals.IdempotencyKeyReused: RefusalRow(
        409, "409", "The idempotency key was already used for another request"
    ),
    refusals.IdempotencyKeyInProgress: RefusalRow(
        409, "409", "The first request with this idempotency key is still being carried out"
    ),
    refusals.RecordNotFound: RefusalRow(404, "404", "Record not found"),
    refusals.OrderReferenceUsed: RefusalRow(400, "400", "An order already exists with this order reference"),
    refusals.VersionChanged: RefusalRow(409, "409", "The order has changed since that version"),
    refusals.OrderAlreadyPaid: RefusalRow(None, "01", "The order is already paid"),
    refusals.OrderAlreadyCancelled: RefusalRow(None, "01", "The order is already cancelled"),
    refusals.OrderExpired: RefusalRow(None, "01", "The order has expired"),
    refusals.OrderNotDue: RefusalRow(None, "01", "The order is not due"),
    refusals.AttemptAlreadyCompleted: RefusalRow(
        200,
        "400",
        "Request failed.",
        {"status": False, "message": "This transaction is already completed."},
    ),
    refusals.AttemptEnded: RefusalRow(None, "01", "The payment attempt has ended; start a new one"),
    refusals.AttemptInProgress: RefusalRow(None, "01", "A payment attempt of this order is being processed"),
    refusals.TooManyAttempts: RefusalRow(None, "01", "The order has had too many payment attempts"),
    refusals.OrderNotPaid: RefusalRow(
        None, "01", "This transaction paid for nothing; an order that is not paid is cancelled, not refunded"
    ),
    refusals.RefundExceedsPaid: RefusalRow(None, "01", "All refunds together would exceed what was paid"),
    refusals.TooManyOtps: RefusalRow(None, "01", "The one-time password was sent as often as it may be"),
    refusals.CurrencyMismatch: RefusalRow(None, "01", "The transfer is of another currency than the order"),
    refusals.CreditNotHeld: RefusalRow(None, "01", "No money of this transfer waits for a decision"),
    refusals.CreditBelowAmount: RefusalRow(None, "01", "The transfer brought less than the order's amount"),
    refusals.ReturnInProgress: RefusalRow(None, "01", "The bank is being asked about this return"),
    refusals.ReturnParked: RefusalRow(None, "01", "The bank refused this return as often as it was tried"),
    refusals.ReturnCompleted: RefusalRow(None, "01", "The money of this return is back already"),
}
"""One row for each refusal that the core knows (contract 2.2; of attempts: contract 3.8)."""

REFERENCE_USED_BY_ANOTHER: Final = RefusalRow(
    400,
    "400",
    "An order already exists with this order reference",
    {"status": False, "message": "An order already exists with this order reference"},
)
"""How a used reference is told where an order was to be opened and charged in one call (contract 3.7)."""

ATTEMPT_IS_FINISHED: Final = RefusalRow(None, "01", "The payment attempt is finished; it has paid the order")
"""How a completed attempt is told where nothing was to be completed (contract 3.9)."""


def refusal_replies(
    refusal_http_status: int,
    description: str | None = None,
    own_rows: Mapping[type[Refusal], RefusalRow] | None = None,
) -> dict[type[Refusal], Reply]:
    """Return the answer to each refusal, by an operation's own rows before the common ones.

    ``description`` replaces the text of refusals by state (code ``01``).
    """
    rows = REFUSALS | dict(own_rows or {})
    return {
        refusal: reply(
            row.status or refusal_http_status,
            row.code,
            description if description and row.code == "01" else row.text,
            data=row.data,
            reason=refusal.reason,
        )
        for refusal, row in rows.items()
    }


def iso_time(at: int) -> str:
    """Return UTC milliseconds, whichever they are, as ISO-8601, such as ``2026-07-01T22:35:57.850Z``."""
    return f"{calendar(at).isoformat(timespec='milliseconds')[:23]}Z"

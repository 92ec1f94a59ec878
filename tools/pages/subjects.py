"""Where each operation stands on ``docs/http-api.md``, and which golden exchange shows it.

A new operation is put here, with the golden exchange that a newcomer should see first: a success that is
short and typical.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Shown:
    """One operation on the page."""

    file: str
    """The golden file, without its suffix."""
    number: int
    """Which exchange of it, from 1."""
    section: str = ""
    """Of the contract."""


@dataclass(frozen=True)
class Subject:
    """One chapter of the page, with its operations by their names."""

    title: str
    about: str
    operations: Mapping[str, Shown]


SUBJECTS: Final = (
    Subject(
        "Tokens",
        "Whoever calls shows an access token. It is got for the credentials of a client, lives for half an "
        "hour unless the settings say otherwise, and is renewed by its refresh token, once.",
        {
            "issueToken": Shown("token-issue", 1, "1.3"),
            "refreshToken": Shown("token-refresh", 2, "1.3"),
            "revokeToken": Shown("token-revoke", 3, "1.3"),
        },
    ),
    Subject(
        "Orders",
        "An order asks for an amount under a reference of the merchant's. Wherever a path or a body takes "
        "the reference it takes the order id as well.",
        {
            "createOrder": Shown("order-in-full", 1, "3.2"),
            "getOrder": Shown("get-order", 2, "3.3"),
            "getOrderInFull": Shown("order-in-full", 2, "10"),
            "getMoneyOfOrder": Shown("order-money", 6, "10"),
            "listOrders": Shown("orders-list", 3, "10"),
        },
    ),
    Subject(
        "Cancel",
        "Of payment and cancel exactly one wins, and what an order became is told to everyone alike. What "
        "a cancel does in each state is in [states.md](states.md).",
        {
            "cancelOrder": Shown("cancel-twice", 2, "3.1"),
            "previewCancellation": Shown("cancellation", 3, "10"),
            "cancelOrderInFull": Shown("cancel-in-full", 2, "10"),
            "cancelOrders": Shown("cancel-many", 6, "10"),
        },
    ),
    Subject(
        "Pay by card",
        "Only a sandbox takes card details, of its test cards; in live mode the payer enters them where "
        "they belong. `T0` asks for the one-time password, `S0` sends the payer to the card's bank.",
        {
            "submitCardDetails": Shown("card-approved", 2, "3.8"),
            "submitCardOtp": Shown("card-approved", 3, "3.8"),
            "resendOtp": Shown("resend-otp", 3, "3.8"),
            "cancelTransaction": Shown("transaction-cancel", 3, "3.9"),
        },
    ),
    Subject(
        "Saved cards",
        "A card that was saved with a payment is charged again by its token key. A payer saves a card, or "
        "lists the saved ones, by a one-time password.",
        {
            "chargeSavedCard": Shown("saved-card-charge", 5, "3.7"),
            "listSavedCards": Shown("saved-card-charge", 4, "3.7"),
            "changeSavedCard": Shown("saved-card-data", 9, "3.7"),
            "deleteSavedCard": Shown("saved-card-data", 11, "3.7"),
            "sendPasswordToSaveCard": Shown("shopper-card", 7, "3.7"),
            "saveCard": Shown("shopper-card", 9, "3.7"),
            "sendPasswordToListCards": Shown("shopper-card", 17, "3.7"),
            "listShopperCards": Shown("shopper-card", 20, "3.7"),
        },
    ),
    Subject(
        "Transfers",
        "Each order has an account number of its own that a payer can transfer to. The adapter of a bank "
        "tells of what arrived and signs it, as [transfers.md](transfers.md) explains; the example is "
        "signed under the key `<text:advice-key>`.",
        {
            "getTransferAccount": Shown("transfer-account", 2, "3.10"),
            "adviseCredit": Shown("credit-advice", 3, "10"),
        },
    ),
    Subject(
        "Refund",
        "What was paid goes back, in whole or in part, as often as something of it is left.",
        {"refundPayment": Shown("refund-partial", 4, "3.6")},
    ),
    Subject(
        "Transactions",
        "Whether an order is paid is asked here, never concluded from a redirect. A transaction is one "
        "attempt to pay, or one transfer.",
        {
            "getCheckoutTransaction": Shown("card-3ds", 11, "3.5"),
            "confirmReceipt": Shown("receipt", 6, "3.11"),
            "getTransaction": Shown("card-3ds", 12, "3.4"),
            "getSubAccountTransaction": Shown("single-of-sub-account", 6, "3.4"),
            "listTransactions": Shown("list-pages", 4, "3.12"),
            "filterTransactions": Shown("list-filters", 4, "3.12"),
            "filterSubAccountTransactions": Shown("list-of-sub-account", 3, "3.12"),
            "requeryTransaction": Shown("transfer-short-then-rest", 9, "3.12"),
        },
    ),
    Subject(
        "Events",
        "All that happened to orders, in one order that never changes: read it page by page behind a "
        "cursor, or be told as it happens.",
        {
            "listEvents": Shown("events", 6, "10"),
            "streamEvents": Shown("events-stream", 2, "10"),
        },
    ),
    Subject(
        "Webhooks",
        "Where webhooks go, what was sent and how it ended, and sending it again. What they say and how "
        "they are signed is in [webhooks.md](webhooks.md).",
        {
            "listWebhookEndpoints": Shown("webhook-log", 2, "10"),
            "addWebhookEndpoint": Shown("webhook-endpoint", 1, "10"),
            "changeWebhookEndpoint": Shown("webhook-endpoint", 2, "10"),
            "deleteWebhookEndpoint": Shown("webhook-endpoint", 6, "10"),
            "rotateWebhookKey": Shown("webhook-endpoint", 3, "10"),
            "finishWebhookKeyRotation": Shown("webhook-endpoint", 5, "10"),
            "listWebhookLogs": Shown("webhook-log", 5, "5.6"),
            "listWebhookSubscriptions": Shown("webhook-log", 7, "5.6"),
            "rePushWebhook": Shown("webhook-log", 10, "5.6"),
            "bulkRePushWebhooks": Shown("webhook-log", 11, "5.6"),
            "replayWebhooks": Shown("webhook-log", 12, "5.6"),
        },
    ),
    Subject(
        "Ledger",
        "Every movement of money is booked twice; the sums of a merchant's accounts are here. More in "
        "[books.md](books.md).",
        {"getTrialBalance": Shown("trial-balance", 6, "10")},
    ),
    Subject(
        "Sandbox",
        "Only a sandbox has these: money made up, time moved, a rail that misbehaves when told to.",
        {
            "makeTransfer": Shown("transfer-exact", 4, "10"),
            "getClock": Shown("clock", 1, "10"),
            "advanceClock": Shown("clock", 4, "10"),
            "switchRail": Shown("rail-switch", 1, "10"),
        },
    ),
    Subject(
        "The server",
        "For whoever runs it or writes a client. The description of the API is shortened here.",
        {
            "getLiveness": Shown("health", 1),
            "getReadiness": Shown("health", 2),
            "getOpenApi": Shown("openapi", 1),
        },
    ),
)

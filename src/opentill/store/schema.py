"""The tables. Every key begins with the merchant's account id; every rule that SQL can hold is a CHECK.

Times are UTC milliseconds, amounts integer minor units. The migrations make these tables; this
module is what they must come to (a test compares the two) and what cold statements are built from.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from opentill.domain.order import AttemptStatus, Method, OrderStatus, RefundStatus, ReturnStatus
from opentill.store.columns import LATER_RETURN_STATUS, LATER_STATUS, STATE, TERMS, code, index_where, one_of
from opentill.store.outbox.contract import DeliveryState

metadata = MetaData()

UPDATED_IN_PLACE = 80
"""Percent to which PostgreSQL fills a page of orders or keys, so that a new version fits beside the old."""

_PAID, _CANCELLED, _EXPIRED = (
    s.value for s in (OrderStatus.PAID, OrderStatus.CANCELLED, OrderStatus.EXPIRED)
)


_PENDING, _DEAD = DeliveryState.PENDING.value, DeliveryState.DEAD.value
_DONE = ReturnStatus.DONE.value

installation = Table(
    "installation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("mode", code(16), nullable=False),
    Column("secret_fingerprint", code(64), nullable=False),
    Column("clock_offset", BigInteger, nullable=False),
    Column("default_account_id", code(36)),
    Column("created_at", BigInteger, nullable=False),
    Column("write_probed_at", BigInteger, nullable=False),
    # The last real time that is certain: moved by servers at most once a minute, and by a person.
    Column("seen_at", BigInteger),
    CheckConstraint("id = 1", name="one_installation"),
    CheckConstraint("clock_offset >= 0", name="clock_moves_forward_only"),
)

schema_support = Table(
    "schema_support",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # The oldest migration whose code works on these tables; one that is too much for older code raises it.
    Column("oldest_code", code(32), nullable=False),
    CheckConstraint("id = 1", name="one_schema"),
)

merchants = Table(
    "merchants",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("logo_url", Text, nullable=False),
    Column("post_limit", Integer),
    Column("other_limit", Integer),
    Column("created_at", BigInteger, nullable=False),
    Column("webhook_key_sealed", LargeBinary, nullable=False),
    # Of orders that say nothing themselves.
    Column("expires_in_seconds", Integer),
    Column("late_money", code(8)),
    PrimaryKeyConstraint("account_id"),
)

sub_accounts = Table(
    "sub_accounts",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("sub_account_id", code(36), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", "sub_account_id"),
)

clients = Table(
    "clients",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("client_id", code(36), nullable=False),
    Column("secret_hash", code(64), nullable=False),
    Column("secret_sealed", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    PrimaryKeyConstraint("account_id", "client_id"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("jti", code(36), nullable=False),
    Column("client_id", code(36), nullable=False),
    Column("refresh_hash", code(64), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("refresh_expires_at", BigInteger, nullable=False),
    Column("refresh_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    PrimaryKeyConstraint("account_id", "jti"),
    UniqueConstraint("account_id", "refresh_hash", name="refresh_token_once"),
    Index("tokens_by_end", "refresh_expires_at"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("key", code(255), nullable=False),
    Column("fingerprint", code(64), nullable=False),
    Column("command_id", code(36), nullable=False),
    Column("status", Integer),
    Column("reason", code(64)),
    Column("body", Text),
    Column("expires_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", "key"),
    CheckConstraint("(status IS NULL) = (body IS NULL)", name="reply_whole_or_absent"),
    Index("idempotency_keys_by_end", "expires_at"),
    postgresql_with={"fillfactor": UPDATED_IN_PLACE},
)

orders = Table(
    "orders",
    metadata,
    # What a decision needs.
    Column("account_id", code(36), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("reference", code(255), nullable=False),
    Column("status", code(16), nullable=False, info=STATE),
    Column("version", Integer, nullable=False, info=STATE),
    Column("amount", BigInteger, nullable=False),
    Column("currency", code(3), nullable=False),
    Column("sub_account_id", code(36)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False, info=STATE),
    Column("due_at", BigInteger),
    Column("due_action", code(8), nullable=False),
    Column("late_money", code(8), nullable=False),
    Column("paid_at", BigInteger, info=STATE),
    Column("cancelled_at", BigInteger, info=STATE),
    Column("expired_at", BigInteger, info=STATE),
    Column("paid_by", code(64), info=STATE),
    Column("attempt_count", Integer, nullable=False, info=STATE),
    Column("refund_count", Integer, nullable=False, server_default="0", info=STATE),
    Column("credit_count", Integer, nullable=False, server_default="0", info=STATE),
    Column("received", BigInteger, nullable=False, info=STATE),
    Column("applied", BigInteger, nullable=False, info=STATE),
    Column("held", BigInteger, nullable=False, info=STATE),
    Column("returning", BigInteger, quote=True, nullable=False, info=STATE),
    Column("returned", BigInteger, nullable=False, info=STATE),
    Column("refunded", BigInteger, nullable=False, info=STATE),
    # With the payment: what it cost, and what of it other accounts got ([[account id, amount], ...]).
    Column("fee", BigInteger, nullable=False, server_default="0", info=STATE),
    Column("shares", Text, info=STATE),
    # 1 while the order waits for its due time; 0 from its birth where it has none (docs/decisions/0009).
    Column("awaits_due", Integer, nullable=False, server_default="1", info=STATE),
    # What was agreed: written once, never judged.
    Column("customer_email", Text, nullable=False, info=TERMS),
    Column("customer_id", Text, info=TERMS),
    Column("callback_url", Text, info=TERMS),
    Column("allowed_payment_methods", Text, nullable=False, info=TERMS),
    Column("split", Text),  # decides who gets what, never whether
    Column("metadata", Text, nullable=False, info=TERMS),
    Column("tokenize_card", Integer, nullable=False),
    PrimaryKeyConstraint("account_id", "order_id"),
    UniqueConstraint("account_id", "reference", name="reference_once"),
    CheckConstraint(one_of("status", OrderStatus), name="known_status"),
    CheckConstraint(f"(status = '{_PAID}') = (paid_at IS NOT NULL)", name="paid_has_its_time"),
    CheckConstraint(f"(status = '{_PAID}') = (applied = amount)", name="paid_is_paid_in_full"),
    CheckConstraint(f"status = '{_PAID}' OR applied = 0", name="only_paid_applies_money"),
    CheckConstraint(f"(status = '{_CANCELLED}') = (cancelled_at IS NOT NULL)", name="cancelled_has_its_time"),
    CheckConstraint(f"status <> '{_EXPIRED}' OR expired_at IS NOT NULL", name="expired_has_its_time"),
    CheckConstraint("paid_at IS NULL OR cancelled_at IS NULL", name="paid_and_cancelled_exclude_each_other"),
    CheckConstraint("(paid_at IS NULL) = (paid_by IS NULL)", name="paid_names_its_payment"),
    CheckConstraint("amount > 0", name="amount_above_zero"),
    CheckConstraint("version > 0", name="version_counts_events"),
    CheckConstraint('received = applied + held + "returning" + returned', name="money_accounted_for"),
    CheckConstraint(
        'applied >= 0 AND held >= 0 AND "returning" >= 0 AND returned >= 0', name="no_negative_money"
    ),
    CheckConstraint("refunded BETWEEN 0 AND applied", name="refunds_capped"),
    CheckConstraint("updated_at >= created_at", name="time_runs_forward"),
    # Not by status: that would make every cancel rewrite an index, also of an order that never falls due.
    index_where("orders_due", "awaits_due = 1 AND due_at IS NOT NULL", "due_at"),
    # Of what never changes, so that lists cost a create something and a cancel nothing.
    Index("orders_by_creation", "account_id", "created_at", "order_id"),
    Index("orders_by_customer_email", "account_id", "customer_email", "created_at", "order_id"),
    postgresql_with={"fillfactor": UPDATED_IN_PLACE},
)

attempts = Table(
    "attempts",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("transaction_id", code(64), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("status", code(16), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("card_masked", code(24), nullable=False),
    Column("card_brand", code(16), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("call_kind", code(16)),
    Column("call_until", BigInteger),
    Column("call_key", code(255)),
    Column("confirmations", Integer, nullable=False),
    Column("otp_sends", Integer, nullable=False, server_default="0"),
    Column("challenge", Text),
    Column("response_code", code(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("save_card", Integer, nullable=False, server_default="0"),
    Column("saved_card", code(64)),
    PrimaryKeyConstraint("account_id", "transaction_id"),
    CheckConstraint(one_of("status", AttemptStatus), name="known_attempt_status"),
    CheckConstraint("(call_kind IS NULL) = (call_until IS NULL)", name="call_whole_or_absent"),
    Index("attempts_by_order", "account_id", "order_id"),
    Index("attempts_by_start", "account_id", "started_at", "transaction_id"),
    Index("attempts_by_call", "call_until"),
)

refunds = Table(
    "refunds",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("refund_id", code(36), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("transaction_id", code(64), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("status", code(16), nullable=False),
    Column("account_number", code(10)),
    Column("bank_code", code(16)),
    Column("started_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("call_kind", code(16)),
    Column("call_until", BigInteger),
    Column("call_key", code(255)),
    Column("response_code", code(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("from_credit", code(64)),
    Column("whole_id", code(36)),
    Column("whole_amount", BigInteger),
    Column("finer_status", code(16)),
    PrimaryKeyConstraint("account_id", "refund_id"),
    CheckConstraint(one_of("status", RefundStatus, LATER_STATUS), name="known_refund_status"),
    CheckConstraint("amount > 0", name="refund_above_zero"),
    CheckConstraint("(account_number IS NULL) = (bank_code IS NULL)", name="bank_account_whole_or_absent"),
    CheckConstraint("(call_kind IS NULL) = (call_until IS NULL)", name="refund_call_whole_or_absent"),
    Index("refunds_by_order", "account_id", "order_id"),
    Index("refunds_by_call", "call_until"),
)

credits_ = Table(
    "credits",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("transaction_id", code(64), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("rail", code(32), nullable=False),
    Column("session_id", code(64), nullable=False),
    Column("account_number", code(34), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("applied", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("disposition", code(16), nullable=False),
    Column("sender_name", Text, nullable=False),
    Column("sender_account_number", code(34), nullable=False),
    Column("sender_bank_code", code(16), nullable=False),
    Column("transferred_at", BigInteger, nullable=False),
    Column("arrived_at", BigInteger, nullable=False),
    Column("narration", Text, nullable=False),
    PrimaryKeyConstraint("account_id", "transaction_id"),
    UniqueConstraint("account_id", "session_id", "rail", name="transfer_once"),
    CheckConstraint("amount > 0", name="credit_above_zero"),
    CheckConstraint("applied >= 0 AND held >= 0 AND applied + held <= amount", name="credit_accounted_for"),
    Index("credits_by_order", "account_id", "order_id"),
    Index("credits_by_arrival", "account_id", "arrived_at", "transaction_id"),
    index_where("credits_held", "held > 0", "arrived_at"),
)

returns = Table(
    "returns",
    metadata,
    Column("account_id", code(36), nullable=False),
    # Of the credit whose money it is: a credit has one return at the most.
    Column("transaction_id", code(64), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("kind", code(16), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("status", code(16), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("call_until", BigInteger),
    Column("bank_reference", Text, nullable=False),
    Column("response_code", code(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("finer_status", code(16)),
    # 1 once a try of its id was left unanswered.
    Column("unanswered", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("account_id", "transaction_id"),
    CheckConstraint(one_of("status", ReturnStatus, LATER_RETURN_STATUS), name="known_return_status"),
    CheckConstraint("amount > 0", name="return_above_zero"),
    Index("returns_by_order", "account_id", "order_id"),
    Index("returns_by_call", "call_until"),
    index_where("returns_open", f"status <> '{_DONE}'", "started_at"),
)

# Two directories (laws 3): what a bank tells names no merchant, so these keys can not begin with one.

transfer_accounts = Table(
    "transfer_accounts",
    metadata,
    Column("account_number", code(10), nullable=False),
    Column("bank_code", code(6), nullable=False),
    Column("account_id", code(36), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("reserved_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_number"),
    UniqueConstraint("account_id", "order_id", name="one_number_for_an_order"),
)

# Who had a number before its present order got it: a bank may tell of a transfer that was made then.

former_reservations = Table(
    "former_reservations",
    metadata,
    Column("account_number", code(10), nullable=False),
    Column("reserved_at", BigInteger, nullable=False),
    # When the next order got the number: not of this reservation any more.
    Column("ended_at", BigInteger, nullable=False),
    Column("account_id", code(36), nullable=False),
    Column("order_id", code(36), nullable=False),
    PrimaryKeyConstraint("account_number", "reserved_at"),
    CheckConstraint("reserved_at < ended_at", name="reservation_lasted"),
)

advices = Table(
    "advices",
    metadata,
    Column("rail", code(32), nullable=False),
    Column("session_id", code(64), nullable=False),
    Column("credit_id", code(36), nullable=False),
    Column("account_number", code(34), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", code(3), nullable=False),
    Column("sender_name", Text, nullable=False),
    Column("sender_account_number", code(34), nullable=False),
    Column("sender_bank_code", code(16), nullable=False),
    Column("transferred_at", BigInteger),
    Column("arrived_at", BigInteger, nullable=False),
    Column("narration", Text, nullable=False),
    # The bank's time as it was written, where it can not be used.
    Column("unusable_time", Text, nullable=False, server_default=""),
    # The order that had its account number at the bank's time; none: it is money of the house.
    Column("account_id", code(36)),
    Column("order_id", code(36)),
    # Whether a person gave it to that order, after it had been money of the house.
    Column("attached", Integer, nullable=False),
    # Real time until which whoever wrote it is routing it; none once it is booked.
    Column("route_by", BigInteger),
    # 0: nobody had the account number at the bank's time, so that it counts as absent.
    Column("time_counts", Integer, nullable=False, server_default="1"),
    PrimaryKeyConstraint("rail", "session_id"),
    UniqueConstraint("credit_id", name="credit_of_one_advice"),
    CheckConstraint("amount > 0", name="advice_above_zero"),
    CheckConstraint("(account_id IS NULL) = (order_id IS NULL)", name="advice_target_whole_or_absent"),
    index_where("advices_unrouted", "route_by IS NOT NULL", "route_by"),
)

events = Table(
    "events",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("event_id", code(36), nullable=False),
    Column("type", code(32), nullable=False),
    Column("before", code(16)),
    Column("after", code(16), nullable=False),
    Column("actor_kind", code(16), nullable=False),
    Column("actor_id", code(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", code(64)),
    Column("note", code(255)),
    Column("transaction_id", code(64)),
    Column("refund_id", code(36)),
    Column("amount", BigInteger, nullable=False),
    Column("currency", code(3), nullable=False),
    Column("beneficiary", code(36), nullable=False),
    Column("method", code(8), nullable=False, server_default=Method.CARD.value),
    Column("metadata", Text),
    # What of the amount is not the beneficiary's; as of orders.
    Column("fee", BigInteger, nullable=False, server_default="0"),
    Column("shares", Text),
    # In the merchant's feed. Given after the commit, and the only thing of an event that is written later.
    Column("place", BigInteger),
    PrimaryKeyConstraint("account_id", "order_id", "sequence"),
    index_where("events_by_place", "place IS NOT NULL", "account_id", "place", unique=True),
    # Of the time alone: every event passes through here once, on the way of its order's commit.
    index_where("events_unplaced", "place IS NULL", "at"),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("line", Integer, nullable=False),
    Column("ledger_account", code(64), nullable=False),
    Column("currency", code(3), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", "order_id", "sequence", "line"),
    CheckConstraint("amount <> 0", name="entry_moves_money"),
)

feeds = Table(
    "feeds",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("place", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id"),
    CheckConstraint("place >= 0", name="places_count_from_one"),
    postgresql_with={"fillfactor": UPDATED_IN_PLACE},
)

leases = Table(
    "leases",
    metadata,
    Column("name", code(64), nullable=False),
    Column("holder", code(64), nullable=False),
    Column("held_until", BigInteger, nullable=False),
    PrimaryKeyConstraint("name"),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("endpoint_id", code(36), nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),
    Column("enabled", Integer, nullable=False),
    Column("key_sealed", LargeBinary, nullable=False),
    Column("next_key_sealed", LargeBinary),
    Column("paused_at", BigInteger),
    Column("failing_since", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("failed_tries", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("account_id", "endpoint_id"),
    index_where("endpoints_paused", "paused_at IS NOT NULL", "account_id"),
    postgresql_with={"fillfactor": UPDATED_IN_PLACE},
)

endpoint_events = Table(
    "endpoint_events",
    metadata,
    # Written at its place in the feed, by whoever holds the feed: places are those of ``events`` and these.
    Column("account_id", code(36), nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("event_id", code(36), nullable=False),
    Column("endpoint_id", code(36), nullable=False),
    Column("type", code(32), nullable=False),
    Column("actor_kind", code(16), nullable=False),
    Column("actor_id", code(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", "place"),
)

webhook_bodies = Table(
    "webhook_bodies",
    metadata,
    # One for all endpoints that an event goes to, and apart from deliveries, which are written at every try.
    Column("account_id", code(36), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("account_id", "order_id", "sequence"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("account_id", code(36), nullable=False),
    Column("delivery_id", code(36), nullable=False),
    Column("endpoint_id", code(36), nullable=False),
    Column("event_id", code(36), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("type", code(32), nullable=False),
    Column("state", code(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_try_at", BigInteger),
    # Until then one sender has it. In no index, so that a claim is an update in place.
    Column("claimed_until", BigInteger),
    Column("status", Integer),
    Column("response", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", "delivery_id"),
    CheckConstraint(one_of("state", DeliveryState), name="known_delivery_state"),
    CheckConstraint(f"(state = '{_PENDING}') = (next_try_at IS NOT NULL)", name="pending_has_its_next_try"),
    CheckConstraint(f"state = '{_PENDING}' OR claimed_until IS NULL", name="only_pending_is_claimed"),
    Index("deliveries_by_event", "account_id", "order_id", "sequence"),
    Index("deliveries_by_time", "account_id", "created_at"),
    index_where("deliveries_due", f"state = '{_PENDING}'", "account_id", "endpoint_id", "next_try_at"),
    index_where("deliveries_dead", f"state = '{_DEAD}'", "account_id"),
    postgresql_with={"fillfactor": UPDATED_IN_PLACE},
)

UNCONFIRMED = "tokenized = 0 AND confirmed_at IS NULL"
"""Cards that nobody can charge: the merchant did not ask for them, and their shoppers have not confirmed."""

saved_cards = Table(
    "saved_cards",
    metadata,
    # A payment leaves at most one card, which is called by it.
    Column("account_id", code(36), nullable=False),
    Column("transaction_id", code(64), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("token_key_hash", code(64), nullable=False),
    Column("token_key_sealed", Text, nullable=False),
    Column("rail_token_sealed", Text, nullable=False),
    Column("expiry", code(8), nullable=False),
    Column("card_masked", code(24), nullable=False),
    Column("card_brand", code(16), nullable=False),
    Column("tokenized", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("customer_email", Text, nullable=False),
    Column("confirmed_at", BigInteger),
    PrimaryKeyConstraint("account_id", "transaction_id"),
    UniqueConstraint("account_id", "token_key_hash", name="token_key_once"),
    Index("saved_cards_by_customer", "account_id", "customer_email"),
    Index("saved_cards_by_time", "account_id", "created_at"),
    index_where("saved_cards_unconfirmed", UNCONFIRMED, "created_at"),
)

card_passwords = Table(
    "card_passwords",
    metadata,
    # The passwords themselves are the rail's; here stands whether one was sent, and how often it was tried.
    Column("account_id", code(36), nullable=False),
    Column("order_id", code(36), nullable=False),
    Column("use", code(8), nullable=False),
    Column("phone_hash", code(64), nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    Column("sends", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    PrimaryKeyConstraint("account_id", "order_id", "use"),
    Index("card_passwords_by_time", "sent_at"),
)

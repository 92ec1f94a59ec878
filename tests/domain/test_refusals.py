"""The refusals as a list: complete, ordered, each with its own word."""

import re

from opentill.domain import refusals
from opentill.domain.refusals import PRECEDENCE, Refusal

IN_ORDER = [
    ("TokenRevoked", ""),
    ("IdempotencyKeyReused", "idempotency-key-reused"),
    ("IdempotencyKeyInProgress", "idempotency-key-in-progress"),
    ("RecordNotFound", ""),
    ("OrderReferenceUsed", "order-reference-used"),
    ("VersionChanged", "version-changed"),
    ("AttemptAlreadyCompleted", "attempt-already-completed"),
    ("OrderAlreadyPaid", "order-already-paid"),
    ("OrderAlreadyCancelled", "order-already-cancelled"),
    ("OrderExpired", "order-expired"),
    ("OrderNotDue", "order-not-due"),
    ("OrderNotPaid", "order-not-paid"),
    ("RefundExceedsPaid", "refund-exceeds-paid"),
    ("AttemptEnded", "attempt-ended"),
    ("AttemptInProgress", "attempt-in-progress"),
    ("TooManyAttempts", "too-many-attempts"),
    ("TooManyOtps", "too-many-otps"),
    ("CurrencyMismatch", "currency-mismatch"),
    ("CreditNotHeld", "credit-not-held"),
    ("CreditBelowAmount", "credit-below-amount"),
    ("ReturnCompleted", "return-completed"),
    ("ReturnParked", "return-parked"),
    ("ReturnInProgress", "return-in-progress"),
]


def test_the_precedence_is_as_written() -> None:
    """Token, idempotency record, record, state (contract 1.2); 404 and 401 carry no word (contract 2.2)."""
    assert [(r.__name__, r.reason) for r in PRECEDENCE] == IN_ORDER


def test_every_refusal_has_a_place_a_word_and_a_docstring() -> None:
    """No refusal is missing from the precedence, shares its word with another or goes unexplained."""
    every = {
        r
        for r in vars(refusals).values()
        if isinstance(r, type) and issubclass(r, Refusal) and r is not Refusal
    }
    assert set(PRECEDENCE) == every
    assert len(PRECEDENCE) == len(every)
    words = [r.reason for r in PRECEDENCE if r.reason]
    assert len(set(words)) == len(words)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", word) for word in words)
    assert all((r.__doc__ or "").strip().endswith((".", "again shortly.")) for r in PRECEDENCE)

"""What of an order is shown, told and rendered."""

from dataclasses import dataclass

from opentill.domain.cards import SavedCard
from opentill.domain.order import Order, Terms


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order as it is shown: its state, its attempts and what was agreed."""

    order: Order
    terms: Terms
    has_saved_cards: bool = False
    """Whether its customer has confirmed cards at this merchant."""
    saved_card: SavedCard | None = None
    """What a payment left, where that is told."""

"""What of an order is shown, told and rendered."""

from dataclasses import dataclass

from opentill.domain.order import Order, Terms


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order as it is shown: its state, its attempts and what was agreed."""

    order: Order
    terms: Terms

"""opentill: a self-hosted checkout-order server that speaks Nomba's Online Checkout API."""

__version__ = "0.1.0"

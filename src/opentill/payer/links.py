"""Where a payer goes on to: the shop's own address, with the order's names appended."""

from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from opentill.domain.order import Order


def shop_location(callback_url: str | None, order: Order) -> str | None:
    """Where the order's merchant wants its payers; None when it has said no web address."""
    if callback_url is None or urlsplit(callback_url).scheme not in {"http", "https"}:
        return None
    return callback_location(callback_url, order)


def callback_location(callback_url: str, order: Order) -> str:
    """The shop's address with the order's names appended before a fragment (ruling 16, contract 7)."""
    parts = urlsplit(callback_url)
    ours = urlencode({"orderId": order.order_id, "orderReference": order.reference}, safe="", quote_via=quote)
    query = f"{parts.query}&{ours}" if parts.query else ours
    return urlunsplit(parts._replace(query=query))

"""Webhook endpoints and the list of what was sent to them: portable SQLAlchemy Core, as all that is cold."""

from typing import Any, Final

from sqlalchemy import Connection, Select, delete, insert, literal_column, select, tuple_

from opentill.store.databases.database import Database
from opentill.store.outbox import rows
from opentill.store.outbox.contract import Delivery, DeliveryFilter, DeliveryState, Endpoint
from opentill.store.schema import merchants, webhook_deliveries, webhook_endpoints

DELETED_AT_ONCE: Final = 1000
"""How many deliveries one transaction deletes with their endpoint."""

_IS_PENDING: Final = webhook_deliveries.c.state == literal_column(f"'{DeliveryState.PENDING.value}'")
"""Spelt out: an index of pending rows alone serves no parameter, which could say anything."""


class EndpointVerbs:
    """Endpoints of merchants, and their deliveries as they are looked at."""

    def __init__(self, database: Database):
        self._database = database

    def add_endpoint(self, endpoint: Endpoint, *, most: int | None = None) -> Endpoint | None:
        """Lock the merchant, count in a later statement, which sees what others added, then insert."""
        of_merchant = merchants.c.account_id == endpoint.account_id
        turn = select(merchants.c.account_id).where(of_merchant).with_for_update()

        def work(connection: Connection) -> Endpoint | None:
            connection.execute(turn)
            known = {each.endpoint_id: each for each in _endpoints(connection, endpoint.account_id)}
            if endpoint.endpoint_id in known:
                return known[endpoint.endpoint_id]
            if most is not None and len(known) >= most:
                return None
            connection.execute(insert(webhook_endpoints).values(**rows.endpoint_values(endpoint)))
            return endpoint

        return self._database.write(work)

    def endpoints(self, account_id: str) -> list[Endpoint]:
        """List a merchant's endpoints by their time."""
        return self._database.read(lambda c: _endpoints(c, account_id))

    def delete_endpoint(self, account_id: str, endpoint_id: str) -> bool:
        """Delete the endpoint first, so that nothing more is queued for it, then what waits, part by part."""
        e, d = webhook_endpoints, webhook_deliveries
        it = delete(e).where(e.c.account_id == account_id, e.c.endpoint_id == endpoint_id)
        some = (
            select(d.c.account_id, d.c.delivery_id)
            .where(d.c.account_id == account_id, d.c.endpoint_id == endpoint_id, _IS_PENDING)
            .limit(DELETED_AT_ONCE)
        )
        waiting = delete(d).where(tuple_(d.c.account_id, d.c.delivery_id).in_(some))
        found = self._database.write(lambda c: c.execute(it).rowcount) == 1
        while self._database.write(lambda c: c.execute(waiting).rowcount) == DELETED_AT_ONCE:
            pass
        return found

    def deliveries(self, wanted: DeliveryFilter) -> list[Delivery]:
        """List the deliveries that match, newest first."""
        d = webhook_deliveries
        newest_first = (d.c.created_at.desc(), d.c.sequence.desc(), d.c.delivery_id.desc())
        statement = _filtered(wanted).order_by(*newest_first).limit(wanted.limit)
        return [
            rows.delivery(tuple(row)) for row in self._database.read(lambda c: c.execute(statement).all())
        ]


def _endpoints(connection: Connection, account_id: str) -> list[Endpoint]:
    table = webhook_endpoints
    wanted = (
        select(*(table.c[name] for name in rows.ENDPOINT))
        .where(table.c.account_id == account_id)
        .order_by(table.c.created_at, table.c.endpoint_id)
    )
    return [rows.endpoint(tuple(row)) for row in connection.execute(wanted).all()]


def _filtered(wanted: DeliveryFilter) -> Select[Any]:
    d = webhook_deliveries
    statement = select(*(d.c[name] for name in rows.DELIVERY)).where(d.c.account_id == wanted.account_id)
    if wanted.endpoint_id is not None:
        statement = statement.where(d.c.endpoint_id == wanted.endpoint_id)
    for column, values in (
        (d.c.delivery_id, wanted.delivery_ids),
        (d.c.event_id, wanted.event_ids),
        (d.c.type, wanted.types),
        (d.c.state, [state.value for state in wanted.states]),
    ):
        if values:
            statement = statement.where(column.in_(values))
    if wanted.created_from is not None:
        statement = statement.where(d.c.created_at >= wanted.created_from)
    if wanted.created_before is not None:
        statement = statement.where(d.c.created_at < wanted.created_before)
    return statement

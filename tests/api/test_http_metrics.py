"""``GET /metrics`` over HTTP: what a scrape tells, and to whom."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from databases import NewDatabase
from server import Server, client, new_merchant

TERMS = {"amount": "100.00", "currency": "NGN", "customerEmail": "payer@example.com"}
OPEN: dict[str, Any] = {"host": "0.0.0.0", "allow_public_sandbox": True}


def scraped(http: httpx2.Client) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels."""
    answer = http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, *(s.labels[name] for name in sorted(s.labels))): s.value for s in samples}


def test_a_scrape_tells_what_was_done_and_what_waits(tmp_path: Path, new_database: NewDatabase) -> None:
    """Commands by their ends, commits and their sizes, and the age of the oldest due order, without names."""
    database = new_database()
    with (
        Server(tmp_path, database_url=database, sweep_interval_seconds=3600) as server,
        client(server) as http,
    ):
        for reference in ("due", "ends"):
            order = TERMS | {"orderReference": reference, "expiresInSeconds": 1}
            assert http.post("/v1/checkout/order", json={"order": order}).status_code == 200
        http.post("/v1/checkout/order/cancel", json={"orderReference": "ends"})
        http.post("/v1/checkout/order/cancel", json={"orderReference": "ends"})
        shop = new_merchant(server, "A secret shop")
        found = scraped(http)
        while found["opentill_oldest_due_order_seconds",] <= 0:
            found = scraped(http)
        text = http.get("/metrics").text
    assert found["opentill_commands_total", "CreateOrder", "done"] == 2
    assert found["opentill_commands_total", "CancelOrder", "done"] == 1
    assert found["opentill_commands_total", "CancelOrder", "order-already-cancelled"] == 1
    assert found["opentill_batch_commands_sum",] == 4
    assert 1 <= found["opentill_batch_commands_count",] <= 4
    assert found["opentill_commit_seconds_total",] > 0
    assert found["opentill_queue_depth", "foreground"] == 0
    assert found["opentill_deliveries", "dead"] == 0
    assert found["opentill_endpoints_paused",] == 0
    assert found["opentill_database_answers",] == 1
    assert shop["OPENTILL_ACCOUNT_ID"] not in text
    assert "secret shop" not in text


@pytest.mark.parametrize(
    ("settings", "status"),
    [({}, 200), ({"metrics": False}, 404), (OPEN, 404), (OPEN | {"metrics": True}, 200)],
)
def test_it_is_there_on_loopback_or_by_setting(tmp_path: Path, settings: dict[str, Any], status: int) -> None:
    """A server that others can reach has no such path unless it was told to."""
    with Server(tmp_path, **settings) as server, client(server) as http:
        assert http.get("/metrics").status_code == status
        assert http.post("/metrics", json={}).status_code == (405 if status == 200 else 404)

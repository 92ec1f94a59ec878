"""Other processes come and go beside a running server, on its own database."""

from pathlib import Path

from races.books import read_books, sound_file
from server import Server, client, new_merchant, signed_in


def test_a_command_beside_a_running_server_takes_nothing_from_it(
    tmp_path: Path, database_url: str | None
) -> None:
    """What is acknowledged before, between and after operators' commands on the same database is kept."""
    with (
        Server(tmp_path, database_url=database_url) as server,
        client(server, headers=signed_in(server)) as http,
    ):
        for reference in ("before", "between", "after"):
            order = {"orderReference": reference, "amount": 10, "currency": "NGN", "customerEmail": "a@b.c"}
            assert http.post("/v1/checkout/order", json={"order": order}).status_code == 200
            new_merchant(server, f"Shop {reference}")
        server.kill()
        assert set(read_books(server.place).by_reference) >= {"before", "between", "after"}
        assert database_url or sound_file(server.data)

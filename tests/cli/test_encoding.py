"""The program on terminals that can not write every character: it escapes, and never ends over one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from cli.program import Serving, run, serving

REFERENCE: Final = "naira-₦ é \U0001f6d2"
"""Characters of one, two and four bytes, the last beyond what JSON escapes in one piece."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("till") / "data"


@pytest.fixture(scope="module", autouse=True)
def server(data: Path) -> Iterator[Serving]:
    with serving(data) as server:
        order = {
            "orderReference": REFERENCE,
            "amount": "100.00",
            "currency": "NGN",
            "customerEmail": "₦@b.example",
            "orderMetaData": {"note": REFERENCE},
        }
        assert server.ask("POST", "/v1/checkout/order", {"order": order}).status_code == 200
        cancelled = server.ask(
            "POST", "/v1/checkout/order/cancel", {"orderReference": REFERENCE, "reason": "₦"}
        )
        assert cancelled.status_code == 200
        yield server


@pytest.mark.parametrize(
    "command",
    [["orders", "list"], ["orders", "show", REFERENCE], ["explain", REFERENCE], ["webhooks", "list"]],
    ids=["orders list", "orders show", "explain", "webhooks list"],
)
def test_a_command_prints_what_its_terminal_can_not_write(data: Path, command: list[str]) -> None:
    """Nothing but the characters in question is written otherwise, and JSON stays the JSON that it is."""
    said = run(*command, "--data", str(data), PYTHONIOENCODING="ascii")
    assert (said.returncode, said.stderr) == (0, "")
    told = run(*command, "--json", "--data", str(data), PYTHONIOENCODING="ascii")
    assert (told.returncode, told.stderr) == (0, "")
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    if command[0] == "orders":
        assert lines[0]["orderReference"] == REFERENCE


def test_an_export_of_the_ledger_is_written_anywhere(data: Path) -> None:
    """The books leave as ASCII where nothing else can be written."""
    said = run("ledger", "export", "--beancount", "--data", str(data), PYTHONIOENCODING="ascii")
    assert (said.returncode, said.stderr) == (0, "")

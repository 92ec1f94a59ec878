"""``opentill orders`` and ``opentill explain`` against a sandbox: what they say is what the server has."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from cli.program import SECONDS, Serving, _clean, run, serving
from opentill.cli.orders.explain import SENTENCES, sentence_of
from opentill.domain.events import EventType

MANY: Final = 1100
"""More than two calls hold."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("till") / "data"


@pytest.fixture(scope="module", autouse=True)
def server(data: Path) -> Iterator[Serving]:
    """A sandbox whose clients must encrypt card details."""
    with serving(data, OPENTILL_CARD_ENCRYPTION="true") as server:
        yield server


def said(data: Path, *arguments: str) -> Any:
    """What a command says as JSON."""
    answer = run(*arguments, "--data", str(data), "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def in_full(server: Serving, reference: str) -> dict[str, Any]:
    data: dict[str, Any] = server.ask("GET", f"/v1/opentill/orders/{reference}").json()["data"]
    return data


def opened(server: Serving, prefix: str, number: int) -> list[str]:
    """So many new orders."""
    references = [f"{prefix}-{each}" for each in range(number)]

    with httpx2.Client(base_url=server.url, verify=False, trust_env=False, timeout=SECONDS) as http:

        def open_one(reference: str) -> int:
            order = {
                "orderReference": reference,
                "amount": "1.00",
                "currency": "NGN",
                "customerEmail": "a@b.c",
            }
            return http.post("/v1/checkout/order", json={"order": order}).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(open_one, references)) == {200}
    return references


# --- one order ------------------------------------------------------------------------------------


def test_an_order_is_opened_listed_shown_and_cancelled(server: Serving, data: Path) -> None:
    """Each command says what the server has; the program acts as the client of sandbox.env."""
    order = said(data, "orders", "open", "my/first order", "--amount", "120.50", "--email", "x@y.z")
    assert order["checkoutLink"].startswith(f"{server.url}/checkout/")
    listed = run("orders", "list", "--email", "x@y.z", "--data", str(data)).stdout.splitlines()
    assert len(listed) == 2
    assert re.fullmatch(r"my/first order +PENDING +120\.50 NGN +20\S+Z +x@y\.z *", listed[1])

    shown = said(data, "orders", "show", "my/first order")
    assert shown == in_full(server, order["orderId"])
    assert shown["timeline"][0]["actor"] == {"kind": "api_key", "id": server.env["OPENTILL_CLIENT_ID"]}

    told = said(data, "orders", "cancel", "my/first order", "--reason", "test", "--if-version", "1")
    assert (told["status"], told["alreadyCancelled"]) == ("CANCELLED", False)
    again = run("orders", "cancel", "my/first order", "--data", str(data))
    assert (again.returncode, again.stdout) == (0, "Order my/first order was cancelled before.\n")
    assert said(data, "orders", "list", "--reference", "my/first order")["status"] == "CANCELLED"


def test_a_paid_order_is_refused_to_a_cancel_and_refunded(server: Serving, data: Path) -> None:
    """Paid by its test card, refunded in part, then cancelled for good by giving back the rest, once."""
    (reference,) = opened(server, "paid", 1)
    transaction = said(data, "orders", "pay", reference)["transactionId"]
    assert said(data, "orders", "refund", reference, "--amount", "0.40")["transactionId"] == transaction
    refused = run("orders", "cancel", reference, "--data", str(data))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.endswith("The order is already paid (order-already-paid).\n")

    done = run("orders", "cancel", reference, "--or-refund", "--note", "sorry", "--data", str(data))
    assert re.fullmatch(rf"Order {reference} is paid; the refund \S+ of 0\.60 is done\.\n", done.stdout)
    again = run("orders", "cancel", reference, "--or-refund", "--data", str(data))
    assert again.stdout == f"Order {reference} is paid, and all of it was refunded before.\n"
    assert in_full(server, reference)["amountRefunded"] == "1.00"


def test_a_declined_card_pays_for_nothing(server: Serving, data: Path) -> None:
    """One sentence and status 2; the order can still be paid."""
    (reference,) = opened(server, "declined", 1)
    answer = run("orders", "pay", reference, "--card", "5484497218317651", "--data", str(data))
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "opentill: it was not paid: Do not honor.\n"
    assert in_full(server, reference)["status"] == "PENDING"


def test_the_timeline_is_drawn_with_who_and_what(server: Serving, data: Path) -> None:
    """One line for each event with its change, its actor and what was said; then what may be done."""
    (reference,) = opened(server, "drawn", 1)
    run("orders", "pay", reference, "--data", str(data))
    run("orders", "cancel", reference, "--or-refund", "--reason", "duplicate", "--data", str(data))
    lines = run("orders", "show", reference, "--data", str(data)).stdout.splitlines()
    drawn = [line for line in lines if line[:1] in "┌├└" and line]
    types = [event["type"] for event in in_full(server, reference)["timeline"]]
    assert [line.split()[3] for line in drawn] == types
    assert "".join(line[0] for line in drawn) == "┌" + "├" * (len(types) - 2) + "└"
    assert "→ PAID" in drawn[types.index("payment_success")]
    refund = drawn[types.index("refund_started")]
    assert f"by client {server.env['OPENTILL_CLIENT_ID']}, 1.00 NGN" in refund
    assert refund.rstrip().endswith("duplicate")
    assert "cancel    not possible: order-already-paid" in lines


def test_explain_says_in_sentences_why_an_order_is_as_it_is(server: Serving, data: Path) -> None:
    """What it is now, then one sentence for each event with who did it and why, then what can be done."""
    (reference,) = opened(server, "explained", 1)
    run("orders", "pay", reference, "--card", "5484497218317651", "--data", str(data))
    run("orders", "cancel", reference, "--reason", "abandoned", "--note", "left", "--data", str(data))
    program = f"The merchant's program {server.env['OPENTILL_CLIENT_ID']}"
    told = said(data, "explain", reference)
    assert re.fullmatch(
        rf"Order {reference} has been CANCELLED since \S+; no money is with it\.", told["now"]
    )
    sentences = [each["sentence"] for each in told["because"]]
    assert (
        sentences[0]
        == "Somebody without a token opened the order over 1.00 NGN: from then on it was PENDING."
    )
    assert sentences[1].startswith(f"{program} began to pay by card, attempt WEB-ONLINE_C-")
    assert sentences[2].startswith("The card processor took nothing for attempt WEB-ONLINE_C-")
    assert sentences[2].endswith("; the order could still be paid (code 05).")
    ending = ' (reason abandoned), and noted "left": from then on it was CANCELLED.'
    assert sentences[3] == f"{program} cancelled the order{ending}"
    plain = run("explain", reference, "--data", str(data)).stdout
    assert all(sentence in plain for sentence in (told["now"], *sentences))
    assert "It is not possible to refund it (order-not-paid)." in plain


def test_every_event_has_a_sentence() -> None:
    """No kind of event is told by its bare name; one of a newer server is, and nothing fails."""
    assert set(SENTENCES) == set(EventType)
    event = {"type": "order_archived", "actor": {"kind": "worker", "id": ""}, "data": {}}
    unknown = event | {"before": "PAID", "after": "PAID", "reason": None, "note": None}
    assert sentence_of(unknown) == "Order archived, by the server itself."


# --- many -----------------------------------------------------------------------------------------


def cancel_many(data: Path, references: list[str], *options: str) -> "subprocess.CompletedProcess[str]":
    stdin = "\n".join(references)
    return run("orders", "cancel", "--stdin", *options, "--data", str(data), stdin=stdin)


def test_thousands_come_from_standard_input(server: Serving, data: Path) -> None:
    """Blank lines and doubles do not count; what was not cancelled is named, and is exit status 1."""
    references = opened(server, "stdin", MANY)
    paid = references[7]
    run("orders", "pay", paid, "--data", str(data))
    answer = cancel_many(data, ["", references[0], *references, "nobody\r"], "--reason", "test")
    assert (answer.returncode, answer.stderr) == (1, "")
    named, summary = answer.stdout.splitlines()[:-1], answer.stdout.splitlines()[-1]
    assert named == [f"{paid}  already paid", "nobody  not found"]
    assert summary == f"already paid 1, cancelled {MANY - 1}, not found 1."
    assert in_full(server, references[-1])["timeline"][-1]["reason"] == "test"
    assert in_full(server, paid)["status"] == "PAID"


def test_a_run_that_was_broken_off_is_run_again(server: Serving, data: Path) -> None:
    """What is done already is passed over, and the same run ends well; as JSON each order has its line."""
    references = opened(server, "again", MANY)
    assert cancel_many(data, references[: MANY // 2]).returncode == 0
    answer = cancel_many(data, references)
    assert (answer.returncode, answer.stdout) == (
        0,
        f"already cancelled {MANY // 2}, cancelled {MANY // 2}.\n",
    )
    lines = [json.loads(line) for line in cancel_many(data, references, "--json").stdout.splitlines()]
    assert lines == [{"orderReference": each, "outcome": "already_cancelled"} for each in references]


def test_two_runs_at_once_cancel_each_order_once(server: Serving, data: Path) -> None:
    """Together they cancelled all of them, none twice, and neither failed."""
    references = opened(server, "both", MANY)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: cancel_many(data, references, "--json"), range(2)))
    outcomes = [json.loads(line) for answer in answers for line in answer.stdout.splitlines()]
    assert [answer.returncode for answer in answers] == [0, 0]
    cancelled = sorted(each["orderReference"] for each in outcomes if each["outcome"] == "cancelled")
    assert cancelled == sorted(references)
    assert len(outcomes) == 2 * MANY


def test_a_terminal_sees_how_far_it_is(server: Serving, data: Path) -> None:
    """On a terminal there is a progress bar that counts to the end, apart from what is printed."""
    references = opened(server, "bar", 3)
    screen, terminal = pty.openpty()
    arguments = ["orders", "cancel", "--stdin", "--data", str(data)]
    process = subprocess.run(
        [sys.executable, "-m", "opentill", *arguments],
        input="\n".join(references),
        env=_clean({"TERM": "xterm", "COLUMNS": "100"}),
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    os.close(terminal)
    drawn = os.read(screen, 65_536).decode()
    os.close(screen)
    assert "3/3" in drawn
    assert process.stdout == "cancelled 3.\n"


# --- whose orders, and which server ---------------------------------------------------------------


def test_credentials_go_to_their_own_server_and_see_their_own_orders(
    server: Serving, data: Path, tmp_path: Path
) -> None:
    """A URL alone is asked without any; --env makes it another merchant's command, who knows none of ours."""
    mine = json.loads(run("orders", "open", "--url", server.url, "--json").stdout)["orderReference"]
    assert in_full(server, mine)["timeline"][0]["actor"]["kind"] == "open_sandbox"

    env = str(tmp_path / "second.env")
    created = run("merchants", "create", "--name", "Second", "--env", env, "--data", str(data))
    assert created.returncode == 0, created.stderr
    for command in (["orders", "show", mine], ["explain", mine], ["orders", "cancel", mine]):
        foreign = run(*command, "--env", env, "--url", server.url)
        assert (foreign.returncode, foreign.stdout) == (2, "")
        assert foreign.stderr.endswith("was refused with HTTP 404: Record not found.\n")
    listed = run("orders", "list", "--env", env, "--url", server.url, "--json")
    assert (listed.returncode, listed.stdout) == (0, "")


REFUSED = {
    "nobody listens": (["list", "--url", "http://127.0.0.1:1"], "no server answers at"),
    "no such status": (["list", "--status", "lost"], 'Invalid value "lost" for --status'),
    "nothing named": (["cancel"], "name the orders to cancel"),
    "named twice over": (["cancel", "a", "--stdin"], "name the orders to cancel"),
    "for one alone": (["cancel", "a", "b", "--or-refund"], "--or-refund and --if-version are for one order"),
    "an old version": (["cancel", "opentill-demo", "--if-version", "9"], "(version-changed)"),
    "no credentials": (["list", "--env", "/nowhere"], "/nowhere can not be read"),
    "unknown": (["refund", "nobody"], "HTTP 404: Transaction matching query not found"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_can_not_be_is_refused_in_a_sentence(data: Path, why: str) -> None:
    """One sentence and status 2, whatever is wrong."""
    arguments, says = REFUSED[why]
    answer = run("orders", *arguments, "--data", str(data), stdin="a")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert says in answer.stderr
    assert answer.stderr.count("\n") == 1

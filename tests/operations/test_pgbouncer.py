"""A server with two workers behind PgBouncer in transaction mode, as `deploy/pgbouncer` sets it up."""

import asyncio
import random
from pathlib import Path

from cli.program import run
from clusters import cluster, versions
from operations.bouncer import PASSWORD, pgbouncer
from races.books import ledger_check
from races.lines import Line, lines, paid
from server import Server, signed_in

CONTESTED = 30
RAIL_DELAY_MILLISECONDS = 20
VERSION = versions()[0]


async def ended_in_every_way(server: Server) -> dict[str, object]:
    """Return what a merchant's program hears of one order that it cancels and one paid and refunded."""
    line = Line(server.url, await asyncio.to_thread(signed_in, server))
    heard: dict[str, object] = {}
    for reference in ("cancelled", "paid"):
        heard[f"create {reference}"] = (await line.create(reference)).status_code
    heard["cancel"] = (await line.cancel("cancelled")).status_code
    transaction = (await line.card("paid")).json()["data"]["transactionId"]
    heard["paid"] = paid(await line.otp("paid", transaction))
    heard["cancel paid"] = (await line.cancel("paid")).headers["refusal-reason"]
    heard["refund"] = (await line.refund(transaction, "500.50")).json()["data"]["message"]
    verified = await line.get("/v1/transactions/accounts/single?orderReference=paid")
    heard["verify"] = verified.json()["data"]["status"]
    heard["statuses"] = [await line.look_up(reference) for reference in ("cancelled", "paid")]
    await line.close()
    return heard


async def contested(server: Server) -> list[tuple[int, str]]:
    """Count the endings granted of each order that is paid and cancelled at once, and say how it ended.

    Payment and cancel always come in by different processes.
    """
    async with lines([server], processes=2, each=CONTESTED // 2) as (here, there):
        payers, cancellers = here + there, there + here
        fights = (
            fight(*each)
            for each in zip((f"c-{n}" for n in range(CONTESTED)), payers, cancellers, strict=True)
        )
        return await asyncio.gather(*fights)


async def fight(reference: str, payer: Line, canceller: Line) -> tuple[int, str]:
    """One order: the payer confirms, and at some moment of that another one cancels."""
    assert (await payer.create(reference)).status_code == 200
    transaction = (await payer.card(reference)).json()["data"]["transactionId"]
    moment = asyncio.Event()
    asyncio.get_running_loop().call_later(random.uniform(0, 5) * RAIL_DELAY_MILLISECONDS / 1000, moment.set)
    confirmed = asyncio.create_task(payer.otp(reference, transaction))
    await moment.wait()
    cancelled = (await canceller.cancel(reference)).status_code == 200
    granted = int(paid(await confirmed)) + int(cancelled)
    return granted, await canceller.look_up(reference)


def test_all_of_opentill_works_through_pgbouncer_in_transaction_mode(tmp_path: Path) -> None:
    """Without prepared statements every kind of ending works, and of two endings one wins, by the books too.

    PgBouncer lends fewer connections than its clients have, so that no two transactions keep theirs.
    """
    database = cluster(VERSION).fresh_database()
    with (
        pgbouncer(database, default_pool_size=5) as url,
        Server(
            tmp_path,
            workers=2,
            database_url=url,
            prepared_statements=False,
            sandbox_rail_delay_milliseconds=RAIL_DELAY_MILLISECONDS,
        ) as server,
    ):
        heard = asyncio.run(ended_in_every_way(server))
        fights = asyncio.run(contested(server))
        assert ledger_check(server) == ""
        assert server.stop() == 0
    assert heard == {
        "create cancelled": 200,
        "create paid": 200,
        "cancel": 200,
        "paid": True,
        "cancel paid": "order-already-paid",
        "refund": "Refund processed successfully",
        "verify": "SUCCESS",
        "statuses": ["CANCELLED", "PAID"],
    }
    assert [granted for granted, _ in fights] == [1] * CONTESTED
    assert {status for _, status in fights} == {"PAID", "CANCELLED"}
    assert '"rail_silent"' not in server.log_file.read_text()


def test_prepared_statements_behind_an_old_pgbouncer_are_refused_at_start(tmp_path: Path) -> None:
    """A server that would run another session's statements does not start, and says what to set."""
    database = cluster(VERSION).fresh_database()
    with pgbouncer(database) as url:
        done = run("serve", "--port", "0", "--data", str(tmp_path), "--database", url)
    assert done.returncode == 2
    assert done.stderr.startswith("opentill: ")
    assert done.stderr.count("\n") == 1
    assert "set OPENTILL_PREPARED_STATEMENTS=false" in done.stderr
    assert PASSWORD not in done.stderr

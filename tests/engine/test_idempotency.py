"""A request is carried out once per idempotency key (ruling 9, laws 8)."""

import asyncio
from typing import Any

from engine.builders import begin, begin_refund, cancel_attempt, claim, resend_otp, settle, settle_refund
from engine.harness import (
    FaultyStore,
    Renderer,
    ask,
    ending,
    event_types,
    poison,
    rendered_later,
    served,
    status,
    together,
    traced,
)
from opentill.domain.commands import Command, RailOutcome, RefundOutcome
from opentill.domain.refusals import IdempotencyKeyInProgress, IdempotencyKeyReused, TokenRevoked
from opentill.engine.engine import Engine, EngineSettings, Result
from opentill.store.orders.contract import KeyClaim, StoredReply, TokenId
from store_factories import ACCOUNT, NOW, OTHER, TOKEN, ToldClock, add_orders, add_token, cancel, new_order

DAY = 86_400_000


async def _one_after_another(
    engine: Engine, *asked: tuple[Command, KeyClaim], render: Renderer
) -> list[Result]:
    return [await engine.submit(command, render=render, claim=key) for command, key in asked]


def _replies(store: FaultyStore, *asked: tuple[Command, KeyClaim]) -> list[Result]:
    render = Renderer()
    return served(store, lambda engine: _one_after_another(engine, *asked, render=render))


def test_a_repeated_request_gets_the_first_reply_byte_for_byte(store: FaultyStore) -> None:
    """A second cancel with the key is the first one's reply again, and is not carried out."""
    add_orders(store, "r")
    first, second = _replies(store, (cancel("r"), claim("k")), (cancel("r"), claim("k")))
    assert not first.replayed
    assert second.replayed
    assert second.reply == first.reply == StoredReply(200, "", '{"Ọja":1}'.encode())
    assert event_types(store, "r") == ["order_created", "order_cancelled"]


def test_a_repeated_request_of_the_same_batch_gets_the_first_reply(store: FaultyStore) -> None:
    """Three requests with one key in one batch: one is carried out, two are its reply again."""
    add_orders(store, "r")
    render = Renderer()

    async def work(engine: Engine) -> list[Any]:
        return await together(
            *(engine.submit(cancel("r"), render=render, claim=claim("k")) for _ in range(3))
        )

    with traced(store) as statements:
        answers = served(store, work)
    assert [ending(a) for a in answers] == ["done", "replayed", "replayed"]
    assert len({a.reply for a in answers}) == render.rendered == 1
    assert statements.count("COMMIT") == 1


def test_without_a_key_a_second_cancel_is_an_error(store: FaultyStore) -> None:
    """Nothing is remembered for requests that sent no key."""
    add_orders(store, "r")

    async def work(engine: Engine) -> list[str]:
        return [ending(await engine.submit(cancel("r"), render=Renderer())) for _ in range(2)]

    assert served(store, work) == ["done", "OrderAlreadyCancelled"]


def test_a_key_used_for_another_request_is_refused(store: FaultyStore) -> None:
    """Another fingerprint under a used key changes nothing and does not disturb the stored reply."""
    add_orders(store, "r", "s")
    first, other, again = _replies(
        store, (cancel("r"), claim("k")), (cancel("s"), claim("k", "other")), (cancel("r"), claim("k"))
    )
    assert isinstance(other.outcome, IdempotencyKeyReused)
    assert other.reply is not None
    assert other.reply.reason == "idempotency-key-reused"
    assert again.reply == first.reply
    assert status(store, "s") == "PENDING"


def test_a_key_used_for_another_request_is_refused_inside_a_batch(store: FaultyStore) -> None:
    """Two different requests that race with one key: the first is done, the second refused."""
    add_orders(store, "r", "s")

    async def work(engine: Engine) -> list[Any]:
        return await together(
            engine.submit(cancel("r"), render=Renderer(), claim=claim("k")),
            engine.submit(cancel("s"), render=Renderer(), claim=claim("k", "other")),
        )

    assert [ending(a) for a in served(store, work)] == ["done", "IdempotencyKeyReused"]
    assert status(store, "s") == "PENDING"


def test_keys_belong_to_their_merchant(store: FaultyStore) -> None:
    """Two merchants use the same key for different requests, and both are carried out."""
    add_orders(store, "r")
    add_orders(store, "r", account_id=OTHER)
    mine, theirs = _replies(
        store, (cancel("r"), claim("k")), (cancel("r", OTHER), claim("k", "other", OTHER))
    )
    assert (ending(mine), ending(theirs)) == ("done", "done")


def test_refusals_are_kept(store: FaultyStore) -> None:
    """A refusal is the key's reply for good, though the order may meanwhile allow what was refused."""
    refused, made, again = _replies(
        store, (cancel("r"), claim("k")), (new_order("r"), claim("k2")), (cancel("r"), claim("k"))
    )
    assert (ending(refused), ending(made), ending(again)) == ("RecordNotFound", "done", "replayed")
    assert again.reply == refused.reply
    assert status(store, "r") == "PENDING"


def test_a_dead_token_claims_no_key(store: FaultyStore) -> None:
    """A request turned away for its token leaves the key free, in its own batch and later."""
    dead, alive = TokenId(ACCOUNT, "dead"), TOKEN
    add_token(store)
    add_orders(store, "r", "s")
    render = Renderer()

    async def work(engine: Engine) -> list[Any]:
        def asked(token: TokenId, key: str, fingerprint: str, name: str) -> Any:
            return engine.submit(cancel(name), render=render, claim=claim(key, fingerprint), token=token)

        lone = await together(asked(dead, "k", "f", "r"))
        batch = await together(asked(dead, "k2", "f", "s"), asked(alive, "k2", "g", "s"))
        later = await together(asked(alive, "k", "g", "r"))
        return [*lone, *batch, *later]

    answers = served(store, work)
    assert [ending(a) for a in answers] == ["TokenRevoked", "TokenRevoked", "done", "done"]
    assert isinstance(answers[0].outcome, TokenRevoked)
    assert ask(store, "SELECT DISTINCT fingerprint FROM idempotency_keys") == [("g",)]


def test_a_replay_is_not_given_to_a_dead_token(store: FaultyStore) -> None:
    """A token revoked after the first request gets TokenRevoked, not the stored reply."""
    add_token(store)
    add_orders(store, "r")

    async def work(engine: Engine) -> list[str]:
        first = await engine.submit(cancel("r"), render=Renderer(), claim=claim("k"), token=TOKEN)
        store.accounts.revoke_token(ACCOUNT, TOKEN.jti, "client-1", NOW)
        second = await engine.submit(cancel("r"), render=Renderer(), claim=claim("k"), token=TOKEN)
        return [ending(first), ending(second)]

    assert served(store, work) == ["done", "TokenRevoked"]


def test_an_expired_key_is_carried_out_again(store: FaultyStore) -> None:
    """A moment before 24 hours the reply is given again; at 24 hours the request is new."""
    add_orders(store, "r")
    clock, render = ToldClock(), Renderer()

    async def work(engine: Engine) -> list[str]:
        answers = []
        for now in (NOW, NOW + DAY - 1, NOW + DAY):
            clock.time = now
            answers.append(ending(await engine.submit(cancel("r"), render=render, claim=claim("k"))))
        return answers

    assert served(store, work, clock) == ["done", "replayed", "OrderAlreadyCancelled"]


def test_a_failed_command_frees_its_key(store: FaultyStore) -> None:
    """After CommandFailed the same request with the same key is carried out."""
    add_orders(store, "r")

    async def work(engine: Engine) -> list[Any]:
        failed = await together(engine.submit(cancel("r"), render=poison, claim=claim("k")))
        return [*failed, *await together(engine.submit(cancel("r"), render=Renderer(), claim=claim("k")))]

    assert [ending(a) for a in served(store, work)] == ["CommandFailed", "done"]


# --- two-phase requests ---------------------------------------------------------------------------


def _begun(engine: Engine) -> Any:
    return engine.submit(begin("r", "T1", key="k"), render=rendered_later, claim=claim("k"))


def test_a_running_key_makes_the_second_request_wait_for_the_reply(store: FaultyStore) -> None:
    """While the first phase is done and the second is not, a repeat waits and gets the settling reply."""
    add_orders(store, "r")
    render = Renderer()

    async def work(engine: Engine) -> tuple[Result, Result, Result]:
        first = await _begun(engine)
        repeat = asyncio.create_task(engine.submit(begin("r", "T2"), render=render, claim=claim("k")))
        await together(engine.submit(cancel("nobody")))  # by now the repeat has been told to wait
        assert not repeat.done()
        answer = settle("r", "T1", RailOutcome.OTP_REQUIRED)
        settled = await engine.submit(answer, render=render, completes_key="k")
        return first, settled, await repeat

    first, settled, repeat = served(store, work)
    assert first.reply is None
    assert repeat.replayed
    assert repeat.reply == settled.reply
    assert settled.reply is not None
    assert ask(store, "SELECT transaction_id FROM attempts") == [("T1",)]


def test_a_running_key_is_met_inside_the_batch(store: FaultyStore) -> None:
    """First phase, repeat and settling answer in one batch: the repeat still gets the settling reply."""
    add_orders(store, "r")
    render = Renderer()

    async def work(engine: Engine) -> list[Any]:
        return await together(
            _begun(engine),
            engine.submit(begin("r", "T2"), render=render, claim=claim("k")),
            engine.submit(settle("r", "T1", RailOutcome.APPROVED), render=render, completes_key="k"),
        )

    first, repeat, settled = served(store, work)
    assert first.reply is None
    assert (ending(repeat), repeat.reply) == ("replayed", settled.reply)


def test_a_repeat_is_told_when_the_wait_runs_out(store: FaultyStore) -> None:
    """A key that stays running beyond the wait refuses the repeat with IdempotencyKeyInProgress."""
    add_orders(store, "r")

    async def work(engine: Engine) -> list[Result]:
        await _begun(engine)
        return [await engine.submit(begin("r", "T2"), render=Renderer(), claim=claim("k")) for _ in range(2)]

    for seconds in (0.0, 0.01):
        for answer in served(store, work, settings=EngineSettings(key_wait_seconds=seconds)):
            assert isinstance(answer.outcome, IdempotencyKeyInProgress)
            assert answer.reply is not None
            assert answer.reply.reason == "idempotency-key-in-progress"
    assert ask(store, "SELECT transaction_id FROM attempts") == [("T1",)]


def test_only_the_first_answer_completes_a_key(store: FaultyStore) -> None:
    """An answer of the rail that comes again changes neither the order nor the stored reply."""
    add_orders(store, "r")
    render = Renderer()

    async def work(engine: Engine) -> tuple[Result, Result]:
        await _begun(engine)
        command = settle("r", "T1", RailOutcome.APPROVED)
        settled = await engine.submit(command, render=render, completes_key="k")
        await engine.submit(settle("r", "T1", RailOutcome.APPROVED), render=render, completes_key="k")
        return settled, await engine.submit(begin("r", "T2"), render=render, claim=claim("k"))

    settled, repeat = served(store, work)
    assert repeat.reply == settled.reply
    assert status(store, "r") == "PAID"


# --- refunds and single attempts ----------------------------------------------------------------------


async def _pay(engine: Engine) -> None:
    await engine.submit(begin("r", "T1"))
    await engine.submit(settle("r", "T1", RailOutcome.APPROVED))


def _refund(engine: Engine, render: Renderer, refund_id: str, fingerprint: str = "f") -> Any:
    """A refund asked for with the key ``k``; only a refusal answers at once."""
    return engine.submit(
        begin_refund("T1", 1_00, refund_id=refund_id, key="k"),
        render=rendered_later if refund_id == "F1" else render,
        claim=claim("k", fingerprint),
    )


def test_a_repeated_refund_waits_for_the_rail(store: FaultyStore) -> None:
    """While the first one runs its repeat waits, and gets the reply that settled it; money moves once."""
    add_orders(store, "r")
    render = Renderer()

    async def work(engine: Engine) -> tuple[Result, Result]:
        await _pay(engine)
        await _refund(engine, render, "F1")
        repeat = asyncio.create_task(_refund(engine, render, "F2"))
        await together(engine.submit(cancel("nobody")))  # by now the repeat has been told to wait
        assert not repeat.done()
        done = settle_refund("T1", RefundOutcome.DONE)
        settled = await engine.submit(done, render=render, completes_key="k")
        return settled, await repeat

    settled, repeat = served(store, work)
    assert (ending(repeat), repeat.reply) == ("replayed", settled.reply)
    assert ask(store, "SELECT refund_id, status FROM refunds") == [("F1", "DONE")]


def test_a_refund_met_inside_the_batch_is_made_once(store: FaultyStore) -> None:
    """Refund, its repeat and the rail's answer in one batch: one refund, and the repeat is its reply."""
    add_orders(store, "r")
    render = Renderer()

    async def work(engine: Engine) -> list[Any]:
        await _pay(engine)
        done = settle_refund("T1", RefundOutcome.DONE)
        return await together(
            _refund(engine, render, "F1"),
            _refund(engine, render, "F2"),
            engine.submit(done, render=render, completes_key="k"),
        )

    first, repeat, settled = served(store, work)
    assert first.reply is None
    assert (ending(repeat), repeat.reply) == ("replayed", settled.reply)
    assert ask(store, "SELECT refunded FROM orders") == [(1_00,)]


def test_a_silent_rail_is_the_answer_of_the_refund(store: FaultyStore) -> None:
    """The reply "running" that a silence brought is the key's for good, though the refund ends later."""
    add_orders(store, "r")
    render = Renderer()

    async def work(engine: Engine) -> tuple[Result, Result]:
        await _pay(engine)
        await _refund(engine, render, "F1")
        silence = settle_refund("T1", RefundOutcome.SILENT)
        running = await engine.submit(silence, render=render, completes_key="k")
        done = settle_refund("T1", RefundOutcome.DONE)
        await engine.submit(done, render=render, completes_key="k")
        return running, await _refund(engine, render, "F2")

    running, repeat = served(store, work)
    assert (ending(repeat), repeat.reply) == ("replayed", running.reply)
    assert ask(store, "SELECT status FROM refunds") == [("DONE",)]


def test_another_refund_needs_another_key(store: FaultyStore) -> None:
    """The key of a running refund, sent with another body, is refused at once and pays nothing."""
    add_orders(store, "r")
    render = Renderer()

    async def work(engine: Engine) -> Result:
        await _pay(engine)
        await _refund(engine, render, "F1")
        other: Result = await _refund(engine, render, "F2", "other")
        return other

    assert isinstance(served(store, work).outcome, IdempotencyKeyReused)
    assert ask(store, "SELECT refund_id FROM refunds") == [("F1",)]


def test_ending_an_attempt_and_sending_a_password_happen_once_per_key(store: FaultyStore) -> None:
    """Repeated with its key each is its first reply again; without one each is a request of its own."""
    add_orders(store, "r")
    render = Renderer()

    async def work(engine: Engine) -> list[str]:
        await engine.submit(begin("r", "T1"))
        await engine.submit(settle("r", "T1", RailOutcome.OTP_REQUIRED))
        asked: list[tuple[Command, str | None]] = [
            (resend_otp("r"), "send"),
            (resend_otp("r"), "send"),
            (resend_otp("r"), None),
            (cancel_attempt("T1"), "end"),
            (cancel_attempt("T1"), "end"),
            (cancel_attempt("T1"), None),
        ]
        keys = [claim(key) if key else None for _, key in asked]
        return [
            ending(await engine.submit(command, render=render, claim=key))
            for (command, _), key in zip(asked, keys, strict=True)
        ]

    assert served(store, work) == ["done", "replayed", "done", "done", "replayed", "AttemptEnded"]
    assert ask(store, "SELECT otp_sends, status FROM attempts") == [(2, "CANCELLED")]

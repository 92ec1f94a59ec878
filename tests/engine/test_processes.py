"""Several processes on one file: fair turns at writing, and one winner for each order."""

from collections import Counter
from pathlib import Path

from engine.given import FaultyStore, ask, event_types
from engine.processes import cancel_in_turn, run_together, write_in_turn
from given_store import add_orders

PROCESSES, COMMITS, ORDERS = 3, 200, 40


def test_writers_get_fair_turns(tmp_path: Path, store: FaultyStore) -> None:
    """When the first of three saturated writers is done, the others have had a third of its turns."""
    told = run_together(write_in_turn, tmp_path, PROCESSES, COMMITS)
    assert told == dict.fromkeys(range(PROCESSES), COMMITS)
    writers = [str(row[0])[0] for row in ask(store, "SELECT reference FROM orders ORDER BY rowid")]
    assert len(writers) == PROCESSES * COMMITS
    turns: Counter[str] = Counter()
    for writer in writers:
        turns[writer] += 1
        if turns[writer] == COMMITS:
            break
    assert min(turns[str(number)] for number in range(PROCESSES)) >= COMMITS // 3


def test_each_order_is_cancelled_by_one_process(tmp_path: Path, store: FaultyStore) -> None:
    """Of three engines in three processes that cancel the same orders, one succeeds for each order."""
    references = [f"r{i}" for i in range(ORDERS)]
    add_orders(store, *references)
    told = run_together(cancel_in_turn, tmp_path, PROCESSES, ORDERS)
    for answers in zip(*told.values(), strict=True):
        assert sorted(answers) == ["OrderAlreadyCancelled"] * (PROCESSES - 1) + ["done"]
    for reference in references:
        assert event_types(store, reference) == ["order_created", "order_cancelled"]

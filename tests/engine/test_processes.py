"""Several processes on one database: fair turns at writing a file, and one winner for each order."""

from collections import Counter

import pytest

from databases import SQLITE, Place
from engine.harness import FaultyStore, ask, event_types
from engine.processes import cancel_in_turn, run_together, write_in_turn
from store_factories import add_orders

PROCESSES, COMMITS, ORDERS = 3, 200, 40


@pytest.mark.parametrize("database_kind", [SQLITE], indirect=True, ids=str)
def test_writers_of_one_file_get_fair_turns(place: Place, store: FaultyStore) -> None:
    """When the first of three saturated writers is done, the others have had a third of its turns."""
    told = run_together(write_in_turn, place, PROCESSES, COMMITS)
    assert told == dict.fromkeys(range(PROCESSES), COMMITS)
    writers = [str(row[0])[0] for row in ask(store, "SELECT reference FROM orders ORDER BY rowid")]
    assert len(writers) == PROCESSES * COMMITS
    turns: Counter[str] = Counter()
    for writer in writers:
        turns[writer] += 1
        if turns[writer] == COMMITS:
            break
    assert min(turns[str(number)] for number in range(PROCESSES)) >= COMMITS // 3


def test_each_order_is_cancelled_by_one_process(place: Place, store: FaultyStore) -> None:
    """Of three engines in three processes that cancel the same orders, one succeeds for each order."""
    references = [f"r{i}" for i in range(ORDERS)]
    add_orders(store, *references)
    told = run_together(cancel_in_turn, place, PROCESSES, ORDERS)
    for answers in zip(*told.values(), strict=True):
        assert sorted(answers) == ["OrderAlreadyCancelled"] * (PROCESSES - 1) + ["done"]
    for reference in references:
        assert event_types(store, reference) == ["order_created", "order_cancelled"]

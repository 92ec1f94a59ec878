"""Measures ``opentill orders cancel --stdin``: so many references through a running server on SQLite.

.venv/bin/python bench/bulk_cancel.py --orders 10000
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hot_path import add_orders
from load import account_of, serving
from opentill.store.databases.sqlite import open_sqlite


def cancelled(data: Path, references: list[str]) -> tuple[float, str]:
    """Return how many seconds the command took from its start to its end, and what it said."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "opentill", "orders", "cancel", "--stdin", "--data", str(data)],
        input="\n".join(references),
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - begun, done.stdout.strip()


def at_once(data: Path, references: list[str]) -> float:
    """Return how many seconds two runs over the same references take that are started together."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        said = [each.result()[1] for each in [pool.submit(cancelled, data, references) for _ in range(2)]]
    taken = time.perf_counter() - begun
    counts = [re.search(r"(?<!already )cancelled (\d+)", each) for each in said]
    if sum(int(found[1]) for found in counts if found) != len(references):
        raise SystemExit(f"two runs did not cancel each order once: {said}")
    return taken


def main() -> None:
    """Measure a first run, the same run again, and two runs at once over other orders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    count = parser.parse_args().orders
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        account_id = account_of(data)
        store = open_sqlite(data / "opentill.db")
        add_orders(store, account_id, "one-", count, past=False)
        add_orders(store, account_id, "two-", count, past=False)
        store.close()
        with serving(data):
            one, two = ([f"{prefix}{number}" for number in range(count)] for prefix in ("one-", "two-"))
            first, said = cancelled(data, one)
            if said != f"cancelled {count}.":
                raise SystemExit(f"not all were cancelled: {said}")
            again, _ = cancelled(data, one)
            both = at_once(data, two)
    figures = {"orders": count, "first_s": first, "again_s": again, "two_at_once_s": both}
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


if __name__ == "__main__":
    main()

"""Who is to run alone does, beside others that run side by side."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

CONFTEST = """
import pytest
from turns import turn

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    with turn(item):
        return (yield)
"""
TESTS = """
import pytest, threading, time
from pathlib import Path

def record(kind):
    began = time.monotonic()
    threading.Event().wait(0.1)
    with Path("times").open("a") as times:
        times.write(f"{kind} {began} {time.monotonic()}\\n")

@pytest.mark.parametrize("number", range(4))
def test_together(number):
    record("together")

@pytest.mark.alone
@pytest.mark.parametrize("number", range(4))
def test_alone(number):
    record("alone")

@pytest.mark.parametrize("number", range(4))
def test_together_again(number):
    record("together")
"""


def test_nothing_runs_beside_a_test_that_runs_alone(tmp_path: Path) -> None:
    """Of two processes' tests some overlap in time, but never one that is marked with any other."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = alone\n")
    for name in ("one", "two"):
        (tmp_path / f"test_{name}.py").write_text(TESTS)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--numprocesses", "2", "--dist", "loadfile", "--basetemp", "base"],
        cwd=tmp_path,
        env=own | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    rows = [line.split() for line in (tmp_path / "times").read_text().splitlines()]
    runs = [(kind, float(began), float(ended)) for kind, began, ended in rows]
    assert len(runs) == 24
    beside = [(a[0], b[0]) for a, b in product(runs, runs) if a is not b and a[1] < b[2] and b[1] < a[2]]
    assert beside
    assert "alone" not in {kind for pair in beside for kind in pair}

"""The published sample, as a newcomer pastes it into a shell."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from seed import ERROR, HOST, SAMPLE, SUCCESS
from server import Server


def shell(command: str) -> str:
    """Return what a shell prints for this command."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="the sample is a curl command")
def test_the_published_sample_cancels_once(tmp_path: Path, database_url: str | None) -> None:
    """After the printed create, the sample with only its host changed prints the sample's two answers."""
    with Server(tmp_path, database_url=database_url) as server:
        sample = SAMPLE.replace(HOST, server.url)
        printed = server.output
        create = printed[printed.index("curl ") : printed.index("Cancel it:")]

        created = json.loads(shell(create))
        first, second, third = (shell(sample) for _ in range(3))

    assert created["data"]["orderReference"] == "OD-69923-2e102708-ee34-4a29-b713-a826ca928a12"
    assert (json.loads(first), json.loads(second)) == (json.loads(SUCCESS), json.loads(ERROR))
    assert third == second


@pytest.mark.skipif(shutil.which("curl") is None, reason="the sample is a curl command")
def test_nothing_is_seeded(tmp_path: Path, database_url: str | None) -> None:
    """Before its order is created the sample is told that there is no such record."""
    with Server(tmp_path, database_url=database_url) as server:
        answer = json.loads(shell(SAMPLE.replace(HOST, server.url)))

    assert answer == {"code": "404", "description": "Record not found", "data": None}

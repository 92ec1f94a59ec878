"""What an operator does wrong is answered by one sentence with the fix, exit 2 and no traceback."""

import re
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cli.program import run, serving

KEY = {"OPENTILL_SECRET_KEY": "ab" * 32}


def refusal(answer: "subprocess.CompletedProcess[str]") -> str:
    """The one sentence of a command that was refused."""
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert re.fullmatch(r"opentill: [^\n]+[.]\n", answer.stderr)
    return answer.stderr


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a sandbox that was made before."""
    data = tmp_path_factory.mktemp("till") / "data"
    assert run("merchants", "create", "--name", "Shop", "--data", str(data)).returncode == 0
    return data


def test_a_port_in_use(tmp_path: Path) -> None:
    """A port where somebody listens is named, with --port as the way out; no store is made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refusal(run("serve", "--port", port, "--data", str(tmp_path / "data")))

    assert f"port {port} on 127.0.0.1 is in use" in said
    assert "--port" in said
    assert list((tmp_path / "data").iterdir()) == []


def test_the_port_of_another_till_in_use(tmp_path: Path) -> None:
    """A second server on the port of a running one is refused, and the first serves on."""
    with serving(tmp_path / "one") as first:
        port = first.url.rpartition(":")[2]
        assert "is in use" in refusal(run("serve", "--port", port, "--data", str(tmp_path / "two")))
        assert first.ask("GET", "/health/live").status_code == 200


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    """An address that this machine does not have is named, with --host as the way out."""
    said = refusal(run("serve", "--host", "192.0.2.1", "--allow-public-sandbox", "--data", str(tmp_path)))
    assert "192.0.2.1 can not be listened on" in said
    assert "--host" in said


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["merchants", "list"]])
@pytest.mark.parametrize("folder", ["/proc/till", "{file}", "{file}/data"])
def test_a_folder_that_can_not_be_written(tmp_path: Path, command: list[str], folder: str) -> None:
    """Where no file can be made, or a file stands in the way, the folder is named."""
    (tmp_path / "file").touch()
    data = folder.format(file=tmp_path / "file")

    said = refusal(run(*command, "--data", data))
    assert f"the data folder {data} can not be written" in said
    assert "--data" in said


def test_a_newer_database(sandbox: Path, tmp_path: Path) -> None:
    """A database that a later version made, and that says to need it, is left alone."""
    newer = tmp_path / "newer.db"
    with sqlite3.connect(sandbox / "opentill.db") as old, sqlite3.connect(newer) as new:
        old.backup(new)
        new.execute("UPDATE alembic_version SET version_num = '9999'")
        new.execute("UPDATE schema_support SET oldest_code = '9999'")
    old.close()
    new.close()

    said = refusal(run("serve", "--port", "0", "--data", str(sandbox), "--database", f"sqlite:///{newer}"))
    assert "Start the version that migrated it" in said


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """A file of something else is not overwritten."""
    file = tmp_path / "opentill.db"
    file.write_text("a letter to my mother" * 100)

    assert str(file) in refusal(run("serve", "--port", "0", "--data", str(tmp_path)))
    assert file.read_text().startswith("a letter")


def test_the_other_mode(sandbox: Path, tmp_path: Path) -> None:
    """A sandbox is never opened live, nor a live database as a sandbox (ruling 23)."""
    assert "made in sandbox mode" in refusal(run("serve", "--live", "--data", str(sandbox), **KEY))
    assert (
        run("merchants", "create", "--name", "Shop", "--live", "--data", str(tmp_path), **KEY).returncode == 0
    )
    assert "made in live mode" in refusal(run("serve", "--port", "0", "--data", str(tmp_path), **KEY))


def test_another_secret_key(sandbox: Path) -> None:
    """A database is opened only with the key it was made with, which the sentence does not show."""
    said = refusal(run("serve", "--port", "0", "--data", str(sandbox), **KEY))
    assert "OPENTILL_SECRET_KEY is not the key" in said
    assert KEY["OPENTILL_SECRET_KEY"] not in said


def test_live_without_a_secret_key(tmp_path: Path) -> None:
    """Live mode says how to make the key that it needs."""
    said = refusal(run("serve", "--live", "--data", str(tmp_path)))
    assert "live mode needs OPENTILL_SECRET_KEY" in said
    assert "openssl rand -hex 32" in said


def test_a_secret_key_that_is_too_short(tmp_path: Path) -> None:
    """What is wrong with the key is said without showing it."""
    said = refusal(run("serve", "--live", "--data", str(tmp_path), OPENTILL_SECRET_KEY="hunter2"))
    assert "at least 32 bytes" in said
    assert "hunter2" not in said


def test_a_database_of_another_kind(tmp_path: Path) -> None:
    """A database that is not spoken is named by what could be; its password is not shown."""
    said = refusal(run("serve", "--data", str(tmp_path), "--database", "mysql://till:pa55@db/till"))
    assert "must be sqlite:///PATH" in said
    assert "pa55" not in said


def test_a_sandbox_for_everyone_by_accident(tmp_path: Path) -> None:
    """Off loopback a sandbox needs the explicit flag."""
    assert "--allow-public-sandbox" in refusal(run("serve", "--host", "0.0.0.0", "--data", str(tmp_path)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--prot", "1"], "--prot"),
        (["serve", "--port", "many"], "--port"),
        (["serve", "--port", "65536"], "from 0 to 65535"),
        (["frobnicate"], "frobnicate"),
        (["merchants", "create"], "--name"),
        (["clients", "rotate"], "client"),
    ],
)
def test_a_mistyped_command(arguments: list[str], said: str, tmp_path: Path) -> None:
    """Unknown commands and options, bad and missing values are named."""
    assert said.lower() in refusal(run(*arguments, OPENTILL_DATA_DIR=str(tmp_path))).lower()


def test_a_setting_that_will_not_do(tmp_path: Path) -> None:
    """A bad variable stops the start, and is named."""
    said = refusal(run("serve", "--data", str(tmp_path), OPENTILL_MAX_BATCH="0"))
    assert "OPENTILL_MAX_BATCH must be a whole number from 1 to 256" in said


def test_an_old_python() -> None:
    """An older Python is told which one is needed, before anything it could not read is imported."""
    pretend = "sys.version_info = (3, 10, 4, 'final', 0)"
    start = f"import runpy, sys; {pretend}; runpy.run_module('opentill', run_name='__main__')"
    answer = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=False)
    assert refusal(answer) == "opentill: Python 3.11 or newer is needed, and this is 3.10.\n"

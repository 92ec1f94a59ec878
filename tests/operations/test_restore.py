"""The restore drill of the operations guide: a backup taken under load, restored, checked and served."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from clusters import Cluster, cluster, versions
from faults.load import TOLD_TO_SHOPPERS, Diary, shopping
from operations.restored import Restored, archiving, hand_over, stopping
from polling import until
from races.books import ledger_check
from races.laws import Heard
from server import Server, client

KEY = "5e" * 32
BEFORE, BESIDE = 60, 20
"""Acknowledgements awaited before the backup, and more while it is made."""
VERSION = versions()[0]


@pytest.fixture
def archive() -> Iterator[Path]:
    """A folder of PostgreSQL's own, outside those that only we may enter."""
    folder = Path(tempfile.mkdtemp(prefix="archive-"))
    hand_over(folder, cluster(VERSION)._owner)
    yield folder
    shutil.rmtree(folder)


def run(server: Cluster, program: str, *arguments: object) -> None:
    """One of PostgreSQL's programs, by the version of this server."""
    done = subprocess.run(
        [server.bin / program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def lost(url: str, heard: list[Heard]) -> list[str]:
    """Whatever was acknowledged and is not, or no longer, so in this database."""
    with psycopg.connect(url) as connection:
        found: dict[str, str] = dict(connection.execute("SELECT reference, status FROM orders").fetchall())
    return [
        f"{each.reference}: told {each.told}, is {found.get(each.reference)}"
        for each in heard
        if each.reference not in found or each.told.value not in {None, found[each.reference]}
    ]


def references(url: str) -> set[str]:
    """All orders that this database knows."""
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT reference FROM orders")}


def mark(source: Cluster, point: str) -> None:
    """Name this moment in the log, to come back to it."""
    with psycopg.connect(source.url("postgres")) as connection:
        connection.execute("SELECT pg_create_restore_point(%s)", [point])


def archive_all(source: Cluster) -> None:
    """Wait until all of the log up to now has been archived."""
    with psycopg.connect(source.url("postgres"), autocommit=True) as connection:
        (last,) = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone() or ("",)
        archived = "SELECT last_archived_wal >= %s FROM pg_stat_archiver"
        until(lambda: connection.execute(archived, [last]).fetchone() == (True,), f"{last} was archived")


def serves(folder: Path, url: str) -> None:
    """A server of the same secret key, on a machine of its own, finds the books in order and is ready."""
    with Server(folder, database_url=url, secret_key=KEY) as server:
        assert ledger_check(server) == ""
        with client(server) as http:
            assert http.get("/health/ready").status_code == 200
        assert server.stop() == 0


def test_a_dump_taken_under_load_is_a_whole_database(tmp_path: Path) -> None:
    """pg_dump beside busy customers: what was acknowledged before it began is in it, whole."""
    source = cluster(VERSION)
    url, copy, diary = source.fresh_database(), source.fresh_database(), Diary()
    known: list[Heard] = []

    async def backed_up() -> None:
        await diary.filled(BEFORE)
        known.extend(diary.heard)
        dump = tmp_path / "opentill.dump"
        await asyncio.to_thread(run, source, "pg_dump", "--format=custom", f"--file={dump}", url)
        await diary.filled(BESIDE)
        server.kill()

    with Server(tmp_path / "old", database_url=url, secret_key=KEY) as server:
        asyncio.run(shopping(server, diary, backed_up))
    run(source, "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={copy}", tmp_path / "opentill.dump")
    assert min(sum(each.told is told for each in known) for told in TOLD_TO_SHOPPERS) > 0
    assert lost(copy, known) == []
    assert references(copy) < references(url)
    serves(tmp_path / "new", copy)


def test_a_base_backup_and_the_log_lead_back_to_a_moment(tmp_path: Path, archive: Path) -> None:
    """Recovered to a named point, a database has all that was acknowledged before it, not what came after."""
    known: list[Heard] = []
    diary = Diary()
    with stopping(archiving(VERSION, archive)) as source:
        url = source.fresh_database()

        async def backed_up() -> None:
            await diary.filled(BESIDE)
            backup = ["--checkpoint=fast", "--wal-method=none", f"--pgdata={tmp_path / 'backup'}"]
            await asyncio.to_thread(
                run, source, "pg_basebackup", *backup, f"--dbname={source.url('postgres')}"
            )
            await diary.filled(BEFORE)
            known.extend(diary.heard)
            await asyncio.to_thread(mark, source, "drill")
            await diary.filled(BESIDE)
            server.kill()

        with Server(tmp_path / "old", database_url=url, secret_key=KEY) as server:
            asyncio.run(shopping(server, diary, backed_up))
        everything = references(url)
        archive_all(source)

    with stopping(Restored(VERSION, tmp_path / "backup", archive, "drill")) as restored:
        again = restored.url(url.rpartition("/")[2])
        assert min(sum(each.told is told for each in known) for told in TOLD_TO_SHOPPERS) > 0
        assert lost(again, known) == []
        assert references(again) < everything
        serves(tmp_path / "new", again)

"""PgBouncer before a test's database, run from the configuration that the operations guide shows."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any

import psycopg
from psycopg import sql

from polling import until

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "pgbouncer" / "pgbouncer.ini"
ROLE, PASSWORD = "opentill", "correct-horse"


@contextmanager
def pgbouncer(superuser: str, **changed: object) -> Iterator[str]:
    """The URL by which the role ``opentill``, owner of this database, reaches it through a PgBouncer.

    Args:
        superuser: The database's own URL.
        changed: Settings of PgBouncer that a test needs otherwise.
    """
    folder = Path(tempfile.mkdtemp(prefix="bouncer-"))
    port = _free_port()
    _write(folder, port, superuser, changed)
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    process = subprocess.Popen(
        [program, "--quiet", str(folder / "pgbouncer.ini")], cwd=folder, **_unprivileged(folder)
    )
    try:
        until(lambda: _answers(port) or process.poll() is not None, "PgBouncer listens")
        assert process.poll() is None, (folder / "pgbouncer.log").read_text()
        yield f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{port}/opentill"
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


def _write(folder: Path, port: int, superuser: str, changed: dict[str, object]) -> None:
    known = psycopg.conninfo.conninfo_to_dict(superuser)
    filled = Template(CONFIGURATION.read_text(encoding="utf-8")).substitute(
        HOST=known["host"],
        PORT=known["port"],
        DATABASE=known["dbname"],
        LISTEN_HOST="127.0.0.1",
        LISTEN_PORT=port,
        FOLDER=folder,
    )
    filled += "".join(f"{name} = {value}\n" for name, value in changed.items())
    (folder / "pgbouncer.ini").write_text(filled, encoding="utf-8")
    (folder / "userlist.txt").write_text(f'"{ROLE}" "{_secret(superuser)}"\n', encoding="utf-8")


def _secret(superuser: str) -> str:
    """The SCRAM secret of the role, which is made the owner of the database."""
    database = sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(superuser)["dbname"]))
    with psycopg.connect(superuser, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
            create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            connection.execute(create.format(sql.Identifier(ROLE), sql.Literal(PASSWORD)))
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, sql.Identifier(ROLE)))
        found = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [ROLE]).fetchone()
    assert found is not None
    return str(found[0])


def _unprivileged(folder: Path) -> dict[str, Any]:
    """PgBouncer refuses to run as root; its folder belongs to whom it runs as."""
    if os.geteuid() != 0:
        return {}
    owner = pwd.getpwnam("postgres")
    for path in (folder, *folder.iterdir()):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

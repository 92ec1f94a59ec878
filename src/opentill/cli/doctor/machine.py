"""What the doctor looks at on this machine: folder, disk, key, address, and settings that are dangerous."""

import shutil
import stat
import tempfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from opentill.cli.credentials_block import served_url
from opentill.cli.doctor.diagnosis import Diagnosis, failed, ok, skipped, warning
from opentill.cli.preflight import OperatorError, listen_on
from opentill.cli.server import RunningServer
from opentill.keys.keyring import open_keyring
from opentill.keys.secret import SECRET_KEY_FILE
from opentill.settings import InvalidSetting, Settings
from opentill.store.accounts.contract import Mode

LEAST_FREE_BYTES: Final = 256 * 1024**2
"""Below it a server may soon be unable to commit."""
FEW_FREE_BYTES: Final = 2 * 1024**3
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def machine_checks(settings: Settings) -> Iterator[Diagnosis]:
    """Check everything but the database, in the order in which one thing needs the other."""
    yield data_folder(settings.data_dir)
    yield disk(settings.data_dir)
    yield secret_key(settings)
    yield public_url(settings)
    yield server(settings)
    yield dangers(settings)


def data_folder(folder: Path) -> Diagnosis:
    """Check the folder in which the server keeps keys, and on SQLite everything."""
    name = "data-folder"
    if not folder.is_dir():
        return failed(
            name, f"{folder} is no folder", "start `opentill serve` once, or name another folder with --data"
        )
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return failed(name, f"{folder} can not be written ({error.strerror})", f"chown or chmod {folder}")
    if folder.stat().st_mode & _OTHERS:
        return warning(name, f"{folder} is open to other users", f"chmod 700 {folder}")
    return ok(name, f"{folder} can be written, by its owner only")


def disk(folder: Path) -> Diagnosis:
    """Check that the disk has room: a full one stops every commit."""
    name = "disk"
    if not folder.is_dir():
        return skipped(name, "there is no data folder")
    free = shutil.disk_usage(folder).free
    said = f"{free / 1024**3:.1f} GB are free under {folder}"
    if free < FEW_FREE_BYTES:
        say = failed if free < LEAST_FREE_BYTES else warning
        return say(name, said, "free some space, or move the data folder to a larger disk")
    return ok(name, said)


def secret_key(settings: Settings) -> Diagnosis:
    """Check the secret of which every key is derived: it must be there, whole, and nobody else's."""
    name, file = "secret-key", settings.data_dir / SECRET_KEY_FILE
    in_file = not settings.secret_key and settings.mode is Mode.SANDBOX
    try:
        if in_file and not file.exists():
            return failed(
                name,
                f"{file} is missing",
                "put it back from a backup; for a new sandbox, `opentill serve` makes one",
            )
        open_keyring(settings)
    except InvalidSetting as error:
        return failed(name, str(error).rstrip("."), "set OPENTILL_SECRET_KEY to the key of this database")
    except OSError as error:
        return failed(name, f"{file} can not be read ({error.strerror})", f"chown or chmod 600 {file}")
    if in_file and file.stat().st_mode & _OTHERS:
        return failed(name, f"{file} can be read by other users", f"chmod 600 {file}")
    return ok(name, f"it is in {file if in_file else 'OPENTILL_SECRET_KEY'}, for its owner only")


def public_url(settings: Settings) -> Diagnosis:
    """Check the URL that payers follow from their own machines."""
    name, url = "public-url", settings.public_url
    parts = urlsplit(url)
    fix = "set OPENTILL_PUBLIC_URL to the https URL by which payers reach this server"
    if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        return failed(name, f"{url} is not the base of a URL", fix)
    here_only = _is_loopback(parts.hostname)
    if settings.mode is Mode.LIVE and (here_only or parts.scheme != "https"):
        return failed(name, f"{url} is no place where payers could safely pay", fix)
    if here_only and not _is_loopback(settings.host):
        return warning(name, f"{url} leads every payer to a machine of their own", fix)
    return ok(name, url)


def server(settings: Settings) -> Diagnosis:
    """Check that the server answers, or that its port is there to be taken."""
    name, url = "server", served_url(settings)
    running = RunningServer(url)
    if running.answers():
        try:
            running.ask("GET", "/health/ready")
        except OperatorError:
            return failed(
                name, f"the server at {url} is not ready", "see the checks of the database, and its log"
            )
        return ok(name, f"it answers at {url} and is ready")
    try:
        listen_on(settings.host, settings.port).close()
    except OperatorError as error:
        said, _, fix = str(error).rstrip(".").partition("; ")
        return failed(name, f"no opentill answers at {url}, and {said}", fix)
    return ok(name, f"none runs, and port {settings.port} on {settings.host} is free")


def dangers(settings: Settings) -> Diagnosis:
    """Look for what may be set for trying things out and must not be where money is real."""
    if settings.mode is Mode.SANDBOX:
        return _open_sandbox(settings)
    found = [
        said
        for said, is_so in (
            ("OPENTILL_ALLOW_LOOPBACK_WEBHOOKS lets webhooks in here", settings.allow_loopback_webhooks),
            ("OPENTILL_POST_LIMIT lets everybody post without limit", settings.post_limit == 0),
            ("OPENTILL_OTHER_LIMIT lets everybody ask without limit", settings.other_limit == 0),
            ("OPENTILL_GROUP_COMMIT gives every cancel its own commit", not settings.group_commit),
        )
        if is_so
    ]  # fmt: skip
    if found:
        return failed(
            "dangers", "; ".join(found), "take these settings out of the environment or opentill.toml"
        )
    return ok("dangers", "no setting is dangerous in live mode")


def _open_sandbox(settings: Settings) -> Diagnosis:
    if not _is_loopback(settings.host):
        return warning(
            "dangers",
            f"this sandbox is open to everyone who reaches {settings.host}",
            "listen on 127.0.0.1, or keep others out by a firewall",
        )
    return ok("dangers", "this sandbox is open to this machine only")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

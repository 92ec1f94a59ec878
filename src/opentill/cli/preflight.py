"""What is looked at before anything runs, and how it is said in one sentence when it will not do."""

import errno
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from opentill.cli import OPERATOR_ERROR
from opentill.keys.keyring import Unsealable
from opentill.keys.provisioning import InvalidName
from opentill.settings import InvalidSetting, Settings, load_settings
from opentill.store.accounts.contract import Mode
from opentill.store.errors import StoreError, StoreUnusable


class OperatorError(Exception):
    """Something the person at the keyboard can put right; the message is one sentence with the fix."""


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """The database that a command works on.

    Attributes:
        data: Folder of everything that the server keeps itself.
        database: Where orders are kept, sqlite:///PATH or postgresql://USER@HOST:PORT/NAME.
        live: Live mode instead of sandbox mode.
    """

    data: Path | None = None
    database: str | None = None
    live: Annotated[bool, Parameter(negative="")] = False

    def settings(self, chosen: Mapping[str, object] | None = None) -> Settings:
        """Load the settings: these options and ``chosen`` over environment, TOML file and defaults."""
        mode = Mode.LIVE.value if self.live else None
        data = None if self.data is None else str(self.data)
        own = {"data_dir": data, "database_url": self.database, "mode": mode}
        return load_settings(None, own | dict(chosen or {}))


@contextmanager
def operator_errors() -> Iterator[None]:
    """Say what the operator can put right in one sentence on stderr, then exit with status 2."""
    try:
        yield
    except (OperatorError, InvalidSetting, InvalidName, StoreUnusable, StoreError, Unsealable) as error:
        sentence = " ".join(str(error).split())
        sys.stderr.write(f"opentill: {sentence}\n")
        sys.exit(OPERATOR_ERROR)


def check_folder(folder: Path) -> None:
    """Make the data folder, for the owner only, and prove that files can be made in it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OperatorError(
            f"the data folder {folder} can not be written ({error.strerror}); "
            "choose another with --data or give this user the right to write there."
        ) from None


def listen_on(host: str, port: int) -> socket.socket:
    """Bind a socket to the address; it refuses connections until the server listens on it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise OperatorError(_why_not(host, port, error)) from None
    listener.set_inheritable(True)
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what listens there or choose another with --port."
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {port}; choose one above 1023 with --port."
    return f"{host} can not be listened on ({error.strerror}); choose an address of this machine with --host."

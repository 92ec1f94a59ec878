"""The one secret of a server, from which all keys are derived: set, or kept in a file of its own."""

import base64
import binascii
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from opentill.settings import InvalidSetting, Settings
from opentill.store.accounts.contract import Mode

SECRET_MIN_BYTES: Final = 32
SECRET_KEY_FILE: Final = "secret.key"  # noqa: S105 - the name of a file

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")


def read_secret(settings: Settings) -> bytes:
    """Read the secret of this server; sandbox mode makes it on the first start (laws 10).

    Raises InvalidSetting when the secret is missing in live mode, too short, or not hex or base64url.
    """
    if settings.secret_key:
        return _decode(settings.secret_key, "OPENTILL_SECRET_KEY")
    if settings.mode is Mode.LIVE:
        raise InvalidSetting(
            "live mode needs OPENTILL_SECRET_KEY: set it to 32 or more random bytes in hex, "
            "for instance from `openssl rand -hex 32`, and keep it."
        )
    file = settings.data_dir / SECRET_KEY_FILE
    return _decode(read_or_make(file, _new_secret), str(file))


def read_or_make(file: Path, make: Callable[[], str]) -> str:
    """Read a key file, made by ``make`` where there is none and readable by its owner alone.

    Of several processes that start at once, all read what the first one made.
    """
    if not file.exists():
        descriptor, unfinished = tempfile.mkstemp(dir=file.parent)  # mkstemp makes it 0600
        try:
            with os.fdopen(descriptor, "w") as writer:
                writer.write(make())
                writer.flush()
                os.fsync(writer.fileno())
            _link_unless_there(Path(unfinished), file)
        finally:
            Path(unfinished).unlink()
    return file.read_text()


def _link_unless_there(unfinished: Path, file: Path) -> None:
    try:
        os.link(unfinished, file)
    except FileExistsError:
        return


def _decode(text: str, source: str) -> bytes:
    text = text.strip()
    try:
        padded = text + "=" * (-len(text) % 4)
        is_hex = _HEX.fullmatch(text) is not None
        secret = bytes.fromhex(text) if is_hex else base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) < SECRET_MIN_BYTES:
        raise InvalidSetting(f"{source} must hold at least {SECRET_MIN_BYTES} bytes in hex or base64url.")
    return secret


def _new_secret() -> str:
    return os.urandom(SECRET_MIN_BYTES).hex() + "\n"

"""``opentill verify-signature``: whether a delivery that somebody received was signed by a key."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from opentill.cli.preflight import OperatorError, operator_errors
from opentill.webhooks.signature import verify

KEY_VARIABLE: Final = "OPENTILL_WEBHOOK_KEY"
NOT_GENUINE: Final = 1
"""Exit status when a signature is not the key's."""


def verify_signature(
    body: Path | None = None,
    /,
    *,
    header: Annotated[tuple[str, ...], Parameter(name=("--header", "-H"), show_default=False)] = (),
    headers_file: Path | None = None,
    key_file: Path | None = None,
    key_env: str = KEY_VARIABLE,
) -> None:
    """Hold each signature of a delivery against its body; exit 1 if one is not the key's, or none came.

    The key is never an argument, where every user of the machine could read it. How old the delivery is
    does not count.

    Args:
        body: File with the body, byte for byte as it arrived; standard input when absent.
        header: A header that came with it, as in "nomba-timestamp: 2026-02-06T04:23:07Z"; give it repeatedly.
        headers_file: File with such headers, one a line; other lines in it do not matter.
        key_file: File with the endpoint's signing key.
        key_env: Environment variable with the key, where there is no file.
    """
    with operator_errors():
        key = _key(key_file, key_env)
        given = [*header, *_lines(headers_file)]
        content = sys.stdin.buffer.read() if body is None else _read(body)
    findings = verify(content, _headers(given), key)
    lines = [f"{finding.header}: {finding.fault or 'good'}\n" for finding in findings]
    sys.stdout.writelines(lines or ["No signature came: name the headers with --header or --headers-file.\n"])
    if not findings or any(finding.fault for finding in findings):
        sys.exit(NOT_GENUINE)


def _key(file: Path | None, variable: str) -> str:
    key = os.environ.get(variable, "") if file is None else _read(file).decode(errors="replace")
    if not key.strip():
        if file is None and not variable.isidentifier():
            raise OperatorError("--key-env takes the name of an environment variable, not a key.")
        source = f"the environment variable {variable}" if file is None else str(file)
        raise OperatorError(f"{source} holds no key; name another with --key-env NAME or --key-file FILE.")
    return key.strip("\r\n")


def _lines(file: Path | None) -> list[str]:
    return [] if file is None else _read(file).decode(errors="replace").splitlines()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise OperatorError(f"{file} can not be read ({error.strerror}).") from None


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, separator, value in pairs if separator}

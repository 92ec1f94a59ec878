"""Structured logs: one JSON object a line on stderr, from which secrets and card numbers are withheld.

Redaction is the last step before rendering and covers every value of every line, whoever logged it:
our own events, the libraries' standard logging, messages, nested values and exception texts.
"""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Mapping, Set
from contextvars import ContextVar
from typing import Final, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

WITHHELD: Final = "<withheld>"

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The request this task works for; stands in each line it logs."""

_MAX_DEPTH = 8

# --- what must not be seen ------------------------------------------------------------------------

_SECRET_WORD = re.compile(
    r"secret|token|passw|authori[sz]ation|cookie|credential|card_?number|signature", re.IGNORECASE
)
_SECRET_SHORT_WORD = {"card", "cvc", "cvv", "key", "otp", "pan", "pin"}
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

_SECRET_TEXT: Final = re.compile(
    r"""
      (?P<scheme>(?:\b(?i:bearer|basic)\s+)+)\S+                      # an Authorization header's value
    | \beyJ[\w-]{6,}(?:\.[\w-]*)*                                    # a JWT, whole or cut
    | [0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}_\d{10,}   # a refresh token
    | [A-Za-z0-9+/_-]{43}=                                           # 32 bytes in base64: secrets
    | (?<![\w-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?:[\w-]{43}|[\w-]{64})(?![\w-])  # base64url: keys, payer links
    | (?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])                 # 32 bytes in hex
    """,
    re.VERBOSE,
)
_UUID: Final = r"\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b"
_DIGITS: Final = re.compile(rf"(?P<uuid>{_UUID})|\d(?:(?!-{_UUID})[\s-]?\d){{12,}}")
"""Random UUIDs, of which our names are made and which are left alone, or what may hold a card number."""


def scrub(text: str) -> str:
    """Withhold from a text all tokens, secrets in any of the forms we hand out, and card numbers."""
    text = _SECRET_TEXT.sub(lambda found: (found["scheme"] or "") + WITHHELD, text)
    return _DIGITS.sub(_without_card_number, text)


def _without_card_number(found: re.Match[str]) -> str:
    if found["uuid"]:
        return found[0]
    digits = [int(character) for character in found[0] if character.isdigit()]
    windows = (
        digits[start : start + size] for size in range(13, 20) for start in range(len(digits) - size + 1)
    )
    return WITHHELD if any(_passes_luhn(window) for window in windows) else found[0]


def _passes_luhn(digits: list[int]) -> bool:
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_secret_name(name: str) -> bool:
    return bool(_SECRET_WORD.search(name)) or any(
        word.lower() in _SECRET_SHORT_WORD for word in _WORDS.findall(name)
    )


def _clean(value: object, depth: int = 0) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        text = str(value)
        return value if scrub(text) == text else WITHHELD
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        return {scrub(str(key)): _clean_member(str(key), inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | Set) and depth < _MAX_DEPTH:
        return [_clean(inner, depth + 1) for inner in value]
    return scrub(value if isinstance(value, str) else str(value))


def _clean_member(name: str, value: object, depth: int) -> object:
    return WITHHELD if value and _is_secret_name(name) else _clean(value, depth)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Withhold from a line everything that must not be seen; a processor of structlog."""
    return {scrub(name): _clean_member(name, value, 1) for name, value in event.items()}


# --- the chain ------------------------------------------------------------------------------------


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if current := request_id.get():
        event["request_id"] = current
    return event


_CHAIN: Final[tuple[Processor, ...]] = (
    _add_request_id,
    structlog.processors.add_log_level,
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    redact,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.JSONRenderer(),
)


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send structlog's events and the standard library's records of at least ``level`` through one chain.

    ``level`` is debug, info, warning or error; below it a log call does nothing at all. Lines go to
    ``stream``, by default stderr. Calling it again replaces what was configured before.
    """
    stream = cast("TextIO", _Lossy(stream or sys.stderr))
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=_CHAIN,
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter())
    logging.basicConfig(handlers=[handler], level=max(least, logging.INFO), force=True)
    # Libraries tell how they start and stop at info; only what is wrong with them is of interest.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi", "alembic", "asyncio"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(max(least, logging.WARNING))


class _Lossy:
    """A stream that loses a line rather than fail whoever wrote it: the disk may be full, the pipe closed."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._descriptor: int | None = None
        with contextlib.suppress(OSError, ValueError):
            self._descriptor = stream.fileno()

    def write(self, text: str) -> int:
        """Write if that is possible; past Python's buffer, which would fail the exit with what it kept."""
        with contextlib.suppress(OSError, ValueError):
            if self._descriptor is None:
                return self._stream.write(text)
            os.write(self._descriptor, text.encode())
        return len(text)

    def flush(self) -> None:
        """Do nothing: no line is kept back."""


def _formatter() -> logging.Formatter:
    """Make the same chain for records of the standard library."""
    strip = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name], processors=[strip, *_CHAIN]
    )

"""What a check of ``opentill doctor`` finds."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class State(StrEnum):
    """The seriousness of a finding; only a failure makes the doctor's exit status 1."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not looked at, because an earlier check failed or it has no sense here."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at."""

    check: str
    state: State
    said: str
    fix: str = ""
    """What to do about it; never empty where something is wrong."""


Check: TypeAlias = Callable[[], Diagnosis]


def ok(check: str, said: str) -> Diagnosis:
    """Find that all is well."""
    return Diagnosis(check, State.OK, said)


def warning(check: str, said: str, fix: str) -> Diagnosis:
    """Find that it works, and is not as it should be."""
    return Diagnosis(check, State.WARNING, said, fix)


def failed(check: str, said: str, fix: str) -> Diagnosis:
    """Find that it does not work, or must not stay so."""
    return Diagnosis(check, State.FAILED, said, fix)


def skipped(check: str, said: str) -> Diagnosis:
    """Note that it was not looked at."""
    return Diagnosis(check, State.SKIPPED, said)

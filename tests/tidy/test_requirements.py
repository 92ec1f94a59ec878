"""The lock files hold what pyproject.toml asks for, by hash and from the public index alone."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement

from tidy.rules import ROOT
from tools.lowest import lowest

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = {"serve": (), "postgres": ("postgres",), "tests": ("dev", "quick", "postgres")}
"""Each lock file by the dependency groups that it holds besides the program's own dependencies."""
_PIN = re.compile(r"(?m)^([\w.-]+)==([\w.]+)( ;[^\\\n]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$")


def text(lock: str) -> str:
    return (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")


def asked(groups: tuple[str, ...]) -> Iterator[Requirement]:
    for each in PROJECT["project"]["dependencies"]:
        yield Requirement(each)
    for group in groups:
        yield from (
            Requirement(each) for each in PROJECT["dependency-groups"][group] if isinstance(each, str)
        )


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_everything_by_hash_and_nothing_else_stands_in_it(lock: str) -> None:
    """Line by line it is names, versions and SHA-256 digests: no address, no index, no path."""
    assert _PIN.sub("", text(lock)).strip() == ""


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_within_what_is_declared(lock: str) -> None:
    """Each declared dependency is pinned, to a version that its bounds admit; `make lock` brings it up."""
    pinned = {match[1].lower().replace("_", "-"): match[2] for match in _PIN.finditer(text(lock))}
    for requirement in asked(LOCKS[lock]):
        assert requirement.name in pinned, requirement.name
        assert requirement.specifier.contains(pinned[requirement.name]), requirement


def test_every_dependency_has_a_lower_bound() -> None:
    """What `make test-lowest` installs is one version of each; without a bound there is nothing to test."""
    constraints = list(lowest(PROJECT["project"]["dependencies"]))
    assert len(constraints) == len(PROJECT["project"]["dependencies"])
    with pytest.raises(ValueError, match="no lower bound"):
        list(lowest(["starlette<2"]))
